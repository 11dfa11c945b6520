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

/// The settings in lines of a file, each `NAME=VALUE`.
fn settings<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(&'a str, &'a str)> {
    lines.filter_map(|line| line.split_once('=')).collect()
}

/// The settings of a shipped file are settings of this program, and it starts with them.
#[track_caller]
fn starts_with(settings: &[(&str, &str)]) {
    let help = output_of(&run_within(PATIENCE, multiclient().arg("--help")));
    let mut command = multiclient();
    let folder = Folder::new();
    command.arg(folder.path()).arg("0").stdout(Stdio::null());
    for (variable, value) in settings {
        let flag = variable.strip_prefix("MULTICLIENT_").expect("it is a flag's");
        let flag = format!("--{}", flag.to_lowercase().replace('_', "-"));
        assert!(help.split_whitespace().any(|word| word == flag), "{variable} is no variable");
        command.env(variable, value);
    }
    assert_eq!(Server::run(command).stop().code, Some(0));
}

#[test]
fn the_server_starts_with_the_settings_that_its_unit_has() {
    let unit = fs::read_to_string(repository("deploy/multiclient.service")).expect("it is shipped");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/multiclient "));
    assert_eq!(line, Some("${SOURCE} systemd:"));
    let line = unit.lines().find_map(|line| line.strip_prefix("Environment=")).expect("it has settings");
    let settings = settings(line.split(' '));
    assert_eq!(settings[0], ("SOURCE", "/srv/media"));
    assert!(settings.len() > 1, "{settings:?}");
    starts_with(&settings[1..]);
}

#[test]
fn the_server_starts_with_the_settings_that_its_package_has() {
    let file = fs::read_to_string(repository("deploy/debian/default")).expect("it is shipped");
    // Those that are switched off are there to be switched on.
    let lines = file.lines().map(|line| line.strip_prefix('#').unwrap_or(line)).filter(|line| !line.starts_with(' '));
    let settings = settings(lines);
    assert_eq!(settings[0], ("SOURCE", "/srv/media"));
    assert!(settings.len() > 2, "{settings:?}");
    starts_with(&settings[1..]);
}

#[test]
fn the_server_starts_with_the_flags_that_its_manifest_has() {
    let folder = Folder::new();
    let manifest = fs::read_to_string(repository("deploy/untried/kubernetes.yaml")).expect("it is shipped");
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
