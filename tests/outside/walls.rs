//! A server behind its walls: everything that it promises works there, and it says which walls stand.
//!
//! What the walls keep out is tried by the claim `walls` of `multiclient isolate`.

use std::env::consts::ARCH;
use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv6Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use multiclient_isolate::FAULTY;
use rustix::process::{Signal, geteuid};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use support::live::{Producer, Viewer, packets};
use support::{
    Connection, Folder, PATIENCE, Server, eventually, export_guest, make_fifo, multiclient, program_under_test,
    require, run_within, skip, text,
};

const ALL: &str = "walls    privileges, files, network, scopes, code, calls";

/// Whether this machine has all walls. If not, the test is skipped.
pub(crate) fn all_walls() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    let has = *HAS.get_or_init(|| {
        let folder = Folder::new();
        Server::start(folder.path(), &["--walls", "auto"]).log().iter().any(|line| line == ALL)
    });
    if !has {
        skip("walls", "this machine cannot raise all of them");
    }
    has
}

/// A server behind all walls.
fn walled(source: impl AsRef<Path>, flags: &[&str]) -> Server {
    Server::start(source, &[&["--walls", "strict"], flags].concat())
}

// ---- which walls stand

#[test]
fn the_start_names_the_walls_and_none_where_they_are_off() {
    let folder = Folder::new();
    if all_walls() {
        walled(folder.path(), &[]).wait_for_line(ALL);
    }
    let server = Server::start(folder.path(), &["--walls", "off"]);
    assert!(server.log().contains(&"walls    none".to_owned()), "{:?}", server.log());
}

/// Hides Landlock from a program, as the filters of some containers do.
fn hide_landlock(command: &mut Command) {
    /// `landlock_create_ruleset`, on all machines.
    const CREATE_RULESET: i64 = 444;
    const ENOSYS: u32 = 38;
    let machine = TargetArch::try_from(ARCH).expect("a machine with seccomp");
    let rules = [(CREATE_RULESET, Vec::new())].into();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(ENOSYS), machine);
    let program: BpfProgram = filter.and_then(TryInto::try_into).expect("a filter");
    #[expect(unsafe_code, reason = "what runs between fork and exec is promised to be harmless")]
    // SAFETY: the filter is there already, and installing it makes system calls only.
    unsafe {
        command.pre_exec(move || seccompiler::apply_filter(&program).map_err(std::io::Error::other));
    }
}

#[test]
fn a_missing_wall_is_explained_and_with_strict_it_fails_the_start() {
    if !all_walls() {
        return;
    }
    let folder = Folder::new();
    folder.file("film.mp4", "film");
    let serving = |walls: &str| {
        let mut command = multiclient();
        command.arg(folder.path()).args(["0", "--walls", walls]).stdout(Stdio::null());
        hide_landlock(&mut command);
        command
    };
    let server = Server::run(serving("auto"));
    assert!(server.log().contains(&"walls    privileges, code, calls".to_owned()), "{:?}", server.log());
    for wall in ["files", "network", "scopes"] {
        let why = "the kernel has no Landlock, or a container's filter hides it";
        assert!(server.log().contains(&format!("  missing: {wall}: {why}")), "{:?}", server.log());
    }
    server.get("/film.mp4").is(200, b"film");

    let mut command = serving("strict");
    let output = run_within(PATIENCE, &mut command);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: --walls strict: the wall files: the kernel has no Landlock"), "{said}");
    assert!(said.contains("\n  `--walls auto` serves"), "{said}");
}

#[test]
fn the_claim_is_not_tried_where_a_wall_is_missing() {
    if !all_walls() {
        return;
    }
    let mut command = multiclient();
    hide_landlock(command.args(["isolate", "--only", "walls", "--quick"]));
    let output = run_within(PATIENCE, &mut command);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("not applicable") && said.contains("cannot raise all walls: files: the kernel"), "{said}");
}

#[test]
fn a_guest_that_can_be_loaded_again_takes_one_wall_away_unless_they_are_strict() {
    if !all_walls() {
        return;
    }
    let folder = Folder::new();
    let guest = folder.at("guest.wasm");
    export_guest(&guest);
    let film = folder.file("films/film.mp4", "film");
    let server = Server::start(&film, &["--guest", text(&guest), "--walls", "auto"]);
    server.wait_for_line("walls    privileges, files, network, scopes, calls");
    server.wait_for_line("  left out: code: SIGHUP loads the `--guest` file again");
    fs::rename(folder.file("next.wasm", fs::read(&guest).expect("it is there")), &guest).expect("it is replaced");
    server.signal(Signal::HUP);
    server.wait_for_line("for new clients from now on");
    server.get("/film.mp4").is(200, b"film");

    let server = walled(&film, &["--guest", text(&guest)]);
    server.wait_for_line(ALL);
    server.signal(Signal::HUP);
    server.wait_for_line("the guest stays as it is: behind `--walls strict` no other can be loaded");
    server.get("/film.mp4").is(200, b"film");
}

// ---- who runs it

/// What the kernel says of a process behind all walls.
#[track_caller]
fn has_given_up_everything(server: &Server) {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid().as_raw_pid())).expect("it runs");
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{name} is not in {status}")).trim().to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(value(set), "0000000000000000", "{set}");
    }
    assert_eq!((value("NoNewPrivs").as_str(), value("Seccomp").as_str()), ("1", "2"), "{status}");
}

#[test]
fn root_and_others_serve_behind_all_walls() {
    if !all_walls() {
        return;
    }
    let folder = Folder::new();
    let film = folder.file("films/film.mp4", "film");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let server = walled(&film, &[]);
    server.get("/film.mp4").is(200, b"film");
    has_given_up_everything(&server);
    drop(server);
    if !geteuid().is_root() {
        return skip("another-user", "only root can become another user");
    }
    let server = walled(&film, &["--user", "nobody"]);
    server.get("/film.mp4").is(200, b"film");
    has_given_up_everything(&server);
    drop(server);

    let Some(mut setpriv) = require("setpriv") else { return };
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let runs = setpriv.args(nobody).arg("test").arg("-x").arg(program_under_test()).status().expect("it can be run");
    if !runs.success() {
        return skip("another-user", "others may not run the program where it was built");
    }
    let mut setpriv = require("setpriv").expect("it was there a moment ago");
    setpriv.args(nobody).arg(program_under_test()).arg(&film).args(["0", "--walls", "strict"]);
    let server = Server::run(setpriv);
    server.get("/film.mp4").is(200, b"film");
    has_given_up_everything(&server);
}

#[test]
fn what_only_root_can_read_does_not_keep_another_user_from_its_walls() {
    if !all_walls() || !geteuid().is_root() {
        return;
    }
    let folder = Folder::new();
    let film = folder.file("films/film.mp4", "film");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    folder.folder("private");
    fs::set_permissions(folder.at("private"), fs::Permissions::from_mode(0o700)).expect("it is ours");
    let (log, pid) = (folder.at("private/log"), folder.at("pid"));
    let server = walled(&film, &["--user", "nobody", "--log-file", text(&log), "--pid-file", text(&pid)]);
    server.get("/film.mp4").is(200, b"film");
    eventually("the request is logged", || fs::read_to_string(&log).is_ok_and(|text| text.contains("GET /film.mp4")));
    assert_eq!(server.stop().code, Some(0));
    assert_eq!(fs::read_to_string(&pid).expect("it cannot be removed"), "", "and nobody is to be signalled");
}

// ---- what changes while it serves

#[test]
fn files_and_folders_are_served_as_they_are_now() {
    if !all_walls() {
        return;
    }
    let folder = Folder::new();
    for release in ["one", "two"] {
        folder.file(&format!("releases/{release}/film.mp4"), release);
    }
    let point_to = |release: &str| {
        let _ = fs::remove_file(folder.at("next"));
        symlink(Path::new("releases").join(release), folder.at("next")).expect("a link");
        fs::rename(folder.at("next"), folder.at("current")).expect("a link can be replaced");
    };
    point_to("one");
    let server = walled(folder.at("current"), &["--list"]);
    server.get("/film.mp4").is(200, b"one");
    point_to("two");
    eventually("the other release is served", || server.get("/film.mp4").text() == "two");
    assert!(server.get("/").text().contains("film.mp4"));

    let film = folder.at("releases/two/film.mp4");
    let server = walled(&film, &[]);
    server.get("/film.mp4").is(200, b"two");
    fs::rename(folder.file("releases/two/next", "three"), &film).expect("a file can be replaced");
    server.get("/film.mp4").is(200, b"three");
}

#[test]
fn several_files_are_served_as_one() {
    if !all_walls() {
        return;
    }
    let folder = Folder::new();
    let (one, two) = (folder.file("a/one.ts", "first, "), folder.file("b/two.ts", "second"));
    let server = walled(format!("concat:{}|{}", text(&one), text(&two)), &[]);
    server.get("/one.ts").is(200, b"first, second");
}

#[test]
fn a_followed_file_grows() {
    if !all_walls() {
        return;
    }
    let folder = Folder::new();
    let path = folder.at("film.ts");
    fs::write(&path, "there").expect("a file can be written");
    let server = walled(folder.path(), &["--follow", "--follow-idle", "1h"]);
    let mut viewer = Viewer::of(&server, "/film.ts");
    viewer.until(5);
    File::options().append(true).open(&path).and_then(|mut file| file.write_all(b", more")).expect("there is room");
    viewer.until(11);
    assert_eq!(viewer.got, b"there, more");
}

#[test]
fn a_fifo_comes_back_with_its_next_writer_also_in_another_place() {
    if !all_walls() {
        return;
    }
    let folder = Folder::new();
    let path = folder.at("live.ts");
    make_fifo(&path);
    let server = walled(&path, &["--join", "start"]);
    for replaced in [false, true] {
        if replaced {
            make_fifo(&folder.at("next"));
            fs::rename(folder.at("next"), &path).expect("a FIFO can be replaced");
        }
        let mut viewer = Viewer::of(&server, "/live.ts");
        let mut producer = Producer::of_fifo(&path);
        producer.write(&packets(0, 100));
        viewer.until(100 * support::live::PACKET);
        drop(producer);
        viewer.all();
    }
}

// ---- what it writes

#[test]
fn the_log_is_opened_again_and_what_the_server_made_goes_with_it() {
    if !all_walls() {
        return;
    }
    let folder = Folder::new();
    let film = folder.file("films/film.mp4", "film");
    let (log, old) = (folder.at("logs/log"), folder.at("logs/log.1"));
    folder.folder("logs");
    let (pid, socket) = (folder.at("pid"), folder.at("one.sock"));
    let url = format!("unix:{}", text(&socket));
    let server = walled(&film, &["--log-file", text(&log), "--pid-file", text(&pid), "--listen", &url]);
    Connection::to_unix(&socket).get("/film.mp4").is(200, b"film");
    for signal in [Signal::HUP, Signal::USR1] {
        fs::rename(&log, &old).expect("it is there");
        server.signal(signal);
        eventually("the log is opened again", || log.exists());
        server.get("/film.mp4").is(200, b"film");
    }
    assert!(pid.exists());
    assert_eq!(server.stop().code, Some(0));
    assert!(!pid.exists() && !socket.exists());
}

#[test]
fn a_failed_session_leaves_a_capsule() {
    if !all_walls() {
        return;
    }
    let folder = Folder::new();
    let film = folder.file("films/film.mp4", "film");
    let guest = folder.file("faulty.wasm", FAULTY);
    let capsules = folder.at("capsules");
    let server = walled(&film, &["--guest", text(&guest), "--capsules", text(&capsules)]);
    let mut connection = server.connect();
    connection.send_request("GET", "/!trap", &[]);
    connection.read_to_cut();
    server.wait_for_line("#1 127.0.0.1 trapped");
    eventually("the capsule is kept", || capsules.join("1.capsule").exists());
    let output =
        run_within(PATIENCE, multiclient().arg("replay").arg(capsules.join("1.capsule")).arg("--guest").arg(&guest));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

// ---- where it listens

#[test]
fn ipv6_and_passed_sockets_are_served() {
    if !all_walls() {
        return;
    }
    let folder = Folder::new();
    let film = folder.file("film.mp4", "film");
    let path = folder.at("passed.sock");
    let listener = UnixListener::bind(&path).expect("a socket can be made");
    let mut shell = Command::new("sh");
    let script = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$1\" systemd: --walls strict";
    shell.args(["-c", script]).arg(program_under_test()).arg(&film).stdin(std::os::fd::OwnedFd::from(listener));
    let server = Server::run(shell);
    Connection::to_unix(&path).get("/film.mp4").is(200, b"film");
    assert_eq!(server.stop().code, Some(0));

    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return skip("ipv6", "this machine has none");
    }
    let server = Server::start_at(&film, "http://[::1]:0", &["--walls", "strict"]);
    server.get("/film.mp4").is(200, b"film");
}
