//! What the tests from outside stand on: a server that runs, a client that reads strictly, a folder to
//! serve.
//!
//! Rules:
//!
//! - Nothing waits for ever, and nothing sleeps to be on the safe side. What is waited for is a byte, a
//!   line of the log, or a condition that is looked at until [`PATIENCE`] is over.
//! - The client gives the server nothing: a line end, a length or a chunk that is not exactly as RFC 9112
//!   has it fails the test, whatever the test is about.
//! - Only this machine is talked to.

#![allow(dead_code, reason = "each of the test programs needs another part of it")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal};
use socket2::{Domain, SockAddr, Socket, Type};

/// How long anything may take that should happen at once. Only a test that fails waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

// ---- the server

/// The program, with none of the settings that the one who tests may have in the environment.
pub(crate) fn multiclient() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_multiclient"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MULTICLIENT_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// A server that runs, and is killed when it is dropped.
pub(crate) struct Server {
    process: Child,
    log: Arc<Log>,
    addresses: Vec<SocketAddr>,
}

/// A server that has ended.
pub(crate) struct Stopped {
    pub(crate) code: Option<i32>,
    pub(crate) lines: Vec<String>,
}

impl Stopped {
    /// The last line: what the server did.
    pub(crate) fn summary(&self) -> &str {
        self.lines.last().map_or("", String::as_str)
    }
}

impl Server {
    /// Serves on any free port of this machine.
    pub(crate) fn start(source: impl AsRef<Path>, flags: &[&str]) -> Self {
        Self::start_at(source, "0", flags)
    }

    pub(crate) fn start_at(source: impl AsRef<Path>, url: &str, flags: &[&str]) -> Self {
        let mut command = multiclient();
        command.arg(source.as_ref()).arg(url).args(["--log", "text"]).args(flags).stdout(Stdio::null());
        Self::run(command)
    }

    /// Runs a command that is a server, and waits until it is ready.
    pub(crate) fn run(mut command: Command) -> Self {
        let mut process = command.stderr(Stdio::piped()).spawn().expect("the program that was built can be run");
        let log = Log::of(process.stderr.take().expect("it is piped"));
        let mut server = Self { process, log, addresses: Vec::new() };
        server.log.wait_for("the server is ready", |line| line.starts_with("ready "));
        let opened = |line: &String| {
            let url = line.strip_prefix("open     http://")?;
            url.split('/').next()?.parse().ok()
        };
        server.addresses = server.log.lines().iter().filter_map(opened).collect();
        server
    }

    /// Where it listens first.
    pub(crate) fn address(&self) -> SocketAddr {
        *self.addresses.first().expect("it has said where it is open")
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The URL of a path that begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::to(self.address())
    }

    /// The answer to a `GET` on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> Reply {
        self.connect().get(path)
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// Waits for a line that has this text in it; it may have come already.
    pub(crate) fn wait_for_line(&self, text: &str) -> String {
        self.log.wait_for(&format!("a line with {text:?}"), |line| line.contains(text))
    }

    /// Waits until so many lines have this text in them.
    pub(crate) fn wait_for_lines(&self, count: usize, text: &str) {
        let counted = |lines: &[String]| lines.iter().filter(|line| line.contains(text)).count();
        self.log.wait_until(&format!("{count} lines with {text:?}"), |lines| (counted(lines) >= count).then_some(()));
        assert_eq!(counted(&self.log()), count, "lines with {text:?}");
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// What the server has in memory: of its own, and in files that are nowhere else, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let status = fs::read_to_string(self.proc("status")).expect("the server runs");
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        let own = kib.and_then(|kib| kib.trim().parse::<u64>().ok()).expect("there is a line for VmRSS") * 1024;
        let open = self.proc("fd").read_dir().expect("the server runs").filter_map(Result::ok);
        let in_memory = open
            .filter(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:")));
        own + in_memory.filter_map(|fd| Some(fs::metadata(fd.path()).ok()?.blocks() * 512)).sum::<u64>()
    }

    /// How many descriptors the server has open.
    pub(crate) fn descriptors(&self) -> usize {
        self.proc("fd").read_dir().expect("the server runs").count()
    }

    /// Lets the server have only so many descriptors more.
    pub(crate) fn limit_descriptors(&self, more: usize) {
        use rustix::process::{Resource, Rlimit, prlimit};
        let open = self.proc("fd").read_dir().expect("the server runs");
        let taken: Vec<u64> = open.filter_map(|fd| fd.ok()?.file_name().to_str()?.parse().ok()).collect();
        // The limit is on the number that a descriptor has, and there are gaps.
        let last = (0..).filter(|number| !taken.contains(number)).nth(more - 1).expect("numbers go on");
        let limit = Rlimit { current: Some(last + 1), maximum: Some(last + 1) };
        prlimit(Some(self.pid()), Resource::Nofile, limit).expect("a child can be limited");
    }

    /// Waits until the server has taken so many clients: each is a descriptor.
    pub(crate) fn wait_for_clients(&self, count: usize, before: usize) {
        eventually_or(|| format!("{count} clients are taken"), || self.descriptors() >= before + count);
    }

    /// Waits until the server has no more descriptors open than it had.
    pub(crate) fn wait_for_descriptors(&self, before: usize) {
        let what = || {
            let open = self.proc("fd").read_dir().expect("the server runs");
            let open: Vec<_> = open.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok()).collect();
            format!("only {before} descriptors are left of {}: {open:?}", open.len())
        };
        eventually_or(what, || self.descriptors() <= before);
    }

    /// The memory that the server has in RAM, in bytes. Exact: what `status` says may be some pages
    /// behind.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let rollup = fs::read_to_string(self.proc("smaps_rollup")).expect("the kernel has smaps_rollup");
        let kib = rollup.lines().find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.trim().parse::<u64>().ok()).expect("there is a line for Rss") * 1024
    }

    /// How many calls that read the server has made, whatever from, and how many bytes came by them. A
    /// `sendfile` is one of them.
    pub(crate) fn reads(&self) -> (u64, u64) {
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

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("the server runs");
    }

    /// Asks the server to stop, and waits until it has.
    pub(crate) fn stop(self) -> Stopped {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits until the server has ended by itself.
    pub(crate) fn wait(mut self) -> Stopped {
        let status = wait_for_exit(&mut self.process, PATIENCE).expect("the server ends");
        let lines = self.log.wait_for_end();
        Stopped { code: status.code(), lines }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            say(&format!("the server said:\n{}\n", self.log.lines().join("\n")));
        }
    }
}

/// What a server writes to its standard error, line by line as it comes.
#[derive(Default)]
struct Log {
    written: Mutex<Written>,
    changed: Condvar,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    fn of(stderr: impl Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                writer.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
                writer.changed.notify_all();
            }
            writer.lock().ended = true;
            writer.changed.notify_all();
        });
        log
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    fn wait_for(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        self.wait_until(what, |lines| lines.iter().find(|line| is_it(line)).cloned())
    }

    fn wait_until<T>(&self, what: &str, find: impl Fn(&[String]) -> Option<T>) -> T {
        let began = Instant::now();
        let mut written = self.lock();
        loop {
            if let Some(found) = find(&written.lines) {
                return found;
            }
            let left = PATIENCE.saturating_sub(began.elapsed());
            if written.ended || left.is_zero() {
                let lines = written.lines.join("\n");
                drop(written);
                panic!("{what}: not in\n{lines}");
            }
            (written, _) = self.changed.wait_timeout(written, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wait_for_end(&self) -> Vec<String> {
        let written = self.lock();
        let (written, _) = self
            .changed
            .wait_timeout_while(written, PATIENCE, |written| !written.ended)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(written.ended, "the log ends with the server");
        written.lines.clone()
    }
}

// ---- other programs

/// How long a program may take for something small.
pub(crate) const A_WHILE: Duration = Duration::from_secs(60);

/// A program, if it is installed.
pub(crate) fn program(name: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        skipped(&format!("{name} is not installed"));
    }
    found.map(|path| {
        let mut command = Command::new(path);
        // As it is on everybody's machine: no proxy between it and the server, and messages that can be read.
        for proxy in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(proxy);
        }
        command.env("no_proxy", "*").env("LC_ALL", "C.UTF-8");
        command
    })
}

/// Runs a program that must succeed.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    let output = run_within(A_WHILE, command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    output
}

/// Runs a program to its end, which must come within `patience`.
pub(crate) fn run_within(patience: Duration, command: &mut Command) -> Output {
    // In a group of its own, so that what it starts ends with it.
    let shown = format!("{command:?}");
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = piped.process_group(0).spawn().unwrap_or_else(|error| panic!("{shown}: {error}"));
    let stdout = read_in_background(process.stdout.take().expect("it is piped"));
    let stderr = read_in_background(process.stderr.take().expect("it is piped"));
    let status = wait_for_exit(&mut process, patience);
    // Nothing is left of it, also where it did not look after its own. Mostly there is nobody any more.
    let _ = rustix::process::kill_process_group(Pid::from_child(&process), Signal::KILL);
    let _ = process.wait();
    let collected = |what: thread::JoinHandle<Vec<u8>>| what.join().expect("reading does not panic");
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

/// A program that goes on until it is dropped, with all that it has started.
pub(crate) struct Background(Child);

impl Background {
    pub(crate) fn start(command: &mut Command) -> Self {
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

fn wait_for_exit(process: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = process.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if began.elapsed() > patience {
            return None;
        }
        thread::sleep(GLANCE);
    }
}

// ---- waiting, and telling

/// How long between two looks at something that cannot be waited for.
const GLANCE: Duration = Duration::from_millis(2);

/// Looks until it is so.
pub(crate) fn eventually(what: &str, is_it: impl FnMut() -> bool) {
    eventually_or(|| what.to_owned(), is_it);
}

fn eventually_or(what: impl Fn() -> String, mut is_it: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_it() {
        assert!(began.elapsed() < PATIENCE, "this does not come true: {}", what());
        thread::sleep(GLANCE);
    }
}

/// Says that a test could not be made here. Past the test runner, which keeps to itself what tests print.
pub(crate) fn skipped(why: &str) {
    say(&format!("skipped: {why}\n"));
}

fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Lets this process have as many descriptors as it may: a crowd is one for each client.
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("a limit can be raised to its maximum");
}

// ---- what is served

/// When the files of a [`Folder`] were changed last: Tue, 02 Jan 2024 03:04:05 GMT. Long ago, so that
/// their tags are strong.
pub(crate) const LONG_AGO: Duration = Duration::from_secs(1_704_164_645);

/// A folder that vanishes with the test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("there is room for temporary files"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file, and the folders on the way to it.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        self.folder(Path::new(name).parent().and_then(Path::to_str).unwrap_or_default());
        fs::write(&path, bytes).expect("a file can be written");
        age(&path);
        path
    }

    /// Makes a file of this size with nothing but zeros and holes in it.
    pub(crate) fn hollow_file(&self, name: &str, size: u64) -> PathBuf {
        let path = self.file(name, "");
        File::options().write(true).open(&path).and_then(|file| file.set_len(size)).expect("a file can have holes");
        age(&path);
        path
    }

    pub(crate) fn folder(&self, name: &str) {
        fs::create_dir_all(self.at(name)).expect("a folder can be made");
    }
}

/// Has a file look as if nobody had touched it for long.
pub(crate) fn age(path: &Path) {
    let file = File::options().write(true).open(path).expect("it is there");
    file.set_modified(SystemTime::UNIX_EPOCH + LONG_AGO).expect("its time can be set");
}

/// Bytes that look random and are always the same for the same seed.
pub(crate) fn noise(seed: u64, count: usize) -> Vec<u8> {
    // SplitMix64.
    let mut state = seed;
    let mut word = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    };
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        bytes.extend_from_slice(&word().to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

// ---- the client

/// A connection to a server, and what came of it that was not read yet.
pub(crate) struct Connection {
    socket: Socket,
    unread: Vec<u8>,
}

/// A reply, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

/// The head of a reply.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Connection {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::through(Socket::new(Domain::for_address(address), Type::STREAM, None), &address.into())
    }

    /// Connects from one of the addresses that this machine has for itself, as from another machine.
    pub(crate) fn from(source: impl Into<IpAddr>, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
        let socket = socket.and_then(|socket| {
            socket.bind(&SocketAddr::new(source.into(), 0).into())?;
            Ok(socket)
        });
        Self::through(socket, &address.into())
    }

    pub(crate) fn to_unix(path: &Path) -> Self {
        let address = SockAddr::unix(path).expect("the path is short");
        Self::through(Socket::new(Domain::UNIX, Type::STREAM, None), &address)
    }

    fn through(socket: io::Result<Socket>, address: &SockAddr) -> Self {
        let socket = socket.expect("there is a descriptor left");
        let connected =
            if address.is_unix() { socket.connect(address) } else { socket.connect_timeout(address, PATIENCE) };
        connected.expect("the server takes connections");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket can time out");
        socket.set_write_timeout(Some(PATIENCE)).expect("a socket can time out");
        Self { socket, unread: Vec::new() }
    }

    /// Has little on the way to it that it has not read, and little from it that the server has not.
    pub(crate) fn with_small_buffer(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).and_then(|socket| {
            socket.set_recv_buffer_size(16 << 10)?;
            socket.set_send_buffer_size(16 << 10)?;
            Ok(socket)
        });
        Self::through(socket, &address.into())
    }

    /// The same connection, for somebody who sends while another reads.
    pub(crate) fn clone(&self) -> Self {
        Self { socket: self.socket.try_clone().expect("there is a descriptor left"), unread: Vec::new() }
    }

    // ---- what it says

    /// The address of this end.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.socket.local_addr().ok().and_then(|address| address.as_socket()).expect("TCP has addresses")
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).expect("the server takes what is sent");
    }

    /// Sends what can be sent. A server may close while something is still coming.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.socket.write_all(bytes.as_ref())
    }

    /// Says that nothing more will come, and goes on reading.
    pub(crate) fn finish(&self) {
        self.socket.shutdown(std::net::Shutdown::Write).expect("the connection is there");
    }

    /// Goes away as a process does that is killed while something is on its way to it: by a reset.
    pub(crate) fn vanish(self) {
        self.socket.set_linger(Some(Duration::ZERO)).expect("a socket can linger");
    }

    /// Sends a request. A line of the head is `Name: value`.
    pub(crate) fn ask_for(&mut self, method: &str, target: &str, lines: &[&str]) {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
        for line in lines {
            let _ = write!(head, "{line}\r\n");
        }
        head.push_str("\r\n");
        self.send(head);
    }

    /// Sends a request, and reads the reply to it.
    pub(crate) fn ask(&mut self, method: &str, target: &str, lines: &[&str]) -> Reply {
        self.ask_for(method, target, lines);
        if method == "HEAD" { self.reply_to_head() } else { self.reply() }
    }

    pub(crate) fn get(&mut self, target: &str) -> Reply {
        self.ask("GET", target, &[])
    }

    /// The part of a file that a `Range` line asks for.
    pub(crate) fn get_range(&mut self, target: &str, range: &str) -> Reply {
        self.ask("GET", target, &[&format!("Range: {range}")])
    }

    // ---- what it hears

    /// Reads more. False: the server has closed.
    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16 << 10];
        let count = self.socket.read(&mut piece)?;
        self.unread.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }

    fn need(&mut self, what: &str) {
        let there = self.fill();
        assert!(
            matches!(there, Ok(true)),
            "{what} is missing ({there:?}) behind {:?}",
            self.unread.escape_ascii().to_string()
        );
    }

    /// Reads up to and with the next CRLF, and gives what is before it.
    pub(crate) fn line(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let rest = self.unread.split_off(end + 2);
                let mut line = std::mem::replace(&mut self.unread, rest);
                line.truncate(end);
                assert!(!line.contains(&b'\n') && !line.contains(&b'\r'), "a line ends with CRLF and nothing else");
                return line;
            }
            assert!(self.unread.len() < 64 << 10, "a line ends somewhere");
            self.need("the end of a line");
        }
    }

    /// Reads the head of a reply, an interim one too.
    pub(crate) fn head(&mut self) -> Head {
        let status_line = String::from_utf8(self.line()).expect("a status line is ASCII");
        let (status, reason) = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.split_once(' '))
            .unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
        let status =
            status.parse().ok().filter(|status| (100..600).contains(status)).expect("a status has three digits");
        let mut fields = Vec::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            assert!(
                !line.iter().any(u8::is_ascii_control),
                "control characters in {:?}",
                line.escape_ascii().to_string()
            );
            let line = String::from_utf8(line).expect("the server says nothing that is not UTF-8");
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("not a field: {line:?}"));
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert!(!name.is_empty() && name.bytes().all(is_token), "not a name: {line:?}");
            assert!(value.trim() == value, "blanks around the value: {line:?}");
            fields.push((name.to_owned(), value.to_owned()));
        }
        let head = Head { status, reason: reason.to_owned(), fields };
        head.check();
        head
    }

    /// Reads a whole reply to anything but `HEAD`.
    pub(crate) fn reply(&mut self) -> Reply {
        let head = self.head();
        let body = match head.framing() {
            Framing::Nothing => Vec::new(),
            Framing::Length(length) => self.exactly(usize::try_from(length).expect("a test's file fits in memory")),
            Framing::Chunks => self.chunks(),
            Framing::UntilClose => self.rest(),
        };
        Reply { head, body }
    }

    pub(crate) fn reply_to_head(&mut self) -> Reply {
        Reply { head: self.head(), body: Vec::new() }
    }

    /// Reads so many bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.unread);
        if bytes.len() > count {
            self.unread = bytes.split_off(count);
            return bytes;
        }
        let there = bytes.len();
        bytes.resize(count, 0);
        if let Err(error) = self.socket.read_exact(&mut bytes[there..]) {
            panic!("{} bytes were promised, and end before: {error}", count);
        }
        bytes
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let size = String::from_utf8(self.line()).expect("a chunk's size is ASCII");
            let count = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("not a chunk's size: {size:?}"));
            if count == 0 {
                assert!(self.line().is_empty(), "nobody has promised trailers");
                return body;
            }
            body.extend(self.exactly(count));
            assert!(self.line().is_empty(), "a chunk ends with an empty line");
        }
    }

    /// Reads up to where the server closes. A reset is no close.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill().expect("the server closes in good order") {}
        std::mem::take(&mut self.unread)
    }

    /// Reads up to where the connection ends, in whatever way.
    pub(crate) fn until_cut(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("the connection does not end: {error}"),
            }
        }
        std::mem::take(&mut self.unread)
    }

    /// Reads into a buffer what is there or comes, and says how much: 0 at the end.
    pub(crate) fn read_into(&mut self, buffer: &mut [u8]) -> usize {
        if self.unread.is_empty() {
            return self.socket.read(buffer).expect("the server goes on");
        }
        let count = buffer.len().min(self.unread.len());
        buffer[..count].copy_from_slice(&self.unread[..count]);
        self.unread.drain(..count);
        count
    }

    /// Whether the server ends the connection within this time. What it says until then is kept.
    pub(crate) fn ends_within(&mut self, time: Duration) -> bool {
        self.socket.set_read_timeout(Some(time)).expect("a socket can time out");
        let read = self.fill();
        self.socket.set_read_timeout(Some(PATIENCE)).expect("a socket can time out");
        match read {
            Ok(goes_on) => !goes_on,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Checks that the server has closed, in good order, and said nothing more.
    pub(crate) fn is_closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "the server says more: {:?}", rest.escape_ascii().to_string());
    }

    /// Checks that the server listens to this connection still.
    pub(crate) fn goes_on(&mut self) {
        assert!(self.unread.is_empty(), "the server says more: {:?}", self.unread.escape_ascii().to_string());
        let reply = self.ask("OPTIONS", "*", &[]);
        assert_eq!(reply.status(), 204, "the connection can be used for more");
    }
}

/// Where the body of a reply ends.
enum Framing {
    Nothing,
    Length(u64),
    Chunks,
    UntilClose,
}

impl Head {
    /// The value of a field that may be there once.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        value
    }

    /// The value of a field that must be there.
    #[track_caller]
    pub(crate) fn said(&self, name: &str) -> &str {
        self.field(name).unwrap_or_else(|| panic!("{name} is missing: {self:?}"))
    }

    /// What no reply may get wrong, whatever it is about.
    fn check(&self) {
        for name in ["Content-Length", "Transfer-Encoding", "Content-Type", "Date", "Connection", "ETag", "Location"] {
            self.field(name);
        }
        if self.field("Transfer-Encoding").is_some() {
            assert_eq!(self.field("Content-Length"), None, "a body has one end: {self:?}");
        }
        if self.has_no_body() {
            assert_eq!(self.field("Content-Length"), None, "there is nothing to have a length: {self:?}");
            assert_eq!(self.field("Transfer-Encoding"), None, "there is nothing to be encoded: {self:?}");
        }
    }

    fn has_no_body(&self) -> bool {
        self.status < 200 || matches!(self.status, 204 | 304)
    }

    fn framing(&self) -> Framing {
        match (self.field("Content-Length"), self.field("Transfer-Encoding")) {
            _ if self.has_no_body() => Framing::Nothing,
            (Some(length), _) => Framing::Length(length.parse().expect("a length is a number")),
            (None, Some(coding)) => {
                assert_eq!(coding, "chunked", "the only coding there is");
                Framing::Chunks
            }
            (None, None) => Framing::UntilClose,
        }
    }
}

impl Reply {
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    #[track_caller]
    pub(crate) fn said(&self, name: &str) -> &str {
        self.head.said(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Checks status and body. Bodies are too long to be shown whole.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, body: &[u8]) {
        assert_eq!(self.status(), status, "{self:?}", self = Shown(self));
        let same = self.body.iter().zip(body).take_while(|(a, b)| a == b).count();
        let lengths = (self.body.len(), body.len());
        assert!(self.body == body, "another body: lengths {lengths:?}, the same up to {same}: {:?}", self.head);
    }

    /// Whether the server closes behind this reply.
    pub(crate) fn closes(&self) -> bool {
        self.field("Connection") == Some("close")
    }
}

/// A reply with as much of its body as one wants to see.
struct Shown<'a>(&'a Reply);

impl std::fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Reply { head, body } = self.0;
        let start = &body[..body.len().min(200)];
        write!(f, "{head:?} and {} bytes: {}", body.len(), start.escape_ascii())
    }
}
