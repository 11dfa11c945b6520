//! What a handler that fails on request does to other clients, in the hosts of others: nothing where each request has
//! an instance of its own. Where instances are reused it must be seen, or nothing is shown.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use multiclient_hosts::{Instances, Server, Settings, Turns, World};
use serde_json::Value;

use crate::common::{HERE, Program, ask, component, folder, free_port, jco, skip};

/// The handlers that fail on request.
const FAULTY: [(World, &str); 2] =
    [(World::IncomingHandler, "faulty-multiclient_wasi_http"), (World::Handler, "faulty-multiclient_wasi_http_03")];

/// What one client sends and no other may see.
const CANARY: &str = "canary-00112233445566778899aabbccddeeff";

/// Whether a handler sees what another client has sent, in as many tries.
fn sees_others(server: SocketAddr, tries: usize) -> bool {
    // A request of the same shape would take the same places in memory, and leave nothing of the one before.
    let padding = "x".repeat(2_000);
    (0..tries).any(|_| {
        let fields = format!("Cookie: pad={padding}; id={CANARY}\r\n");
        ask(server, "GET", "/style.css", &fields).is(200, b"a { color: red }");
        let seen = ask(server, "GET", "/!peek", "X-Canary: canary-ffffffffffffffffffffffffffffffff\r\n");
        assert_eq!(seen.status, 200);
        let seen = String::from_utf8(seen.body).expect("canaries are text");
        assert!(seen.contains("canary-ffffffff"), "it sees its own: {seen:?}");
        seen.contains(CANARY)
    })
}

#[test]
fn a_handler_sees_others_only_where_instances_are_reused() {
    let folder = folder();
    for (world, name) in FAULTY {
        let sees = |instances, tries| {
            let settings = Settings { instances, ..world.into() };
            let server = Server::start(settings, &component(name), folder.path()).expect("it starts");
            sees_others(server.address(), tries)
        };
        assert!(!sees(Instances::Fresh, 20), "{world:?}");
        // An instance may still be busy with its last request when the next one comes.
        assert!(sees(Instances::Reused, 200), "{world:?}");
    }
}

#[test]
fn handlers_that_crash_or_hang_keep_nobody_else_out() {
    let folder = folder();
    for (world, name) in FAULTY {
        let settings = Settings { turns: Turns::Limited, ..world.into() };
        let server = Server::start(settings, &component(name), folder.path()).expect("it starts");
        let mut open = Vec::new();
        for fault in ["/!crash", "/!hang"].iter().cycle().take(20) {
            let mut client = TcpStream::connect(server.address()).expect("it listens");
            client.write_all(format!("GET {fault} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).expect("it reads");
            open.push(client);
        }
        ask(server.address(), "GET", "/style.css", "").is(200, b"a { color: red }");
    }
}

#[test]
fn jco_reuses_an_instance_unless_it_is_told_to_isolate_requests() {
    let Some(jco) = jco() else { return };
    let folder = folder();
    let sees = |switches: &[&str], tries| {
        let port = free_port();
        let mut command = Command::new(&jco);
        command.arg("serve").arg(component(FAULTY[0].1)).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--jco-import", "./folder.mjs"]).args(switches);
        let _server = Program::start(command.env("FOLDER", folder.path()).current_dir(HERE), "listening");
        sees_others(SocketAddr::from(([127, 0, 0, 1], port)), tries)
    };
    assert!(sees(&[], 20));
    assert!(!sees(&["--isolate-requests", "instance"], 20));
}

/// The program that this repository is about, if it is built.
fn multiclient() -> Option<Command> {
    let built = Path::new(HERE).join("../../target/debug/multiclient");
    let program = std::env::var_os("MULTICLIENT_UNDER_TEST").map_or(built, PathBuf::from);
    if !program.is_file() {
        skip("multiclient", "not built; `cargo build` does it, or MULTICLIENT_UNDER_TEST names one");
        return None;
    }
    let mut command = Command::new(program);
    std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MULTICLIENT_")).for_each(|(name, _)| {
        command.env_remove(name);
    });
    Some(command)
}

/// The verdicts of `multiclient isolate` on data and memory under wasmtime. None: it is not built.
fn verdicts(switch: &str) -> Option<Vec<String>> {
    let work = tempfile::tempdir().expect("a folder");
    let handler = work.path().join("faulty.wasm");
    let exported = multiclient()?.args(["export-guest", "--faulty", "wasi-http", "-o"]).arg(&handler).status();
    assert!(exported.expect("it can be run").success());
    let host = env!("CARGO_BIN_EXE_multiclient-hosts");
    let start = format!("exec {host} 0.2 {} {{root}} {{port}} {switch}", handler.display());
    let mut isolate = multiclient()?;
    isolate.args(["isolate", "--quick", "--seed", "1", "--json", "--only", "data,memory", "--start", &start]);
    isolate.args(["--peek", "GET /!peek", "--leak-memory", "GET /!leak"]);
    let output = isolate.output().expect("it can be run");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let claims = report["targets"][0]["claims"].as_array().expect("a list");
    assert_eq!(claims.len(), 2, "{report:#}");
    Some(claims.iter().map(|claim| claim["verdict"].as_str().expect("a word").to_owned()).collect())
}

#[test]
fn isolate_finds_that_instances_are_reused_and_nothing_where_they_are_not() {
    let Some(reused) = verdicts("reuse") else { return };
    assert_eq!(reused, ["broken", "broken"], "memory and data");
    let fresh = verdicts("").expect("it is built");
    // On a busy machine, nothing may be shown.
    assert!(fresh.iter().all(|verdict| verdict != "broken"), "{fresh:?}");
}
