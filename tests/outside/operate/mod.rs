//! The program as its operator sees it: signals, terminals, users, files and limits of the system.

mod admin;
mod manager;
mod output;
mod running;
mod start;
mod terminal;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use support::wait::exit_within;
use support::{Connection, Folder, PATIENCE, eventually, multiclient, program_under_test, without_settings};

/// A shell that runs a script; `$PROGRAM` is the program.
fn shell(script: &str) -> Command {
    let mut shell = without_settings("sh");
    shell.args(["-c", script]).env("PROGRAM", program_under_test());
    shell
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn silent(mut command: Command) -> Command {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A folder with a film in it, and a place for a unix socket.
struct Place {
    folder: Folder,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: Folder::new() };
        place.folder.file("film.mp4", "film");
        // Others than its owner are to see the film, too.
        fs::set_permissions(place.folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.at(name)
    }

    fn film(&self) -> PathBuf {
        self.at("film.mp4")
    }

    fn socket(&self) -> PathBuf {
        self.at("one.sock")
    }

    /// `unix:PATH`, and options.
    fn url(&self, options: &str) -> String {
        format!("unix:{}{options}", self.socket().display())
    }

    /// Serves the film on the unix socket, and waits until a client is served.
    fn serve(&self, mut command: Command) -> Process {
        let child = command.spawn().expect("it can be run");
        let process = Process(child);
        eventually("the server listens", || self.is_listening());
        // It handles signals by the time it serves, and not yet when it begins to listen.
        assert_eq!(Connection::to_unix(&self.socket()).get("/nothing").status(), 404);
        process
    }

    /// The program, serving the film on the unix socket.
    fn program(&self) -> Command {
        let mut program = multiclient();
        program.arg(self.film()).arg(self.url("")).stdout(Stdio::null()).stderr(Stdio::null());
        program
    }

    /// The same from a shell, which does something before.
    fn shell(&self, script: &str) -> Command {
        let mut shell = shell(script);
        shell.env("FILM", self.film()).env("URL", self.url(""));
        shell.stdout(Stdio::null()).stderr(Stdio::null());
        shell
    }

    fn is_served(&self) -> bool {
        self.is_listening() && Connection::to_unix(&self.socket()).get("/film.mp4").body == b"film"
    }

    fn is_listening(&self) -> bool {
        UnixStream::connect(self.socket()).is_ok()
    }
}

/// A process that is killed when it is dropped.
struct Process(Child);

impl Process {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it runs");
    }

    fn exit_code(&mut self) -> Option<i32> {
        exit_within(PATIENCE, &mut self.0).expect("it ends").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
