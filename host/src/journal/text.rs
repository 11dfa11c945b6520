//! Lines for people.

use std::fmt::{self, Write as _};

use super::escape::{Peer, write_printable, write_quoted};
use super::events::Exchange;
use crate::ended::Closed;
use crate::quantity::{Size, Took};

/// How much is said of a guest that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// One line.
    Brief,
    /// Also the functions in which it was.
    Backtrace,
}

/// A line for something that is not one client's doing.
pub(super) fn notice(line: &mut String, text: &str) -> fmt::Result {
    write_printable(line, text)?;
    line.write_char('\n')
}

/// A line for an exchange.
pub(super) fn exchange(line: &mut String, exchange: &Exchange<'_>) -> fmt::Result {
    let Exchange { client, status, .. } = exchange;
    write!(line, "#{client} {} ", Peer(exchange.peer))?;
    // More or fewer words than a method and a target could pass for the fields that follow.
    match brief(exchange.request) {
        "" => line.write_char('-')?,
        two_words if two_words.matches(' ').count() == 1 => write_printable(line, two_words)?,
        other => {
            line.write_char('"')?;
            write_quoted(line, other)?;
            line.write_char('"')?;
        }
    }
    let cut = if exchange.complete { "" } else { " cut short" };
    writeln!(
        line,
        " {status} {}{cut} {}   mem {} cpu {}",
        Size(exchange.bytes_out),
        Took(exchange.duration),
        Size(exchange.memory_peak),
        Took(exchange.cpu),
    )
}

/// Lines for a connection that closed out of the ordinary, and what its guest wrote.
pub(super) fn closed(line: &mut String, closed: &Closed, detail: Detail) -> fmt::Result {
    let client = closed.client;
    for said in closed.output.lines() {
        write!(line, "#{client} guest: ")?;
        write_printable(line, said)?;
        line.write_char('\n')?;
    }
    if closed.reports_left_out > 0 {
        writeln!(line, "#{client} {} reports left out: the client did not ask for so many", closed.reports_left_out)?;
    }
    if closed.is_ordinary() {
        return Ok(());
    }
    write!(line, "#{client} {} ", Peer(closed.peer))?;
    write_printable(line, &closed.ended.to_string())?;
    write!(line, "   {} in, {} out, {}", Size(closed.bytes_in), Size(closed.bytes_out), Took(closed.duration))?;
    if let Some(capsule) = &closed.capsule {
        write!(line, "   capsule {capsule}")?;
    }
    line.write_char('\n')?;
    if detail == Detail::Backtrace {
        for function in closed.ended.backtrace() {
            write!(line, "#{client}   in ")?;
            write_printable(line, function)?;
            line.write_char('\n')?;
        }
    }
    Ok(())
}

/// A request line without its version: what a person looks for in a log.
fn brief(request: &str) -> &str {
    match request.rsplit_once(' ') {
        Some((method_and_target, version)) if version.starts_with("HTTP/") => method_and_target,
        _ => request,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_a_client_says_cannot_pass_for_what_the_host_says() {
        let line = |request: &str| {
            let mut line = String::new();
            let exchange = Exchange {
                client: 1,
                peer: None,
                via: None,
                request,
                status: 400,
                referrer: "",
                agent: "",
                bytes_out: 0,
                complete: true,
                duration: Duration::ZERO,
                memory_peak: 0,
                cpu: Duration::ZERO,
            };
            super::exchange(&mut line, &exchange).expect("a string takes everything");
            line
        };
        assert!(line("GET /a HTTP/1.1").starts_with("#1 unix GET /a 400 "));
        assert!(line("GET /a 200 1 MiB HTTP/1.1").starts_with("#1 unix \"GET /a 200 1 MiB\" 400 "));
        assert!(line("GET\" 200 x").starts_with("#1 unix \"GET\\\" 200 x\" 400 "));
        assert!(line("").starts_with("#1 unix - 400 "));
    }
}
