//! The server in a container, with the root of the image.

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
