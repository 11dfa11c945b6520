//! What the commands of the program print.

use std::fs;

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

/// Runs a shell's script on the completions for it, which are in the file `$SCRIPT`. None: no such shell.
fn completed(place: &Place, shell: &str, script: &str) -> Option<String> {
    let mut program = require(shell)?;
    let completions = multiclient().args(["completions", shell]).output().expect("it can be run");
    let path = place.at(shell);
    fs::write(&path, &completions.stdout).expect("a file can be made");
    let output = program.args(["-c", script]).env("SCRIPT", path).output().expect("it can be run");
    assert!(output.status.success(), "{shell}: {}", stderr(&output));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn shells_complete_commands_and_flags() {
    let place = Place::new();
    let bash = "
        source \"$SCRIPT\"
        complete_words() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1))
            _multiclient multiclient \"${@: -1}\" \"${@: -2:1}\"; echo \"${COMPREPLY[@]}\"; }
        complete_words multiclient isol
        complete_words multiclient film.mp4 --max-c
        complete_words multiclient film.mp4 --log j";
    if let Some(said) = completed(&place, "bash", bash) {
        assert_eq!(said, "isolate\n--max-clients\njson\n");
    }
    let fish = "
        source $SCRIPT
        for line in 'isol' 'film.mp4 --max-c' 'film.mp4 --log j'
            complete -C \"multiclient $line\" | string split -f 1 \\t
        end";
    if let Some(said) = completed(&place, "fish", fish) {
        assert_eq!(said, "isolate\n--max-clients\njson\n");
    }
    let zsh = "
        autoload -U compinit && compinit -u -D && source $SCRIPT
        print $_comps[multiclient]; whence -w _multiclient";
    if let Some(said) = completed(&place, "zsh", zsh) {
        assert_eq!(said, "_multiclient\n_multiclient: function\n");
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
