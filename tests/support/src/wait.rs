//! Waiting for something that does not announce itself, with an end.

use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that should happen at once. Only a failing test waits this long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long between two looks.
const GLANCE: Duration = Duration::from_millis(2);

/// Waits until the server looks up the names of open files again: it serves what was there 10 ms ago.
pub fn until_files_are_looked_up() {
    thread::sleep(Duration::from_millis(11));
}

/// Polls a condition until it is true.
#[track_caller]
pub fn eventually(what: &str, is_it: impl FnMut() -> bool) {
    eventually_or(|| what.to_owned(), is_it);
}

/// The same, with a message that is made when it fails.
#[track_caller]
pub fn eventually_or(what: impl Fn() -> String, mut is_it: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_it() {
        assert!(began.elapsed() < PATIENCE, "this does not come true: {}", what());
        thread::sleep(GLANCE);
    }
}

/// Waits for a process to end. None: it is still running after this time.
pub fn exit_within(patience: Duration, process: &mut Child) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = process.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if began.elapsed() > patience {
            return None;
        }
        thread::sleep(GLANCE);
    }
}

/// Sets a flag when it is dropped, so that threads of a scope end also where the test fails.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
