//! The life of the process: how it starts, where it listens, how it stops, and what it says when it cannot.

mod failure;
mod listen;
mod start;
mod stop;
mod takeover;

use std::process::{Child, Output};

use rustix::process::{Pid, Signal};
use support::{PATIENCE, multiclient, run_within};

/// Runs the program with arguments with which it ends by itself.
fn run(arguments: &[&str]) -> Output {
    run_within(PATIENCE, multiclient().args(arguments))
}

/// Sends a signal to a server that is run without a [`support::Server`].
fn signal(process: &Child, signal: Signal) {
    rustix::process::kill_process(Pid::from_child(process), signal).expect("it runs");
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("the program writes nothing that is not UTF-8")
}
