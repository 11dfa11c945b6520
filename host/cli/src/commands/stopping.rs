//! How a server stops: it says so, serves on for a moment, drains, and cuts off who is left.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use multiclient::journal::{Size, Took};
use multiclient::{Running, Summary};

use crate::admin;
use crate::args::Serve;
use crate::bind::UnixPaths;
use crate::manager::Manager;
use crate::output::report_in_passing;
use crate::signals::Signal;
use crate::takeover::Offering;

/// How often a drain looks whether it is over, or is to be cut short.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// A server that is to stop.
pub(super) struct Stopping<'a> {
    pub(super) flags: &'a Serve,
    pub(super) server: Running,
    pub(super) admin: Option<admin::Serving>,
    pub(super) unix_paths: UnixPaths,
    pub(super) manager: &'a Manager,
    pub(super) offering: Option<Offering>,
}

impl Stopping<'_> {
    /// Stops it. A signal moves it on to the next step.
    pub(super) fn run(self, signals: &mpsc::Receiver<Signal>) -> Summary {
        let Self { flags, server, mut admin, unix_paths, manager, offering } = self;
        if let Some(admin) = &admin {
            admin.set_not_ready();
        }
        let is_taken_over = offering.as_ref().is_some_and(Offering::is_over);
        if !is_taken_over {
            serve_on(signals, flags.operation.drain_delay);
        }
        let draining = format!("draining for up to {}", Took(flags.operation.drain));
        match offering.and_then(Offering::end) {
            Some(process) => {
                report_in_passing(format!("note     taken over by process {process}"));
                manager.left_to(process, &draining);
                unix_paths.leave();
                admin.iter_mut().for_each(admin::Serving::leave);
            }
            None => {
                manager.stopping(&draining);
                // While they are still listened on: later they may be the next server's.
                drop(unix_paths);
            }
        }
        let summary = drain(server, signals, flags);
        // Last: it shows how the drain goes.
        if let Some(admin) = admin {
            admin.stop();
        }
        summary
    }
}

/// Serves for a while longer, or until another signal asks for the end.
fn serve_on(signals: &mpsc::Receiver<Signal>, delay: Duration) {
    let until = Instant::now() + delay;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        if let Ok(Signal::Stop | Signal::TakenOver) = signals.recv_timeout(left) {
            return;
        }
    }
}

/// Drains, and cuts off at the deadline or at a second signal.
fn drain(server: Running, signals: &mpsc::Receiver<Signal>, flags: &Serve) -> Summary {
    let patience = flags.operation.drain;
    server.drain();
    if !flags.operation.quiet && !server.wait(Duration::ZERO) {
        report_in_passing(format!("draining for up to {}; Ctrl-C again cuts off", Took(patience)));
    }
    let began = Instant::now();
    while !server.wait(DRAIN_LOOK) {
        if began.elapsed() >= Running::streams_last(patience) {
            server.end_streams();
        }
        if began.elapsed() >= patience || signals.try_iter().any(|signal| signal == Signal::Stop) {
            break;
        }
    }
    server.stop(Duration::ZERO)
}

/// What the server did.
pub(super) fn describe(summary: &Summary) -> String {
    let Summary { clients, bytes_out, guest_failures, cut_off, rejected, displaced, .. } = summary;
    let mut line = format!("{clients} clients, {} out", Size(*bytes_out));
    let counts = [(guest_failures, "failed by their guest"), (rejected, "rejected"), (displaced, "displaced")];
    for (count, what) in counts {
        if *count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    format!("{line}, {cut_off} cut off")
}
