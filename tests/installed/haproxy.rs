//! Two servers behind HAProxy.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
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
fn proxy(front: &str, servers: &[String]) -> Option<Background> {
    let mut haproxy = require("haproxy")?;
    haproxy.args(["-db", "-f"]).arg(repository("deploy/haproxy.cfg")).env("FRONT", front);
    haproxy.env("ONE", &servers[0]).env("TWO", &servers[1]);
    Some(Background::start(&mut haproxy))
}

/// Starts a server that expects the proxy to say where clients come from.
fn behind(folder: &Folder, address: &str) -> Server {
    Server::start_at(folder.at("root"), &format!("{address} proxy"), &[])
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
    let mut servers = vec![behind(&folder, "0"), behind(&folder, "0")];
    let addresses: Vec<_> = servers.iter().map(|server| server.address().to_string()).collect();
    let front = folder.at("front.sock");
    let Some(_proxy) = proxy(&format!("unix@{}", text(&front)), &addresses) else { return };
    eventually("the proxy listens", || UnixStream::connect(&front).is_ok());
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
                servers.insert(at, behind(&folder, address));
            }
        }
        wait_until_busy(&servers);
    });
    let requests = clients.requests.into_inner();
    assert!(requests > 6 * ROUNDS * BUSY, "only {requests} requests");
}

#[test]
fn haproxy_tells_where_clients_come_from() {
    let folder = Folder::new();
    folder.file("root/film.mp4", "film");
    let servers = [behind(&folder, "0"), behind(&folder, "0")];
    let addresses: Vec<_> = servers.iter().map(|server| server.address().to_string()).collect();
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port is free");
    let Some(_proxy) = proxy(&free.to_string(), &addresses) else { return };
    eventually("the proxy listens", || TcpStream::connect(free).is_ok());
    let logged = |text: &str| {
        let lines = servers.iter().flat_map(Server::log);
        lines.filter(|line| line.contains(text)).count()
    };
    // Two clients, whose connections to the proxy stay open, and one of them asks twice.
    let mut clients = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)].map(|ip| Connection::from(ip, free));
    for at in [0, 1, 0] {
        clients[at].get("/film.mp4").is(200, b"film");
    }
    eventually("each is logged", || {
        (logged(" 127.0.0.2 GET /film.mp4 200 "), logged(" 127.0.0.3 GET /film.mp4 200 ")) == (2, 1)
    });
    // The proxy's own checks.
    eventually("checks are logged", || logged(" 127.0.0.1 HEAD / 308 ") > 0 || logged(" 127.0.0.1 HEAD / 404 ") > 0);
    // A client that claims to be somebody else says so to the proxy, which takes no such header from clients.
    let mut spoofing = Connection::from(Ipv4Addr::new(127, 0, 0, 4), free);
    spoofing.send("PROXY TCP4 192.0.2.66 192.0.2.1 1 2\r\nGET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(spoofing.response().status(), 400);
    assert_eq!(logged("192.0.2.66"), 0);
}
