//! What is told of clients and their exchanges: to the operator as lines of text, or to whoever embeds
//! the server.
//!
//! Rule: a client never waits for the log.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::ended::{Ended, Life, Limit, Reason};
use crate::limits::{JOURNAL_BYTES, JOURNAL_PATIENCE, JOURNAL_REST, REPORT_BYTES};
pub use crate::quantity::{Size, Took};

/// Hears of what clients do. Called on the loops that serve them: whatever takes longer than a few
/// microseconds belongs on a thread of the journal's own.
pub trait Journal: Send + Sync + 'static {
    /// An exchange is over.
    fn exchange(&self, exchange: &Exchange<'_>) {
        let _ = exchange;
    }

    /// A client's life is over. Called exactly once for each client.
    fn ended(&self, life: &Life) {
        let _ = life;
    }

    /// Something that the operator should know, and that is no single client's doing. Said once.
    fn notice(&self, text: &str) {
        let _ = text;
    }
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Journal for Silent {}

/// One request and its reply, as the guest reported them, and what the host has measured.
///
/// What the guest says comes from the client in the end: any text at all, of any length that fits a list
/// of actions.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    /// The client's number.
    pub client: u64,
    /// Where the client came from; none for a unix socket.
    pub peer: Option<SocketAddr>,
    /// What was asked for: for HTTP the request line. Empty: it made no sense.
    pub request: &'a str,
    /// How it was answered: for HTTP the status code.
    pub status: u16,
    /// Where the client says it was led here from; may be empty.
    pub referrer: &'a str,
    /// What the client says it is; may be empty.
    pub agent: &'a str,
    /// Bytes sent since the report before: head and body.
    pub bytes_out: u64,
    /// Whether all of the reply was sent. Otherwise the client's life ends with this exchange.
    pub complete: bool,
    /// From the first byte of the request to the last of the reply.
    pub duration: Duration,
    /// The most memory that this client's guest has had so far.
    pub memory_peak: usize,
    /// How long this client's guest has been computing so far.
    pub cpu: Duration,
}

/// Lines for the operator, or for the operator's programs.
#[derive(Debug)]
pub struct Log {
    lines: Arc<Lines>,
    format: Format,
    /// When a client was last turned away, for each reason: in seconds since 1970.
    turned_away: [AtomicI64; 3],
}

/// How the lines of a [`Log`] look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people: a line for each exchange, and one for each client that ended badly.
    Text,
    /// The same, and where in the guest it happened.
    Verbose,
    /// A JSON object for each exchange (`"event":"exchange"`) and for each client (`"event":"ended"`),
    /// however it ended: `ended` and `which` are words that stay the same between versions (`"over-limit"`,
    /// `"memory"`), `bound` is the limit, `detail` is for people. Durations are in microseconds.
    Json,
    /// The combined log format of Apache and nginx: a line for each exchange. Its size is that of head and
    /// body together.
    Combined,
}

#[derive(Debug, Default)]
struct Lines {
    state: Mutex<Pending>,
    added: Condvar,
    written: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    text: String,
    left_out: u64,
    /// Whether the writer has lines in its hands.
    writing: bool,
    ended: bool,
}

impl Log {
    /// Whether no client was turned away for this reason in this second yet. Where there is one there are
    /// thousands, and the summary counts them.
    fn first_in_a_second(&self, reason: Reason) -> bool {
        let last = match reason {
            Reason::Full => &self.turned_away[0],
            Reason::Address => &self.turned_away[1],
            Reason::Penalty => &self.turned_away[2],
        };
        let now = jiff::Timestamp::now().as_second();
        last.swap(now, Ordering::Relaxed) != now
    }

    /// Writes to `out`, on a thread of its own, until it is dropped.
    pub fn new(format: Format, out: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Arc::new(Lines::default());
        let shared = Arc::clone(&lines);
        thread::Builder::new().name("log".into()).spawn(move || shared.write_to(out, format))?;
        Ok(Self { lines, format, turned_away: Default::default() })
    }

    /// Waits until all lines so far are written, but not for ever: whoever reads the log may have stopped.
    pub fn flush(&self) {
        let pending = self.lines.lock();
        let busy = |pending: &mut Pending| pending.writing || !pending.text.is_empty();
        drop(self.lines.written.wait_timeout_while(pending, JOURNAL_PATIENCE, busy));
    }
}

impl Journal for Log {
    fn exchange(&self, exchange: &Exchange<'_>) {
        self.lines.add(|line| match self.format {
            Format::Text | Format::Verbose => exchange_as_text(line, exchange),
            Format::Json => exchange_as_json(line, exchange),
            Format::Combined => exchange_as_combined(line, exchange),
        });
    }

    fn ended(&self, life: &Life) {
        let said_already = |ended: &Ended| match ended {
            Ended::TurnedAway(reason) => !self.first_in_a_second(*reason),
            _ => false,
        };
        match self.format {
            Format::Json => self.lines.add(|line| life_as_json(line, life)),
            Format::Combined => {}
            Format::Text | Format::Verbose if life.is_ordinary() && life.output.is_empty() => {}
            Format::Text | Format::Verbose if said_already(&life.ended) => {}
            Format::Text | Format::Verbose => self.lines.add(|line| life_as_text(line, life, self.format)),
        }
    }

    fn notice(&self, text: &str) {
        self.lines.add(|line| notice_as(line, text, self.format));
    }
}

fn notice_as(line: &mut String, text: &str, format: Format) -> fmt::Result {
    match format {
        Format::Json => {
            writeln!(line, "{}", serde_json::json!({ "event": "notice", "time": now(), "text": text }))
        }
        // It has lines for exchanges only.
        Format::Combined => Ok(()),
        Format::Text | Format::Verbose => {
            write_printable(line, text)?;
            line.write_char('\n')
        }
    }
}

fn exchange_as_text(line: &mut String, exchange: &Exchange<'_>) -> fmt::Result {
    let Exchange { client, status, .. } = exchange;
    write!(line, "#{client} {} ", Peer(exchange.peer))?;
    // More or fewer words than a method and a target could pass for what stands behind them.
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
        Size(exchange.memory_peak as u64),
        Took(exchange.cpu),
    )
}

fn exchange_as_combined(line: &mut String, exchange: &Exchange<'_>) -> fmt::Result {
    let now = jiff::Timestamp::now().strftime("%d/%b/%Y:%H:%M:%S +0000");
    write!(line, "{} - - [{now}] \"", Peer(exchange.peer))?;
    write_combined(line, exchange.request)?;
    write!(line, "\" {} {} \"", exchange.status, exchange.bytes_out)?;
    write_combined(line, if exchange.referrer.is_empty() { "-" } else { exchange.referrer })?;
    line.write_str("\" \"")?;
    write_combined(line, if exchange.agent.is_empty() { "-" } else { exchange.agent })?;
    line.write_str("\"\n")
}

fn exchange_as_json(line: &mut String, exchange: &Exchange<'_>) -> fmt::Result {
    let Exchange { client, request, status, referrer, agent, bytes_out, complete, memory_peak, .. } = exchange;
    let object = serde_json::json!({
        "event": "exchange",
        "time": now(),
        "client": client,
        "peer": exchange.peer.map(|peer| peer.to_string()),
        "request": bounded(request),
        "status": status,
        "referrer": bounded(referrer),
        "agent": bounded(agent),
        "bytes_out": bytes_out,
        "complete": complete,
        "duration_us": micros(exchange.duration),
        "memory_peak": memory_peak,
        "cpu_us": micros(exchange.cpu),
    });
    writeln!(line, "{object}")
}

fn life_as_text(line: &mut String, life: &Life, format: Format) -> fmt::Result {
    let client = life.client;
    for said in life.output.lines() {
        write!(line, "#{client} guest: ")?;
        write_printable(line, said)?;
        line.write_char('\n')?;
    }
    if life.is_ordinary() {
        return Ok(());
    }
    write!(line, "#{client} {} ", Peer(life.peer))?;
    write_printable(line, &life.ended.to_string())?;
    write!(line, "   {} in, {} out, {}", Size(life.bytes_in), Size(life.bytes_out), Took(life.duration))?;
    if let Some(capsule) = &life.capsule {
        write!(line, "   capsule {capsule}")?;
    }
    line.write_char('\n')?;
    if format == Format::Verbose {
        for function in life.ended.backtrace() {
            write!(line, "#{client}   in ")?;
            write_printable(line, function)?;
            line.write_char('\n')?;
        }
    }
    Ok(())
}

fn life_as_json(line: &mut String, life: &Life) -> fmt::Result {
    let Life { client, ended, bytes_in, bytes_out, exchanges, memory_peak, output, .. } = life;
    let bound = match ended {
        Ended::OverLimit { limit: Limit::Memory(bytes) | Limit::Actions(bytes), .. } => Some(*bytes),
        Ended::OverLimit { limit: Limit::Cpu(time) | Limit::Progress(time), .. } => Some(micros(*time)),
        _ => None,
    };
    let object = serde_json::json!({
        "event": "ended",
        "time": now(),
        "client": client,
        "peer": life.peer.map(|peer| peer.to_string()),
        "ended": ended.kind(),
        "which": ended.which(),
        "bound": bound,
        "detail": ended.to_string(),
        "backtrace": ended.backtrace(),
        "bytes_in": bytes_in,
        "bytes_out": bytes_out,
        "exchanges": exchanges,
        "memory_peak": memory_peak,
        "cpu_us": micros(life.cpu),
        "output": output,
        "capsule": life.capsule,
        "duration_us": micros(life.duration),
    });
    writeln!(line, "{object}")
}

/// Seconds since 1970, with milliseconds.
fn now() -> f64 {
    (jiff::Timestamp::now().as_millisecond() as f64) / 1_000.0
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
        self.lines.lock().ended = true;
        self.lines.added.notify_one();
    }
}

impl Lines {
    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: impl FnOnce(&mut String) -> fmt::Result) {
        let mut pending = self.lock();
        if pending.text.len() > JOURNAL_BYTES {
            pending.left_out += 1;
            return;
        }
        let sleeping = pending.text.is_empty();
        // Writing into a string cannot fail.
        let _ = line(&mut pending.text);
        drop(pending);
        if sleeping {
            self.added.notify_one();
        }
    }

    fn write_to(&self, mut out: impl Write, format: Format) {
        let mut text = String::new();
        loop {
            let pending = self.lock();
            let idle = |pending: &mut Pending| pending.text.is_empty() && !pending.ended;
            let mut pending = self.added.wait_while(pending, idle).unwrap_or_else(PoisonError::into_inner);
            if pending.text.is_empty() {
                return;
            }
            pending.writing = true;
            std::mem::swap(&mut text, &mut pending.text);
            if pending.left_out > 0 {
                let notice = format!("{} lines left out: the log is read too slowly", pending.left_out);
                let _ = notice_as(&mut text, &notice, format);
                pending.left_out = 0;
            }
            drop(pending);
            // A log that nobody takes any more is no reason to stop serving.
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            text.clear();
            self.lock().writing = false;
            self.written.notify_all();
            // Lines that come close together leave together, with one waking for all.
            thread::sleep(JOURNAL_REST);
        }
    }
}

/// A request line without its version: what a person looks for in a log.
fn brief(request: &str) -> &str {
    match request.rsplit_once(' ') {
        Some((method_and_target, version)) if version.starts_with("HTTP/") => method_and_target,
        _ => request,
    }
}

/// Writes what came from outside so that it can neither end the line nor move the cursor.
fn write_printable(out: &mut String, text: &str) -> fmt::Result {
    let kept = bounded(text);
    for character in kept.chars() {
        match character {
            '\\' => out.write_str("\\\\")?,
            // Also characters that turn the direction of writing.
            _ if character.is_control() || matches!(character, '\u{200e}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                write!(out, "{}", character.escape_default())?;
            }
            _ => out.write_char(character)?,
        }
    }
    if kept.len() < text.len() { out.write_str("...") } else { Ok(()) }
}

/// The same between double quotes.
fn write_quoted(out: &mut String, text: &str) -> fmt::Result {
    let mut parts = text.split('"');
    write_printable(out, parts.next().unwrap_or_default())?;
    parts.try_for_each(|part| {
        out.write_str("\\\"")?;
        write_printable(out, part)
    })
}

/// The same as nginx writes it: quotes, backslashes and what cannot be seen as `\xNN`. What a guest has
/// written that way already stays as it is.
fn write_combined(out: &mut String, text: &str) -> fmt::Result {
    let kept = bounded(text);
    for (at, character) in kept.char_indices() {
        let is_escape = || {
            let digits = kept.as_bytes().get(at + 2..at + 4);
            kept[at..].starts_with("\\x") && digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        };
        match character {
            '\\' if is_escape() => out.write_char(character)?,
            '"' | '\\' => write!(out, "\\x{:02X}", u32::from(character))?,
            ' '..='~' => out.write_char(character)?,
            _ => character.encode_utf8(&mut [0; 4]).bytes().try_for_each(|byte| write!(out, "\\x{byte:02X}"))?,
        }
    }
    if kept.len() < text.len() { out.write_str("...") } else { Ok(()) }
}

/// As much of a text from outside as is worth keeping.
fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(REPORT_BYTES)]
}

struct Peer(Option<SocketAddr>);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(peer) => peer.ip().to_canonical().fmt(f),
            None => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ended::{Breach, Phase};

    #[test]
    fn what_a_client_says_cannot_forge_a_line() {
        let mut line = String::new();
        write_printable(&mut line, "GET /a\r\n#1 forged \x1b[31m\u{202e} \\n").expect("a string takes everything");
        assert_eq!(line, "GET /a\\r\\n#1 forged \\u{1b}[31m\\u{202e} \\\\n");
    }

    #[test]
    fn what_a_client_says_cannot_pass_for_what_the_host_says() {
        let line = |request: &str| {
            let mut line = String::new();
            let exchange = Exchange {
                client: 1,
                peer: None,
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
            exchange_as_text(&mut line, &exchange).expect("a string takes everything");
            line
        };
        assert!(line("GET /a HTTP/1.1").starts_with("#1 unix GET /a 400 "));
        assert!(line("GET /a 200 1 MiB HTTP/1.1").starts_with("#1 unix \"GET /a 200 1 MiB\" 400 "));
        assert!(line("GET\" 200 x").starts_with("#1 unix \"GET\\\" 200 x\" 400 "));
        assert!(line("").starts_with("#1 unix - 400 "));
    }

    #[test]
    fn programs_are_told_which_and_how_much_in_words_of_their_own() {
        let breach = Ended::Breach(Breach::TooManyActions(65));
        let stuck = Ended::OverLimit { limit: Limit::Cpu(Duration::from_millis(50)), backtrace: vec!["a::b".into()] };
        for (ended, kind, which, bound, detail) in [
            (Ended::Finished, "finished", None, None, "finished"),
            (Ended::TimedOut(Phase::Stall), "timed-out", Some("stall"), None, "timed out: nothing read of the reply"),
            (stuck, "over-limit", Some("cpu"), Some(50_000), "over limit: cpu 50 ms for one event, in a::b"),
            (Limit::Memory(8 << 20).into(), "over-limit", Some("memory"), Some(8 << 20), "over limit: memory 8 MiB"),
            (breach, "contract-breach", Some("too-many-actions"), None, "contract breach: 65 actions in one list"),
            (Ended::TurnedAway(Reason::Full), "turned-away", Some("full"), None, "turned away: the server is full"),
        ] {
            let mut line = String::new();
            let life = Life { ended, ..Life::turned_away(1, None, Reason::Full) };
            life_as_json(&mut line, &life).expect("a string takes everything");
            let told: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
            let expected = serde_json::json!([kind, which, bound, detail]);
            assert_eq!(serde_json::json!([told["ended"], told["which"], told["bound"], told["detail"]]), expected);
        }
    }

    #[test]
    fn a_combined_line_has_bytes_escaped_once_and_quotes_never_bare() {
        let mut line = String::new();
        write_combined(&mut line, "GET /\\xff\"\\\" \u{1b}ü\\x HTTP/1.1").expect("a string takes everything");
        assert_eq!(line, "GET /\\xff\\x22\\x5C\\x22 \\x1B\\xC3\\xBC\\x5Cx HTTP/1.1");
    }

    #[test]
    fn what_a_client_says_is_bounded() {
        let mut line = String::new();
        write_printable(&mut line, &"ü".repeat(REPORT_BYTES)).expect("a string takes everything");
        assert!(line.len() <= REPORT_BYTES + 3 && line.ends_with("..."));
    }
}
