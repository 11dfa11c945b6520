//! Other programs: found or reported as missing, run to their end, ended with the test.
//!
//! A test whose program is missing is skipped, and a line on standard error says so. With
//! `MULTICLIENT_TESTS_REQUIRE=all` it fails instead: so CI cannot lose a test without notice. What a machine
//! cannot have is named in `MULTICLIENT_TESTS_EXCEPT`, separated by commas.

use std::env;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::wait::exit_within;

/// How long a program may take for something small.
pub const A_WHILE: Duration = Duration::from_secs(60);

/// Finds a program. None: it is not installed, and the test is skipped.
pub fn require(name: &str) -> Option<Command> {
    let found = find(name);
    if found.is_none() {
        skip(name, "not installed");
    }
    found.map(|path| {
        let mut command = Command::new(path);
        // As on everybody's machine: no proxy between it and the server, and messages that can be read.
        for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        command.env("no_proxy", "*").env("LC_ALL", "C.UTF-8");
        command
    })
}

/// Where programs are looked for: also where administrators have theirs, and where cargo installs.
pub fn folders() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(more).chain(cargo.map(|home| home.join("bin"))).collect()
}

fn find(name: &str) -> Option<PathBuf> {
    folders().into_iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Reports that the current test is skipped because of `what`, or fails it where everything is required.
#[track_caller]
pub fn skip(what: &str, why: &str) {
    let excepted = env::var("MULTICLIENT_TESTS_EXCEPT").unwrap_or_default();
    let excepted = excepted.split(',').any(|word| word == what);
    assert!(!everything_is_required() || excepted, "{what}: {why}, and MULTICLIENT_TESTS_REQUIRE=all");
    let test = thread::current().name().unwrap_or("a test").to_owned();
    say(&format!("skipped: {test}: {what}: {why}\n"));
}

/// Whether a test whose program is missing fails.
pub fn everything_is_required() -> bool {
    env::var("MULTICLIENT_TESTS_REQUIRE").is_ok_and(|which| which == "all")
}

/// Writes past the test runner, which keeps the output of a test that passes to itself.
pub(crate) fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Runs a program that must succeed.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let output = run_within(A_WHILE, command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    output
}

/// Runs a program to its end, which must come within `patience`.
#[track_caller]
pub fn run_within(patience: Duration, command: &mut Command) -> Output {
    // In a group of its own, so that what it starts ends with it.
    let shown = format!("{command:?}");
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = piped.process_group(0).spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let stdout = read_in_background(process.stdout.take().expect("it is piped"));
    let stderr = read_in_background(process.stderr.take().expect("it is piped"));
    let status = exit_within(patience, &mut process);
    // Nothing is left of it, also where it did not look after its own. Mostly there is nobody any more.
    let _ = rustix::process::kill_process_group(Pid::from_child(&process), Signal::KILL);
    let _ = process.wait();
    let collected = |reader: thread::JoinHandle<Vec<u8>>| reader.join().expect("reading does not panic");
    let (stdout, stderr) = (collected(stdout), collected(stderr));
    let Some(status) = status else {
        panic!("{shown} has not ended within {patience:?}\n{}", String::from_utf8_lossy(&stderr));
    };
    Output { status, stdout, stderr }
}

fn read_in_background(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut read = Vec::new();
        let _ = pipe.read_to_end(&mut read);
        read
    })
}

/// All that a program wrote, standard output first.
pub fn output_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A program that runs until this is dropped, with all that it has started.
pub struct Background(Child);

impl Background {
    /// Starts it, silent.
    pub fn start(command: &mut Command) -> Self {
        let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(silent.process_group(0).spawn().expect("an installed program can be run"))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = rustix::process::kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}
