//! One client's life: the interpreter of what its guest wants done.
//!
//! Rule: nothing here knows what the bytes mean.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::iter::Peekable;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;
use std::vec::Drain;

use tokio::sync::watch;
use tokio::task;
use tokio::time::{Instant, sleep_until, timeout};

use crate::capsule::Recording;
use crate::crowd::Admission;
use crate::ended::{Breach, Ended, Life, Limit, Phase};
use crate::journal::Exchange;
use crate::limits::{BURST, LINGER, LINGER_BYTES, PASS_BYTES, RECEIVED_BYTES, RESERVE_TIMEOUT, SMALL_PASS_BYTES};
use crate::sandbox::{self, Plan, Sandbox, Spent, Step, Wait, contract};
use crate::server::{Shared, Stop};
use crate::slow_lane::SlowLane;
use crate::socket::{Follows, Moved, Socket};
use crate::sources::{self, Found, Kind, Lost, Refusal, Source, Window};

thread_local! {
    /// What all clients of a loop read into and gather small replies in, one after the other: a client
    /// that waits holds no buffer.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; RECEIVED_BYTES]);
}

/// A client, from accept to close.
pub(crate) struct Client {
    pub(crate) number: u64,
    pub(crate) peer: Option<SocketAddr>,
    // Dropped before the socket: who sees that its connection is closed, and comes again, finds its place
    // free.
    pub(crate) admission: Admission,
    pub(crate) socket: Socket,
    pub(crate) shared: Arc<Shared>,
    pub(crate) slow_lane: Arc<SlowLane>,
    pub(crate) stop: watch::Receiver<Stop>,
}

impl Client {
    /// Lives the client's life, and tells the journal when it is over.
    pub(crate) async fn live(self) {
        let accepted = Instant::now();
        let shared = Arc::clone(&self.shared);
        let (client, peer) = (self.number, self.peer);
        let mut life = Living::new(self, accepted);
        // A client that says nothing costs the wait for its first bytes. What comes after that takes more,
        // and is made when they have come.
        let lived = match life.receive().await {
            Ok(plan) => Box::pin(life.run(plan)).await,
            Err(ended) => Err(ended),
        };
        let ended = match lived {
            Ok(()) => Ended::Finished,
            Err(ended) => ended,
        };
        life.retire();
        let (tally, recording) = (life.tally, life.recording);
        let life_over = Life {
            client,
            peer,
            ended,
            bytes_in: tally.bytes_in,
            bytes_out: tally.bytes_out,
            exchanges: tally.exchanges,
            memory_peak: tally.spent.memory_peak,
            cpu: tally.spent.cpu,
            output: tally.spent.output,
            capsule: None,
            duration: accepted.elapsed(),
        };
        shared.ended(life_over, recording);
    }
}

/// What a client's life has come to so far.
#[derive(Default)]
struct Tally {
    bytes_in: u64,
    bytes_out: u64,
    exchanges: u64,
    /// By the guest, once it is given up.
    spent: Spent,
    /// Of the guest's computing time, what came before the last byte that moved.
    cpu_at_progress: Duration,
}

/// What is asked of the client now, and since when.
enum Asking {
    /// Nothing was heard since the last exchange, or the connection.
    Silent { since: Instant, phase: Phase },
    /// The client has begun to speak, and the guest wants to hear more.
    Speaking { since: Instant },
}

/// How far a client's session has come in hearing that the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopping {
    No,
    /// What has arrived is taken to it once more.
    LastCall,
    Told,
}

struct Living {
    client: Client,
    /// Made when the first bytes come; given up when it will not be asked again.
    sandbox: Option<Sandbox>,
    source: Option<Source>,
    asking: Asking,
    /// Whether `receive` may find something without waiting.
    unread: bool,
    client_finished: bool,
    stopping: Stopping,
    /// When the exchange that is under way began, and what had been sent by then.
    exchange_since: Instant,
    exchange_from: u64,
    pace: Option<Pace>,
    /// Where lives are recorded, and there is one by now.
    recording: Option<Box<Recording>>,
    tally: Tally,
}

impl Living {
    fn new(client: Client, accepted: Instant) -> Self {
        let pace = client.shared.limits.rate.map(|rate| Pace::new(rate, accepted));
        Self {
            client,
            sandbox: None,
            source: None,
            asking: Asking::Silent { since: accepted, phase: Phase::Head },
            unread: true,
            client_finished: false,
            stopping: Stopping::No,
            exchange_since: accepted,
            exchange_from: 0,
            pace,
            recording: None,
            tally: Tally::default(),
        }
    }

    async fn run(&mut self, mut plan: Plan) -> Result<(), Ended> {
        loop {
            if let Wait::Close(_) = plan.wait {
                // The guest has nothing more to say: what follows needs a socket and no instance.
                self.retire();
            }
            self.carry_out(&mut plan.steps).await?;
            plan = match plan.wait {
                Wait::Receive => self.receive().await?,
                Wait::Open(name) => self.open(&name)?,
                Wait::List(name) => self.list(name).await?,
                Wait::Past(offset) => self.past(offset).await?,
                Wait::Close(remainder) => return self.close(remainder).await,
            };
            // A client that asks for much at once shares the loop with those who ask for little.
            task::consume_budget().await;
        }
    }

    fn advance(&mut self, event: contract::Event<'_>) -> Result<Plan, Ended> {
        let Some(sandbox) = &mut self.sandbox else {
            return Err(Ended::HostFault("an event for a session that is over".into()));
        };
        let now = sandbox::now();
        if let Some(recording) = &mut self.recording {
            recording.event(now, &event);
        }
        let actions = sandbox.advance(now, event)?;
        if let Some(recording) = &mut self.recording {
            recording.actions(&actions);
        }
        let plan = Plan::new(actions, &self.client.shared.limits).map_err(Ended::Breach)?;
        let bound = self.client.shared.limits.cpu_without_progress;
        if sandbox.cpu().saturating_sub(self.tally.cpu_at_progress) > bound {
            return Err(Limit::Progress(bound).into());
        }
        Ok(plan)
    }

    /// Gives up the instance, and keeps what it came to.
    fn retire(&mut self) {
        if let Some(mut sandbox) = self.sandbox.take() {
            self.tally.spent = sandbox.spent();
        }
    }

    fn progress(&mut self) {
        if let Some(sandbox) = &self.sandbox {
            self.tally.cpu_at_progress = sandbox.cpu();
        }
    }

    // ---- what a guest can wait for

    async fn receive(&mut self) -> Result<Plan, Ended> {
        loop {
            if self.client_finished {
                // The guest goes on asking a client that has said its last word.
                return Err(Ended::Disconnected);
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
                    // A client that has said nothing so far loses nothing.
                    return if self.sandbox.is_some() {
                        self.advance(contract::Event::Stopping)
                    } else {
                        Err(Ended::Finished)
                    };
                }
                Stopping::No | Stopping::Told => self.wait_for_bytes().await?,
            }
        }
    }

    /// Takes what has arrived to the guest. None: nothing has.
    fn try_receive(&mut self) -> Result<Option<Plan>, Ended> {
        BUFFER.with_borrow_mut(|buffer| {
            buffer.resize(RECEIVED_BYTES, 0);
            match self.client.socket.receive(buffer) {
                Ok(Moved::Bytes(count)) => {
                    // A buffer that is not full has emptied the socket: another attempt now would only
                    // be told so.
                    self.unread = count == buffer.len();
                    self.heard(count)?;
                    self.advance(contract::Event::Received(&buffer[..count])).map(Some)
                }
                Ok(Moved::End) if self.sandbox.is_none() => Err(Ended::Disconnected),
                Ok(Moved::End) => {
                    self.client_finished = true;
                    self.advance(contract::Event::Finished).map(Some)
                }
                Ok(Moved::Later) => {
                    self.unread = false;
                    Ok(None)
                }
                Err(error) => Err(lost(&error)),
            }
        })
    }

    /// Counts what has come, and makes the instance for the first of it.
    fn heard(&mut self, count: usize) -> Result<(), Ended> {
        self.tally.bytes_in += count as u64;
        self.progress();
        if let Asking::Silent { since, phase } = self.asking {
            // The time for a first request runs from the connection: who connects means to ask.
            let now = Instant::now();
            let since = if phase == Phase::Head { since } else { now };
            self.asking = Asking::Speaking { since };
            self.exchange_since = now;
        }
        if self.sandbox.is_none() {
            let shared = &self.client.shared;
            let guest = shared.guest();
            self.recording = shared.record(&self.client, &guest);
            let started = Sandbox::start(
                &guest,
                &shared.limits,
                &self.client.slow_lane,
                &shared.settings,
                shared.sources.only(),
                self.client.admission.at_capacity(),
                &shared.sharing,
            );
            self.sandbox = Some(started.map_err(|(ended, spent)| {
                self.tally.spent = spent;
                ended
            })?);
        }
        Ok(())
    }

    async fn wait_for_bytes(&mut self) -> Result<(), Ended> {
        let limits = &self.client.shared.limits;
        let head_timeout = match self.client.admission.at_capacity() {
            true => limits.head_timeout.min(RESERVE_TIMEOUT),
            false => limits.head_timeout,
        };
        let (deadline, phase) = match self.asking {
            Asking::Silent { since, phase: Phase::Idle } => (since + limits.idle_timeout, Phase::Idle),
            Asking::Silent { since, phase } => (since + head_timeout, phase),
            Asking::Speaking { since } => (since + head_timeout, Phase::Head),
        };
        // The socket may have been filled since it was registered; the attempt that follows finds out.
        self.unread = true;
        let Client { socket, stop, .. } = &mut self.client;
        let woken = if self.stopping == Stopping::Told { Stop::Now } else { Stop::Drain };
        until(socket.readable(), deadline, phase, stop, woken).await
    }

    fn open(&mut self, name: &[u8]) -> Result<Plan, Ended> {
        self.source = None;
        match self.client.shared.sources.open(name) {
            Ok(Found::Source(source)) => {
                let content = Arc::clone(&source.content);
                let shared = Arc::clone(&self.client.shared);
                let found = contract::Found::Source(contract::Facts {
                    window: source.window().into(),
                    modified: content.modified,
                    version: &content.version,
                    media_type: shared.sources.media_type().or(content.media_type.as_deref()),
                });
                let plan = self.advance(contract::Event::Opened(Ok(found)))?;
                self.source = Some(source);
                Ok(plan)
            }
            Ok(Found::Folder) => self.advance(contract::Event::Opened(Ok(contract::Found::Folder))),
            Err(refusal) => self.advance(contract::Event::Opened(Err(refusal.into()))),
        }
    }

    /// Looks at every file of a folder, and so on a thread of its own.
    async fn list(&mut self, name: Vec<u8>) -> Result<Plan, Ended> {
        self.source = None;
        let shared = Arc::clone(&self.client.shared);
        let patience = shared.limits.stall_timeout;
        let listing = timeout(patience, async {
            let place = Arc::clone(&shared.listings).acquire_owned().await;
            // The place is taken as long as the thread is, also where nobody waits for it any more.
            task::spawn_blocking(move || (shared.sources.list(&name), place).0).await
        });
        let listing = listing.await;
        let listing = listing.map_err(|_| Ended::SourceFailed("the folder takes too long to read".into()))?;
        let listing = listing.map_err(|error| Ended::HostFault(format!("a folder cannot be listed: {error}")))?;
        let entries: Vec<_>;
        let listed = match &listing {
            Ok(sources::Listing { entries: found, complete }) => {
                entries = found.iter().map(contract::Entry::from).collect();
                Ok(contract::Listing { entries: &entries, complete: *complete })
            }
            Err(refusal) => Err((*refusal).into()),
        };
        self.advance(contract::Event::Listed(listed))
    }

    /// Waits until the open source has bytes past `offset`, or has ended.
    async fn past(&mut self, offset: u64) -> Result<Plan, Ended> {
        let source = self.source.as_mut().ok_or(Ended::Breach(Breach::NothingOpen))?;
        let window = match source.moving() {
            None => source.window(),
            Some(moving) => {
                let deadline = Instant::now() + self.client.shared.limits.source_timeout;
                let Client { socket, stop, .. } = &mut self.client;
                // What is live ends by itself when the server drains. A file that grows does not.
                let stopped = if moving.kind == Kind::Live { Stop::Now } else { Stop::Drain };
                tokio::select! {
                    biased;
                    window = moving.past(offset) => window.map_err(Ended::from)?,
                    _ = socket.failed() => return Err(Ended::Disconnected),
                    _ = stop.wait_for(|stop| *stop >= stopped) => return Err(Ended::ShutDown),
                    () = sleep_until(deadline) => return Err(Ended::TimedOut(Phase::Source)),
                }
            }
        };
        self.advance(contract::Event::Available(window.into()))
    }

    async fn close(&mut self, remainder: contract::Remainder) -> Result<(), Ended> {
        // Besides what the guest knows of: what has come since, while the reply was on its way.
        let unread = matches!(remainder, contract::Remainder::Unread) || self.client.socket.has_unread();
        if unread && !self.client_finished && self.client.socket.finish().is_ok() {
            self.linger().await;
        }
        Ok(())
    }

    /// Discards what the client still sends, so that it gets to read the end of what it was sent.
    async fn linger(&mut self) {
        let deadline = Instant::now() + LINGER;
        let mut left = LINGER_BYTES;
        loop {
            let Client { socket, stop, .. } = &mut self.client;
            match BUFFER.with_borrow_mut(|buffer| socket.receive(buffer)) {
                Ok(Moved::Bytes(count)) if count < left => left -= count,
                Ok(Moved::Later) => {
                    if until(socket.readable(), deadline, Phase::Head, stop, Stop::Now).await.is_err() {
                        return;
                    }
                }
                Ok(Moved::Bytes(_) | Moved::End) | Err(_) => return,
            }
        }
    }

    // ---- what a guest can have done

    async fn carry_out(&mut self, steps: &mut Vec<Step>) -> Result<(), Ended> {
        let mut steps = steps.drain(..).peekable();
        let done = self.carry_out_each(&mut steps).await;
        if done.is_err() {
            // What was under way is told of as well, with what had been sent of it.
            for step in steps {
                if let Step::Report(exchange) = step {
                    self.report(&exchange, false);
                }
            }
        }
        done
    }

    async fn carry_out_each(&mut self, steps: &mut Peekable<Drain<'_, Step>>) -> Result<(), Ended> {
        while let Some(step) = steps.next() {
            match step {
                Step::Send(bytes) => match steps.peek() {
                    Some(Step::Pass(span))
                        if self.pace.is_none()
                            && bytes.len() + SMALL_PASS_BYTES <= RECEIVED_BYTES
                            && span.count <= SMALL_PASS_BYTES as u64 =>
                    {
                        let span = *span;
                        steps.next();
                        self.send_with(&bytes, span, follows(steps.peek())).await?;
                    }
                    next => {
                        let follows = follows(next);
                        self.send(&bytes, follows).await?;
                    }
                },
                Step::Pass(span) => self.pass(span).await?,
                Step::Report(exchange) => self.report(&exchange, true),
            }
        }
        Ok(())
    }

    async fn send(&mut self, mut bytes: &[u8], follows: Follows) -> Result<(), Ended> {
        while !bytes.is_empty() {
            let piece = self.allowance(bytes.len() as u64).await?;
            match self.client.socket.send(&bytes[..piece], follows) {
                Ok(Moved::Bytes(count)) => {
                    self.sent(count as u64);
                    bytes = &bytes[count..];
                }
                Ok(Moved::Later | Moved::End) => self.wait_for_room().await?,
                Err(error) => return Err(lost(&error)),
            }
        }
        Ok(())
    }

    /// Sends `head` and a small span in one go.
    async fn send_with(&mut self, head: &[u8], span: contract::Span, follows: Follows) -> Result<(), Ended> {
        let source = checked(self.source.as_mut(), span)?;
        let rest = BUFFER.with_borrow_mut(|buffer| {
            let length = head.len() + usize::try_from(span.count).expect("small by the caller's choice");
            buffer.resize(RECEIVED_BYTES, 0);
            buffer[..head.len()].copy_from_slice(head);
            source.read(span.offset, &mut buffer[head.len()..length])?;
            match self.client.socket.send(&buffer[..length], follows) {
                Ok(Moved::Bytes(count)) => Ok((count, buffer[count..length].to_vec())),
                Ok(Moved::Later | Moved::End) => Ok((0, buffer[..length].to_vec())),
                Err(error) => Err(lost(&error)),
            }
        });
        let (count, rest) = rest?;
        if count > 0 {
            self.sent(count as u64);
        }
        self.send(&rest, follows).await
    }

    /// Sends a span of the source, in pieces between which others get their turn.
    async fn pass(&mut self, span: contract::Span) -> Result<(), Ended> {
        checked(self.source.as_mut(), span)?;
        let end = span.offset + span.count;
        let mut offset = span.offset;
        let mut turn = PASS_BYTES;
        while offset < end {
            let piece = self.allowance(turn.min(end - offset)).await?;
            let source = self.source.as_mut().ok_or(Ended::Breach(Breach::NothingOpen))?;
            match source.pass(offset, piece, &self.client.socket) {
                Ok(Moved::Bytes(count)) => {
                    offset += count as u64;
                    turn = turn.saturating_sub(count as u64);
                    self.sent(count as u64);
                }
                Ok(Moved::End) => return Err(Lost::Shorter.into()),
                Ok(Moved::Later) => {
                    self.wait_for_room().await?;
                    turn = PASS_BYTES;
                }
                Err(error) => return Err(error.into()),
            }
            if turn == 0 {
                task::yield_now().await;
                turn = PASS_BYTES;
            }
        }
        Ok(())
    }

    /// How many of so many bytes may be sent now. Waits, where the client's rate wants it, until some may.
    async fn allowance(&mut self, wanted: u64) -> Result<usize, Ended> {
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let Some(pace) = &mut self.pace else { return Ok(wanted) };
        loop {
            match pace.allows(Instant::now()) {
                Ok(count) => return Ok(wanted.min(usize::try_from(count).unwrap_or(usize::MAX))),
                Err(later) => rest(later, &mut self.client.stop).await?,
            }
        }
    }

    async fn wait_for_room(&mut self) -> Result<(), Ended> {
        let stall_timeout = self.client.shared.limits.stall_timeout;
        let Client { socket, stop, .. } = &mut self.client;
        let room = async {
            let mut queued = socket.queued();
            loop {
                let deadline = Instant::now() + stall_timeout;
                let room = until(socket.writable(), deadline, Phase::Stall, stop, Stop::Now).await;
                // Room is a good part of what the kernel holds. A client that reads slowly has taken some
                // of that, and has not stalled.
                let now = socket.queued();
                if room != Err(Ended::TimedOut(Phase::Stall)) || now >= queued {
                    return room;
                }
                queued = now;
            }
        };
        match self.source.as_mut().and_then(Source::moving) {
            None => room.await,
            Some(moving) => tokio::select! {
                biased;
                room = room => room,
                behind = moving.overrun() => Err(behind.into()),
            },
        }
    }

    /// Counts what was sent. The client has what it asked for, or some of it: its next request is waited
    /// for with patience.
    fn sent(&mut self, count: u64) {
        self.tally.bytes_out += count;
        if let Some(pace) = &mut self.pace {
            pace.spend(count);
        }
        self.progress();
        self.asking = Asking::Silent { since: Instant::now(), phase: Phase::Idle };
    }

    fn report(&mut self, exchange: &contract::Exchange, complete: bool) {
        self.tally.exchanges += 1;
        let (memory_peak, cpu) = match &mut self.sandbox {
            Some(sandbox) => (sandbox.memory_peak(), sandbox.cpu()),
            None => (self.tally.spent.memory_peak, self.tally.spent.cpu),
        };
        self.client.shared.journal.exchange(&Exchange {
            client: self.client.number,
            peer: self.client.peer,
            request: &exchange.request,
            status: exchange.status,
            referrer: &exchange.referrer,
            agent: &exchange.agent,
            bytes_out: self.tally.bytes_out - self.exchange_from,
            complete,
            duration: self.exchange_since.elapsed(),
            memory_peak,
            cpu,
        });
        self.exchange_from = self.tally.bytes_out;
        self.exchange_since = Instant::now();
    }
}

/// Waits for the socket, but not beyond the deadline, nor when the server stops in the way `stopped`.
async fn until(
    ready: impl Future<Output = io::Result<()>>,
    deadline: Instant,
    phase: Phase,
    stop: &mut watch::Receiver<Stop>,
    stopped: Stop,
) -> Result<(), Ended> {
    tokio::select! {
        biased;
        ready = ready => ready.map_err(|error| Ended::HostFault(format!("cannot wait for a socket: {error}"))),
        _ = stop.wait_for(|stop| *stop >= stopped) => {
            if stopped == Stop::Now { Err(Ended::ShutDown) } else { Ok(()) }
        }
        () = sleep_until(deadline) => Err(Ended::TimedOut(phase)),
    }
}

/// Waits for a client's rate, but not when the server stops at once.
async fn rest(later: Instant, stop: &mut watch::Receiver<Stop>) -> Result<(), Ended> {
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop == Stop::Now) => Err(Ended::ShutDown),
        () = sleep_until(later) => Ok(()),
    }
}

/// How fast a client gets what is passed to it: a bucket that fills at the rate and holds a short burst.
struct Pace {
    rate: f64,
    bucket: f64,
    filled: Instant,
}

impl Pace {
    fn new(rate: NonZeroU64, now: Instant) -> Self {
        let rate = rate.get() as f64;
        Self { rate, bucket: rate * BURST.as_secs_f64(), filled: now }
    }

    /// How much may be passed now, or when to ask again. Not sooner than half a burst is there: what
    /// comes in crumbs costs more than it brings.
    fn allows(&mut self, now: Instant) -> Result<u64, Instant> {
        let full = (self.rate * BURST.as_secs_f64()).max(1.0);
        let came = self.rate * now.saturating_duration_since(self.filled).as_secs_f64();
        (self.bucket, self.filled) = ((self.bucket + came).min(full), now);
        let wanted = (full / 2.0).max(1.0);
        if self.bucket < wanted {
            return Err(now + Duration::from_secs_f64((wanted - self.bucket) / self.rate));
        }
        Ok(self.bucket as u64)
    }

    fn spend(&mut self, count: u64) {
        self.bucket -= count as f64;
    }
}

/// Whether bytes come right behind a send.
fn follows(next: Option<&Step>) -> Follows {
    match next {
        Some(Step::Send(_) | Step::Pass(_)) => Follows::More,
        Some(Step::Report(_)) | None => Follows::Nothing,
    }
}

/// The open source, if the span lies within its window.
fn checked(source: Option<&mut Source>, span: contract::Span) -> Result<&mut Source, Ended> {
    let source = source.ok_or(Ended::Breach(Breach::NothingOpen))?;
    let window = source.window();
    match span.offset.checked_add(span.count) {
        Some(end) if span.offset >= window.start && end <= window.end => Ok(source),
        _ => Err(Ended::Breach(Breach::OutsideWindow)),
    }
}

impl From<Window> for contract::Window {
    fn from(Window { start, end, is_final }: Window) -> Self {
        Self { start, end, final_: is_final }
    }
}

impl From<Lost> for Ended {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Behind => Limit::Lag.into(),
            Lost::Shorter => Self::SourceFailed("the file has become shorter".into()),
            Lost::Failed(error) => lost_or_unreadable(&error),
        }
    }
}

/// Why nothing can be sent or received any more.
fn lost(error: &io::Error) -> Ended {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, NetworkUnreachable, NotConnected, TimedOut,
    };
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | HostUnreachable | NetworkUnreachable | NotConnected
        | TimedOut => Ended::Disconnected,
        _ => Ended::HostFault(format!("a socket fails: {error}")),
    }
}

/// The same where a source may be at fault too.
fn lost_or_unreadable(error: &io::Error) -> Ended {
    match lost(error) {
        Ended::HostFault(_) => Ended::SourceFailed(error.to_string()),
        ended => ended,
    }
}

impl From<Refusal> for contract::Refusal {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::NotFound,
            Refusal::Forbidden => Self::Forbidden,
            Refusal::Unavailable => Self::Unavailable,
            Refusal::Failed => Self::Failed,
        }
    }
}

impl<'a> From<&'a sources::Entry> for contract::Entry<'a> {
    fn from(entry: &'a sources::Entry) -> Self {
        Self { name: &entry.name, folder: entry.folder, size: entry.size, modified: entry.modified }
    }
}
