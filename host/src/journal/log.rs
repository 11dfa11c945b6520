//! Writes what is told of clients as lines, on a thread of its own.
//!
//! Rule: a client never waits for the log.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::events::{Exchange, Journal};
use super::text::Detail;
use super::{combined, json, text};
use crate::ended::{Closed, Ended, Rejection};
use crate::limits::{JOURNAL_BYTES, JOURNAL_PATIENCE, JOURNAL_REST};
use crate::sync::lock;

/// Lines for the operator, or for the operator's programs.
#[derive(Debug)]
pub struct Log {
    lines: Arc<Lines>,
    format: Format,
    /// When it was last said of a client that there was no place for it, for each way in which that is so:
    /// in seconds since 1970.
    no_place: [AtomicI64; 4],
}

/// How the lines of a [`Log`] look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people: a line for each exchange, and one for each client that ended badly.
    Text,
    /// The same, and where in the guest it happened.
    Verbose,
    /// A JSON object for each exchange (`"event":"exchange"`) and for each client (`"event":"closed"`),
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
    /// Whether the same was said of another client in this second. Where there is one there are thousands,
    /// and the summary counts them.
    fn was_said(&self, ended: &Ended) -> bool {
        let last = match ended {
            Ended::Rejected(Rejection::MaxClients) => &self.no_place[0],
            Ended::Rejected(Rejection::PerAddress) => &self.no_place[1],
            Ended::Rejected(Rejection::Faults) => &self.no_place[2],
            Ended::Displaced => &self.no_place[3],
            _ => return false,
        };
        let now = jiff::Timestamp::now().as_second();
        last.swap(now, Ordering::Relaxed) == now
    }

    /// Writes to `out`, on a thread of its own, until it is dropped.
    pub fn new(format: Format, out: impl Write + Send + 'static) -> io::Result<Self> {
        let lines = Arc::new(Lines::default());
        let shared = Arc::clone(&lines);
        thread::Builder::new().name("log".into()).spawn(move || shared.write_to(out, format))?;
        Ok(Self { lines, format, no_place: Default::default() })
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
            Format::Text | Format::Verbose => text::exchange(line, exchange),
            Format::Json => json::exchange(line, exchange),
            Format::Combined => combined::exchange(line, exchange),
        });
    }

    fn closed(&self, closed: &Closed) {
        match self.format {
            Format::Json => self.lines.add(|line| json::closed(line, closed)),
            Format::Combined => {}
            Format::Text | Format::Verbose if has_no_line(closed) => {}
            Format::Text | Format::Verbose if self.was_said(&closed.ended) => {}
            Format::Text => self.lines.add(|line| text::closed(line, closed, Detail::Brief)),
            Format::Verbose => self.lines.add(|line| text::closed(line, closed, Detail::Backtrace)),
        }
    }

    fn notice(&self, text: &str) {
        self.lines.add(|line| notice_as(line, text, self.format));
    }
}

/// Whether there is nothing to say of a connection that closed.
fn has_no_line(closed: &Closed) -> bool {
    closed.is_ordinary() && closed.output.is_empty() && closed.reports_left_out == 0
}

/// Writes a notice in the way of `format`.
fn notice_as(line: &mut String, text: &str, format: Format) -> fmt::Result {
    match format {
        Format::Json => json::notice(line, text),
        // It has lines for exchanges only.
        Format::Combined => Ok(()),
        Format::Text | Format::Verbose => text::notice(line, text),
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
        self.lines.lock().ended = true;
        self.lines.added.notify_one();
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        lock(&self.state)
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
