//! A server inside another program, with sources and a journal of its own: `cargo run --example embed`
//!
//! Serves what this program makes up: `/`, `/hours/0` to `/hours/23`. It tells how every client ended, and
//! stops when a line is typed or its input ends.

#![allow(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use multiclient::{Content, Guest, Journal, Life, Limits, Named, Publisher, Refusal, Server, Sources, listen};

/// Publishes a text for each hour of the day. They are made once, and shared by all clients.
#[derive(Debug)]
struct Hours {
    index: Arc<Content>,
    hours: Vec<Arc<Content>>,
}

impl Hours {
    fn new() -> io::Result<Self> {
        let hour = |hour| Ok(Arc::new(Content::bytes(format!("It is {hour} o'clock.\n").as_bytes())?.versioned("1")));
        let index = Content::bytes(b"Ask for /hours/0 to /hours/23.\n")?.typed("text/plain");
        Ok(Self { index: Arc::new(index), hours: (0..24).map(hour).collect::<io::Result<_>>()? })
    }
}

impl Publisher for Hours {
    fn open(&self, name: &[u8]) -> Result<Named, Refusal> {
        match std::str::from_utf8(name).map_err(|_| Refusal::NotFound)? {
            "" | "hours" => Ok(Named::Folder),
            "index.html" => Ok(Named::Content(Arc::clone(&self.index))),
            name => {
                let hour = name.strip_prefix("hours/").and_then(|hour| hour.parse::<usize>().ok());
                let hour = hour.and_then(|hour| self.hours.get(hour)).ok_or(Refusal::NotFound)?;
                Ok(Named::Content(Arc::clone(hour)))
            }
        }
    }
}

/// Says how clients end.
struct Ends;

impl Journal for Ends {
    fn ended(&self, life: &Life) {
        println!("client {} {}: {} bytes", life.client, life.ended, life.bytes_out);
    }
}

fn main() -> anyhow::Result<()> {
    let limits = Limits { clients: 50, ..Limits::default() };
    let guest = Arc::new(Guest::built_in(&limits)?);
    let server = Server::new(guest, Sources::own(Hours::new()?), limits)
        .journal(Arc::new(Ends))
        .start(vec![listen::tcp("127.0.0.1:0".parse()?)?])?;
    println!("http://{}/", server.addresses()[0]);

    io::stdin().read_line(&mut String::new())?;
    let summary = server.stop(Duration::from_secs(10));
    println!("{} clients, {} bytes", summary.clients, summary.bytes_out);
    Ok(())
}
