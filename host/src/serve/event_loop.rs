//! A loop: a thread with an event queue of its own and some of the clients.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::limits::SLOW_LANE;
use crate::sync::lock;

/// A loop, until it is dropped.
pub(super) struct EventLoop {
    runtime: Option<Runtime>,
    /// Keeps the spare thread waiting.
    _spare: mpsc::SyncSender<()>,
}

impl EventLoop {
    /// A runtime of one worker is a loop that can hand itself to another thread when a guest computes for
    /// long (see `slow_lane`), and that shares nothing with its neighbours.
    ///
    /// # Errors
    ///
    /// Fails where the process may have no more threads or descriptors.
    pub(super) fn start(number: usize) -> io::Result<Self> {
        let threads = || {
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .max_blocking_threads(SLOW_LANE + 1)
                // Tasks from outside come first. One of them shows a guest that hands the loop over that another
                // thread runs it: among all that is ready to run, it would be seen too late.
                .global_queue_interval(1)
                .thread_name(format!("loop-{number}"))
                .enable_io()
                .enable_time()
                .build()?;
            // A spare thread, which does nothing. While there is one, tokio has a loop wait that no thread can be
            // started for. Without one, it panics.
            let (spare, dropped) = mpsc::sync_channel::<()>(0);
            runtime.spawn_blocking(move || dropped.recv());
            Ok(Self { runtime: Some(runtime), _spare: spare })
        };
        // tokio panics where it cannot start a thread. Whether it can is found out first, without a word on
        // stderr, and it is not trusted: others may have taken the threads meanwhile.
        can_start(2).map_err(|error| no_thread(&error))?;
        let started = catch_unwind(AssertUnwindSafe(threads));
        started.unwrap_or_else(|_| Err(no_thread(&io::ErrorKind::WouldBlock.into())))
    }

    pub(super) fn handle(&self) -> &Handle {
        self.runtime.as_ref().expect("it is there until it is dropped").handle()
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn no_thread(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("a loop needs two threads, and they cannot be started: {error}"))
}

/// Whether so many threads can be started.
fn can_start(threads: usize) -> io::Result<()> {
    let (go, wait) = mpsc::sync_channel::<()>(0);
    let wait = Arc::new(Mutex::new(wait));
    let mut started = Vec::new();
    for _ in 0..threads {
        let wait = Arc::clone(&wait);
        started.push(thread::Builder::new().spawn(move || {
            let own = Path::new("/proc/thread-self").read_link();
            // Until all are there.
            let _ = lock(&wait).recv();
            own
        })?);
    }
    drop(go);
    for thread in started {
        if let Ok(Ok(own)) = thread.join() {
            wait_until_gone(&Path::new("/proc").join(own));
        }
    }
    Ok(())
}

/// Waits until the kernel counts a thread no more that has ended: a little later than it can be joined.
fn wait_until_gone(thread: &Path) {
    let looks = 0..100;
    for _ in looks {
        if !thread.exists() {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::sandbox::slow_lane::{Entry, SlowLane};

    fn compute(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_loop_with_much_to_do_is_seen_to_run_on_another_thread() {
        let event_loop = EventLoop::start(0).expect("threads can be started");
        let (entered, entry) = mpsc::channel();
        event_loop.handle().spawn(async move {
            for _ in 0..50 {
                tokio::spawn(async { compute(Duration::from_millis(10)) });
            }
            entered.send(matches!(SlowLane::default().enter(), Entry::Place(_))).expect("the test waits");
        });
        assert_eq!(entry.recv(), Ok(true), "the loop was not seen to run elsewhere");
    }
}
