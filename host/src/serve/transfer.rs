//! Sends to a client what its guest wants sent, and closes its connection.
//!
//! Rule: nothing here knows what the bytes mean.

use std::iter::Peekable;
use std::vec::Drain;

use tokio::sync::watch;
use tokio::task;
use tokio::time::{Instant, sleep, sleep_until};

use super::buffer::{with_buffer, with_records};
use super::client::{Client, Connection};
use super::failed::lost;
use super::pace::Pace;
use super::shared::Stop;
use super::silent::Holds;
use super::wait::until;
use crate::contract::{Event, Refusal, Remainder, Report, Span, Window};
use crate::ended::{Breach, Ended, Limit, Timeout};
use crate::journal::Exchange;
use crate::limits::{
    BREAK_OFF, BREAK_OFF_LOOK, LAST_EVENTS, LINGER, LINGER_PAUSE, LINGER_RATE, PAGE_BYTES, PASS_BYTES, RECEIVED_BYTES,
    SMALL_PASS_BYTES, TLS_RECORD_BYTES, TLS_RECORDS,
};
use crate::protection::Protection;
use crate::sandbox::plan::{Step, Wait};
use crate::socket::{Follows, Moved, Socket};
use crate::sources::{Lost, Source, View};

impl Connection {
    /// Has a response that breaks off end with a reset. Where the end of the connection ends the response (HTTP/1.0,
    /// Gopher), it would look complete otherwise.
    pub(super) async fn break_off(&mut self, ended: &Ended) {
        let under_way = self.broke_off || self.tally.bytes_out > self.exchange_from;
        let hurry = match ended {
            Ended::Finished | Ended::Disconnected | Ended::Rejected(_) => return,
            Ended::ProxyFailed | Ended::TlsFailed(_) => return,
            Ended::Displaced | Ended::TimedOut(Timeout::Header | Timeout::Idle) => return self.say_goodbye(),
            _ if !under_way => return self.say_goodbye(),
            // Somebody who is slow, or has had the time of a drain.
            Ended::ShutDown | Ended::TimedOut(Timeout::Stall) => true,
            Ended::OverLimit { limit: Limit::Lag, .. } => true,
            _ => false,
        };
        let deadline = Instant::now() + BREAK_OFF;
        // A reset destroys what is still on its way.
        while !hurry && self.client.socket.queued() > 0 && Instant::now() < deadline {
            sleep(BREAK_OFF_LOOK).await;
        }
        // Where it cannot be reset, it is closed.
        let _ = self.client.socket.reset_on_close();
    }

    /// Ends a connection on which nothing is under way as TLS wants it ended, where that is possible at once.
    fn say_goodbye(&mut self) {
        self.client.socket.begin_close();
        let _ = self.client.socket.flush(Follows::More);
    }

    pub(super) async fn close(&mut self, remainder: Remainder) -> Result<(), Ended> {
        if self.client.socket.is_secure() {
            self.client.socket.begin_close();
            self.flush(Follows::More).await?;
        }
        // Besides what the guest knows of: what has come since, while the response was on its way.
        let unread = matches!(remainder, Remainder::Unread) || self.client.socket.has_unread();
        if unread && !self.client_finished && self.client.socket.finish().is_ok() {
            self.linger().await;
        }
        Ok(())
    }

    /// Discards what the client still sends, so that it gets to read the end of what it was sent: many send
    /// all of a large request before they read. Whoever needs its place more may have it.
    async fn linger(&mut self) {
        let Client { number, admission, socket, silent, stop, .. } = &mut self.client;
        let displaced = silent.gives_way(admission.place(), *number, Instant::now(), Holds::Nothing);
        tokio::select! {
            biased;
            () = discard(socket, stop) => {}
            () = displaced => {}
        }
    }

    /// Carries the steps out. `last`: what comes right after them.
    pub(super) async fn carry_out(&mut self, steps: &mut Vec<Step>, last: Follows) -> Result<(), Ended> {
        let mut steps = steps.drain(..).peekable();
        let mut done = self.carry_out_each(&mut steps, last).await;
        if done.is_ok() {
            done = self.flush(last).await;
        }
        if done.is_err() {
            self.broke_off = self.tally.bytes_out > self.exchange_from;
            // What was under way is told of as well, with what had been sent of it.
            for step in steps {
                if let Step::Report(report) = step {
                    self.report(&report, false);
                }
            }
        }
        done
    }

    async fn carry_out_each(&mut self, steps: &mut Peekable<Drain<'_, Step>>, last: Follows) -> Result<(), Ended> {
        while let Some(step) = steps.next() {
            match step {
                Step::Send(bytes) => match self.rides_along(&bytes, steps.peek_mut())? {
                    Some(part) => {
                        steps.next_if(|step| matches!(step, Step::Pass(rest) if rest.count == 0));
                        self.send_with(&bytes, part, follows(steps.peek(), last)).await?;
                    }
                    None => {
                        let follows = follows(steps.peek(), last);
                        self.send(&bytes, follows).await?;
                    }
                },
                Step::Pass(span) if self.client.socket.is_secure() => {
                    let follows = follows(steps.peek(), last);
                    Box::pin(self.pass_encrypted(span, follows)).await?;
                }
                Step::Pass(span) => self.pass(span).await?,
                Step::Report(report) => {
                    self.flush(last).await?;
                    self.report(&report, true);
                }
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

    /// Takes from the span that follows a header what is sent in one packet with it: all of a small one, and of
    /// a large one the bytes before its first whole page. The rest of it then goes page by page, which is a
    /// quarter cheaper where the congestion control paces (bbr).
    fn rides_along(&mut self, header: &[u8], next: Option<&mut Step>) -> Result<Option<Span>, Ended> {
        let Some(Step::Pass(span)) = next else { return Ok(None) };
        if self.pace.is_some() || header.len() + SMALL_PASS_BYTES > RECEIVED_BYTES {
            return Ok(None);
        }
        let source = checked(self.source.as_mut(), *span)?;
        let count = match span.count {
            small if small <= SMALL_PASS_BYTES as u64 => small,
            _ => (PAGE_BYTES - span.offset % PAGE_BYTES) % PAGE_BYTES,
        };
        let bytes = usize::try_from(count).expect("a small span or less than a page");
        if bytes == 0 || source.content.ready(span.offset, bytes) < bytes {
            return Ok(None);
        }
        let part = Span { offset: span.offset, count };
        *span = Span { offset: span.offset + count, count: span.count - count };
        Ok(Some(part))
    }

    /// Sends `header` and part of a span in one packet.
    async fn send_with(&mut self, header: &[u8], span: Span, follows: Follows) -> Result<(), Ended> {
        let source = checked(self.source.as_mut(), span)?;
        let rest = with_buffer(|buffer| {
            let length = header.len() + usize::try_from(span.count).expect("small: it rides along");
            buffer[..header.len()].copy_from_slice(header);
            source.read(span.offset, &mut buffer[header.len()..length])?;
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
    async fn pass(&mut self, span: Span) -> Result<(), Ended> {
        checked(self.source.as_mut(), span)?;
        let end = span.offset + span.count;
        let mut offset = span.offset;
        let mut turn = PASS_BYTES;
        while offset < end {
            let piece = self.allowance(turn.min(end - offset)).await?;
            let source = self.source.as_mut().ok_or(Ended::Breach(Breach::NothingOpen))?;
            let passed = match source.content.ready(offset, piece) {
                0 => self.pass_from_disk(offset, piece).await?.map_err(Lost::Failed),
                ready => self
                    .client
                    .socket
                    .borrow()
                    .map_err(Lost::Failed)
                    .and_then(|socket| source.pass(offset, ready, socket)),
            };
            match passed {
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

    /// Sends a span of the source by way of TLS, in pieces between which others get their turn. They pass through
    /// this process, in buffers of the loop.
    async fn pass_encrypted(&mut self, span: Span, last: Follows) -> Result<(), Ended> {
        checked(self.source.as_mut(), span)?;
        let end = span.offset + span.count;
        let mut offset = span.offset;
        let mut turn = PASS_BYTES;
        while offset < end {
            let piece = self.allowance(turn.min(end - offset)).await?.min(TLS_RECORDS * TLS_RECORD_BYTES);
            let follows = if offset + (piece as u64) < end { Follows::More } else { last };
            let source = self.source.as_mut().ok_or(Ended::Breach(Breach::NothingOpen))?;
            let passed = match source.content.ready(offset, piece) {
                0 => {
                    let bytes = self.read_from_disk(offset, piece).await?.map_err(Lost::Failed)?;
                    self.send(&bytes, follows).await?;
                    (!bytes.is_empty()).then_some(bytes.len()).ok_or(Lost::Shorter)?
                }
                ready => match self.encrypt(offset, ready.min(piece), follows)? {
                    0 => {
                        self.wait_for_room().await?;
                        turn = PASS_BYTES;
                        continue;
                    }
                    passed => passed,
                },
            };
            offset += passed as u64;
            turn = turn.saturating_sub(passed as u64);
            if turn == 0 {
                task::yield_now().await;
                turn = PASS_BYTES;
            }
        }
        Ok(())
    }

    /// Encrypts and sends so many bytes of the source, which are in memory. 0: there is no room for any.
    fn encrypt(&mut self, offset: u64, count: usize, follows: Follows) -> Result<usize, Ended> {
        let source = self.source.as_mut().ok_or(Ended::Breach(Breach::NothingOpen))?;
        let socket = &mut self.client.socket;
        if !socket.flush(Follows::More).map_err(|error| lost(&error))? {
            return Ok(0);
        }
        let sent = with_records(|buffer| {
            source.read(offset, &mut buffer[..count])?;
            socket.send(&buffer[..count], follows).map_err(|error| lost(&error))
        });
        match sent? {
            Moved::Bytes(count) => {
                self.sent(count as u64);
                Ok(count)
            }
            Moved::Later | Moved::End => Ok(0),
        }
    }

    /// Waits until everything that counts as sent is with the kernel.
    async fn flush(&mut self, follows: Follows) -> Result<(), Ended> {
        while !self.client.socket.flush(follows).map_err(|error| lost(&error))? {
            Box::pin(self.wait_for_room()).await?;
        }
        Ok(())
    }

    /// How many of `wanted` bytes may be sent now. Waits, where the client's rate requires it, until some may.
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
                let room = until(socket.writable(), deadline, Timeout::Stall, stop, Stop::Now).await;
                // Room is a good part of what the kernel holds. A client that reads slowly has taken some
                // of that, and has not stalled.
                let now = socket.queued();
                if room != Err(Ended::TimedOut(Timeout::Stall)) || now >= queued {
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

    /// Counts what was sent. The client has what it asked for, or some of it: the timeout for its next
    /// request begins anew.
    fn sent(&mut self, count: u64) {
        self.tally.bytes_out += count;
        self.line.sent(count, self.source.as_ref());
        if let Some(pace) = &mut self.pace {
            pace.spend(count);
        }
        self.progress();
        self.asking = None;
    }

    /// A connection ends while its guest waits for more of a source or of a folder: has it report what was under way,
    /// as it would for a client that has fallen too far behind, or for a folder that cannot be read on. Nothing else
    /// of what it then wants is done. Gives why the connection ends: for that reason still, unless the guest fails now.
    pub(super) fn left_in_the_middle(&mut self, mut wait: Wait, ended: Ended) -> Ended {
        let under_way = self.tally.bytes_out > self.exchange_from;
        if !under_way || ended.is_guests_fault() || !self.client.shared.terms().settings.reports {
            return ended;
        }
        self.broke_off = true;
        for _ in 0..LAST_EVENTS {
            let event = match wait {
                Wait::Past(offset) => {
                    let known = self.source.as_ref().map_or(0, |source| source.window().end);
                    let gone = known.max(offset.saturating_add(1));
                    Event::Available(Window { start: gone, end: gone, is_final: true })
                }
                Wait::List(_) => Event::Listed(Err(Refusal::Failed)),
                // It has the rest of a portion to write.
                Wait::Proceed => Event::Proceeded,
                Wait::Receive(_) | Wait::Open(_) | Wait::Close(_) => break,
            };
            let plan = match self.advance(&event) {
                Ok(plan) => plan,
                Err(failure) => return failure,
            };
            for step in &plan.steps {
                if let Step::Report(report) = step {
                    self.report(report, false);
                }
            }
            wait = plan.wait;
        }
        ended
    }

    fn report(&mut self, report: &Report, complete: bool) {
        self.tally.exchanges += 1;
        self.line.exchanged();
        let (memory_peak, cpu) = match &mut self.sandbox {
            Some(sandbox) => (sandbox.memory_peak(), sandbox.cpu()),
            None => (self.tally.spent.memory_peak, self.tally.spent.cpu),
        };
        let now = Instant::now();
        let exchange = Exchange {
            client: self.client.number,
            peer: self.client.peer,
            via: self.client.via.as_deref().copied(),
            request: &report.request,
            status: report.status,
            referrer: &report.referrer,
            agent: &report.agent,
            bytes_out: self.tally.bytes_out - self.exchange_from,
            complete,
            duration: now.saturating_duration_since(self.exchange_since),
            memory_peak,
            cpu,
        };
        if self.reports.allow(report, now) || self.client.shared.lacks == Some(Protection::Reports) {
            self.client.shared.journal.exchange(&exchange);
        }
        self.exchange_from = self.tally.bytes_out;
        self.exchange_since = now;
        self.exchange_heard = false;
        self.view = View::default();
    }
}

/// Discards what comes until the client has sent everything, has paused for too long, or has had its time.
async fn discard(socket: &mut Socket, stop: &mut watch::Receiver<Stop>) {
    let mut pace = Pace::new(LINGER_RATE, Instant::now());
    let deadline = Instant::now() + LINGER;
    while Instant::now() < deadline {
        let allowed = match pace.allows(Instant::now()) {
            Ok(allowed) => usize::try_from(allowed).unwrap_or(usize::MAX),
            Err(later) if rest(later, stop).await.is_ok() => continue,
            Err(_) => return,
        };
        let received = with_buffer(|buffer| {
            let most = allowed.min(buffer.len());
            socket.discard(&mut buffer[..most])
        });
        match received {
            Ok(Moved::Bytes(count)) => pace.spend(count as u64),
            Ok(Moved::Later) => {
                let paused = deadline.min(Instant::now() + LINGER_PAUSE);
                if until(socket.readable(), paused, Timeout::Header, stop, Stop::Now).await.is_err() {
                    return;
                }
            }
            Ok(Moved::End) | Err(_) => return,
        }
        task::consume_budget().await;
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

/// Whether anything comes right after a send.
fn follows(next: Option<&Step>, last: Follows) -> Follows {
    match next {
        Some(Step::Send(_) | Step::Pass(_)) => Follows::More,
        Some(Step::Report(_)) | None => last,
    }
}

/// The open source, if the span lies within its window.
fn checked(source: Option<&mut Source>, span: Span) -> Result<&mut Source, Ended> {
    let source = source.ok_or(Ended::Breach(Breach::NothingOpen))?;
    let window = source.window();
    match span.offset.checked_add(span.count) {
        Some(end) if span.offset >= window.start && end <= window.end => Ok(source),
        _ => Err(Ended::Breach(Breach::OutsideWindow)),
    }
}
