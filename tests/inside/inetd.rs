//! The session on stdin and stdout, held against the server: two hosts that have nothing in common but the
//! contract say the same bytes.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use support::components::Component as Source;
use support::{Folder, PATIENCE, Server, make_fifo, noise, random};
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Engine, Store};
use wasmtime_wasi::p2::bindings::sync::{Command as Run, CommandPre};
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtx, WasiCtxView, WasiView};

/// Every way to ask that makes a difference. `TAG` is the entity tag of `film.mp4`.
const ROWS: &[&str] = &[
    "",
    "GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n",
    "HEAD /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /film.mp4 HTTP/1.0\r\n\r\n",
    "GET /film.mp4 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nHEAD /sub/ HTTP/1.0\r\n\r\n",
    "GET /film.mp4 HTTP/1.1\r\nHost: a\r\nRange: bytes=100-199\r\n\r\n",
    "GET /film.mp4 HTTP/1.1\r\nHost: a\r\nRange: bytes=-1\r\n\r\nGET /film.mp4 HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0,70000-140000\r\n\r\n",
    "GET /film.mp4 HTTP/1.1\r\nHost: a\r\nRange: bytes=999999999-\r\n\r\n",
    "GET /film.mp4 HTTP/1.1\r\nHost: a\r\nRange: bytes=5-9\r\nIf-Range: TAG\r\n\r\n",
    "GET /film.mp4 HTTP/1.1\r\nHost: a\r\nIf-None-Match: TAG\r\n\r\n",
    "GET /film.mp4 HTTP/1.1\r\nHost: a\r\nIf-Match: \"other\"\r\n\r\n",
    "GET /film.mp4 HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: Fri, 02 Jan 2026 03:04:05 GMT\r\n\r\n",
    "GET /missing HTTP/1.1\r\nHost: a\r\n\r\nGET /missing HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nConnection: close\r\n\r\n",
    "GET /.hidden HTTP/1.1\r\nHost: a\r\n\r\nGET /out HTTP/1.1\r\nHost: a\r\n\r\nGET /loop HTTP/1.1\r\nHost: a\r\n\r\nGET /in HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /film.mp4/more HTTP/1.1\r\nHost: a\r\n\r\nGET /pipe HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /sub?x HTTP/1.1\r\nHost: a\r\n\r\nGET /sub/ HTTP/1.1\r\nHost: a\r\n\r\nGET /sub/../empty.bin HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /style.css HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\nGET /style.css HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    "GET /sub/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /empty.bin HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /film.mp4 HTTP/1.1\r\n\r\n",
    "GET /film.mp4 HTTP/1.1\nHost: a\n\n",
    "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /../secret HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /film.mp4 HTTP/2.0\r\nHost: a\r\n\r\n",
    "GET /film.mp4 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "BREW /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /film.mp4 HTT",
    "\x16\x03\x01\x02\x00\x01",
];

#[test]
fn a_session_on_stdin_sends_what_the_server_sends() {
    let folder = published();
    let server = Server::start(folder.path(), &["--list"]);
    let inetd = Inetd::new(folder.path());
    let tags = [ask(server.address(), HEAD), inetd.run(HEAD).0].map(|response| tag(&response));
    let rows: Vec<Vec<u8>> = ROWS.iter().map(|row| row.as_bytes().to_vec()).chain(spoiled()).collect();
    assert!(rows.len() > 200, "only {} rows", rows.len());
    for row in rows {
        let [to_server, to_inetd] = [&tags[0], &tags[1]].map(|tag| replace(&row, b"TAG", tag));
        let (said, code) = inetd.run(&to_inetd);
        let promised = ask(server.address(), &to_server);
        let row = String::from_utf8_lossy(&row).into_owned();
        assert_eq!(alike(&said), alike(&promised), "{row:?}");
        assert_eq!(code, 0, "the session closed in order after {row:?}");
    }
}

#[test]
fn the_exit_code_reports_a_client_that_left_early() {
    let folder = published();
    let inetd = Inetd::new(folder.path());
    // There is room for a header section and not for a film.
    let (said, code) = inetd.run_within(10_000, b"GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(said.len() <= 10_000 && code == 1, "{} bytes, {code}", said.len());
    assert_eq!(inetd.run_within(10_000, HEAD).1, 0);
}

const HEAD: &[u8] = b"HEAD /film.mp4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn published() -> Folder {
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    folder.file("film.mp4", noise(7, 300_000));
    folder.file("empty.bin", "");
    folder.file("style.css", "a { color: red }");
    folder.file("style.css.gz", "as if compressed");
    folder.file(".hidden", "hidden");
    fs::create_dir(folder.at("sub")).expect("a folder");
    folder.file("sub/index.html", "<p>index\n");
    for (name, target) in [("out", "/etc/hostname"), ("loop", "loop"), ("in", "sub/index.html")] {
        symlink(target, folder.at(name)).expect("a link");
    }
    // What has just changed has a weak tag, for a second.
    let before = SystemTime::now() - Duration::from_secs(3_600);
    for name in ["film.mp4", "empty.bin", "style.css", "style.css.gz", "sub/index.html"] {
        fs::File::options()
            .write(true)
            .open(folder.at(name))
            .and_then(|file| file.set_modified(before))
            .expect("a file");
    }
    make_fifo(&folder.at("pipe"));
    folder
}

/// Rows with a few bytes changed, doubled or lost, always the same ones.
fn spoiled() -> impl Iterator<Item = Vec<u8>> {
    let mut random = random();
    (0..200).map(move |number| {
        let mut bytes = ROWS[1 + number % (ROWS.len() - 1)].as_bytes().to_vec();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = b"\r\n \t:/,-0\0\xff%"[random(12)],
                1 => bytes.insert(at, bytes[at]),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

/// All that the server says to these bytes and the end of them.
fn ask(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut connection = TcpStream::connect(address).expect("the server listens");
    connection.set_read_timeout(Some(PATIENCE)).expect("a limit can be set");
    connection.write_all(bytes).expect("the server reads");
    connection.shutdown(Shutdown::Write).expect("the server is there");
    let mut said = Vec::new();
    connection.read_to_end(&mut said).expect("the server closes");
    said
}

/// The bytes, without what two hosts send differently: the time, and of a version the inode, which
/// WASI does not have. The boundary of parts is made from these.
fn alike(said: &[u8]) -> String {
    let text: String = said.iter().map(|byte| char::from(*byte)).collect();
    let boundary = text.split("boundary=").nth(1).and_then(|rest| rest.split("\r\n").next());
    let text = boundary.map_or(text.clone(), |boundary| text.replace(boundary, "BOUNDARY"));
    let line = |line: &str| match line.split_once(": ") {
        Some(("Date", _)) => "Date: NOW".to_owned(),
        Some(("ETag", tag)) => {
            format!("ETag: {}", tag.split('-').take(2).collect::<Vec<_>>().join("-").trim_end_matches('"'))
        }
        _ => line.to_owned(),
    };
    text.split("\r\n").map(line).collect::<Vec<_>>().join("\r\n")
}

fn tag(response: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(response).into_owned();
    let tag = text.split("ETag: ").nth(1).and_then(|rest| rest.split("\r\n").next()).expect("there is a tag");
    tag.as_bytes().to_vec()
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match bytes.windows(from.len()).position(|window| window == from) {
        Some(at) => [&bytes[..at], to, &bytes[at + from.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

// ---- the component, and what runs it

/// What `wasmtime run --dir FOLDER::/ multiclient-inetd.wasm / --list` does.
struct Inetd {
    pre: CommandPre<State>,
    folder: PathBuf,
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Inetd {
    fn new(folder: &Path) -> Self {
        let engine = Engine::default();
        let component = Component::from_file(&engine, built()).expect("the component compiles");
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker).expect("WASI can be linked");
        let pre = linker.instantiate_pre(&component).and_then(CommandPre::new).expect("it needs WASI and no more");
        Self { pre, folder: folder.to_owned() }
    }

    /// Runs a session for a client that sends these bytes: what it receives, and the exit code.
    fn run(&self, bytes: &[u8]) -> (Vec<u8>, i32) {
        self.run_within(1 << 24, bytes)
    }

    /// The same for a client that disconnects after this many bytes.
    fn run_within(&self, count: usize, bytes: &[u8]) -> (Vec<u8>, i32) {
        let stdout = MemoryOutputPipe::new(count);
        let mut wasi = WasiCtx::builder();
        wasi.stdin(MemoryInputPipe::new(bytes.to_vec())).stdout(stdout.clone());
        wasi.args(&["multiclient-inetd", "/", "--list"]);
        wasi.preopened_dir(&self.folder, "/", FsPerms::ReadOnly).expect("the folder is there");
        let state = State { wasi: wasi.build(), table: ResourceTable::new() };
        let mut store = Store::new(self.pre.engine(), state);
        let run: Run = self.pre.instantiate(&mut store).expect("there is memory for it");
        let code = match run.wasi_cli_run().call_run(&mut store) {
            Ok(Ok(())) => 0,
            Ok(Err(())) => 1,
            Err(error) => error.downcast_ref::<I32Exit>().unwrap_or_else(|| panic!("{error:?}")).0,
        };
        drop(store);
        (stdout.contents().to_vec(), code)
    }
}

fn built() -> PathBuf {
    let source = Source { folder: "guest/inetd", file: "multiclient-inetd.wasm", feature: "", variables: &[] };
    source.build(env!("CARGO_TARGET_TMPDIR"))
}
