//! The server in a container, with the root of the image.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use support::components::repository;
use support::program_under_test;
use support::{Folder, PATIENCE, Server, noise, output_of, require, run_within, skip};

/// The root of a container, as the image has it.
fn root_of_a_container(folder: &Folder) {
    let mut gather = Command::new("sh");
    gather.arg(repository("deploy/rootfs.sh")).arg(program_under_test()).arg(folder.at("bundle/rootfs"));
    let gathered = run_within(PATIENCE, &mut gather);
    assert!(gathered.status.success(), "{}", output_of(&gathered));
}

/// The configuration: the user `nobody`, no capabilities, a read-only root, nothing mounted but what is served, and
/// this machine's loopback.
fn container(folder: &Folder, arguments: &[&str]) -> String {
    let arguments: Vec<_> = arguments.iter().map(|argument| format!("{argument:?}")).collect();
    format!(
        r#"{{
            "ociVersion": "1.0.2",
            "process": {{
                "user": {{ "uid": 65534, "gid": 65534 }}, "cwd": "/", "noNewPrivileges": true,
                "args": ["/multiclient", {arguments}],
                "capabilities": {{ "bounding": [], "effective": [], "permitted": [], "inheritable": [], "ambient": [] }},
                "rlimits": [{{ "type": "RLIMIT_NOFILE", "hard": 4096, "soft": 1024 }}]
            }},
            "root": {{ "path": "rootfs", "readonly": true }},
            "mounts": [
                {{ "destination": "/proc", "type": "proc", "source": "proc" }},
                {{ "destination": "/srv", "type": "bind", "source": {served:?}, "options": ["rbind", "ro", "nosuid", "nodev"] }}
            ],
            "linux": {{ "namespaces": [
                {{ "type": "pid" }}, {{ "type": "mount" }}, {{ "type": "ipc" }}, {{ "type": "uts" }}
            ] }}
        }}"#,
        arguments = arguments.join(", "),
        served = folder.at("served"),
    )
}

#[test]
fn the_server_runs_as_nobody_in_a_read_only_container() {
    let folder = Folder::new();
    let film = noise(5, 1_000_000);
    folder.file("served/film.mp4", &film);
    root_of_a_container(&folder);
    let name = format!("multiclient-test-{}", std::process::id());
    let runc = || {
        let mut command = require("runc")?;
        command.arg("--root").arg(folder.at("state")).current_dir(folder.at("bundle"));
        Some(command)
    };
    let Some(mut command) = runc() else { return };
    // Whether containers can be made here at all: not everybody may.
    fs::write(folder.at("bundle/config.json"), container(&folder, &["--version"])).expect("a file can be written");
    let tried = run_within(PATIENCE, command.args(["run", &name]));
    if !(tried.status.success() && tried.stdout.starts_with(b"multiclient ")) {
        return skip("containers", &format!("runc cannot run one here: {}", output_of(&tried).trim()));
    }

    fs::write(folder.at("bundle/config.json"), container(&folder, &["/srv", "0", "--drain", "5s"])).expect("as before");
    let mut command = runc().expect("it was found a moment ago");
    command.args(["run", &name]).stdin(Stdio::null()).stdout(Stdio::null());
    let server = Server::run(command);
    server.get("/film.mp4").is(200, &film);
    assert_eq!(server.get("/nothing").status(), 404);
    // As outside: a container without filters takes no wall away.
    let outside = Server::start(folder.at("served"), &["--walls", "auto"]);
    assert_eq!(server.wait_for_line("walls    "), outside.wait_for_line("walls    "));
    drop(outside);

    let inside = |arguments: &[&str]| {
        let mut command = runc().expect("it was found a moment ago");
        run_within(PATIENCE, command.args(["exec", &name, "/multiclient"]).args(arguments))
    };
    let health = inside(&["health", &server.address().to_string()]);
    assert_eq!(health.status.code(), Some(0), "{}", output_of(&health));
    let health = inside(&["health", "127.0.0.1:1"]);
    assert_eq!(health.status.code(), Some(1), "{}", output_of(&health));
    let capsules = inside(&["/srv", "0", "--capsules", "/capsules"]);
    assert!(output_of(&capsules).contains("Read-only file system"), "{}", output_of(&capsules));
    // As who, and with what, the kernel says.
    let listed = runc().map(|mut command| run_within(PATIENCE, command.args(["ps", "--format", "json", &name])));
    let pids = String::from_utf8_lossy(&listed.expect("it was found a moment ago").stdout).into_owned();
    let pid = pids.trim_matches(|c: char| !c.is_ascii_digit()).split(',').next().unwrap_or_default().to_owned();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    for line in ["Uid:\t65534\t65534\t65534\t65534", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line} is not in\n{status}");
    }
    let stopped = server.stop();
    assert_eq!((stopped.code, stopped.summary().contains("0 cut off")), (Some(0), true), "{:?}", stopped.lines);
}

/// The system calls that the unit leaves, by name.
fn calls_of_the_unit() -> Option<BTreeSet<String>> {
    let unit = fs::read_to_string(repository("deploy/multiclient.service")).expect("it is shipped");
    let mut calls = BTreeSet::new();
    for line in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (names, is_taken) = line.strip_prefix('~').map_or((line, false), |names| (names, true));
        for name in names.split(' ') {
            let named = if name.starts_with('@') { calls_of_set(name)? } else { [name.to_owned()].into() };
            match is_taken {
                true => calls.retain(|call| !named.contains(call)),
                false => calls.extend(named),
            }
        }
    }
    Some(calls)
}

/// The calls of one of systemd's sets, and of those that it contains.
fn calls_of_set(set: &str) -> Option<BTreeSet<String>> {
    let mut analyze = require("systemd-analyze")?;
    let listed = run_within(PATIENCE, analyze.args(["syscall-filter", set]));
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let mut calls = BTreeSet::new();
    for name in listed.lines().skip(1).map(str::trim).filter(|name| !name.is_empty() && !name.starts_with('#')) {
        match name.starts_with('@') {
            true => calls.extend(calls_of_set(name)?),
            false => drop(calls.insert(name.to_owned())),
        }
    }
    Some(calls)
}

#[test]
fn all_walls_stand_within_the_filter_of_the_unit() {
    let folder = Folder::new();
    folder.file("served/film.mp4", "film");
    let outside = Server::start(folder.at("served"), &["--walls", "auto"]);
    if !outside.log().iter().any(|line| line.starts_with("walls ") && line.ends_with("scopes, code, calls")) {
        return skip("walls", "this machine cannot raise all of them");
    }
    drop(outside);
    let Some(calls) = calls_of_the_unit() else { return };
    assert!(calls.len() > 200 && !calls.contains("capset") && calls.contains("seccomp"), "{calls:?}");
    let filter = format!(
        r#""linux": {{ "seccomp": {{
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
            "syscalls": [{{ "names": {:?}, "action": "SCMP_ACT_ALLOW" }}]
        }}, "#,
        calls.iter().collect::<Vec<_>>()
    );
    root_of_a_container(&folder);
    let run = |arguments: &[&str], name: &str| {
        let config = container(&folder, arguments).replace("\"linux\": {", &filter);
        fs::write(folder.at("bundle/config.json"), config).expect("a file can be written");
        let mut command = require("runc")?;
        command.arg("--root").arg(folder.at("state")).current_dir(folder.at("bundle"));
        command.args(["run", &format!("multiclient-filtered-{name}-{}", std::process::id())]);
        Some(command)
    };
    let Some(mut tried) = run(&["--version"], "version") else { return };
    let tried = run_within(PATIENCE, &mut tried);
    if !(tried.status.success() && tried.stdout.starts_with(b"multiclient ")) {
        return skip("containers", &format!("runc cannot run one here: {}", output_of(&tried).trim()));
    }
    let mut command = run(&["/srv", "0", "--walls", "strict"], "server").expect("it was found a moment ago");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let server = Server::run(command);
    server.get("/film.mp4").is(200, b"film");
    assert_eq!(server.stop().code, Some(0));
}
