//! Two servers behind HAProxy.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use support::components::repository;
use support::{Background, Connection, Folder, Server, eventually, noise, require, text};

#[test]
fn two_servers_behind_haproxy_are_restarted_in_turn_and_no_request_fails() {
    const ROUNDS: usize = 3;
    const CLIENTS: usize = 8;
    const BUSY: usize = 40;
    let Some(mut haproxy) = require("haproxy") else { return };
    let folder = Folder::new();
    let film = noise(1, 300_000);
    folder.file("root/film.mp4", &film);
    let start = |url: &str| Server::start_at(folder.at("root"), url, &["--per-address", "unlimited"]);
    let mut servers = vec![start("0"), start("0")];
    let addresses: Vec<_> = servers.iter().map(|server| server.address().to_string()).collect();

    let front = folder.at("front.sock");
    haproxy.args(["-db", "-f"]).arg(repository("deploy/haproxy.cfg")).env("FRONT", format!("unix@{}", text(&front)));
    haproxy.env("ONE", &addresses[0]).env("TWO", &addresses[1]);
    let _haproxy = Background::start(&mut haproxy);
    let heard = || UnixStream::connect(&front).is_ok();
    eventually("the proxy listens", heard);

    // A server that has only just come is known to the proxy when clients are sent to it.
    let serves_more = |server: &Server, count: usize| {
        let served = || server.log().iter().filter(|line| line.contains(" GET /film.mp4 200 ")).count();
        let before = served();
        eventually("the proxy sends clients to a server", || served() >= before + count);
    };
    let over = AtomicBool::new(false);
    let (requests, connections) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        // Ends the clients also where this fails, or nobody would.
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _over = Over(&over);
        for client in 0..CLIENTS {
            let (over, requests, connections, film, front) = (&over, &requests, &connections, &film, &front);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let mut connection = Connection::to_unix(front);
                    connections.fetch_add(1, Ordering::Relaxed);
                    // Some come for one request, some stay for many.
                    for _ in 0..=10 * client {
                        let response = connection.get("/film.mp4");
                        response.is(200, film);
                        requests.fetch_add(1, Ordering::Relaxed);
                        if response.closes() || over.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                }
            });
        }
        for _ in 0..ROUNDS {
            for (at, address) in addresses.iter().enumerate() {
                servers.iter().for_each(|server| serves_more(server, BUSY));
                let stopped = servers.remove(at).stop();
                assert_eq!(stopped.code, Some(0), "nobody was cut off: {}", stopped.summary());
                // For so long there is nobody at this address.
                servers.iter().for_each(|server| serves_more(server, BUSY));
                servers.insert(at, start(address));
            }
        }
        servers.iter().for_each(|server| serves_more(server, BUSY));
    });
    let (requests, connections) = (requests.into_inner(), connections.into_inner());
    assert!(requests > 6 * ROUNDS * BUSY, "{requests} requests on {connections} connections");
}
