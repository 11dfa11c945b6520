//! A server that is tried, and the process of one that is started for it.
//!
//! Rule: nothing that was started here outlives this program, however it ends. A guardian beside each server waits
//! for the end of a pipe, which comes with the end of this process, and ends the server's process group, and its
//! control group, if it has one to itself.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};

use super::fetch::fetch;
use super::place::Place;
use super::process::{Watched, members};

/// A server to try: where it is, or how it is started, and what its handlers do on request.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// What it is called in the report.
    pub name: String,
    /// A command for `sh` that starts it and stays until it ends. `{port}` and `{root}` are filled in.
    pub start: Option<String>,
    /// Something of at least 1 MiB. Of a server that is started, `{port}` is filled in; empty: the file that is
    /// made for it.
    pub url: String,
    /// A process of it. Its descendants are looked at, too.
    pub pid: Option<u32>,
    /// The control group that it runs in. If nothing does when the server is started, it is the server's own: all that
    /// runs in it later is ended with the server.
    pub cgroup: Option<PathBuf>,
    /// Requests that make its handlers fail.
    pub triggers: Triggers,
}

/// Requests of the user's own test routes, such as `GET /boom`. None: the server has no such route.
#[derive(Clone, Debug, Default)]
pub struct Triggers {
    /// Crashes a handler.
    pub crash: Option<String>,
    /// Never ends.
    pub hang: Option<String>,
    /// Takes memory and keeps it.
    pub leak_memory: Option<String>,
    /// Answers with what is in memory that a handler can reach.
    pub peek: Option<String>,
}

/// The name of what is made to be served.
pub(crate) const MADE: &str = "film.mp4";

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);

/// How long it may take to end when it is asked to.
const END: Duration = Duration::from_secs(3);

/// A server as it runs now.
pub(crate) struct Running {
    pub(crate) place: Place,
    process: Option<Process>,
}

/// The process of a server that was started here, and its guardian.
struct Process {
    child: Child,
    guardian: Child,
    /// The control group that nothing but this server runs in.
    own: Option<PathBuf>,
    log: PathBuf,
}

impl Target {
    /// Finds the server, or starts it. `ground` has a folder `root` with what it may serve.
    pub(crate) fn run(&self, ground: &Path, mine: Option<&str>) -> Result<Running, String> {
        let Some(command) = &self.start else {
            return Ok(Running { place: Place::parse(&self.url, mine)?, process: None });
        };
        let port = free_port()?.to_string();
        let root = ground.join("root").display().to_string();
        let fill = |text: &str| text.replace("{port}", &port).replace("{root}", &root);
        let url = if self.url.is_empty() { format!("http://127.0.0.1:{{port}}/{MADE}") } else { self.url.clone() };
        let place = Place::parse(&fill(&url), mine)?;
        let process = Process::start(&fill(command), ground, self.cgroup.as_deref())?;
        let mut running = Running { place, process: Some(process) };
        running.wait_until_ready()?;
        Ok(running)
    }

    /// Which of its processes can be looked at. None: nobody said.
    pub(crate) fn watched(&self, running: &Running) -> Option<Watched> {
        let group = running.process.as_ref().map(|process| Watched::Group(process.child.id()));
        let cgroup = self.cgroup.clone().map(Watched::ControlGroup);
        cgroup.or(self.pid.map(Watched::Tree)).or(group)
    }
}

impl Running {
    /// Whether it has ended, or nobody listens any more.
    pub(crate) fn is_dead(&mut self) -> bool {
        const TRIES: usize = 10;
        if let Some(process) = &mut self.process {
            // A shell may be all that is left of what it has started.
            return process.has_ended() || refuses(&self.place, TRIES);
        }
        refuses(&self.place, TRIES)
    }

    /// Ends what was started here.
    pub(crate) fn end(&mut self) {
        self.process = None;
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let why = match fetch(&self.place, None, Duration::from_secs(2)) {
                // What it says is looked at afterwards.
                Ok(response) if response.status < 500 => return Ok(()),
                Ok(response) => format!("{} answers {}", self.place.target, response.status),
                Err(complaint) => complaint.what,
            };
            let ended = self.process.as_mut().is_some_and(Process::has_ended);
            if ended || began.elapsed() > START {
                let said = self.process.as_ref().map(Process::last_words).unwrap_or_default();
                let what = if ended { "the command ended" } else { "the server is not ready" };
                return Err(format!("{what}: {why}{said}"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether connections are refused, each time. A server that starts again by itself does so within a moment.
fn refuses(place: &Place, tries: usize) -> bool {
    for _ in 0..tries {
        match std::net::TcpStream::connect_timeout(&place.address, Duration::from_secs(1)) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            // One that does not answer is not dead.
            _ => return false,
        }
        thread::sleep(Duration::from_millis(50));
    }
    true
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("there is no free port: {error}"))
}

impl Process {
    fn start(command: &str, ground: &Path, cgroup: Option<&Path>) -> Result<Self, String> {
        let own = cgroup.filter(|group| members(group).is_empty()).map(Path::to_owned);
        let text = |error: std::io::Error| format!("the command cannot be started: {error}");
        let log = ground.join("log");
        let output = File::create(&log).map_err(text)?;
        // It waits for a word until there is a guardian: whatever ends this program in between ends it, too.
        let mut gate = shell("read -r go || exit; exec sh -c \"$1\" </dev/null");
        gate.args(["target", command]).stdin(Stdio::piped());
        let mut child = gate.stdout(output.try_clone().map_err(text)?).stderr(output).spawn().map_err(text)?;
        let guarded = guard(child.id(), ground, own.as_deref());
        let go = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(b"go\n"));
        match guarded.and_then(|guardian| go.map(|()| guardian)) {
            Ok(guardian) => Ok(Self { child, guardian, own, log }),
            Err(error) => {
                end(child.id(), None, Signal::KILL);
                let _ = child.wait();
                Err(text(error))
            }
        }
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The last line of what it said, for a message.
    fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let last = log.lines().rev().find(|line| !line.trim().is_empty());
        last.map_or(String::new(), |line| format!("; it said: {}", line.trim()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let (group, own) = (self.child.id(), self.own.as_deref());
        end(group, own, Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < END && is_there(&mut self.child, group, own) {
            thread::sleep(Duration::from_millis(10));
        }
        end(group, own, Signal::KILL);
        let _ = self.child.wait();
        // What was started while the others were ended.
        let began = Instant::now();
        while began.elapsed() < END && is_there(&mut self.child, group, own) {
            end(group, own, Signal::KILL);
            thread::sleep(Duration::from_millis(10));
        }
        // A guardian that has nothing left to do ends by itself.
        if let Some(mut pipe) = self.guardian.stdin.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.guardian.wait();
    }
}

/// A shell in a process group of its own.
fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).process_group(0);
    command
}

fn guard(group: u32, ground: &Path, own: Option<&Path>) -> std::io::Result<Child> {
    // A control group is emptied again and again, because what is in it may start more.
    const SCRIPT: &str = r#"read word
        [ "$word" != done ] || exit 0
        kill -s KILL -- "-$1"
        for try in 1 2 3 4 5 6 7 8 9; do
            [ -n "$3" ] && left=$(find "$3" -name cgroup.procs -exec cat {} +) && [ -n "$left" ] || break
            kill -s KILL $left
            sleep 0.1
        done
        rm -rf -- "$2""#;
    // In a process group of its own: Ctrl-C at the terminal must not end it before it has done its work.
    let mut command = shell(SCRIPT);
    command.args(["guardian", &group.to_string()]).arg(ground).args(own);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

fn id_of(id: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(id).ok()?)
}

/// Sends a signal to a process group, and to all of a control group.
fn end(group: u32, own: Option<&Path>, signal: Signal) {
    // Where nobody is left there is nobody to end.
    if let Some(group) = id_of(group) {
        let _ = kill_process_group(group, signal);
    }
    for process in own.map(members).unwrap_or_default().into_iter().filter_map(id_of) {
        let _ = kill_process(process, signal);
    }
}

fn is_there(child: &mut Child, group: u32, own: Option<&Path>) -> bool {
    // The leader has to be collected before its group can be empty.
    let _ = child.try_wait();
    id_of(group).is_some_and(|group| test_kill_process_group(group).is_ok())
        || own.is_some_and(|own| !members(own).is_empty())
}
