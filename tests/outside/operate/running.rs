//! The files of a running server, and its user.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::process::Signal;
use support::{eventually, program_under_test, require, skip};

use super::{Place, stderr};

#[test]
fn the_log_file_is_reopened_for_rotation() {
    let place = Place::new();
    let (log, old) = (place.at("log"), place.at("log.1"));
    let mut program = place.program();
    program.arg("--log-file").arg(&log);
    let server = place.serve(program);
    let lines = |path: &Path| fs::read_to_string(path).unwrap_or_default().matches("GET /film.mp4 200").count();
    for signal in [Signal::USR1, Signal::HUP] {
        assert!(place.is_served());
        eventually("the request is logged", || lines(&log) == 1);
        fs::rename(&log, &old).expect("it is there");
        server.signal(signal);
        eventually("the log is opened again", || log.exists());
        assert_eq!(lines(&old), 1, "{signal:?}");
    }
}

#[test]
fn the_pid_file_exists_while_the_server_runs() {
    let place = Place::new();
    let path = place.at("pid");
    let mut program = place.program();
    program.arg("--pid-file").arg(&path);
    let mut server = place.serve(program);
    let written = fs::read_to_string(&path).expect("it is there");
    assert_eq!(written, format!("{}\n", server.0.id()));
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn the_server_gives_up_root_once_it_listens() {
    let place = Place::new();
    if !rustix::process::geteuid().is_root() {
        return skip("another-user", "only root can become another user");
    }
    let log = place.at("log");
    let mut program = place.program();
    program.args(["--user", "nobody", "--log-file"]).arg(&log);
    let server = place.serve(program);
    assert!(place.is_served());
    let status = fs::read_to_string(format!("/proc/{}/status", server.0.id())).expect("it runs");
    let ids = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells it");
        line.split_whitespace().map(|id| id.parse::<u32>().expect("it is a number")).collect::<Vec<_>>()
    };
    let nobody = fs::metadata(&log).expect("it is there").uid();
    assert!(nobody != 0 && ids("Uid:") == [nobody; 4], "{status}");
    assert!(!ids("Gid:").contains(&0) && !ids("Groups:").contains(&0), "{status}");
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("the kernel tells it");
    assert_eq!(capabilities.trim().trim_start_matches('0'), "", "{status}");
}

#[test]
fn another_user_cannot_run_the_server_as_root() {
    let place = Place::new();
    let Some(mut setpriv) = require("setpriv") else { return };
    if !rustix::process::geteuid().is_root() {
        return skip("another-user", "only root can become another user");
    }
    fs::set_permissions(place.folder.path(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program_under_test()).arg(place.film());
    let output = setpriv.args(["0", "--user", "root"]).output().expect("it can be run");
    if stderr(&output).starts_with("setpriv: failed to execute") {
        return skip("another-user", "others may not run the program where it was built");
    }
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("error: cannot run as root: "), "{}", stderr(&output));
}
