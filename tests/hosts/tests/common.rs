//! What the tests stand on: a client, components, and the programs of others.
//!
//! Rule: a test whose host is not installed is skipped, and a line says so. `MULTICLIENT_TESTS_REQUIRE=all` makes
//! that a failure; what a machine cannot have is named in `MULTICLIENT_TESTS_EXCEPT`, separated by commas.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How long anything may take that should happen at once. Only a test that fails waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Where the hosts of JavaScript are installed.
pub(crate) const HERE: &str = env!("CARGO_MANIFEST_DIR");

// ---- what is served

/// The byte at an offset of the large source.
pub(crate) fn pattern(length: u32) -> Vec<u8> {
    (0..length).map(|at| ((at * 7 + 3) % 251) as u8).collect()
}

pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    // A file that has just changed has a weak validator for a second, and another one after it.
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    let write = |name: &str, bytes: &[u8]| {
        let mut file = fs::File::create(folder.path().join(name)).expect("a file");
        file.write_all(bytes).and_then(|()| file.set_modified(long_ago)).expect("it can be written");
    };
    write("film.mp4", &pattern(3_000_000));
    write("style.css", b"a { color: red }");
    write("style.css.gz", b"as if compressed");
    write(".hidden", b"hidden");
    fs::create_dir(folder.path().join("sub")).expect("a folder");
    write("sub/index.html", b"<p>index\n");
    fs::create_dir(folder.path().join("empty")).expect("a folder");
    folder
}

// ---- a client

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    #[track_caller]
    pub(crate) fn is(&self, status: u16, body: &[u8]) {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body[..self.body.len().min(500)]));
        assert!(self.body == body, "{} bytes, not those {} that were promised", self.body.len(), body.len());
    }

    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("{name} is in {:?}", self.fields))
    }
}

/// One request on a connection of its own, and its reply up to the end of the connection.
pub(crate) fn ask(address: SocketAddr, method: &str, target: &str, lines: &str) -> Reply {
    ask_slowly(address, method, target, lines, Duration::ZERO)
}

/// The same, and the client pauses after the first byte.
pub(crate) fn ask_slowly(address: SocketAddr, method: &str, target: &str, lines: &str, pause: Duration) -> Reply {
    let mut connection = TcpStream::connect(address).expect("the server listens");
    connection.set_read_timeout(Some(PATIENCE)).expect("a limit can be set");
    let request = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{lines}\r\n");
    connection.write_all(request.as_bytes()).expect("the server reads");
    let mut reply = vec![0];
    connection.read_exact(&mut reply).expect("the reply begins");
    thread::sleep(pause);
    connection.read_to_end(&mut reply).expect("the reply ends");
    let end = reply.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8(reply[..end].to_vec()).expect("a head is text");
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let fields: BTreeMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let body = match fields.get("transfer-encoding") {
        Some(_) => chunks(&reply[end..]),
        None => reply[end..].to_vec(),
    };
    if let (Some(length), false) = (fields.get("content-length"), method == "HEAD") {
        assert_eq!(length.parse(), Ok(body.len()), "{method} {target}: as long as it says");
    }
    Reply { status, fields, body }
}

fn chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").expect("a chunk has a size");
        let size = usize::from_str_radix(str::from_utf8(&rest[..end]).expect("a size"), 16).expect("a size");
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
}

// ---- components and programs

/// The handlers of `wasi:http`: the package, and the file that cargo makes of it.
const HANDLERS: [(&str, &str); 2] =
    [("multiclient-wasi-http", "multiclient_wasi_http"), ("multiclient-wasi-http-03", "multiclient_wasi_http_03")];

/// Where cargo puts components, in its target folder.
const BUILT_TO: &str = "wasm32-wasip2/release";

/// Builds a component of the workspace. A name that begins with `faulty-` is of one that fails on request.
pub(crate) fn component(name: &str) -> PathBuf {
    static BUILT: Once = Once::new();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("components");
    // One by one: packages that are built together share their features, and with them the one that must
    // not have a standard library would get it.
    BUILT.call_once(|| {
        for (package, file) in HANDLERS {
            build(package, &["--features", "faulty"], &target);
            // The one that serves is built to the same file.
            let built = target.join(BUILT_TO).join(file).with_extension("wasm");
            fs::copy(built, target.join(format!("faulty-{file}.wasm"))).expect("the component is there");
        }
        for package in ["multiclient-inetd", HANDLERS[0].0, HANDLERS[1].0] {
            build(package, &[], &target);
        }
    });
    match name.starts_with("faulty-") {
        true => target.join(name).with_extension("wasm"),
        false => target.join(BUILT_TO).join(name).with_extension("wasm"),
    }
}

fn build(package: &str, more: &[&str], target: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--release", "--target", "wasm32-wasip2", "-p", package]).args(more);
    cargo.arg("--target-dir").arg(target).current_dir(Path::new(HERE).join("../.."));
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_TARGET_DIR"] {
        cargo.env_remove(name);
    }
    // Names for the message of a trap, and nothing more to compile.
    cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "none").env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
    assert!(cargo.status().expect("cargo can be run").success(), "{package} builds");
}

/// jco, if it is installed here.
pub(crate) fn jco() -> Option<PathBuf> {
    let jco = Path::new(HERE).join("node_modules/.bin/jco");
    if !jco.is_file() {
        skip("jco", "not installed; `npm install --prefix tests/hosts` does it");
    }
    Some(jco).filter(|jco| jco.is_file())
}

/// A program, if it is installed.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        skip(name, "not installed");
    }
    found
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port is free").port()
}

/// The address of this machine that a line names.
pub(crate) fn address(line: &str) -> SocketAddr {
    let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    let port = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{line:?} has an address"));
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A server of somebody else, ended when it is dropped.
pub(crate) struct Program {
    process: Child,
    /// The line that said that it is ready.
    pub(crate) line: String,
}

impl Program {
    /// Starts a program, and waits until it says on stdout or stderr that it is ready.
    pub(crate) fn start(command: &mut Command, ready: &str) -> Self {
        use std::os::unix::process::CommandExt;
        // In a group of its own, so that what it starts ends with it.
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut process = command.spawn().expect("an installed program can be run");
        let (says, heard) = std::sync::mpsc::channel();
        let stdout: Box<dyn Read + Send> = Box::new(process.stdout.take().expect("it is piped"));
        let stderr: Box<dyn Read + Send> = Box::new(process.stderr.take().expect("it is piped"));
        for output in [stdout, stderr] {
            let says = says.clone();
            thread::spawn(move || {
                BufReader::new(output).lines().map_while(Result::ok).for_each(|line| drop(says.send(line)));
            });
        }
        drop(says);
        let mut program = Self { process, line: String::new() };
        let began = Instant::now();
        let mut said = Vec::new();
        while !program.line.to_ascii_lowercase().contains(ready) {
            let left = PATIENCE.saturating_sub(began.elapsed());
            program.line = heard.recv_timeout(left).unwrap_or_else(|_| panic!("{ready:?} is not in {said:#?}"));
            said.push(program.line.clone());
        }
        program
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.process.wait();
    }
}

/// Reports that the current test is skipped, or fails it where everything is required.
pub(crate) fn skip(what: &str, why: &str) {
    let required = std::env::var("MULTICLIENT_TESTS_REQUIRE").is_ok_and(|which| which == "all");
    let excepted = std::env::var("MULTICLIENT_TESTS_EXCEPT").unwrap_or_default();
    let excepted = excepted.split(',').any(|word| word == what);
    assert!(!required || excepted, "{what}: {why}, and MULTICLIENT_TESTS_REQUIRE=all");
    // Past the test runner, which keeps the output of a test that passes to itself.
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {what}: {why}");
}
