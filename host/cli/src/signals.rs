//! What signals ask of the server.
//!
//! SIGINT and SIGTERM stop it, SIGHUP reloads, SIGUSR1 opens the log again. SIGHUP stops it where it means that
//! its terminal is gone: nobody would know that the server still runs.

use std::fs::File;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{self as posix, SigHandler, SigSet};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Stop,
    /// Load the guest again, and open the log again.
    Reload,
    ReopenLog,
    /// Not a signal: another server has taken over.
    TakenOver,
    /// Not a signal: what was loaded beside is there.
    Loaded,
}

/// How signals stood when the program started.
pub(crate) struct AtStart {
    hangup: Hangup,
}

/// What SIGHUP means.
enum Hangup {
    /// A reload, whatever happens to the terminal: there is none, or `nohup` has said so.
    Reload,
    /// A stop if this terminal is gone.
    Terminal(File),
}

/// Undoes what a parent may have left to this process, and asks what SIGHUP will mean. To be called first, on
/// the only thread that there is: all others inherit it.
pub(crate) fn prepare() -> AtStart {
    // A parent that blocks SIGTERM would have made a server that cannot be stopped.
    let _ = SigSet::empty().thread_set_mask();
    // A source that grows beyond RLIMIT_FSIZE is to end with a reason, and not the process.
    let _ = ignore(posix::Signal::SIGXFSZ);
    // Until the server waits for it. `nohup` leaves it ignored.
    let was_ignored = ignore(posix::Signal::SIGHUP).is_ok_and(|before| matches!(before, SigHandler::SigIgn));
    let hangup = match File::open("/dev/tty") {
        Ok(terminal) if !was_ignored => Hangup::Terminal(terminal),
        _ => Hangup::Reload,
    };
    if !was_ignored {
        // Commands that do not wait for signals end by it as ever.
        let _ = default(posix::Signal::SIGHUP);
    }
    AtStart { hangup }
}

fn ignore(which: posix::Signal) -> nix::Result<SigHandler> {
    handle(which, SigHandler::SigIgn)
}

fn default(which: posix::Signal) -> nix::Result<SigHandler> {
    handle(which, SigHandler::SigDfl)
}

/// Says what becomes of a signal, and what would have become of it before.
fn handle(which: posix::Signal, how: SigHandler) -> nix::Result<SigHandler> {
    #[expect(unsafe_code, reason = "what a signal does is set by a foreign function")]
    // SAFETY: no handler of this process is involved, only the kernel's own two.
    unsafe {
        posix::signal(which, how)
    }
}

impl Hangup {
    /// What a SIGHUP that has just come asks for.
    fn means(&self) -> Signal {
        /// The signal may be here a moment before the terminal is seen to be gone.
        const LOOKS: u32 = 5;
        const REST: Duration = Duration::from_millis(20);
        let Self::Terminal(terminal) = self else { return Signal::Reload };
        for look in 0..LOOKS {
            if look > 0 {
                thread::sleep(REST);
            }
            // EIO: it was hung up. ENOTTY: it is no longer the terminal of this process.
            if rustix::termios::tcgetpgrp(terminal).is_err() {
                return Signal::Stop;
            }
        }
        Signal::Reload
    }
}

/// Signals that no longer end the process at once, and wait until somebody listens.
pub(crate) struct Caught {
    hangup: Hangup,
    runtime: Runtime,
    streams: Streams,
}

struct Streams {
    interrupt: Stream,
    terminate: Stream,
    hangup: Stream,
    user1: Stream,
}

/// Catches signals from now on, without a thread: the walls have to stand before the first one starts.
pub(crate) fn catch(at_start: AtStart) -> io::Result<Caught> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let on = |kind| {
        let _inside = runtime.enter();
        signal(kind)
    };
    let streams = Streams {
        interrupt: on(SignalKind::interrupt())?,
        terminate: on(SignalKind::terminate())?,
        hangup: on(SignalKind::hangup())?,
        user1: on(SignalKind::user_defined1())?,
    };
    Ok(Caught { hangup: at_start.hangup, runtime, streams })
}

impl Caught {
    /// A message for each signal since they are caught, and where others are put among them. Several of a kind before
    /// this is called are one.
    pub(crate) fn listen(self) -> io::Result<(mpsc::Sender<Signal>, mpsc::Receiver<Signal>)> {
        let (sender, signals) = mpsc::channel();
        let wake = sender.clone();
        let Self { hangup, runtime, mut streams } = self;
        thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                loop {
                    let what = streams.next(&hangup).await;
                    if sender.send(what).is_err() {
                        return;
                    }
                }
            });
        })?;
        Ok((wake, signals))
    }
}

impl Streams {
    async fn next(&mut self, hangup: &Hangup) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Stop,
            _ = self.terminate.recv() => Signal::Stop,
            _ = self.hangup.recv() => hangup.means(),
            _ = self.user1.recv() => Signal::ReopenLog,
        }
    }
}
