//! A server on a terminal, and without it.

use std::fs;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use support::{eventually, program_under_test, require, without_settings};

use super::{Place, Process, silent};

/// Runs the program on a terminal of its own, from a shell that does something before, and returns the process
/// that is the terminal's other end.
fn on_a_terminal(place: &Place, script: &str) -> Process {
    let mut script_command = without_settings("script");
    script_command.args(["-q", "-e", "-c", script, "/dev/null"]);
    script_command.env("PROGRAM", program_under_test()).env("FILM", place.film()).env("URL", place.url(""));
    script_command.env("PIDFILE", place.at("pid")).env("LOG", place.at("log"));
    // `script` copies what it reads to the terminal, and ends at its end.
    let mut script_command = silent(script_command);
    script_command.stdin(Stdio::piped());
    place.serve(script_command)
}

#[test]
fn the_server_ends_with_its_terminal() {
    let Some(_) = require("script") else { return };
    let place = Place::new();
    // The tests may run under `nohup` themselves.
    let mut terminal = on_a_terminal(&place, "exec env --default-signal=HUP \"$PROGRAM\" \"$FILM\" \"$URL\"");
    assert!(place.is_served());
    terminal.0.kill().expect("it runs");
    eventually("the server ends", || !place.is_listening());
}

#[test]
fn sighup_on_an_open_terminal_is_a_reload() {
    let Some(_) = require("script") else { return };
    let place = Place::new();
    let script =
        "exec env --default-signal=HUP \"$PROGRAM\" \"$FILM\" \"$URL\" --pid-file \"$PIDFILE\" --log-file \"$LOG\"";
    let _terminal = on_a_terminal(&place, script);
    hang_up_and_wait_for_a_reload(&place);
    assert!(place.is_served());
}

#[test]
fn nohup_keeps_the_server_running_without_its_terminal() {
    let (Some(_), Some(_)) = (require("script"), require("nohup")) else { return };
    let place = Place::new();
    let script =
        "exec nohup \"$PROGRAM\" \"$FILM\" \"$URL\" --pid-file \"$PIDFILE\" --log-file \"$LOG\" > /dev/null 2>&1";
    let mut terminal = on_a_terminal(&place, script);
    terminal.0.kill().expect("it runs");
    hang_up_and_wait_for_a_reload(&place);
    assert!(place.is_served());
    kill_process(pid_of_the_server(&place), Signal::TERM).expect("it runs");
    eventually("the server ends", || !place.is_listening());
}

fn pid_of_the_server(place: &Place) -> Pid {
    let pid = fs::read_to_string(place.at("pid")).expect("it is there");
    pid.trim().parse().ok().and_then(Pid::from_raw).expect("it is a process")
}

/// Sends SIGHUP to the server. A reload opens the log again.
fn hang_up_and_wait_for_a_reload(place: &Place) {
    fs::remove_file(place.at("log")).expect("it is there");
    kill_process(pid_of_the_server(place), Signal::HUP).expect("it runs");
    eventually("the log is opened again", || place.at("log").exists());
}
