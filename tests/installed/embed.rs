//! The examples that embed the session, in Python, JavaScript and Rust: the same file, the same bytes.
//!
//! With `MULTICLIENT_TESTS_REQUIRE=all` a test installs the packages that its example names, once. Without it
//! and without them it is skipped.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use support::components::{BUILDING, repository};
use support::programs::everything_is_required;
use support::{Connection, Folder, PATIENCE, noise, output_of, run_within, skip};
use support::{LONG_AGO, export_guest};

/// How long a package and what it needs may take to be installed.
const INSTALLING: Duration = Duration::from_secs(300);

/// A file of the examples.
fn example(name: &str) -> PathBuf {
    repository("examples").join(name)
}

/// Where what was installed is kept from one run to the next.
fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("embed").join(name)
}

/// Installs into a folder of its own what this file of an example names, if it is not there already.
fn installed(name: &str, packages: &str, steps: &[&[&str]]) -> Option<PathBuf> {
    let folder = kept(name);
    let (wanted, there) = (example(name).join(packages), folder.join("installed"));
    let wanted = fs::read(wanted).expect("the example says what it needs");
    if fs::read(&there).is_ok_and(|there| there == wanted) {
        return Some(folder);
    }
    if !everything_is_required() {
        let why = "what its example needs is not installed; MULTICLIENT_TESTS_REQUIRE=all installs it";
        skip(name, &format!("{why} from {packages}"));
        return None;
    }
    // Nothing is left of what was installed for an older list.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder can be made");
    fs::write(folder.join(packages), &wanted).expect("a file can be written");
    for step in steps {
        let mut command = Command::new(step[0]);
        let done = run_within(INSTALLING, command.args(&step[1..]).current_dir(&folder));
        if !done.status.success() {
            let stderr = String::from_utf8_lossy(&done.stderr);
            skip(name, &format!("{step:?}: {}", stderr.trim().lines().last().unwrap_or_default()));
            return None;
        }
    }
    fs::write(there, wanted).expect("a file can be written");
    Some(folder)
}

/// A Python that has wasmtime.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let python = PYTHON.get_or_init(|| {
        let venv: &[&str] = &["python3", "-m", "venv", "venv"];
        let pip = &["venv/bin/pip", "install", "--quiet", "--requirement", "requirements.txt"];
        Some(installed("python", "requirements.txt", &[venv, pip])?.join("venv/bin/python"))
    });
    python.as_deref()
}

/// A host of the session that runs, and is killed when it is dropped.
struct Host {
    process: Child,
    lines: mpsc::Receiver<String>,
    address: SocketAddr,
}

impl Host {
    /// Runs a command whose first line says where it listens.
    fn run(command: &mut Command) -> Self {
        // A host may end when its input does, so that stays open.
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = piped.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = process.stdout.take().expect("it is piped");
        let (heard, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if heard.send(line).is_err() {
                    return;
                }
            }
        });
        let mut host = Self { process, lines, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let url = host.line();
        let address = url.strip_prefix("http://").and_then(|rest| rest.trim_end_matches('/').parse().ok());
        host.address = address.unwrap_or_else(|| panic!("not a URL: {url:?}"));
        host
    }

    /// What it says next.
    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it says something")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What every host has to do for its clients: the same file, the same bytes.
fn serves(run: impl FnOnce(&Path, &Path) -> Host) {
    let folder = Folder::new();
    let film = noise(1, 1_000_000);
    folder.file("root/film.mp4", &film);
    folder.file("root/.hidden", "secret");
    std::os::unix::fs::symlink("../outside", folder.at("root/link")).expect("a link can be made");
    folder.file("outside", "secret");
    let session = folder.at("multiclient-session.wasm");
    export_guest(&session);
    let host = run(&session, &folder.at("root"));

    let mut connection = Connection::to(host.address);
    let whole = connection.get("/film.mp4");
    whole.is(200, &film);
    assert_eq!(whole.expect_field("Content-Type"), "video/mp4");
    assert_eq!(whole.expect_field("Last-Modified"), "Tue, 02 Jan 2024 03:04:05 GMT", "{LONG_AGO:?} after 1970");
    assert_eq!(host.line(), "GET /film.mp4 HTTP/1.1 200");

    let head = connection.request("HEAD", "/film.mp4", &[]);
    assert_eq!((head.status(), head.expect_field("Content-Length")), (200, "1000000"));

    let part = connection.get_range("/film.mp4", "bytes=500000-500099");
    part.is(206, &film[500_000..500_100]);
    assert_eq!(part.expect_field("Content-Range"), "bytes 500000-500099/1000000");
    connection.get_range("/film.mp4", "bytes=-1").is(206, &film[999_999..]);
    assert_eq!(connection.get_range("/film.mp4", "bytes=1000000-").status(), 416);

    let tag = format!("If-None-Match: {}", whole.expect_field("ETag"));
    connection.request("GET", "/film.mp4", &[&tag]).is(304, b"");
    connection.request("GET", "/film.mp4", &["If-Modified-Since: Tue, 02 Jan 2024 03:04:05 GMT"]).is(304, b"");
    connection.request("GET", "/film.mp4", &["If-None-Match: \"another\""]).is(200, &film);

    for missing in ["/nothing", "/.hidden", "/link"] {
        assert_eq!(connection.get(missing).status(), 404, "{missing}");
    }
    assert_eq!(connection.get("/%2e%2e/outside").status(), 400);

    // A connection that has sent its last still gets what it has asked for.
    let mut connection = Connection::to(host.address);
    connection.send("GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\nGET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.finish();
    connection.response().is(200, &film);
    assert_eq!(connection.response().status(), 404);
    connection.expect_closed();

    // An error response arrives although the rest of the request is not read.
    let mut connection = Connection::to(host.address);
    connection.send("POST /film.mp4 HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
    connection.send(noise(2, 300_000));
    assert_eq!(connection.response().status(), 405);
    connection.expect_closed();

    // Clients do not see each other.
    let others: Vec<_> = (0..8).map(|_| Connection::to(host.address)).collect();
    for mut connection in others {
        connection.get("/film.mp4").is(200, &film);
    }
}

#[test]
fn the_example_in_python_serves_a_file() {
    let Some(python) = python() else { return };
    serves(|session, folder| Host::run(Command::new(python).arg(example("python/serve.py")).arg(session).arg(folder)));
}

#[test]
fn the_example_in_javascript_serves_a_file() {
    let npm: &[&str] = &["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"];
    let Some(node) = installed("javascript", "package.json", &[npm]) else { return };
    serves(|session, folder| {
        let mut transpile = Command::new("npm");
        transpile.args(["run", "--silent", "transpile"]).arg(session).current_dir(&node);
        let done = run_within(PATIENCE, &mut transpile);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let transpiled = node.join("session/session.js");
        Host::run(Command::new("node").arg(example("javascript/serve.mjs")).arg(transpiled).arg(folder))
    });
}

/// The example as `cargo test` builds it, and here also where only this test program was built.
fn built_example() -> PathBuf {
    let mut cargo = Command::new(env::var_os("CARGO").expect("the tests are run by cargo"));
    cargo.args(["build", "--quiet", "--example", "embed", "--message-format", "short"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let built = run_within(BUILDING, cargo.current_dir(repository("")));
    assert!(built.status.success(), "{}", output_of(&built));
    // The folder of test programs is beside that of examples.
    let here = env::current_exe().expect("a test program has a path");
    let profile = here.ancestors().nth(2).expect("it is two folders below its profile's");
    profile.join("examples/embed")
}

#[test]
fn the_example_in_rust_serves_its_texts() {
    let host = Host::run(&mut Command::new(built_example()));
    let mut connection = Connection::to(host.address);
    connection.get("/").is(200, b"Ask for /hours/0 to /hours/23.\n");
    let hour = connection.get("/hours/7");
    hour.is(200, b"It is 7 o'clock.\n");
    let tag = format!("If-None-Match: {}", hour.expect_field("ETag"));
    connection.request("GET", "/hours/7", &[&tag]).is(304, b"");
    connection.get_range("/hours/7", "bytes=0-4").is(206, b"It is");
    let listed = connection.get("/hours/");
    assert!(listed.status() == 200 && String::from_utf8_lossy(&listed.body).contains("href=\"7\""), "it is listed");
    for missing in ["/hours/24", "/hours/%2e%2e/index.html", "/x"] {
        let status = connection.get(missing).status();
        assert!(status == 404 || (missing.contains("index") && status == 200), "{missing}: {status}");
    }
    assert_eq!(connection.get("/hours").status(), 301);
    drop(connection);
    assert!(host.line().starts_with("client 1 "), "its journal hears of it");
}
