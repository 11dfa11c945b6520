//! Which tests run side by side. Most do; a test that measures time or memory has the machine to itself.
//!
//! The program under test is the lock: [`Server`](crate::Server) shares it while it runs, [`alone`] takes it.
//! So it also holds between test programs, and between two runs of `cargo test`.

use std::cell::Cell;
use std::fs::File;

use crate::under_test::program_under_test;

thread_local! {
    /// Whether this thread's test is alone. Its own servers have nothing to wait for.
    static IS_ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Keeps all other tests of this program waiting until it is dropped.
#[must_use = "other tests run again when it is dropped"]
pub struct Alone(#[expect(dead_code, reason = "holds the lock")] File);

impl Drop for Alone {
    fn drop(&mut self) {
        IS_ALONE.set(false);
    }
}

/// Waits until no other test runs, and keeps it so. Start servers on the thread that called this: those of
/// another thread would wait for it.
pub fn alone() -> Alone {
    raise_descriptor_limit();
    let lock = lock_file();
    lock.lock().expect("a file can be locked");
    IS_ALONE.set(true);
    Alone(lock)
}

/// What a server holds while it runs. None: its test is alone.
pub(crate) fn shared() -> Option<File> {
    if IS_ALONE.get() {
        return None;
    }
    let lock = lock_file();
    lock.lock_shared().expect("a file can be locked");
    Some(lock)
}

fn lock_file() -> File {
    File::open(program_under_test()).expect("the program under test can be read")
}

/// Lets this process open as many descriptors as it may: a crowd takes one for each client.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("a limit can be raised to its maximum");
}
