//! One start of a server: its processes, what they have used, its end.
//!
//! Rule: a server is a command in the foreground, in control groups of its own where that is allowed, so
//! that workers and forked children are counted too. Only processes that were started here are ended.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::load::{self, Meter};
use crate::peers::{LogIs, Peer};

/// One start of a server. It ends with this.
pub(crate) struct Server {
    process: Child,
    groups: Groups,
    pub(crate) port: u16,
    /// From before it was started to the end of its first answer's head.
    pub(crate) start: Duration,
    // Its scratch folder, gone after it.
    _work: TempDir,
}

thread_local! {
    /// Ports below those that the kernel gives to clients, taken in turn: none meets the last one's
    /// connections that are still being waited for.
    static PORT: Cell<u16> = const { Cell::new(0) };
}

fn next_port() -> io::Result<u16> {
    for _ in 0..1_000 {
        let at = PORT.get();
        // The first one differs from run to run.
        let seed = u16::try_from(std::process::id() % 9_000).expect("below 9,000");
        PORT.set((at + 1) % 9_000);
        let port = 10_000 + (seed + at) % 9_000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

impl Server {
    /// Starts a peer, and waits until it answers with `file`.
    pub(crate) fn start(peer: &Peer, root: &Path, file: &str, grouped: bool) -> io::Result<Self> {
        let work = tempfile::Builder::new().prefix("server-").tempdir_in(root.parent().unwrap_or(root))?;
        let port = next_port()?;
        let groups = if grouped { Groups::new() } else { Groups::default() };
        let log = match (peer.log, peer.name.as_str()) {
            (LogIs::On, _) => "access_log {work}/access.log",
            (LogIs::Off, name) if name.starts_with("nginx") => "access_log off",
            (LogIs::Off, _) => "",
        };
        let fill = |text: &str| {
            text.replace("{log}", log)
                .replace("{root}", &root.display().to_string())
                .replace("{file}", &root.join(file).display().to_string())
                .replace("{name}", file)
                .replace("{port}", &port.to_string())
                .replace("{work}", &work.path().display().to_string())
                .replace("{config}", &work.path().join("config").display().to_string())
        };
        if let Some(config) = peer.config {
            fs::write(work.path().join("config"), fill(config))?;
        }
        let said = work.path().join("said");
        let words: Vec<_> = peer.command.iter().map(|word| fill(word)).collect();
        let mut command = groups.command(&words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&said)?);
        let began = Instant::now();
        let process = command.spawn()?;
        // From here on it is ended also where the start fails.
        let mut server = Self { process, groups, port, start: Duration::ZERO, _work: work };
        let answer = load::wait(port, &format!("/{file}"), Duration::from_secs(20));
        server.start = began.elapsed();
        match answer {
            Ok(head) if head.contains(" 200 ") => Ok(server),
            Ok(head) => Err(io::Error::other(format!("{} answers {head:?}", peer.name))),
            Err(error) => {
                let said = fs::read_to_string(said).unwrap_or_default();
                Err(io::Error::other(format!("{} does not answer: {error}; it said: {said}", peer.name)))
            }
        }
    }

    /// All of its processes.
    fn processes(&self) -> Vec<Pid> {
        self.groups.processes().unwrap_or_else(|| descendants(Pid::from_child(&self.process)))
    }

    fn signal(&self, signal: Signal) {
        for pid in self.processes() {
            let _ = kill_process(pid, signal);
        }
    }

    /// Bytes, as exactly as this machine lets them be counted.
    pub(crate) fn memory(&self) -> Memory {
        let mut memory = Memory { group: self.groups.memory(), own: 0 };
        for pid in self.processes() {
            let pid = pid.as_raw_nonzero();
            let number = |file: &str, name: &str| -> u64 {
                let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
            };
            memory.own += number("smaps_rollup", "Pss:") + number("status", "VmPTE:");
        }
        memory
    }

    /// Waits until it has done with what it was asked, but not for long.
    pub(crate) fn settle(&self) {
        let mut before = self.cpu();
        for _ in 0..30 {
            thread::sleep(Duration::from_millis(100));
            let now = self.cpu();
            if now.saturating_sub(before) < Duration::from_millis(2) {
                return;
            }
            before = now;
        }
    }
}

/// What a server's processes hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// By their control group: with page tables, kernel stacks and the kernel's own objects, TCP buffers
    /// apart. None where this user may not make one.
    pub(crate) group: Option<u64>,
    /// By the processes themselves: their share of pages, and page tables.
    pub(crate) own: u64,
}

impl Memory {
    /// What was added since, in bytes for each of so many clients.
    pub(crate) fn each_since(self, before: Self, clients: usize) -> f64 {
        let (now, before) = match (self.group, before.group) {
            (Some(now), Some(before)) => (now, before),
            _ => (self.own, before.own),
        };
        (now as f64 - before as f64) / clients as f64
    }
}

impl Meter for Server {
    fn cpu(&self) -> Duration {
        self.groups.cpu().unwrap_or_else(|| self.processes().into_iter().map(cpu_of_threads).sum())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + Duration::from_millis(500);
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        // Workers that have not noticed, and servers that drain.
        for _ in 0..20 {
            let _ = self.process.try_wait();
            if self.processes().is_empty() {
                break;
            }
            self.signal(Signal::KILL);
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The CPU time of a process's threads, those that have ended not among them.
fn cpu_of_threads(pid: Pid) -> Duration {
    let threads = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).into_iter().flatten().flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

/// A process that is alive and all that come from it.
fn descendants(of: Pid) -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // Behind the name, which may have anything in it: state, parent.
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        if let (Some(state), Some(parent)) = (fields.next(), fields.next().and_then(|parent| parent.parse().ok()))
            && state != "Z"
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut all = Vec::new();
    let mut next = vec![of.as_raw_nonzero().get()];
    while let Some(pid) = next.pop() {
        next.extend(children.remove(&pid).unwrap_or_default());
        if Path::new(&format!("/proc/{pid}")).exists() {
            all.extend(Pid::from_raw(pid));
        }
    }
    all
}

/// The control groups of one server, where this user may make them: exact accounts.
#[derive(Default)]
struct Groups {
    cpu: Option<Group>,
    memory: Option<Group>,
}

struct Group {
    folder: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// Whether CPU time and memory are accounted by control groups here.
pub(crate) fn accounts() -> (bool, bool) {
    let groups = Groups::new();
    (groups.cpu().is_some(), groups.memory().is_some())
}

impl Groups {
    fn new() -> Self {
        Self { cpu: Group::new("cpuacct", "cpu.stat"), memory: Group::new("memory", "memory.current") }
    }

    /// What runs these words as a command in these groups.
    fn command(&self, words: &[String]) -> Command {
        let enter: String =
            self.each().map(|group| format!("echo $$ > '{}/cgroup.procs'; ", group.folder.display())).collect();
        if enter.is_empty() {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            return command;
        }
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{enter} exec \"$@\""), "sh"]).args(words);
        command
    }

    fn each(&self) -> impl Iterator<Item = &Group> {
        self.cpu.iter().chain(&self.memory)
    }

    fn processes(&self) -> Option<Vec<Pid>> {
        let group = self.each().next()?;
        let text = fs::read_to_string(group.folder.join("cgroup.procs")).ok()?;
        Some(text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect())
    }

    fn cpu(&self) -> Option<Duration> {
        let group = self.cpu.as_ref()?;
        match group.version {
            Version::One => group.number("cpuacct.usage").map(Duration::from_nanos),
            Version::Two => group.field("cpu.stat", "usage_usec").map(Duration::from_micros),
        }
    }

    fn memory(&self) -> Option<u64> {
        let group = self.memory.as_ref()?;
        match group.version {
            Version::One => group.number("memory.usage_in_bytes"),
            // Here the buffers of sockets are among it.
            Version::Two => Some(group.number("memory.current")? - group.field("memory.stat", "sock").unwrap_or(0)),
        }
    }
}

impl Group {
    /// A group below this process's own. `file` is there if it can count.
    fn new(controller: &str, file: &str) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        let path_of = |wanted: &str| {
            own.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                let (names, path) = (fields.next()?, fields.next()?);
                names.split(',').any(|name| name == wanted).then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let mount_of = |kind: &str, option: &str| {
            mounts.lines().find_map(|line| {
                let mut fields = line.split(' ').skip(1);
                let (folder, its_kind, options) = (fields.next()?, fields.next()?, fields.next()?);
                let fits = its_kind == kind && (option.is_empty() || options.split(',').any(|has| has == option));
                fits.then(|| PathBuf::from(folder))
            })
        };
        let one = path_of(controller).zip(mount_of("cgroup", controller));
        let (version, (path, mount)) = match one {
            Some(one) => (Version::One, one),
            None => (Version::Two, path_of("").zip(mount_of("cgroup2", ""))?),
        };
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let folder = mount.join(path).join(format!("multiclient-bench-{}-{number}", std::process::id()));
        fs::create_dir(&folder).ok()?;
        let group = Self { folder, version };
        // Of the second version a group counts only what its parent hands down.
        (version == Version::One || group.folder.join(file).exists()).then_some(group)
    }

    fn number(&self, file: &str) -> Option<u64> {
        fs::read_to_string(self.folder.join(file)).ok()?.trim().parse().ok()
    }

    fn field(&self, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join(file)).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The last process may still be on its way out.
        for _ in 0..100 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
