//! `multiclient isolate` of other servers: each of those that are broken on purpose is found broken in its row, and
//! in no other.
//!
//! A claim that is not to be broken may be inconclusive: the machine may be busy.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use support::components::repository;
use support::turn::alone;
use support::{multiclient, require, run_within, text};

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
