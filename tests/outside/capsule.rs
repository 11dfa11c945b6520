//! Capsules: sessions on record, and replayed without the client.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use multiclient_isolate::FAULTY;
use support::{Connection, Folder, PATIENCE, Server, eventually, make_fifo, multiclient, noise, run_within, text};

/// A folder to serve, one for capsules beside it, and a server.
struct Scene {
    folder: Folder,
    server: Server,
}

impl Scene {
    fn new(flags: &[&str]) -> Self {
        let folder = Folder::new();
        folder.file("root/film.mp4", noise(1, 10_000));
        folder.file("root/sub/text.txt", "text");
        let capsules = folder.at("capsules");
        let mut all = vec!["--capsules", text(&capsules)];
        all.extend(flags);
        let server = Server::start(folder.at("root"), &all);
        Self { folder, server }
    }

    /// Stops the server, and gives the folder with the capsules and what the log has.
    fn stop(self) -> (Folder, Vec<String>) {
        let stopped = self.server.stop();
        (self.folder, stopped.lines)
    }
}

fn capsules(folder: &Folder) -> Vec<PathBuf> {
    let entries = folder.at("capsules").read_dir().expect("the folder is made");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.sort();
    paths
}

fn read(folder: &Folder, client: usize) -> String {
    fs::read_to_string(folder.at(&format!("capsules/{client}.capsule"))).expect("there is a capsule")
}

/// Replays a capsule, and gives the exit code and what was said.
fn replay(capsule: &Path, flags: &[&str]) -> (Option<i32>, String) {
    let output = run_within(PATIENCE, multiclient().arg("replay").arg(capsule).args(flags));
    let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("it is text");
    (output.status.code(), said)
}

#[track_caller]
fn check_identical(capsule: &Path, flags: &[&str]) -> String {
    let (code, said) = replay(capsule, flags);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("identical: client "), "{said}");
    said
}

/// A guest that fails on demand, in a file.
fn faulty(folder: &Folder) -> PathBuf {
    folder.file("faulty.wasm", FAULTY)
}

// ---- replays

#[test]
fn a_session_replays_identically() {
    let scene = Scene::new(&["--record", "--list", "-H", "X-From: here"]);
    let mut connection = scene.server.connect();
    connection.get("/film.mp4").is(200, &noise(1, 10_000));
    connection.get_range("/film.mp4", "bytes=10-19, 30-39");
    connection.request("HEAD", "/sub/text.txt", &[]);
    connection.get("/sub");
    connection.get("/");
    connection.get("/nothing");
    connection.send("nonsense\r\n\r\n");
    connection.read_to_cut();
    let (folder, _) = scene.stop();
    let said = check_identical(&folder.at("capsules/1.capsule"), &[]);
    assert!(said.ends_with("then finished\n") && said.lines().count() == 1, "{said}");
    assert!(!read(&folder, 1).contains("text.txt\\u"), "what is passed is a span");
}

#[test]
fn a_session_received_byte_by_byte_replays_identically() {
    let scene = Scene::new(&["--record"]);
    let mut connection = scene.server.connect();
    let head = b"GET /sub?token=5ecret HTTP/1.1\r\nHost: a\r\ncOOkie: id=7asty\r\n\r\n";
    for byte in head {
        connection.send([*byte]);
    }
    assert_eq!(connection.response().status(), 301);
    drop(connection);
    let (folder, _) = scene.stop();
    let capsule = read(&folder, 1);
    assert!(!capsule.contains("5ecret") && !capsule.contains("7asty"), "{capsule}");
    check_identical(&folder.at("capsules/1.capsule"), &[]);
}

#[test]
fn every_fault_of_a_guest_is_replayed() {
    let faults = [
        ("spin", "over-limit: cpu 50 ms for one event"),
        ("grow", "over-limit: memory 8 MiB"),
        ("recurse", "trapped: "),
        ("trap", "trapped: "),
        ("few-actions", "contract-breach: 65 actions in one list"),
        ("send", "contract-breach: 1048577 bytes in one send"),
        ("sends", "over-limit: 2.5 MiB for a list of actions"),
        ("outside/film.mp4", "contract-breach: a pass of something outside the source"),
        ("unopened", "contract-breach: a pass or wait without an open source"),
        ("nowait", "contract-breach: a list of actions that waits for nothing"),
        ("twowaits", "contract-breach: an action after the one that waits"),
    ];
    let folder = Folder::new();
    let guest = faulty(&folder);
    let scene = Scene::new(&["--guest", text(&guest)]);
    for (fault, _) in faults {
        let mut connection = scene.server.connect();
        connection.send_request("GET", &format!("/!{fault}"), &[]);
        connection.read_to_cut();
    }
    scene.server.wait_for_line(&format!("capsule {}.capsule", faults.len()));
    let (kept, log) = scene.stop();
    for (index, (fault, ended)) in faults.into_iter().enumerate() {
        let name = format!("{}.capsule", index + 1);
        assert!(log.iter().any(|line| line.ends_with(&format!("   capsule {name}"))), "{fault}: {log:?}");
        let path = kept.at(&format!("capsules/{name}"));
        let said = check_identical(&path, &["--guest", text(&guest)]);
        assert!(said.contains(ended), "{fault}: {said}");
        // The guest that is built in has never heard of such faults.
        let (code, said) = replay(&path, &[]);
        assert_eq!(code, Some(1), "{fault}: {said}");
        assert!(said.starts_with("another guest than recorded, which was "), "{said}");
        assert!(said.contains("differs: client "), "{said}");
    }
}

#[test]
fn a_fault_in_the_constructor_is_replayed() {
    let folder = Folder::new();
    let guest = faulty(&folder);
    let scene = Scene::new(&["--guest", text(&guest), "-H", "X-Fault: trap"]);
    let mut connection = scene.server.connect();
    connection.send_request("GET", "/", &[]);
    connection.read_to_cut();
    scene.server.wait_for_line("capsule 1.capsule");
    let (kept, _) = scene.stop();
    let said = check_identical(&kept.at("capsules/1.capsule"), &["--guest", text(&guest)]);
    assert!(said.contains("0 events"), "{said}");
    let (code, said) = replay(&kept.at("capsules/1.capsule"), &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("when the session is made"), "{said}");
}

#[test]
fn another_guest_may_replay_identically() {
    let scene = Scene::new(&["--record"]);
    scene.server.get("/film.mp4");
    let (folder, _) = scene.stop();
    let guest = faulty(&folder);
    let said = check_identical(&folder.at("capsules/1.capsule"), &["--guest", text(&guest)]);
    assert!(said.starts_with("another guest than recorded, which was "), "{said}");
}

#[test]
fn differences_are_shown() {
    let scene = Scene::new(&["--record"]);
    let mut connection = scene.server.connect();
    connection.get("/film.mp4");
    connection.get("/nothing");
    drop(connection);
    let (folder, _) = scene.stop();
    let capsule = read(&folder, 1);
    for (from, to, shown) in [
        ("Content-Length: 10000", "Content-Length: 10001", &["event 2 of", "action 1, byte ", "10001", "10000"][..]),
        (
            "\"count\": 10000",
            "\"count\": 10001",
            &["event 2 of", "action 2", "pass of 10001 bytes", "pass of 10000 bytes"],
        ),
        ("\"open\": \"film.mp4\"", "\"open\": \"film.mp3\"", &["event 1 of", "byte 7", "film.mp3", "film.mp4"]),
        ("GET /film.mp4 HTTP/1.1\\r", "GET /film.mp5 HTTP/1.1\\r", &["event 1 of", "byte 7", "film.mp4", "film.mp5"]),
        ("\"status\": 404", "\"status\": 405", &["event 4 of", "report of 405", "report of 404"]),
    ] {
        assert!(capsule.contains(from), "{from} is not in {capsule}");
        let altered = folder.file("altered.capsule", capsule.replacen(from, to, 1));
        let (code, said) = replay(&altered, &[]);
        assert_eq!(code, Some(1), "{said}");
        assert!(shown.iter().all(|shown| said.contains(shown)), "{shown:?} are not all in\n{said}");
    }
}

#[test]
fn a_forged_capsule_is_held_to_the_limits_of_a_client() {
    let scene = Scene::new(&["--record"]);
    scene.server.get("/film.mp4");
    let (folder, _) = scene.stop();
    let capsule = read(&folder, 1);
    let altered = capsule.replacen("\"kind\": \"finished\"", "\"kind\": \"exploded\"", 1);
    assert_ne!(altered, capsule);
    let (code, said) = replay(&folder.file("altered.capsule", altered), &[]);
    assert!(code == Some(1) && said.contains("not a valid capsule: unknown end reason \"exploded\""), "{said}");
    for memory in ["0", "18446744073709551615"] {
        let altered = capsule.replacen("\"memory\": 8388608", &format!("\"memory\": {memory}"), 1);
        assert_ne!(altered, capsule);
        let (code, said) = replay(&folder.file("altered.capsule", altered), &[]);
        assert!(matches!(code, Some(0 | 1)) && !said.contains("panicked"), "{said}");
    }
}

#[test]
fn files_that_are_not_capsules_are_rejected() {
    let folder = Folder::new();
    for (name, bytes, why) in [
        ("a.capsule", "", "not a valid capsule"),
        ("b.capsule", "{\"format\": 9}", "format 9"),
        ("c.capsule", "\0\u{ff}", "not a valid capsule"),
    ] {
        let (code, said) = replay(&folder.file(name, bytes), &[]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.starts_with("error: ") && said.contains(why), "{said}");
    }
    // Neither a FIFO without a writer nor an endless device is waited for.
    let fifo = folder.at("fifo");
    make_fifo(&fifo);
    for path in [fifo.as_path(), Path::new("/dev/zero"), folder.path()] {
        let (code, said) = replay(path, &[]);
        assert!(code == Some(1) && said.contains("not a file"), "{said}");
    }
    let (code, said) = replay(&folder.at("d.capsule"), &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("does not exist\n  did you mean "), "{said}");
}

// ---- which sessions are recorded

#[test]
fn an_ordinary_session_is_recorded_only_with_record() {
    let scene = Scene::new(&[]);
    scene.server.get("/film.mp4");
    drop(scene.server.connect());
    let (folder, log) = scene.stop();
    assert_eq!(capsules(&folder), Vec::<PathBuf>::new());
    assert!(!log.iter().any(|line| line.contains("capsule")), "{log:?}");
}

#[test]
fn a_failed_session_is_recorded_and_the_log_names_the_capsule() {
    let scene = Scene::new(&["--header-timeout", "200ms"]);
    scene.server.get("/film.mp4");
    let mut connection = scene.server.connect();
    connection.send("GET /film.mp4?password=hunter2 HTTP/1.1\r\nAuthorization: Basic aHVudGVy");
    connection.read_to_cut();
    let line = scene.server.wait_for_line("timed out");
    assert!(line.starts_with("#2 ") && line.ends_with("   capsule 2.capsule"), "{line}");
    let (folder, _) = scene.stop();
    let path = folder.at("capsules/2.capsule");
    assert_eq!(capsules(&folder), std::slice::from_ref(&path));
    assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o600);
    let capsule = read(&folder, 2);
    assert!(!capsule.contains("hunter2") && !capsule.contains("aHVudGVy"), "{capsule}");
    let said = check_identical(&path, &[]);
    assert!(said.ends_with("then timed-out: no complete request\n"), "{said}");
}

#[test]
fn a_capsule_is_written_while_the_server_runs() {
    let scene = Scene::new(&["--record"]);
    scene.server.get("/film.mp4");
    eventually("the capsule is written", || scene.folder.at("capsules/1.capsule").exists());
    check_identical(&scene.folder.at("capsules/1.capsule"), &[]);
}

#[test]
fn capsules_are_not_written_through_links() {
    let folder = Folder::new();
    let victim = folder.file("victim", "untouched");
    folder.folder("capsules");
    for name in ["1.capsule", ".1.capsule.unfinished"] {
        symlink(&victim, folder.at("capsules").join(name)).expect("a link can be made");
    }
    let film = folder.file("film.mp4", "film");
    let server = Server::start(film, &["--record", "--capsules", text(&folder.at("capsules"))]);
    server.get("/film.mp4");
    server.stop();
    assert_eq!(fs::read(&victim).expect("it is there"), b"untouched");
    assert_eq!(capsules(&folder), [folder.at("capsules/1.capsule")]);
    assert!(fs::symlink_metadata(folder.at("capsules/1.capsule")).expect("it is there").is_file());
    check_identical(&folder.at("capsules/1.capsule"), &[]);
}

#[test]
fn an_unusable_capsule_folder_is_an_error_at_the_start() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let output = run_within(PATIENCE, multiclient().args([text(&film), "0", "--capsules", text(&film)]));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("error: cannot keep capsules in "), "{said}");
    // A folder that exists, and in which no file can be made.
    let output = run_within(PATIENCE, multiclient().args([text(&film), "0", "--capsules", "/proc"]));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("error: cannot keep capsules in /proc"), "{said}");
}

#[test]
fn the_log_names_only_capsules_that_exist() {
    let scene = Scene::new(&["--header-timeout", "200ms"]);
    fs::remove_dir(scene.folder.at("capsules")).expect("it is empty");
    for client in 1..=2 {
        let mut connection = scene.server.connect();
        connection.send("GET /film.mp4 HTTP/1.1\r\nHo");
        connection.read_to_cut();
        scene.server.wait_for_line(&format!("#{client} 127.0.0.1 timed out"));
    }
    let (_, log) = scene.stop();
    let said: Vec<_> = log.iter().filter(|line| line.contains("capsule")).collect();
    assert!(said.len() == 1 && said[0].starts_with("capsules cannot be written: "), "{said:?}");
}

#[test]
fn capsules_of_earlier_runs_count_and_those_of_the_same_number_are_replaced() {
    const CAPSULES: usize = 1_000;
    let folder = Folder::new();
    folder.file("root/sub/text.txt", "text");
    for client in 3..3 + CAPSULES {
        folder.file(&format!("capsules/{client}.capsule"), "of an earlier run");
    }
    let server = Server::start(folder.at("root"), &["--record", "--capsules", text(&folder.at("capsules"))]);
    for _ in 0..4 {
        Connection::to(server.address()).get("/sub/text.txt").is(200, b"text");
    }
    let log = server.stop().lines;
    assert!(log.iter().any(|line| line.starts_with("there are 1000 capsules of earlier runs")), "{log:?}");
    assert_eq!(capsules(&folder).len(), CAPSULES);
    for client in 3..=4 {
        check_identical(&folder.at(&format!("capsules/{client}.capsule")), &[]);
    }
    assert_eq!(read(&folder, 5), "of an earlier run");
}

#[test]
fn a_flag_that_is_off_requires_no_other() {
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let variables = ["MULTICLIENT_RECORD", "MULTICLIENT_CAPSULE_SECRETS", "MULTICLIENT_WATCH"];
    let mut command = multiclient();
    command.args([text(&film), "0"]).envs(variables.map(|name| (name, "0")));
    Server::run(command).get("/film.mp4").is(200, b"film");
    for flag in ["--record", "--capsule-secrets", "--watch"] {
        let output = run_within(PATIENCE, multiclient().args([text(&film), "0", flag]));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(flag) && said.contains("require"), "{said}");
    }
}

// ---- secrets

/// What a client sends, what of it is secret, and what is not.
const SECRETS: &[(&str, &[&str], &[&str])] = &[
    ("GET /sub?token=s3cr3t HTTP/1.1\r\nHost: a\r\n\r\n", &["token", "s3cr3t"], &["GET /sub?", "Location: /sub/?"]),
    ("GET /sub?~q HTTP/1.1\r\nHost: a\r\n\r\n", &["~q"], &["Location: /sub/?"]),
    ("GET /sub?%c3%a4=s3%41 HTTP/1.1\r\nHost: a\r\n\r\n", &["%c3%a4", "s3%41"], &["/sub?"]),
    ("GET / HTTP/1.1\r\nHost: a\r\nCookie: a=k3ks; b=kr\u{fc}mel\r\n\r\n", &["k3ks", "mel"], &["Cookie: X=XXXX; X="]),
    ("GET / HTTP/1.1\r\nHost: a\r\naUTHORIZATION:\tDigest k3y\r\n\r\n", &["Digest", "k3y"], &["aUTHORIZATION:"]),
    ("GET / HTTP/1.1\r\nHost: a\r\nProxy-Authorization: k3y\r\n\r\n", &["k3y"], &["Proxy-Authorization: XXX"]),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nReferer: http://b/c?k3y\r\n\r\n",
        &["k3y"],
        &["Referer: http://b/c?XXX", "\"http://b/c?XXX\""],
    ),
    // Refused for what is around it, and no less secret.
    ("GET / HTTP/1.1\r\nHost: a\r\nCookie : k3ks\r\n\r\n", &["k3ks"], &["Cookie : XXXX"]),
    ("GET / HTTP/1.1\r\nHost: a\r\nCookie: k3ks\r\n folded\r\n\r\n", &["k3ks", "folded"], &["400"]),
    ("GET /?k3y k4y HTTP/1.1\r\nHost: a\r\n\r\n", &["k3y", "k4y"], &["400"]),
    ("GET /?k3y\r\n\r\n", &["k3y"], &["GET /?XXX"]),
    ("GET / HTTP/1.1\nAuthorization: k3y\n\n", &["k3y"], &["Authorization: XXX"]),
    ("GET / HTTP/1.1\r\nAuthorization: k3y\0\r\n\r\n", &["k3y"], &["Authorization: XXX"]),
];

#[test]
fn secrets_are_redacted_and_the_capsule_replays_identically() {
    for flags in [&[][..], &["--compat"]] {
        let scene = Scene::new(&[&["--record"], flags].concat());
        send_all(&scene);
        let (folder, _) = scene.stop();
        for (index, (sent, secret, open)) in SECRETS.iter().enumerate() {
            let capsule = read(&folder, index + 1);
            for secret in *secret {
                assert!(!capsule.contains(secret), "{secret:?} of {sent:?} in {capsule}");
            }
            if flags.is_empty() {
                assert!(open.iter().all(|open| capsule.contains(open)), "{open:?} of {sent:?} not in {capsule}");
            }
            check_identical(&folder.at(&format!("capsules/{}.capsule", index + 1)), &[]);
        }
    }
}

#[test]
fn secrets_are_kept_with_capsule_secrets() {
    let scene = Scene::new(&["--record", "--capsule-secrets"]);
    send_all(&scene);
    let (folder, _) = scene.stop();
    for (index, (sent, secret, _)) in SECRETS.iter().enumerate() {
        let capsule = read(&folder, index + 1);
        assert!(secret.iter().all(|secret| capsule.contains(secret)), "{secret:?} of {sent:?} not in {capsule}");
        check_identical(&folder.at(&format!("capsules/{}.capsule", index + 1)), &[]);
    }
}

#[test]
fn a_replay_that_differs_says_that_redaction_may_be_the_reason() {
    for (flags, replays) in [(&["--record", "--list"][..], false), (&["--record", "--list", "--capsule-secrets"], true)]
    {
        let scene = Scene::new(flags);
        scene.server.connect().get("/sub/?m3u").is(200, b"#EXTM3U\n");
        let (folder, _) = scene.stop();
        let path = folder.at("capsules/1.capsule");
        if replays {
            check_identical(&path, &[]);
        } else {
            let (code, said) = replay(&path, &[]);
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains("--capsule-secrets keeps them"), "{said}");
        }
    }
}

fn send_all(scene: &Scene) {
    for (sent, ..) in SECRETS {
        let mut connection = scene.server.connect();
        connection.send(sent);
        connection.finish();
        connection.read_to_cut();
    }
}

// ---- bounds

#[test]
fn a_capsule_is_bounded_and_says_that_more_was_not_recorded() {
    let scene = Scene::new(&["--record"]);
    let mut connection = scene.server.connect();
    let line = format!("X-Long: {}", "a".repeat(8_000));
    for _ in 0..40 {
        connection.request("GET", "/sub/text.txt", &[&line]).is(200, b"text");
    }
    drop(connection);
    let (folder, _) = scene.stop();
    let capsule = read(&folder, 1);
    assert!(capsule.len() < 200 << 10 && capsule.contains("\"recording\": \"beginning\""), "{} bytes", capsule.len());
    let said = check_identical(&folder.at("capsules/1.capsule"), &[]);
    assert!(said.contains("and more that is not recorded"), "{said}");
}

#[test]
fn the_number_of_capsules_is_limited_and_the_log_says_so_once() {
    const CAPSULES: usize = 1_000;
    let scene = Scene::new(&["--record"]);
    let address = scene.server.address();
    for client in 1..=CAPSULES + 5 {
        Connection::to(address).get("/sub/text.txt").is(200, b"text");
        // So that none is left out because the disk is slow. Clients of two loops may end out of order.
        if client % 20 == 0 && client < CAPSULES {
            let written = || capsules(&scene.folder).len() + 2 > client;
            eventually("most capsules so far are written", written);
        }
    }
    let (folder, log) = scene.stop();
    let said = log.iter().filter(|line| line.contains("capsules")).collect::<Vec<_>>();
    assert_eq!(capsules(&folder).len(), CAPSULES);
    assert_eq!(said, [&format!("there are {CAPSULES} capsules now, and there will be no more")]);
}
