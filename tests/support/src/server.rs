//! A server process.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use rustix::process::{Pid, Signal};

use crate::client::{Connection, Response};
use crate::log::Log;
use crate::programs::say;
use crate::turn;
use crate::under_test::multiclient;
use crate::wait::{PATIENCE, eventually_or, exit_within};

/// A server process, killed when it is dropped.
pub struct Server {
    process: Child,
    log: Arc<Log>,
    addresses: Vec<SocketAddr>,
    /// Held as long as it runs: whoever measures waits for it.
    _turn: Option<fs::File>,
}

/// A server that has ended.
pub struct Stopped {
    /// Its exit code. None: a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to its standard error.
    pub lines: Vec<String>,
}

impl Stopped {
    /// The last line: what the server did.
    pub fn summary(&self) -> &str {
        self.lines.last().map_or("", String::as_str)
    }
}

impl Server {
    /// Serves on any free port of this machine.
    #[track_caller]
    pub fn start(source: impl AsRef<Path>, flags: &[&str]) -> Self {
        Self::start_at(source, "0", flags)
    }

    /// Serves at this URL.
    #[track_caller]
    pub fn start_at(source: impl AsRef<Path>, url: &str, flags: &[&str]) -> Self {
        let mut command = multiclient();
        command.arg(source.as_ref()).arg(url).args(["--log", "text"]).args(flags).stdout(Stdio::null());
        Self::run(command)
    }

    /// Runs a command that is a server, and waits until it is ready.
    #[track_caller]
    pub fn run(mut command: Command) -> Self {
        let turn = turn::shared();
        let mut process = command.stderr(Stdio::piped()).spawn().expect("the program under test can be run");
        let log = Log::of(process.stderr.take().expect("it is piped"));
        let mut server = Self { process, log, addresses: Vec::new(), _turn: turn };
        server.log.wait_for("the server is ready", |line| line.starts_with("ready "));
        let opened = |line: &String| {
            let url = line.strip_prefix("open     http")?.trim_start_matches('s').strip_prefix("://")?;
            url.split('/').next()?.parse().ok()
        };
        server.addresses = server.log.lines().iter().filter_map(opened).collect();
        server
    }

    /// The first address on which it listens.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        *self.addresses.first().expect("it has logged where it listens")
    }

    /// All addresses on which it listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The URL of a path that begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// A new connection to it.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::to(self.address())
    }

    /// The response to a `GET` on a connection of its own.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        self.connect().get(path)
    }

    /// The lines of its log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Waits for a line that contains this text; it may be there already.
    #[track_caller]
    pub fn wait_for_line(&self, text: &str) -> String {
        self.log.wait_for(&format!("a line with {text:?}"), |line| line.contains(text))
    }

    /// Waits until exactly `count` lines contain this text.
    #[track_caller]
    pub fn wait_for_lines(&self, count: usize, text: &str) {
        let counted = |lines: &[String]| lines.iter().filter(|line| line.contains(text)).count();
        self.log.wait_until(&format!("{count} lines with {text:?}"), |lines| (counted(lines) >= count).then_some(()));
        assert_eq!(counted(&self.log()), count, "lines with {text:?}");
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Bytes that the server has in memory: of its own, and in files that are nowhere else.
    pub fn memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).expect("the server runs");
        let open = self.proc("fd").read_dir().expect("the server runs").filter_map(Result::ok);
        let in_memory = open
            .filter(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:")));
        let files: u64 = in_memory.filter_map(|fd| Some(fs::metadata(fd.path()).ok()?.blocks() * 512)).sum();
        kib(&status, "VmRSS:") * 1024 + files
    }

    /// Bytes of the server that are in RAM. Exact: `status` may be some pages late.
    pub fn resident_bytes(&self) -> u64 {
        let rollup = fs::read_to_string(self.proc("smaps_rollup")).expect("the kernel has smaps_rollup");
        kib(&rollup, "Rss:") * 1024
    }

    /// The number of descriptors that the server has open.
    pub fn descriptors(&self) -> usize {
        self.proc("fd").read_dir().expect("the server runs").count()
    }

    /// Lets the server open only this many more descriptors.
    pub fn limit_descriptors(&self, more: usize) {
        use rustix::process::{Resource, Rlimit, prlimit};
        let open = self.proc("fd").read_dir().expect("the server runs");
        let taken: Vec<u64> = open.filter_map(|fd| fd.ok()?.file_name().to_str()?.parse().ok()).collect();
        // The limit is on the number that a descriptor has, and there are gaps.
        let last = (0..).filter(|number| !taken.contains(number)).nth(more - 1).expect("numbers go on");
        let limit = Rlimit { current: Some(last + 1), maximum: Some(last + 1) };
        prlimit(Some(self.pid()), Resource::Nofile, limit).expect("a child can be limited");
    }

    /// Waits until the server has accepted this many clients, each a descriptor, beyond those of `before`.
    #[track_caller]
    pub fn wait_for_clients(&self, count: usize, before: usize) {
        eventually_or(|| format!("{count} clients are accepted"), || self.descriptors() >= before + count);
    }

    /// Waits until the server has no more descriptors open than it had.
    #[track_caller]
    pub fn wait_for_descriptors(&self, before: usize) {
        let what = || {
            let open = self.proc("fd").read_dir().expect("the server runs");
            let open: Vec<_> = open.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok()).collect();
            format!("only {before} descriptors are left of {}: {open:?}", open.len())
        };
        eventually_or(what, || self.descriptors() <= before);
    }

    /// The number of read calls that the server has made, and the number of bytes that they returned. A
    /// `sendfile` is one of them.
    pub fn reads(&self) -> (u64, u64) {
        let io = fs::read_to_string(self.proc("io")).expect("the server runs");
        let value = |name: &str| {
            let line = io.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel counts them");
            line.trim().parse().expect("it is a number")
        };
        (value("syscr:"), value("rchar:"))
    }

    fn proc(&self, of: &str) -> PathBuf {
        Path::new("/proc").join(self.process.id().to_string()).join(of)
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("the server runs");
    }

    /// Asks the server to stop, and waits until it has.
    #[track_caller]
    pub fn stop(self) -> Stopped {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until the server has ended by itself.
    #[track_caller]
    pub fn wait(mut self) -> Stopped {
        let status = exit_within(PATIENCE, &mut self.process).expect("the server ends");
        let lines = self.log.wait_for_end();
        Stopped { code: status.code(), lines }
    }
}

/// A number of KiB in one of the kernel's tables.
fn kib(table: &str, name: &str) -> u64 {
    let kib = table.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse().ok()).unwrap_or_else(|| panic!("no line for {name} in\n{table}"))
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            say(&format!("the server's log:\n{}\n", self.log.lines().join("\n")));
        }
    }
}
