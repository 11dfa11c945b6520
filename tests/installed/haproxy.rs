//! Two servers behind HAProxy.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use support::components::repository;
use support::{Background, Connection, Folder, Server, SetOnDrop, eventually, noise, require, text};

/// How often each server is restarted.
const ROUNDS: usize = 3;

/// Responses after which a server counts as serving.
const BUSY: usize = 40;

/// Starts the proxy in front of two servers.
fn proxy(front: &Path, servers: &[String]) -> Option<Background> {
    let mut haproxy = require("haproxy")?;
    haproxy.args(["-db", "-f"]).arg(repository("deploy/haproxy.cfg")).env("FRONT", format!("unix@{}", text(front)));
    haproxy.env("ONE", &servers[0]).env("TWO", &servers[1]);
    let proxy = Background::start(&mut haproxy);
    eventually("the proxy listens", || UnixStream::connect(front).is_ok());
    Some(proxy)
}

/// Clients that request a film through the proxy, again and again.
struct Clients<'a> {
    front: &'a Path,
    film: &'a [u8],
    over: AtomicBool,
    requests: AtomicUsize,
}

impl Clients<'_> {
    /// Runs one of them, which makes this many requests on a connection.
    fn run(&self, requests: usize) {
        while !self.over.load(Ordering::Relaxed) {
            let mut connection = Connection::to_unix(self.front);
            for _ in 0..requests {
                let response = connection.get("/film.mp4");
                response.is(200, self.film);
                self.requests.fetch_add(1, Ordering::Relaxed);
                if response.closes() || self.over.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
    }
}

/// Waits until the proxy sends clients to each of these servers. One that has just started is unknown to it.
fn wait_until_busy(servers: &[Server]) {
    for server in servers {
        let served = || server.log().iter().filter(|line| line.contains(" GET /film.mp4 200 ")).count();
        let before = served();
        eventually("the proxy sends clients to a server", || served() >= before + BUSY);
    }
}

#[test]
fn two_servers_behind_haproxy_are_restarted_in_turn_and_no_request_fails() {
    let folder = Folder::new();
    let film = noise(1, 300_000);
    folder.file("root/film.mp4", &film);
    let start = |url: &str| Server::start_at(folder.at("root"), url, &["--per-address", "unlimited"]);
    let mut servers = vec![start("0"), start("0")];
    let addresses: Vec<_> = servers.iter().map(|server| server.address().to_string()).collect();
    let front = folder.at("front.sock");
    let Some(_proxy) = proxy(&front, &addresses) else { return };
    let clients = Clients { front: &front, film: &film, over: AtomicBool::new(false), requests: AtomicUsize::new(0) };
    thread::scope(|scope| {
        let _over = SetOnDrop(&clients.over);
        // Some come for one request, some stay for many.
        for requests in (1..=71).step_by(10) {
            let clients = &clients;
            scope.spawn(move || clients.run(requests));
        }
        for _ in 0..ROUNDS {
            for (at, address) in addresses.iter().enumerate() {
                wait_until_busy(&servers);
                let stopped = servers.remove(at).stop();
                assert_eq!(stopped.code, Some(0), "a client was cut off: {}", stopped.summary());
                // Meanwhile nobody listens at this address.
                wait_until_busy(&servers);
                servers.insert(at, start(address));
            }
        }
        wait_until_busy(&servers);
    });
    let requests = clients.requests.into_inner();
    assert!(requests > 6 * ROUNDS * BUSY, "only {requests} requests");
}
