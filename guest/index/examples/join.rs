//! Writes what a viewer gets who joins the stream on standard input, at the join of this number:
//!
//! `cargo run --release -p multiclient-index --example join 3 < live.webm | mpv -`

use std::env;
use std::io::{self, Read, Write};

use host::{Host, LARGEST_PIECE};
use multiclient_index::Limits;

#[path = "../tests/support/mod.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod host;

fn main() -> io::Result<()> {
    let number = env::args().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0);
    let mut source = Vec::new();
    io::stdin().read_to_end(&mut source)?;
    let host = Host::of(&source, Limits::default(), [LARGEST_PIECE]);
    let runs = host.runs();
    let run = runs.last().ok_or_else(|| io::Error::other("no header"))?;
    let join = run.joins.get(number).ok_or_else(|| io::Error::other(format!("only {} joins", run.joins.len())))?;
    io::stdout().write_all(&host.composed(run, join))
}
