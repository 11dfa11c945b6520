//! What the program prints: answers on standard output, everything else on standard error.
//!
//! Rule: an answer that cannot be written fails the command. What goes to standard error is for whoever
//! reads it; nothing depends on that, and a running server never waits for it.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::failure::Failure;

/// How long a running server waits for whoever reads standard error.
const PATIENCE: Duration = Duration::from_millis(200);

/// Prints an answer as it is. `println` would panic where this fails.
pub(crate) fn print(answer: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(answer).and_then(|()| stdout.flush()).map_err(|error| Failure::output(&error))
}

/// Prints a line of an answer.
pub(crate) fn print_line(line: fmt::Arguments<'_>) -> Result<(), Failure> {
    print(format!("{line}\n").as_bytes())
}

/// Prints what clap has to say: help and the version are answers, errors are not.
pub(crate) fn print_clap(error: &clap::Error) -> Result<(), Failure> {
    match error.print().and_then(|()| io::stdout().flush()) {
        Err(error) => Err(Failure::output(&error)),
        Ok(()) => Ok(()),
    }
}

/// Prints a line to standard error.
pub(crate) fn report(line: fmt::Arguments<'_>) {
    // In one piece: the log may be writing too.
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Prints a line to standard error while the server runs or stops.
pub(crate) fn report_in_passing(line: String) {
    let line = Arc::<str>::from(line);
    let (done, wait) = mpsc::channel();
    let printed = Arc::clone(&line);
    let printer = thread::Builder::new().name("report".into()).spawn(move || {
        report(format_args!("{printed}"));
        // Nobody waits any more when it took too long.
        let _ = done.send(());
    });
    match printer {
        Ok(_) => _ = wait.recv_timeout(PATIENCE),
        Err(_) if has_room() => report(format_args!("{line}")),
        Err(_) => {}
    }
}

/// Whether a line can be printed without waiting, or soon: where there is no thread that could wait for it.
fn has_room() -> bool {
    let stderr = io::stderr();
    let patience = Timespec::try_from(PATIENCE).expect("it is short");
    // A pipe with room has it for more than a line.
    poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&patience)).is_ok_and(|ready| ready > 0)
}

/// A line on the terminal that says what is going on, until it is replaced. Nowhere else.
pub(crate) struct Status {
    is_terminal: bool,
}

impl Status {
    pub(crate) fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal() }
    }

    pub(crate) fn show(&self, text: &str) {
        self.write(&one_line(text));
    }

    pub(crate) fn clear(&self) {
        self.write("\r\x1b[2K");
    }

    fn write(&self, text: &str) {
        if self.is_terminal {
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }
}

/// What fits into one line of a narrow terminal, which is 80 columns wide: a longer text could not be taken back. The
/// name of a server may hold anything, and would do it to the terminal.
fn one_line(text: &str) -> String {
    const COLUMNS: usize = 79;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(COLUMNS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_fits_into_one_line_of_80_columns() {
        for claim in multiclient_isolate::Claim::ALL {
            let line = one_line(&format!("{}: {}", claim.sentence(), claim.attack()));
            assert!(line.starts_with(claim.sentence()) && line.chars().count() < 80, "{line}");
        }
        assert_eq!(one_line(&"ä".repeat(100)).chars().count(), 79);
        assert_eq!(one_line("a\x1b[2J\r\nb"), "a [2J  b");
    }
}
