//! The clock by which guests that compute for long are interrupted.
//!
//! Rule: it ticks only while guests compute. A server without work makes no system calls.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};

use wasmtime::{Engine, EngineWeak};

use crate::limits::{QUIET_TICKS, TICK};

/// The clock of one engine.
pub(crate) struct Ticker {
    state: Arc<State>,
    thread: Thread,
}

#[derive(Default)]
struct State {
    /// Calls under way.
    running: AtomicUsize,
    stopped: AtomicBool,
    ended: AtomicBool,
}

/// While this lives, the clock ticks.
pub(crate) struct Ticking<'a>(&'a State);

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> io::Result<Self> {
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        // The clock does not keep the engine: its address space is given back with the guest, and not when
        // this thread comes to notice.
        let engine = engine.weak();
        let thread = thread::Builder::new().name("ticker".into()).spawn(move || tick(&shared, &engine))?;
        Ok(Self { state, thread: thread.thread().clone() })
    }

    /// Makes the clock tick until what is returned is dropped.
    pub(crate) fn run(&self) -> Ticking<'_> {
        self.state.running.fetch_add(1, Ordering::SeqCst);
        // Sequential consistency on both sides: either this sees that the clock has stopped, or the
        // clock sees that there is a call.
        if self.state.stopped.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(&self.state)
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn tick(state: &State, engine: &EngineWeak) {
    let ended = || state.ended.load(Ordering::SeqCst);
    let idle = || state.running.load(Ordering::SeqCst) == 0;
    let mut quiet = 0;
    while !ended() {
        thread::sleep(TICK);
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
        quiet = if idle() { quiet + 1 } else { 0 };
        if quiet == QUIET_TICKS {
            state.stopped.store(true, Ordering::SeqCst);
            while idle() && !ended() {
                thread::park();
            }
            state.stopped.store(false, Ordering::SeqCst);
            quiet = 0;
        }
    }
}
