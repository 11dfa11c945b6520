//! A server inside another program, with sources and a journal of its own: `cargo run --example embed`
//!
//! Serves what this program makes up: `/`, `/hours/0` to `/hours/23`. It prints how every connection ended,
//! and stops when a line is typed or its input ends.

#![allow(clippy::print_stdout, reason = "an example prints what happens")]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use multiclient::{
    Closed, Content, Entry, Guest, Journal, Limits, Named, Publisher, Refusal, Server, Settings, Sources, listen,
};

/// Publishes a text for each hour of the day. They are made once, and shared by all clients.
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

    fn list(&self, folder: &[u8], after: &[u8], limit: usize) -> Result<Vec<Entry>, Refusal> {
        if folder != b"hours" {
            return Err(Refusal::NotFound);
        }
        let mut entries: Vec<_> = self
            .hours
            .iter()
            .enumerate()
            .map(|(hour, content)| Entry::source(hour.to_string(), content.size()))
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries.into_iter().filter(|entry| entry.name.as_slice() > after).take(limit).collect())
    }
}

/// Prints how connections end.
struct Printer;

impl Journal for Printer {
    fn closed(&self, closed: &Closed) {
        println!("client {} {}: {} bytes", closed.client, closed.ended, closed.bytes_out);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut limits = Limits::default();
    limits.max_clients = 50;
    let mut settings = Settings::default();
    settings.listing = true;
    let server = Server::new(Guest::built_in(limits)?, Sources::custom(Hours::new()?))
        .settings(settings)
        .journal(Arc::new(Printer))
        .start(vec![listen::tcp("127.0.0.1:0".parse()?)?])?;
    println!("http://{}/", server.addresses()[0]);

    io::stdin().read_line(&mut String::new())?;
    let summary = server.stop(Duration::from_secs(10));
    println!("{} clients, {} bytes", summary.clients, summary.bytes_out);
    Ok(())
}
