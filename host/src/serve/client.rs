//! One client, from accept to close: the interpreter of what its guest wants done.
//!
//! Rule: nothing here knows what the bytes mean.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task;
use tokio::time::{Instant, sleep_until, timeout};

use super::admission::Admission;
use super::buffer::with_buffer;
use super::failed::lost;
use super::pace::Pace;
use super::reports::Reports;
use super::roster::Line;
use super::shared::{Shared, Stop};
use super::silent::{Holds, Silent};
use super::untold::Untold;
use super::wait::until;
use crate::budget::{Charge, Exhausted};
use crate::contract::{Event, Facts, Found, Phase, Portion, Window};
use crate::ended::{Breach, Closed, Ended, Limit, Timeout};
use crate::limits::{FIRST_WORDS, LIST_TIME, OPEN_TIME, RESERVE_TIMEOUT, TURN_TIME};
use crate::protection::Protection;
use crate::record::recording::Recording;
use crate::sandbox::instance::{self, Arrival, Place, Sandbox, Spent};
use crate::sandbox::plan::{Plan, Wait};
use crate::sandbox::slow_lane::SlowLane;
use crate::socket::{Follows, Moved, Socket};
use crate::sources::{Resolved, Source, View};

/// A client that was admitted.
pub(crate) struct Client {
    pub(crate) number: u64,
    pub(crate) peer: Option<SocketAddr>,
    /// Of a proxy that has told where the client comes from. Few have one, and it would make all of them larger.
    pub(crate) via: Option<Box<SocketAddr>>,
    pub(crate) carrier: Carrier,
    // Dropped before the socket: a client that sees its connection closed and comes again finds its place
    // free.
    pub(crate) admission: Admission,
    pub(crate) socket: Socket,
    pub(crate) shared: Arc<Shared>,
    pub(crate) slow_lane: Arc<SlowLane>,
    pub(crate) silent: Arc<Silent>,
    pub(crate) stop: watch::Receiver<Stop>,
}

/// What a connection runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Tcp,
    Unix,
}

impl Client {
    /// Serves the client, and tells the journal when its connection is closed.
    pub(crate) fn serve(self) -> impl Future<Output = ()> {
        let untold = Untold::new(self.number, self.peer, &self.shared);
        self.serve_greeted(Instant::now(), untold)
    }

    /// The same for a client that was accepted and greeted before.
    pub(super) async fn serve_greeted(self, accepted: Instant, untold: Untold) {
        let mut connection = Connection::new(self, accepted);
        // A client that says nothing costs the wait for its first bytes. What comes after that takes more,
        // and is made when they have come.
        let served = match connection.receive(Phase::Partial).await {
            Ok(plan) => Box::pin(connection.run(plan)).await,
            Err(ended) => Err(ended),
        };
        let ended = match served {
            Ok(()) => Ended::Finished,
            Err(ended) => ended,
        };
        connection.drop_sandbox();
        connection.break_off(&ended).await;
        let (tally, recording) = (connection.tally, connection.recording);
        let closed = Closed {
            ended,
            bytes_in: tally.bytes_in,
            bytes_out: tally.bytes_out,
            exchanges: tally.exchanges,
            reports_left_out: connection.reports.left_out(),
            memory_peak: tally.spent.memory_peak,
            cpu: tally.spent.cpu,
            output: tally.spent.output,
            duration: accepted.elapsed(),
            ..untold.closed(Ended::Finished)
        };
        untold.tell(closed, recording);
    }
}

/// What a connection has come to so far.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) exchanges: u64,
    /// By the guest, once its instance is dropped.
    pub(super) spent: Spent,
    /// Of the guest's computing time, what came before the last byte that moved.
    cpu_at_progress: Duration,
    /// What the host has done for the guest since then.
    host_time: Duration,
}

/// What is asked of the client, and since when.
#[derive(Clone, Copy)]
pub(super) struct Asking {
    phase: Phase,
    since: Instant,
}

/// How far a client's session has come in hearing that the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    /// What has arrived is taken to it once more.
    LastCall,
    Told,
}

/// The connection of a client, and its session.
pub(super) struct Connection {
    pub(super) client: Client,
    /// Made when the first bytes come; dropped when it will not be called again.
    pub(super) sandbox: Option<Sandbox>,
    pub(super) source: Option<Source>,
    /// What the exchange that is under way sees of the sources.
    pub(super) view: View,
    /// None: bytes were sent since, so that the next wait begins anew.
    pub(super) asking: Option<Asking>,
    /// Whether `receive` may find something without waiting.
    unread: bool,
    pub(super) client_finished: bool,
    stopping: Stopping,
    /// When the exchange that is under way began, whether anything of it has come, and what had been sent
    /// by then.
    pub(super) exchange_since: Instant,
    pub(super) exchange_heard: bool,
    pub(super) exchange_from: u64,
    /// Whether sending has failed in the middle of a response.
    pub(super) broke_off: bool,
    pub(super) pace: Option<Pace>,
    /// Where sessions are recorded, and there is one by now.
    recording: Option<Box<Recording>>,
    /// What of the memory of all clients the host holds for this one, beside its guest.
    held: Charge,
    pub(super) reports: Reports,
    pub(super) line: Line,
    pub(super) tally: Tally,
}

impl Connection {
    fn new(client: Client, accepted: Instant) -> Self {
        let pace = client.shared.limits.rate.map(|rate| Pace::new(rate, accepted));
        let held = client.shared.budget.charge();
        let line = Line::new(client.shared.roster.as_ref(), client.number, client.peer);
        Self {
            client,
            sandbox: None,
            source: None,
            view: View::default(),
            // The time for a first request runs from the connection: a client that connects means to ask.
            asking: Some(Asking { phase: Phase::Partial, since: accepted }),
            unread: true,
            client_finished: false,
            stopping: Stopping::No,
            exchange_since: accepted,
            exchange_heard: false,
            exchange_from: 0,
            broke_off: false,
            pace,
            recording: None,
            held,
            reports: Reports::new(accepted),
            line,
            tally: Tally::default(),
        }
    }

    async fn run(&mut self, mut plan: Plan) -> Result<(), Ended> {
        loop {
            if let Wait::Close(_) = plan.wait {
                // The guest will not be called again: what follows needs a socket and no instance.
                self.drop_sandbox();
            }
            // The end of a connection goes with its last bytes in one packet, and wakes the client once. With a
            // rate there may be a pause between them.
            let last = match plan.wait {
                Wait::Close(_) if self.pace.is_none() => Follows::More,
                _ => Follows::Nothing,
            };
            if let Err(ended) = self.carry_out(&mut plan.steps, last).await {
                return Err(self.left_in_the_middle(plan.wait, ended));
            }
            self.hold(plan.wait.bytes())?;
            plan = match plan.wait {
                Wait::Receive(phase) => self.receive(phase).await?,
                Wait::Open(name) => self.open(&name).await?,
                Wait::List(portion) => match self.list(portion.clone()).await {
                    Ok(plan) => plan,
                    Err(ended) => return Err(self.left_in_the_middle(Wait::List(portion), ended)),
                },
                Wait::Past(offset) => match self.past(offset).await {
                    Ok(window) => self.advance(&Event::Available(window))?,
                    Err(ended) => return Err(self.left_in_the_middle(Wait::Past(offset), ended)),
                },
                Wait::Proceed => {
                    self.worked(TURN_TIME);
                    task::yield_now().await;
                    self.advance(&Event::Proceeded)?
                }
                Wait::Close(remainder) => return self.close(remainder).await,
            };
            // A client that asks for much at once shares the loop with those that ask for little.
            task::consume_budget().await;
        }
    }

    /// Tells the session what happened. All events reach the guest through here, so that a recording has
    /// them all.
    pub(super) fn advance(&mut self, event: &Event<'_>) -> Result<Plan, Ended> {
        let Some(sandbox) = &mut self.sandbox else {
            return Err(Ended::HostFault("an event for a session that is over".into()));
        };
        let now = instance::now();
        if let Some(recording) = &mut self.recording {
            recording.event(now, event);
        }
        let actions = sandbox.advance(now, event)?;
        if self.line.is_kept() {
            self.line.computed(sandbox.cpu(), Some(sandbox.memory_peak()));
        }
        if let Some(recording) = &mut self.recording {
            recording.actions(&actions);
        }
        let limits = &self.client.shared.limits;
        let plan = Plan::new(actions, limits).map_err(Ended::Breach)?;
        let idle_cpu = sandbox.cpu().saturating_sub(self.tally.cpu_at_progress) + self.tally.host_time;
        if idle_cpu > limits.idle_cpu {
            return Err(Limit::IdleCpu(limits.idle_cpu).into());
        }
        self.hold(plan.bytes())?;
        Ok(plan)
    }

    /// Charges what the host holds from now on: so many bytes to be sent, and what was recorded.
    fn hold(&mut self, bytes: usize) -> Result<(), Ended> {
        let recorded = self.recording.as_ref().map_or(0, |recording| recording.bytes());
        let held = self.held.set((bytes + recorded) as u64);
        held.map_err(|Exhausted| Limit::TotalMemory(self.held.budget().total()).into())
    }

    /// Drops the instance, and keeps what it came to.
    fn drop_sandbox(&mut self) {
        if let Some(mut sandbox) = self.sandbox.take() {
            self.tally.spent = sandbox.spent();
            self.line.computed(self.tally.spent.cpu, None);
        }
    }

    /// Notes what the host has done for the guest: while no byte moves, that counts as if the guest had done it.
    fn worked(&mut self, time: Duration) {
        if self.client.shared.lacks != Some(Protection::Work) {
            self.tally.host_time += time;
        }
    }

    /// Notes that bytes have moved: the CPU time so far was not idle.
    pub(super) fn progress(&mut self) {
        self.tally.host_time = Duration::ZERO;
        if let Some(sandbox) = &self.sandbox {
            self.tally.cpu_at_progress = sandbox.cpu();
        }
    }

    // ---- what a guest can wait for

    async fn receive(&mut self, phase: Phase) -> Result<Plan, Ended> {
        self.view = View::default();
        let asking = match self.asking {
            Some(asking) if asking.phase == phase => asking,
            _ => *self.asking.insert(Asking { phase, since: Instant::now() }),
        };
        loop {
            if self.client_finished {
                // The guest goes on asking a client that will send no more.
                return Err(Ended::Disconnected);
            }
            if self.unread && self.sandbox.is_none() {
                self.find_memory().await;
            }
            if self.unread
                && let Some(plan) = self.try_receive()?
            {
                return Ok(plan);
            }
            let stops = *self.client.stop.borrow() != Stop::No;
            match self.stopping {
                // What has arrived by now came before the stop, and is still answered.
                Stopping::No if stops => (self.stopping, self.unread) = (Stopping::LastCall, true),
                Stopping::LastCall => {
                    self.stopping = Stopping::Told;
                    if self.sandbox.is_some() {
                        return self.advance(&Event::Stopping);
                    }
                    // Its first request may be on its way: a moment later it would have gone to the next server.
                    // Seldom: its room is made when it comes to that.
                    let patience = FIRST_WORDS.min(self.client.shared.limits.drain / 4);
                    match Box::pin(timeout(patience, self.wait_for_bytes(asking))).await {
                        Ok(Ok(())) => self.stopping = Stopping::LastCall,
                        // A client that has said nothing so far loses nothing.
                        Ok(Err(Ended::ShutDown)) | Err(_) => return Err(Ended::Finished),
                        Ok(Err(ended)) => return Err(ended),
                    }
                }
                Stopping::No | Stopping::Told => self.wait_for_bytes(asking).await?,
            }
        }
    }

    /// Has others make room for the instance of a client that is about to get one, where little memory is left.
    /// For one of the reserve there is some.
    async fn find_memory(&mut self) {
        let Client { socket, admission, shared, .. } = &self.client;
        if shared.budget.is_scarce() && admission.place() == Place::Regular && socket.has_unread() {
            shared.admissions.find_memory(&shared.budget).await;
        }
    }

    /// Takes what has arrived to the guest. None: nothing has.
    fn try_receive(&mut self) -> Result<Option<Plan>, Ended> {
        with_buffer(|buffer| match self.client.socket.receive(buffer) {
            Ok(Moved::Bytes(count)) => {
                // A buffer that is not full has emptied the socket: another attempt now would only
                // be told so.
                self.unread = self.client.socket.may_have_more(count, buffer.len());
                self.heard(count)?;
                self.advance(&Event::Received(Cow::Borrowed(&buffer[..count]))).map(Some)
            }
            Ok(Moved::End) if self.sandbox.is_none() => Err(Ended::Disconnected),
            Ok(Moved::End) => {
                self.client_finished = true;
                self.advance(&Event::Finished).map(Some)
            }
            Ok(Moved::Later) => {
                self.unread = false;
                Ok(None)
            }
            Err(error) => Err(lost(&error)),
        })
    }

    /// Counts what has come, and makes the instance for the first of it.
    fn heard(&mut self, count: usize) -> Result<(), Ended> {
        self.tally.bytes_in += count as u64;
        self.line.received(count as u64);
        self.reports.earn(count as u64);
        self.progress();
        if !self.exchange_heard {
            self.exchange_heard = true;
            self.exchange_since = Instant::now();
        }
        if self.sandbox.is_none() {
            let Client { number, admission, socket, shared, slow_lane, .. } = &self.client;
            let terms = shared.terms();
            // Where little memory is left, the client is told so while there is enough for that.
            let place = if shared.budget.is_short() { Place::Reserve } else { admission.place() };
            let arrival = Arrival { place, secure: socket.is_secure() };
            self.recording = shared.record(*number, arrival, &terms);
            let started = Sandbox::start(&terms, arrival, slow_lane);
            self.sandbox = Some(started.map_err(|(ended, spent)| {
                self.tally.spent = spent;
                ended
            })?);
        }
        Ok(())
    }

    async fn wait_for_bytes(&mut self, asking: Asking) -> Result<(), Ended> {
        let limits = &self.client.shared.limits;
        let (patience, timeout) = match (asking.phase, self.client.admission.place()) {
            (Phase::Idle, _) => (limits.idle_timeout, Timeout::Idle),
            (Phase::Partial, Place::Regular) => (limits.header_timeout, Timeout::Header),
            (Phase::Partial, Place::Reserve) => (limits.header_timeout.min(RESERVE_TIMEOUT), Timeout::Header),
        };
        // The socket may have been filled since it was registered; the attempt that follows finds out.
        self.unread = true;
        let Client { number, admission, socket, silent, stop, .. } = &mut self.client;
        let woken = if self.stopping == Stopping::Told { Stop::Now } else { Stop::Drain };
        let bytes = until(socket.readable(), asking.since + patience, timeout, stop, woken);
        if asking.phase == Phase::Partial && self.sandbox.is_some() {
            return bytes.await;
        }
        // In the middle of nothing: the place and the memory may go to somebody else.
        let holds = if self.sandbox.is_some() { Holds::Instance } else { Holds::Nothing };
        let displaced = silent.gives_way(admission.place(), *number, asking.since, holds);
        tokio::select! {
            biased;
            bytes = bytes => bytes,
            () = displaced => if socket.has_unread() { Ok(()) } else { Err(Ended::Displaced) },
        }
    }

    async fn open(&mut self, name: &[u8]) -> Result<Plan, Ended> {
        self.source = None;
        let began = Instant::now();
        let found = match self.client.shared.sources.open(&mut self.view, name) {
            Some(found) => found,
            None => {
                let asked = self.asks();
                let opening = self.client.shared.sources.open_from_disk(asked, name.to_vec());
                self.looked(opening).await?
            }
        };
        self.worked(TURN_TIME + began.elapsed().min(OPEN_TIME));
        match found {
            Ok(Resolved::Source(mut source)) => {
                if source.is_pending() {
                    self.join(&mut source).await?;
                }
                if source.moving().is_some() {
                    self.client.socket.note_reader();
                }
                let content = Arc::clone(&source.content);
                let shared = Arc::clone(&self.client.shared);
                let media_type = shared.sources.media_type().or(content.media_type.as_deref());
                let facts = Facts {
                    window: source.window(),
                    modified: content.modified,
                    version: Cow::Borrowed(&content.version),
                    media_type: media_type.map(Cow::Borrowed),
                };
                let plan = self.advance(&Event::Opened(Ok(Found::Source(facts))))?;
                self.line.opened(name, &source);
                self.source = Some(source);
                Ok(plan)
            }
            Ok(Resolved::Folder) => self.advance(&Event::Opened(Ok(Found::Folder))),
            Err(refusal) => self.advance(&Event::Opened(Err(refusal))),
        }
    }

    /// Waits until a live source has a place where this client may join it.
    async fn join(&mut self, source: &mut Source) -> Result<(), Ended> {
        let Client { socket, stop, .. } = &mut self.client;
        tokio::select! {
            biased;
            joined = source.join() => joined.map_err(Ended::from),
            _ = socket.failed() => Err(Ended::Disconnected),
            _ = stop.wait_for(|stop| *stop == Stop::Now) => Err(Ended::ShutDown),
        }
    }

    async fn list(&mut self, portion: Portion) -> Result<Plan, Ended> {
        self.source = None;
        let asked = self.asks();
        let listing = self.client.shared.sources.list(asked, portion);
        let began = Instant::now();
        let listing = self.looked(listing).await?;
        self.worked(TURN_TIME + began.elapsed().min(LIST_TIME));
        self.advance(&Event::Listed(listing.map(Arc::unwrap_or_clone)))
    }

    /// Waits until the open source has bytes past `offset`, or has ended.
    async fn past(&mut self, offset: u64) -> Result<Window, Ended> {
        self.worked(TURN_TIME);
        let source = self.source.as_mut().ok_or(Ended::Breach(Breach::NothingOpen))?;
        let Some(moving) = source.moving() else { return Ok(source.window()) };
        let deadline = Instant::now() + self.client.shared.limits.source_timeout;
        let Client { carrier, socket, stop, .. } = &mut self.client;
        // Of a unix socket the kernel tells closing from shutting one's side; and before anything is sent, nobody
        // can.
        let can_tell = *carrier == Carrier::Tcp && self.tally.bytes_out > self.exchange_from;
        let gone = async { if can_tell { socket.left().await } else { socket.failed().await } };
        self.unread = true;
        tokio::select! {
            biased;
            window = moving.past(offset) => window.map_err(Ended::from),
            _ = gone => Err(Ended::Disconnected),
            _ = stop.wait_for(|stop| *stop == Stop::Now) => Err(Ended::ShutDown),
            () = sleep_until(deadline) => Err(Ended::TimedOut(Timeout::Source)),
        }
    }
}
