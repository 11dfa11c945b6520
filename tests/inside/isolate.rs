//! `multiclient isolate`: that it says *held* where clients are isolated, and *broken* where they are not.
//!
//! Whoever measures needs the machine for itself, so these run one after the other.

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use multiclient_isolate::{Claim, Pace, Plan, Report, Verdict, Weakness, run};
use serde_json::Value;
use support::turn::alone;
use support::{Folder, export_guest, multiclient, noise, program_under_test, run_within, text};

fn isolate(arguments: &[&str]) -> Output {
    run_within(Duration::from_secs(120), multiclient().arg("isolate").args(arguments))
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the program says nothing that is not UTF-8")
}

/// Tries some claims on a server that has something wrong with it.
fn try_weakened(weakness: Weakness, only: &[Claim]) -> Report {
    let (weakness, probe) = (Some(weakness), Some(program_under_test()));
    let plan = Plan { weakness, probe, only: only.to_vec(), pace: Pace::Quick, seed: 1, ..Plan::default() };
    run(&plan, &mut |_| ()).expect("claims can be tried here")
}

#[test]
fn every_claim_holds_and_the_controls_fail() {
    let _turn = alone();
    let folder = Folder::new();
    let (junit, html) = (folder.at("report.xml"), folder.at("report.html"));
    let paths = [text(&junit), text(&html)];
    let output = isolate(&["--quick", "--json", "--junit", paths[0], "--html", paths[1]]);
    let json = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{json}");
    let report: Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(report["verdict"], "held");
    let claims = report["claims"].as_array().expect("a list");
    assert_eq!(claims.len(), Claim::ALL.len());
    let swaps = fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1);
    for claim in claims {
        let lacks_walls = claim["note"].as_str().is_some_and(|note| note.contains("cannot raise all walls"));
        if claim["claim"] == "pressure" && !swaps || claim["claim"] == "walls" && lacks_walls {
            assert_eq!(claim["verdict"], "not applicable", "{claim}");
            continue;
        }
        assert_eq!(claim["verdict"], "held", "{claim}");
        for measure in claim["measures"].as_array().expect("a list") {
            assert_eq!(measure["baseline"].is_number(), measure["what"] == "p99 first byte", "{measure}");
        }
        let without_control = ["bandwidth", "floods", "idle", "authority", "remains", "bytes"];
        let must_fail = !without_control.contains(&claim["claim"].as_str().expect("a name"));
        assert_eq!(claim["control"]["verdict"] == "broken", must_fail, "{claim}");
    }
    let junit = fs::read_to_string(junit).expect("it is written");
    assert!(junit.contains("tests=\"17\" failures=\"0\" errors=\"0\""), "{junit}");
    let html = fs::read_to_string(html).expect("it is written");
    assert!(html.contains("; baseline ") && html.contains("guest: the built-in one, with faults"), "{html}");
    assert!(html.contains("<svg") && !html.contains("http"), "one page, and nothing from elsewhere");
}

#[test]
fn a_server_whose_clients_share_an_instance_is_broken() {
    let _turn = alone();
    let claims = [Claim::Crash, Claim::Hang, Claim::Data];
    let report = try_weakened(Weakness::SharedInstance, &claims);
    for outcome in &report.outcomes {
        assert_eq!(outcome.verdict, Verdict::Broken, "{}", outcome.line());
    }
    assert_eq!(report.exit_code(), 1);
}

#[test]
fn a_server_without_limits_is_broken() {
    let _turn = alone();
    let report = try_weakened(Weakness::NoLimits, &[Claim::Memory]);
    assert_eq!(report.outcomes[0].verdict, Verdict::Broken, "{}", report.outcomes[0].line());
    assert_eq!(report.exit_code(), 1);
}

#[test]
fn a_server_without_walls_is_broken() {
    let report = try_weakened(Weakness::NoWalls, &[Claim::Walls]);
    let line = report.outcomes[0].line();
    assert_eq!(report.outcomes[0].verdict, Verdict::Broken, "{line}");
    assert!(line.contains("open /etc/passwd") && line.contains("run a program"), "{line}");
}

#[test]
fn a_probe_that_cannot_be_started_shows_nothing() {
    let plan = Plan { probe: Some("/nowhere".into()), only: vec![Claim::Walls], pace: Pace::Quick, ..Plan::default() };
    let report = run(&plan, &mut |_| ()).expect("other claims could be tried");
    assert_eq!(report.outcomes[0].verdict, Verdict::Inconclusive, "{}", report.outcomes[0].line());
}

#[test]
fn the_victims_can_request_files_of_the_user() {
    let _turn = alone();
    let folder = Folder::new();
    let film = folder.file("a film & more.mp4", noise(1, 1 << 20));
    let output = isolate(&["--quick", "--only", "crash,bytes", "--seed", "7", text(&film)]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("held: 2 held") && said.contains("seed 7"), "{said}");
}

#[test]
fn a_custom_guest_is_tested_only_for_claims_that_need_no_faults() {
    let _turn = alone();
    let folder = Folder::new();
    // Any guest but the one that is built in is somebody else's, also the same.
    let guest = folder.at("guest.wasm");
    export_guest(&guest);
    let output = isolate(&["--quick", "--only", "crash,bytes", "--guest", text(&guest)]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("held: 1 held, 1 not applicable"), "{said}");
}

#[test]
fn a_trial_that_shows_nothing_is_inconclusive() {
    let _turn = alone();
    let folder = Folder::new();
    let unshown = |command: &mut Command, note: &str| {
        let output = run_within(Duration::from_secs(60), command);
        let said = stdout(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("inconclusive") && said.contains(note), "{said}");
    };
    // A guest that answers everybody in another version, attacked or not.
    let exported = folder.at("guest.wasm");
    export_guest(&exported);
    let guest = fs::read(&exported).expect("it is there");
    let mut other = guest.clone();
    for at in (0..guest.len()).filter(|at| guest[*at..].starts_with(b"HTTP/1.1 ")) {
        other[at + 7] = b'7';
    }
    assert!(other != guest, "the version is in the guest");
    let guest = folder.file("guest.wasm", other);
    let guest = text(&guest);
    let note = "lost or wrong";
    unshown(multiclient().args(["isolate", "--quick", "--only", "bytes", "--guest", guest]), note);
    // A file that is sent before anybody could be in its way.
    let short = folder.file("short.mp4", noise(1, 1_000));
    let note = "the longest file has 1000 B";
    unshown(multiclient().args(["isolate", "--quick", "--only", "bandwidth"]).arg(short), note);
    // Fewer descriptors than clients.
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 200 && exec \"$0\" isolate --quick --only crash"]);
    unshown(shell.arg(multiclient().get_program()), "too few file descriptors");
}

#[test]
fn a_report_that_cannot_be_written_fails_before_the_trial() {
    let folder = Folder::new();
    let nowhere = folder.at("missing/report.html");
    let output = isolate(&["--html", text(&nowhere)]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stdout(&output).is_empty() && said.contains("cannot write"), "{said}");
}

#[test]
fn an_unknown_claim_is_wrong_usage() {
    let output = isolate(&["--only", "telepathy"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("[possible values: crash, hang, "), "{said}");
}
