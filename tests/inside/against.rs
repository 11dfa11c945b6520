//! `multiclient isolate` of other servers: each of those that are broken on purpose is found broken in its row, and
//! in no other.
//!
//! A claim that is not to be broken may be inconclusive: the machine may be busy.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use multiclient::isolation_testing::{SharedInstance, Sharing};
use multiclient::{Guest, Limits, Server, Sources, listen};
use multiclient_isolate::{Against, Claim, FAULTY, Pace, SCHEMA, Target, Triggers, Verdict, run_against};
use rustix::process::{Pid, test_kill_process};
use serde_json::Value;
use support::components::repository;
use support::turn::alone;
use support::{
    Background, ControlGroup, Folder, Limited, eventually, multiclient, noise, output_of, program_under_test, require,
    run_within, text,
};

/// A server that is broken on purpose, as a command for `--start`. None: there is no Python.
fn broken(fault: &str) -> Option<String> {
    let python = require("python3")?;
    let script = repository("tests/isolation/broken.py");
    Some(format!("exec {} {} {fault} {{port}} {{root}}/film.mp4", python.get_program().display(), text(&script)))
}

fn isolate(arguments: &[&str]) -> Output {
    run_within(Duration::from_secs(400), multiclient().args(["isolate", "--quick", "--seed", "1"]).args(arguments))
}

/// The verdict on each claim, by its name.
fn verdicts(output: &Output) -> Vec<(String, String)> {
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let claims = report["targets"][0]["claims"].as_array().expect("a list");
    let text = |value: &Value| value.as_str().expect("a word").to_owned();
    claims.iter().map(|claim| (text(&claim["claim"]), text(&claim["verdict"]))).collect()
}

/// Tries a server that has a fault, and holds what is broken of it against what must be.
#[track_caller]
fn is_broken_in(fault: &str, rows: &[&str], arguments: &[&str]) -> Vec<(String, String)> {
    let _turn = alone();
    let Some(command) = broken(fault) else { return Vec::new() };
    let output = isolate(&[&["--json", "--start", &command], arguments].concat());
    let verdicts = verdicts(&output);
    let broken: Vec<_> = verdicts.iter().filter(|(_, verdict)| verdict == "broken").map(|(claim, _)| claim).collect();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(broken, rows, "{fault}: {said}");
    if !rows.is_empty() {
        assert_eq!(output.status.code(), Some(1), "{said}");
    }
    verdicts
}

#[test]
fn a_buffer_that_clients_share_breaks_data() {
    is_broken_in("shared-buffer", &["data"], &[]);
}

#[test]
fn one_client_at_a_time_breaks_hang_and_floods() {
    is_broken_in("one-at-a-time", &["hang", "floods"], &[]);
}

#[test]
fn a_descriptor_left_by_each_client_breaks_remains() {
    is_broken_in("leaks-a-descriptor", &["remains"], &[]);
}

#[test]
fn nothing_is_said_of_what_is_left_where_nobody_is_served_any_more() {
    for (_, verdict) in is_broken_in("hangs-when-a-client-leaves", &[], &["--only", "remains"]) {
        assert_eq!(verdict, "not tried", "it takes nobody in, and so leaves nothing of anybody");
    }
}

#[test]
fn death_by_a_bad_request_breaks_crash() {
    is_broken_in("dies-at-a-bad-request", &["crash"], &[]);
}

#[test]
fn a_handler_that_takes_the_server_down_breaks_crash() {
    is_broken_in("crash-route", &["crash"], &["--crash", "GET /boom", "--only", "crash"]);
}

#[test]
fn a_server_that_is_merely_slow_is_not_broken() {
    is_broken_in("slow", &[], &[]);
}

#[test]
fn routes_that_make_handlers_fail_break_their_claims() {
    for (route, flag, claim) in
        [("/hang", "--hang", "hang"), ("/leak", "--leak-memory", "memory"), ("/peek", "--peek", "data")]
    {
        is_broken_in("none", &[claim], &[flag, &format!("GET {route}"), "--only", claim]);
    }
}

/// A server that is broken on purpose, which this test has started. None: there is no Python.
fn running(fault: &str, folder: &Folder, group: Option<&ControlGroup>) -> Option<(Background, String)> {
    let film = folder.file("film.mp4", noise(1, 2 << 20));
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr()).expect("a port").port();
    let mut command = require("python3")?;
    command.arg(repository("tests/isolation/broken.py")).args([fault, &port.to_string(), text(&film)]);
    if let Some(group) = group {
        command = group.around(&command);
    }
    let server = Background::start(&mut command);
    let address = (Ipv4Addr::LOCALHOST, port);
    eventually("the server listens", || std::net::TcpStream::connect(address).is_ok());
    Some((server, format!("http://127.0.0.1:{port}/film.mp4")))
}

/// The process of a server that serves from this folder: its command line says so.
fn process_of(folder: &Folder) -> String {
    let folder = text(folder.path()).to_owned();
    let serves = |id: &u32| {
        let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&folder)
    };
    let processes = fs::read_dir("/proc").expect("it is there").flatten();
    let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.find(serves).expect("it runs").to_string()
}

#[test]
fn a_leak_is_not_tried_by_url_alone() {
    let _turn = alone();
    let folder = Folder::new();
    let Some((_server, url)) = running("leaks-a-descriptor", &folder, None) else { return };
    let output = isolate(&["--json", "--only", "remains", "--against", &url]);
    assert_eq!(verdicts(&output), [("remains".to_owned(), "not tried".to_owned())]);
    assert_eq!(output.status.code(), Some(3), "what was not tried does not hold");
    let output = isolate(&["--json", "--only", "remains", "--against", &url, "--pid", &process_of(&folder)]);
    assert_eq!(verdicts(&output), [("remains".to_owned(), "broken".to_owned())]);
}

#[test]
fn nothing_more_is_tried_when_a_server_dies_that_runs_by_itself() {
    let _turn = alone();
    let folder = Folder::new();
    let Some((_server, url)) = running("dies-at-a-bad-request", &folder, None) else { return };
    let output = isolate(&["--json", "--against", &url]);
    for (claim, verdict) in verdicts(&output) {
        assert_eq!(verdict, if claim == "crash" { "broken" } else { "not tried" }, "{claim}");
    }
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn only_this_machine_is_attacked() {
    for (url, why) in [
        ("http://192.0.2.1/", "never attacked"),
        ("http://10.0.0.1/", "`--yes-this-is-mine 10.0.0.1`"),
        ("https://127.0.0.1/", "only http://"),
    ] {
        let output = isolate(&["--against", url]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(why), "{url}: {said}");
    }
}

#[test]
fn a_url_that_cannot_be_tried_is_explained() {
    let folder = Folder::new();
    let small = folder.file("small", noise(1, 1_000));
    let Some(small) = broken("none").map(|command| command.replace("{root}/film.mp4", text(&small))) else { return };
    let fault = |fault| broken(fault).expect("there is a Python");
    let missing = ["--ready", "http://127.0.0.1:{port}/missing"];
    for (command, more, why) in [
        (small, &[][..], "has 1000 bytes"),
        (fault("changes"), &[], "is not the same twice"),
        (fault("none"), &missing, "answers 404"),
        ("echo it fails >&2; exit 1".to_owned(), &[], "the command ended: "),
    ] {
        let output = isolate(&[&["--start", &command], more].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(why), "{why}: {said}");
    }
}

/// The process whose number is in a file, when it is there.
fn process_in(file: &Path) -> Pid {
    let read = || Pid::from_raw(fs::read_to_string(file).ok()?.trim().parse().ok()?);
    eventually("a process has written its number", || read().is_some());
    read().expect("it is there")
}

/// Whether it has ended. In a container, nobody may collect what has.
fn has_ended(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    test_kill_process(process).is_err() || stat.contains(") Z ")
}

#[test]
fn nothing_is_left_of_what_was_started() {
    let _turn = alone();
    let folder = Folder::new();
    let file = folder.at("id");
    let Some(command) = broken("none") else { return };
    // Left behind by the command, and deaf to a polite request.
    let script = format!("(trap '' TERM; exec sleep 3600) & echo $! > {}; {command}", text(&file));
    let output = isolate(&["--json", "--only", "memory", "--start", &script]);
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let left = process_in(&file);
    eventually("it is ended with the command", || has_ended(left));
    // As if by Ctrl-C, and by something that cannot be caught.
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::KILL] {
        fs::remove_file(&file).expect("it was written");
        let mut program = multiclient();
        program.args(["isolate", "--start", &script]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut program = program.spawn().expect("it can be run");
        let left = process_in(&file);
        rustix::process::kill_process(Pid::from_child(&program), signal).expect("it runs");
        program.wait().expect("it ends");
        eventually("it is ended with the program", || has_ended(left));
    }
}

#[test]
fn our_server_is_found_broken_by_its_url_when_clients_share_an_instance() {
    let _turn = alone();
    let folder = Folder::new();
    folder.file("film.mp4", noise(1, 2 << 20));
    let verdict = |sharing| {
        let guest = Guest::custom(FAULTY.to_vec(), Limits::default(), &BTreeSet::new()).expect("a guest");
        let listener = listen::tcp((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let sources = Sources::at(folder.path()).expect("there is a file");
        let server = Server::new(Arc::new(guest), sources).sharing(sharing);
        let server = server.start(vec![listener]).expect("it starts");
        let url = format!("http://{}/film.mp4", server.addresses()[0]);
        let triggers = Triggers { crash: Some("GET /!trap".into()), ..Triggers::default() };
        let target = Target { name: "ours".into(), url, triggers, ..Target::default() };
        let only = vec![Claim::Crash];
        let plan = Against { targets: vec![target], only, pace: Pace::Quick, seed: 1, mine: None };
        let report = run_against(&plan, &mut |_| ()).expect("it can be tried");
        let outcome = &report.targets[0].outcomes[0];
        (outcome.verdict, outcome.note.clone())
    };
    let (fresh, note) = verdict(Sharing::Nothing);
    assert_ne!(fresh, Verdict::Broken, "{note}");
    let (shared, note) = verdict(Sharing::Instance(SharedInstance::default()));
    assert_eq!(shared, Verdict::Broken, "{note}");
}

/// Whether a value is what a schema says, of as much of the language as ours uses.
fn check(value: &Value, schema: &Value, root: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix("#/$defs/").expect("a definition of this schema");
        return check(value, &root["$defs"][name], root, at);
    }
    let is = |kind: &Value| match kind.as_str().expect("the name of a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}: not a type that is used"),
    };
    match &schema["type"] {
        Value::Null => {}
        Value::Array(kinds) => assert!(kinds.iter().any(is), "{at}: {value}"),
        kind => assert!(is(kind), "{at}: {value} is not of type {kind}"),
    }
    assert!(schema["const"].is_null() || schema["const"] == *value, "{at}: {value}");
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{at}: {value}");
    }
    if let (Some([_, other]), false) = (schema["anyOf"].as_array().map(Vec::as_slice), value.is_null()) {
        check(value, other, root, at);
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(name.as_str().expect("a name")).is_some(), "{at}: no {name}");
    }
    for (name, field) in value.as_object().into_iter().flatten().filter(|_| schema["properties"].is_object()) {
        assert!(schema["properties"][name].is_object(), "{at}: {name} is not described");
        check(field, &schema["properties"][name], root, &format!("{at}/{name}"));
    }
    for (number, item) in value.as_array().into_iter().flatten().enumerate() {
        check(item, &schema["items"], root, &format!("{at}/{number}"));
    }
}

/// SARIF 2.1.0, as far as readers of it insist.
fn check_sarif(sarif: &Value, count: usize) {
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let results = run["results"].as_array().expect("a list");
    assert_eq!(results.len(), count);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().expect("a number")).expect("a small one");
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
        // A level other than `none` is for failures only (section 3.27.10).
        assert_eq!(result["kind"] == "fail", result["level"] != "none", "{result}");
        assert!(result["message"]["text"].is_string() && result["locations"].is_array(), "{result}");
    }
}

/// JUnit, as far as the schema of Ant's task insists.
fn check_junit(junit: &str) {
    for suite in junit.lines().filter(|line| line.starts_with("<testsuite ")) {
        for name in ["id", "name", "package", "hostname", "timestamp", "tests", "failures", "errors", "time"] {
            assert!(suite.contains(&format!(" {name}=\"")), "{name}: {suite}");
        }
    }
    for case in junit.lines().filter(|line| line.trim_start().starts_with("<testcase ")) {
        assert!(["name", "classname", "time"].iter().all(|name| case.contains(&format!(" {name}=\""))), "{case}");
        let has_type = |element: &str| !case.contains(element) || case.contains(&format!("{element} type=\""));
        assert!(has_type("<failure") && has_type("<error"), "{case}");
    }
    for element in ["<properties>", "<system-out>", "<system-err/>"] {
        assert_eq!(junit.matches(element).count(), junit.matches("<testsuite ").count(), "{element}: {junit}");
    }
}

#[test]
fn servers_are_compared_side_by_side_in_every_format() {
    let _turn = alone();
    let folder = Folder::new();
    let Some(command) = broken("none") else { return };
    let file = format!("[\"a & <b>\"]\nstart = '''{command}'''\n[gone]\nstart = 'exit 1'\n");
    let file = folder.file("targets.toml", file);
    let [junit, sarif, html] = ["junit.xml", "report.sarif", "report.html"].map(|name| folder.at(name));
    let paths = ["--junit", text(&junit), "--sarif", text(&sarif), "--html", text(&html)];
    let only = ["--json", "--only", "data,memory,remains", "--targets", text(&file)];
    let output = isolate(&[&only[..], &paths[..]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let schema = fs::read_to_string(repository("docs/isolate-report.schema.json")).expect("it is there");
    let schema: Value = serde_json::from_str(&schema).expect("it is JSON");
    check(&report, &schema, &schema, "");
    assert_eq!(report["schema"], SCHEMA);
    assert_eq!(report["targets"][1]["claims"][0]["verdict"], "not tried", "a server that does not start");

    let sarif = fs::read(sarif).expect("it is written");
    check_sarif(&serde_json::from_slice(&sarif).expect("it is JSON"), 6);
    let junit = fs::read_to_string(junit).expect("it is written");
    check_junit(&junit);
    assert!(junit.contains("name=\"a &amp; &lt;b&gt;\"") && junit.contains(" tests=\"3\" failures=\"0\""), "{junit}");
    assert_eq!(junit.matches("<testcase ").count(), 6, "{junit}");
    assert!(junit.contains("<skipped message=\"the command ended"), "{junit}");
    let html = fs::read_to_string(html).expect("it is written");
    assert!(html.contains("a &amp; &lt;b&gt;") && html.contains("<svg") && !html.contains("src="), "{html}");
}

#[test]
fn the_table_fits_into_80_columns() {
    let _turn = alone();
    let Some(command) = broken("none") else { return };
    let named = |name: &str| format!("{name}={command}");
    let (one, other) = (named("one"), named("another-with-a-long-name"));
    let output = isolate(&["--only", "data,memory", "--compare", &one, "--compare", &other]);
    let said = String::from_utf8(output.stdout).expect("it is text");
    // A path is a word, and not broken.
    let long: Vec<_> = said.lines().filter(|line| line.len() > 80 && line.contains(' ')).collect();
    assert!(long.is_empty(), "{long:?}");
    let rows: Vec<_> = said.lines().filter(|line| line.starts_with("data ") || line.starts_with("claim ")).collect();
    assert!(rows.len() == 4 && rows.iter().all(|row| row.len() == rows[0].len()), "{said}");
}

#[test]
fn progress_stays_in_one_line_of_a_terminal_with_80_columns() {
    let _turn = alone();
    let (Some(mut script), Some(command)) = (require("script"), broken("none")) else { return };
    let name = "a-server-with-a-longer-name-than-fits-into-a-line-beside-the-claim-that-is-tried";
    let shell = "stty cols 80; exec \"$PROGRAM\" isolate --quick --seed 1 --only data,memory --compare \"$SERVER\"";
    script.args(["-q", "-c", shell, "/dev/null"]).env("PROGRAM", program_under_test());
    script.env("SERVER", format!("{name}={command}"));
    let output = run_within(Duration::from_secs(400), &mut script);
    let said = String::from_utf8(output.stdout).expect("it is text");
    // What was said is taken back before something else is.
    let lines: Vec<_> = said.split("\r\x1b[2K").filter(|line| line.starts_with("claim 1 of 2, ")).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| line.len() == 79 && !line.contains('\n')), "{said:?}");
    assert!(said.contains("\r\x1b[2Kclaim 2 of 2, "), "{said:?}");
}

#[test]
fn what_leaves_the_process_group_is_ended_with_the_control_group() {
    let _turn = alone();
    let Some(group) = ControlGroup::new(Limited::Threads(2_000)) else { return };
    let Some(command) = broken("none") else { return };
    let procs = group.folder().join("cgroup.procs");
    let start = format!("echo $$ > '{}'; setsid sleep 1000 & {command}", text(&procs));
    let output = isolate(&["--json", "--only", "data", "--start", &start, "--cgroup", text(group.folder())]);
    assert_eq!(verdicts(&output), [("data".to_owned(), "held".to_owned())]);
    let left = fs::read_to_string(&procs).expect("it is there until it is dropped");
    assert_eq!(left, "", "processes that the server has left behind");
}

#[test]
fn a_control_group_shows_what_is_left() {
    let _turn = alone();
    let folder = Folder::new();
    let Some(group) = ControlGroup::new(Limited::Threads(2_000)) else { return };
    let Some((server, url)) = running("leaks-a-descriptor", &folder, Some(&group)) else { return };
    let output = isolate(&["--json", "--only", "remains", "--against", &url, "--cgroup", text(group.folder())]);
    assert_eq!(verdicts(&output), [("remains".to_owned(), "broken".to_owned())]);
    drop(server);
    // Of another group than the server's, nothing is said.
    let (_server, url) = running("none", &folder, None).expect("there is a Python");
    for (place, why) in [(text(group.folder()), "there is no process in "), ("/nowhere", "is not a control group: ")] {
        let output = isolate(&["--json", "--only", "remains", "--against", &url, "--cgroup", place]);
        let said = output_of(&output);
        assert!(said.contains(why) && output.status.code() != Some(0), "{place}: {said}");
    }
}
