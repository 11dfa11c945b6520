//! What a server writes to its standard error, line by line as it comes.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crate::wait::PATIENCE;

/// The lines so far, and whether there will be more.
#[derive(Default)]
pub struct Log {
    written: Mutex<Written>,
    changed: Condvar,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Reads a pipe to its end, on a thread of its own.
    pub fn of(pipe: impl Read + Send + 'static) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let writer = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                writer.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
                writer.changed.notify_all();
            }
            writer.lock().ended = true;
            writer.changed.notify_all();
        });
        log
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// Waits for a line; it may be there already.
    #[track_caller]
    pub fn wait_for(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        self.wait_until(what, |lines| lines.iter().find(|line| is_it(line)).cloned())
    }

    /// Waits until something is found in the lines so far.
    #[track_caller]
    pub fn wait_until<T>(&self, what: &str, find: impl Fn(&[String]) -> Option<T>) -> T {
        let began = Instant::now();
        let mut written = self.lock();
        loop {
            if let Some(found) = find(&written.lines) {
                return found;
            }
            let left = PATIENCE.saturating_sub(began.elapsed());
            if written.ended || left.is_zero() {
                let lines = written.lines.join("\n");
                drop(written);
                panic!("{what}: not in\n{lines}");
            }
            (written, _) = self.changed.wait_timeout(written, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits until there will be no more lines, and gives all of them.
    #[track_caller]
    pub fn wait_for_end(&self) -> Vec<String> {
        let written = self.lock();
        let (written, _) = self
            .changed
            .wait_timeout_while(written, PATIENCE, |written| !written.ended)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(written.ended, "the log ends with the server");
        written.lines.clone()
    }
}
