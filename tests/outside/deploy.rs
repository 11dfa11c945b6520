//! The files of `deploy/`: their flags are flags of this program, and it starts with them.

use std::fs;
use std::process::Stdio;

use support::components::repository;
use support::output_of;
use support::{Folder, PATIENCE, Server, multiclient, run_within};

#[test]
fn systemd_without_sockets_is_an_error() {
    let folder = Folder::new();
    let elsewhere = std::process::id().to_string();
    for pid in [None, Some(elsewhere.as_str())] {
        let mut command = multiclient();
        command.arg(folder.path()).arg("systemd:").env("LISTEN_FDS", "1");
        if let Some(pid) = pid {
            command.env("LISTEN_PID", pid);
        }
        let output = run_within(PATIENCE, &mut command);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            output_of(&output).starts_with("error: systemd has passed no sockets\n  start the socket unit"),
            "{output:?}"
        );
    }
}

/// The flags of a command line in a shipped file are flags of this program, and it starts with them.
#[test]
fn the_server_starts_with_the_flags_that_its_unit_has() {
    let folder = Folder::new();
    let unit = fs::read_to_string(repository("deploy/multiclient.service")).expect("it is shipped");
    let line =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/multiclient ")).expect("it runs");
    let mut words = line.split(' ');
    assert_eq!((words.next(), words.next()), (Some("/srv/media"), Some("systemd:")));
    let flags: Vec<_> = words.collect();
    assert!(flags.contains(&"--drain"), "{flags:?}");
    assert_eq!(Server::start(folder.path(), &flags).stop().code, Some(0));
}

#[test]
fn the_server_starts_with_the_flags_that_its_manifest_has() {
    let folder = Folder::new();
    let manifest = fs::read_to_string(repository("deploy/kubernetes.yaml")).expect("it is shipped");
    let arguments: Vec<_> = manifest
        .lines()
        .skip_while(|line| line.trim() != "args:")
        .skip(1)
        .map(str::trim)
        .take_while(|line| line.starts_with(['-', '#']))
        .filter_map(|line| line.strip_prefix("- "))
        .collect();
    assert_eq!(arguments[..2], ["/srv", ":8080"]);
    let mut command = multiclient();
    command.arg(folder.path()).arg("0").args(&arguments[2..]).stdout(Stdio::null());
    assert_eq!(Server::run(command).stop().code, Some(0));
}
