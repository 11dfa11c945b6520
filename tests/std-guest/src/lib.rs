//! A guest that uses the standard library without a second thought: output on stdout and stderr, the
//! environment, files. It answers every request with what it found.

#![cfg(target_family = "wasm")]

mod bindings {
    #![allow(unsafe_code, missing_docs, unreachable_pub, reason = "generated")]

    wit_bindgen::generate!({ path: "../../wit", world: "guest" });

    use super::Component;
    export!(Component);
}

use bindings::exports::multiclient::session::handler::{Action, Event, Guest, GuestSession, Remainder, Settings};

struct Component;

struct Session;

impl Guest for Component {
    type Session = Session;
}

impl GuestSession for Session {
    #[allow(clippy::print_stdout, reason = "that is what is tested")]
    fn new(_: Settings) -> Self {
        println!("born with {} variables", std::env::vars().count());
        Self
    }

    #[allow(clippy::print_stderr, reason = "that is what is tested")]
    fn advance(&self, _: u64, event: Event) -> Vec<Action> {
        let Event::Received(bytes) = event else { return vec![Action::Close(Remainder::Nothing)] };
        if bytes.starts_with(b"GET /chatter ") {
            eprintln!("{}", "chatter ".repeat(10_000));
        }
        let files = std::fs::read_dir("/").map_or(0, Iterator::count);
        let body = format!("{} variables, {files} files, {}\n", std::env::vars().count(), more());
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        vec![Action::Send((head + &body).into_bytes()), Action::Close(Remainder::Nothing)]
    }
}

#[cfg(feature = "clocks")]
fn more() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{} s", since.map_or(0, |since| since.as_secs()))
}

#[cfg(feature = "sockets")]
fn more() -> String {
    format!("{}", std::net::TcpStream::connect("127.0.0.1:1").is_ok())
}

#[cfg(not(any(feature = "clocks", feature = "sockets")))]
fn more() -> String {
    "nothing more".to_owned()
}
