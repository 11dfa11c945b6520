//! What the commands of the program print.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use support::{multiclient, require};

use super::{Place, shell, stderr};

#[test]
fn output_that_cannot_be_written_is_exit_1() {
    for arguments in
        ["--help", "-h", "--version", "inspect", "export-guest --output -", "man", "completions bash", "isolate -h"]
    {
        let output = shell(&format!("exec \"$PROGRAM\" {arguments} > /dev/full")).output().expect("it can be run");
        assert_eq!(output.status.code(), Some(1), "{arguments}");
        let said = stderr(&output);
        assert!(said.starts_with("error: cannot write to standard output: "), "{arguments}: {said}");
    }
}

#[test]
fn a_closed_pipe_on_standard_output_is_not_an_error() {
    let output = shell("\"$PROGRAM\" man | head -n 1").output().expect("it can be run");
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn the_exported_guest_is_the_same_in_a_file_and_on_standard_output() {
    let place = Place::new();
    let path = place.at("guest.wasm");
    let written = multiclient().args(["export-guest", "--output"]).arg(&path).output().expect("it can be run");
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    let printed = multiclient().args(["export-guest", "-o", "-"]).output().expect("it can be run");
    assert!(printed.stdout.starts_with(b"\0asm") && printed.stdout == fs::read(&path).expect("it is there"));
}

#[test]
fn shells_accept_the_completions() {
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let Some(mut checked) = require(shell) else { continue };
        let script = multiclient().args(["completions", shell]).output().expect("it can be run").stdout;
        let mut run = checked.arg(check).stdin(Stdio::piped()).spawn().expect("it can be run");
        run.stdin.take().expect("it is piped").write_all(&script).expect("it reads");
        assert!(run.wait().expect("it ends").success(), "{shell}");
        let text = String::from_utf8(script).expect("it is text");
        assert!(text.contains("max-clients") && text.contains("export-guest"), "{shell}");
    }
}

#[test]
fn empty_variables_are_not_set() {
    let place = Place::new();
    let mut program = place.program();
    for name in ["RATE", "LIST", "MAX_CLIENTS", "LISTEN", "LOG", "GUEST", "CAPSULES", "USER", "CORS"] {
        program.env(format!("MULTICLIENT_{name}"), "");
    }
    let _server = place.serve(program);
    assert!(place.is_served());
}
