//! The system calls of one connection and of one exchange, counted by strace: a number, and no time. Allocations are
//! counted by `tests/cost/main.rs`.
//!
//! A change that needs one more is not forbidden. It is a decision: change the list here, and say why.

use std::collections::BTreeMap;
use std::fs;

use rustix::process::Signal;
use support::{Folder, Server, multiclient, require};

const CONNECTION: &[(&str, usize)] = &[
    ("accept4", 1),
    ("close", 1),
    ("epoll_wait", 1),
    // Whether the client has sent something that was not read.
    ("ioctl", 1),
    // Gives back what the guest may have touched beyond what its slot keeps.
    ("madvise", 1),
    // Whether somebody waits, before each accept.
    ("ppoll", 2),
    ("pread64", 1),
    ("recvfrom", 1),
    ("sendto", 1),
];

const EXCHANGE: &[(&str, usize)] = &[("epoll_wait", 1), ("pread64", 1), ("recvfrom", 1), ("sendto", 1)];

/// How often these are called depends on how much time passes: the ticker, and looking a file up again.
const BY_TIME: &[&str] = &["clock_nanosleep", "newfstatat", "statx", "fstat", "openat2", "preadv2", "write", "futex"];

/// A build for development looks at each descriptor that it closes.
const BY_BUILD: &str = "fcntl";

const COUNT: usize = 100;

#[test]
#[cfg_attr(not(target_arch = "x86_64"), ignore = "system calls have other names elsewhere")]
fn a_connection_and_an_exchange_need_these_system_calls_and_no_other() {
    let Some(mut strace) = require("strace") else { return };
    let folder = Folder::new();
    let trace = folder.path().join("trace");
    let program = multiclient();
    strace.args(["--daemonize", "--follow-forks", "--quiet=all", "--output"]).arg(&trace);
    // On one core: a second loop may look, or not, whether there is something for it.
    strace.args(["taskset", "--cpu-list", &first_core()]).arg(program.get_program());
    strace.arg(folder.file("small", [b'x'; 1_000])).args(["0", "--log", "off", "--walls", "off"]);
    let server = Server::run(strace);

    for _ in 0..COUNT {
        let mut client = server.connect();
        assert_eq!(client.request("GET", "/small", &["Connection: close"]).status(), 200);
        client.expect_closed();
    }
    let mut client = server.connect();
    for _ in 0..COUNT {
        assert_eq!(client.get("/small").status(), 200);
    }
    server.signal(Signal::TERM);
    server.wait();

    let trace = fs::read(trace).expect("it is written");
    let calls: Vec<_> = String::from_utf8_lossy(&trace).lines().filter_map(call).map(str::to_owned).collect();
    let connections: Vec<_> = parts(&calls, "accept4").collect();
    assert_eq!(connections.len(), COUNT + 1);
    assert_eq!(typical(connections[..COUNT].iter().copied()), list(CONNECTION), "for a connection");
    assert_eq!(typical(parts(connections[COUNT], "recvfrom")), list(EXCHANGE), "for an exchange");
}

/// The first core that this process may run on.
fn first_core() -> String {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("Linux");
    cores.trim().split([',', '-']).next().expect("there is a core").to_owned()
}

/// The name of the call that begins on this line of a trace.
fn call(line: &str) -> Option<&str> {
    let (_thread, call) = line.split_once(' ')?;
    let (name, _) = call.trim_start().split_once('(')?;
    (!name.contains(' ') && !BY_TIME.contains(&name) && name != BY_BUILD).then_some(name)
}

/// Cuts a list of calls before each of this name. What comes before the first is left out.
fn parts<'a>(calls: &'a [String], first: &'a str) -> impl Iterator<Item = &'a [String]> {
    let starts: Vec<_> = (0..calls.len()).filter(|&at| calls[at] == first).collect();
    let ends: Vec<_> = starts.iter().skip(1).copied().chain([calls.len()]).collect();
    starts.into_iter().zip(ends).map(|(start, end)| &calls[start..end])
}

/// How often each call is in most of the parts.
fn typical<'a>(parts: impl Iterator<Item = &'a [String]>) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut number = 0;
    for part in parts {
        number += 1;
        for name in part {
            let counts = counts.entry(name.clone()).or_default();
            counts.resize(number, 0);
            counts[number - 1] += 1;
        }
    }
    let median = |(name, mut counts): (String, Vec<usize>)| {
        counts.resize(number, 0);
        counts.sort_unstable();
        (name, counts[number / 2])
    };
    counts.into_iter().map(median).filter(|(_, count)| *count > 0).collect()
}

fn list(calls: &[(&str, usize)]) -> BTreeMap<String, usize> {
    calls.iter().map(|&(name, count)| (name.to_owned(), count)).collect()
}
