//! A server inside another program: `cargo run --release --example embed -- movie.mp4`
//!
//! Serves one file on any free port to at most fifty clients, says how each of them ended, and stops when
//! a line is typed.

#![allow(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{env, io};

use multiclient::{Guest, Journal, Life, Limits, Server, Sources, listen};

struct Ends;

impl Journal for Ends {
    fn ended(&self, life: &Life) {
        println!("client {} {}: {} bytes", life.client, life.ended, life.bytes_out);
    }
}

fn main() -> anyhow::Result<()> {
    let path = env::args_os().nth(1).map(PathBuf::from).ok_or_else(|| anyhow::anyhow!("which file?"))?;
    let limits = Limits { clients: 50, ..Limits::default() };
    let guest = Arc::new(Guest::built_in(&limits)?);
    let server = Server::new(guest, Sources::at(&path)?, limits)
        .journal(Arc::new(Ends))
        .start(vec![listen::tcp("127.0.0.1:0".parse()?)?])?;
    println!("http://{}/", server.addresses()[0]);

    io::stdin().read_line(&mut String::new())?;
    let summary = server.stop(Duration::from_secs(10));
    println!("{} clients, {} bytes", summary.clients, summary.bytes_out);
    Ok(())
}
