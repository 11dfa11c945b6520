//! One client, as HTTP sees it: bytes go in, the next step comes out.
//!
//! Rules:
//!
//! - Requests are answered one at a time and in order. What comes meanwhile waits in `unread`, which is
//!   bounded: more is asked for only when what is there is no whole head.
//! - Every list of actions is a [`Plan`] and a [`Wait`], so that one waiting action stands at its end and
//!   none before.
//! - After anything that leaves in doubt where the next request begins there is no next request.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use crate::contract::{Action, Event, Exchange, Instant, Phase, Remainder, Settings};
use crate::decide::guard::{self, Guard};
use crate::decide::way::{self, Step, Way};
use crate::plan::{Flow, Plan, Then, Wait};
use crate::request::{self, Expectation, FieldName, Framing, Malformed, Request, Scanner};
use crate::response::message::{Recipient, Response, Site};
use crate::response::page::{self, Format};
use crate::response::sending::Sending;
use crate::status::Status;

/// One client, from its first byte to its last.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    guard: Option<Guard>,
    state: State,
    /// What the client has sent and nobody has read yet. Empty in an idle session, without capacity.
    unread: Vec<u8>,
    /// How many requests there have been.
    exchanges: u32,
    client: Client,
    server: Server,
}

/// Whether more may come from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Sends,
    HasFinished,
}

/// Whether the server goes on after this exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Runs,
    Stops,
}

/// What the session is in the middle of.
#[derive(Debug)]
enum State {
    /// Reading a head, or waiting for its first byte.
    Head(Scanner),
    /// Reading and forgetting the body of a request, which is answered when that is done.
    Body(Request, Framing),
    /// Nothing: the list of actions was full, and more requests are there already.
    Yielding,
    /// Waiting for what the host finds on the way to a response.
    Answering(Request, Way),
    /// Sending a body that does not fit one list of actions.
    Sending(Sending, Option<Exchange>, Then),
    /// The session has ended.
    Closed,
}

/// What the unread bytes come to.
enum Next {
    /// No whole request yet.
    Incomplete,
    Request(Request),
    /// Something that ends the connection. The text is its request line, for the log.
    Misdeed(Malformed, Vec<u8>),
}

impl Session {
    /// The session of a client of which nothing is known yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            guard: None,
            state: State::Head(Scanner::default()),
            unread: Vec::new(),
            exchanges: 0,
            client: Client::Sends,
            server: Server::Runs,
        }
    }

    /// A session that asks the guard about each request before it opens anything for it.
    #[must_use]
    pub fn guarded(settings: Settings, guard: Guard) -> Self {
        Self { guard: Some(guard), ..Self::new(settings) }
    }

    /// What is to be done about `event`, which happened at `now`. Never empty; the last action, and no
    /// other, waits. An event that does not answer what was waited for ends the session.
    pub fn advance(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut plan = Plan::default();
        let wait = match (mem::replace(&mut self.state, State::Closed), event) {
            (state, Event::Stopping) => self.stop(state),
            (state @ (State::Head(_) | State::Body(..)), Event::Received(bytes)) => {
                self.state = state;
                self.keep(bytes);
                self.proceed(now, &mut plan)
            }
            (state @ (State::Head(_) | State::Body(..)), Event::Finished) => {
                self.state = state;
                self.client = Client::HasFinished;
                self.proceed(now, &mut plan)
            }
            (State::Yielding, Event::Proceeded) => {
                self.state = State::Head(Scanner::default());
                self.proceed(now, &mut plan)
            }
            (State::Answering(request, way), event) => self.look_on(now, request, way, event, &mut plan),
            (State::Sending(sending, exchange, then), event) => {
                self.send_on(now, sending, exchange, then, event, &mut plan)
            }
            _ => Wait::Close(Remainder::Unread),
        };
        plan.then(wait)
    }

    /// Takes bytes in. In the usual case nothing is there, and they become the buffer as they are.
    fn keep(&mut self, bytes: Vec<u8>) {
        if self.unread.is_empty() {
            self.unread = bytes;
        } else {
            self.unread.extend_from_slice(&bytes);
        }
    }

    /// The server stops. Whoever is in the middle of something gets it; whoever is idle does not begin.
    fn stop(&mut self, state: State) -> Wait {
        self.server = Server::Stops;
        let wait = match &state {
            State::Head(scanner) if scanner.is_idle(&self.unread) => Wait::Close(Remainder::Nothing),
            State::Head(_) | State::Body(..) => Wait::Receive(Phase::Partial),
            State::Yielding => Wait::Proceed,
            State::Answering(_, way) => way.wait(),
            State::Sending(sending, ..) => sending.wait(),
            State::Closed => Wait::Close(Remainder::Unread),
        };
        self.state = state;
        wait
    }

    /// Answers requests until something has to be waited for.
    fn proceed(&mut self, now: Instant, plan: &mut Plan) -> Wait {
        loop {
            if plan.is_full() && matches!(self.state, State::Head(_)) {
                self.state = State::Yielding;
                return Wait::Proceed;
            }
            let wait = match self.next(plan) {
                Next::Incomplete => Some(self.wait_for_more()),
                Next::Request(request) => self.answer(now, request, plan),
                Next::Misdeed(misdeed, line) => Some(self.refuse(now, misdeed, &line, plan)),
            };
            if let Some(wait) = wait {
                return wait;
            }
        }
    }

    /// Reads the next request, and its body if it has one.
    fn next(&mut self, plan: &mut Plan) -> Next {
        match mem::replace(&mut self.state, State::Closed) {
            State::Head(mut scanner) => match scanner.scan(&self.unread) {
                Ok(Some(end)) => self.begin(end, plan),
                Ok(None) => {
                    self.state = State::Head(scanner);
                    Next::Incomplete
                }
                Err((misdeed, at)) => Next::Misdeed(misdeed, self.unread[..at].to_vec()),
            },
            State::Body(request, framing) => self.discard(request, framing),
            _ => unreachable!("requests are read only while a head or a body is waited for"),
        }
    }

    /// Begins a request whose head is the first `end` unread bytes.
    fn begin(&mut self, end: usize, plan: &mut Plan) -> Next {
        let request = match Request::parse(self.take(end)) {
            Ok(request) => request,
            Err((misdeed, head)) => return Next::Misdeed(misdeed, head),
        };
        self.exchanges = self.exchanges.saturating_add(1);
        match self.body_to_read(&request) {
            Err(misdeed) => Next::Misdeed(misdeed, request.into_head()),
            Ok(None) => Next::Request(request),
            Ok(Some((framing, expectation))) => {
                if expectation == Expectation::Continue {
                    plan.send(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec());
                }
                self.discard(request, framing)
            }
        }
    }

    /// The body that has to be read to come to the request after it. None also where there is one, and
    /// the connection will be ended instead.
    fn body_to_read(&self, request: &Request) -> Result<Option<(Framing, Expectation)>, Malformed> {
        let expectation = request.expectation()?;
        match Framing::of(request)? {
            Some(framing) if self.reads_body_of(request) => {
                framing.check_size()?;
                Ok(Some((framing, expectation)))
            }
            _ => Ok(None),
        }
    }

    /// Whether a body is read for the sake of the request after it. Else the connection ends, which
    /// is cheaper for both.
    fn reads_body_of(&self, request: &Request) -> bool {
        request.method.is_served() && !self.settings.at_capacity
    }

    fn discard(&mut self, request: Request, mut framing: Framing) -> Next {
        match framing.discard(&mut self.unread) {
            Err(misdeed) => Next::Misdeed(misdeed, request.into_head()),
            Ok(true) => Next::Request(request),
            Ok(false) => {
                self.state = State::Body(request, framing);
                Next::Incomplete
            }
        }
    }

    /// Takes the first `end` unread bytes. In the usual case these are all, and nothing is copied.
    fn take(&mut self, end: usize) -> Vec<u8> {
        let rest = if end == self.unread.len() { Vec::new() } else { self.unread.split_off(end) };
        mem::replace(&mut self.unread, rest)
    }

    /// What to do when there is no whole request. Who has stopped in the middle of one gets no response:
    /// there is nothing that it could still do about it.
    fn wait_for_more(&mut self) -> Wait {
        let idle = matches!(&self.state, State::Head(scanner) if scanner.is_idle(&self.unread));
        if self.client == Client::HasFinished || (idle && self.server == Server::Stops) {
            self.state = State::Closed;
            return Wait::Close(Remainder::Nothing);
        }
        // A client that has never sent a request is not between two of them: it has the header timeout.
        Wait::Receive(if idle && self.exchanges > 0 { Phase::Idle } else { Phase::Partial })
    }

    /// Answers a request, or finds out what to answer with. None: the next request may come.
    fn answer(&mut self, now: Instant, request: Request, plan: &mut Plan) -> Option<Wait> {
        let site = Site { settings: &self.settings, now };
        let step = match guard::ask(self.guard, &request) {
            // A full server asks nobody who they are.
            Err(denied) if !self.settings.at_capacity => Ok(Step::Response(denied.response(site, &request))),
            _ => way::begin(site, &request),
        };
        match step {
            Ok(Step::Look(way)) => Some(self.look(request, way)),
            Ok(Step::Response(response)) => {
                let delivered = self.deliver(&request, response, plan);
                self.finish(&request, delivered, plan)
            }
            Err(misdeed) => Some(self.refuse(now, misdeed, &request.into_head(), plan)),
        }
    }

    fn look(&mut self, request: Request, way: Way) -> Wait {
        let wait = way.wait();
        self.state = State::Answering(request, way);
        wait
    }

    /// Goes on with what the host has found.
    fn look_on(&mut self, now: Instant, request: Request, way: Way, event: Event, plan: &mut Plan) -> Wait {
        let site = Site { settings: &self.settings, now };
        match way::proceed(site, &request, way, event) {
            Some(Step::Look(way)) => self.look(request, way),
            Some(Step::Response(response)) => {
                let delivered = self.deliver(&request, response, plan);
                let wait = self.finish(&request, delivered, plan);
                wait.unwrap_or_else(|| self.proceed(now, plan))
            }
            None => Wait::Close(Remainder::Unread),
        }
    }

    /// Goes on with a body, now that there is more of it.
    fn send_on(
        &mut self,
        now: Instant,
        mut sending: Sending,
        exchange: Option<Exchange>,
        then: Then,
        event: Event,
        plan: &mut Plan,
    ) -> Wait {
        let Some(flow) = sending.resume(event, plan) else {
            return Wait::Close(Remainder::Unread);
        };
        let wait = self.follow(Delivered { rest: Some((sending, flow)), then }, exchange, plan);
        wait.unwrap_or_else(|| self.proceed(now, plan))
    }

    /// Puts a response on the wire, as far as there is of it now.
    fn deliver(&self, request: &Request, response: Response<'_>, plan: &mut Plan) -> (Status, Delivered) {
        let then = self.then(request, &response);
        let status = response.status;
        let rest = response.deliver(Recipient::of(request), then, plan);
        (status, Delivered { rest, then })
    }

    /// What comes after a response (RFC 9112 section 9.3).
    fn then(&self, request: &Request, response: &Response<'_>) -> Then {
        let body_unread = !self.reads_body_of(request) && matches!(Framing::of(request), Ok(Some(_)));
        let goes_on = request.is_persistent()
            && !body_unread
            && !response.closes()
            && !self.settings.at_capacity
            && self.server == Server::Runs
            && self.exchanges < self.settings.max_exchanges;
        match goes_on {
            true => Then::NextRequest,
            false if body_unread || !self.unread.is_empty() => Then::Close(Remainder::Unread),
            false => Then::Close(Remainder::Nothing),
        }
    }

    fn finish(&mut self, request: &Request, (status, delivered): (Status, Delivered), plan: &mut Plan) -> Option<Wait> {
        let exchange = self.settings.reports.then(|| Exchange {
            request: request.line_for_log(),
            status: status.code(),
            referrer: request.field_for_log(FieldName::Referer),
            agent: request.field_for_log(FieldName::UserAgent),
        });
        self.follow(delivered, exchange, plan)
    }

    /// Waits for the rest of a response, or reports it and goes on to what comes after. None: that is the
    /// next request.
    fn follow(&mut self, delivered: Delivered, exchange: Option<Exchange>, plan: &mut Plan) -> Option<Wait> {
        let Delivered { rest, then } = delivered;
        if let Some((sending, Flow::Goes)) = rest {
            let wait = sending.wait();
            self.state = State::Sending(sending, exchange, then);
            return Some(wait);
        }
        if let Some(exchange) = exchange {
            plan.report(exchange);
        }
        match (rest, then) {
            // Without a last chunk: that is how the client sees that something is missing.
            (Some((_, Flow::Broken)), _) => Some(Wait::Close(Remainder::Nothing)),
            (_, Then::Close(remainder)) => Some(Wait::Close(remainder)),
            (_, Then::NextRequest) => {
                self.state = State::Head(Scanner::default());
                None
            }
        }
    }

    /// Answers something that is not in order, and ends the connection: nobody can say where the next
    /// request would begin.
    fn refuse(&self, now: Instant, misdeed: Malformed, head: &[u8], plan: &mut Plan) -> Wait {
        let site = Site { settings: &self.settings, now };
        let then = Then::Close(Remainder::Unread);
        let response = page::error(site, misdeed.status(), Format::Plain);
        response.deliver(Recipient::of_malformed(head), then, plan);
        if self.settings.reports {
            plan.report(Exchange {
                request: request::line_for_log(head),
                status: misdeed.status().code(),
                referrer: String::new(),
                agent: String::new(),
            });
        }
        Wait::Close(Remainder::Unread)
    }
}

/// A response that is on the wire, all of it or what there is so far.
struct Delivered {
    rest: Option<(Sending, Flow)>,
    then: Then,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Facts, Found, Window};

    const REQUEST: &[u8] = b"GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n";

    fn opened() -> Event {
        let window = Window { start: 0, end: 5, is_final: true };
        let facts = Facts { window, modified: None, version: String::new(), media_type: None };
        Event::Opened(Ok(Found::Source(facts)))
    }

    /// Answers all that is asked until the session waits for the client, and looks in between.
    fn run(session: &mut Session, event: Event, look: impl Fn(&Session)) {
        let mut actions = session.advance(0, event);
        look(session);
        while let Some(Action::Open(_)) = actions.last() {
            actions = session.advance(0, opened());
            look(session);
        }
    }

    #[test]
    fn an_idle_session_holds_no_buffers() {
        let mut session = Session::new(Settings::default());
        for pieces in [1, 7, REQUEST.len(), 10 * REQUEST.len()] {
            for piece in REQUEST.repeat(10).chunks(pieces) {
                run(&mut session, Event::Received(piece.to_vec()), |_| {});
            }
            assert_eq!(session.unread.capacity(), 0, "in pieces of {pieces}");
        }
    }

    #[test]
    fn an_open_request_holds_its_head_and_no_more() {
        let mut session = Session::new(Settings::default());
        let head = REQUEST.to_vec();
        let address = head.as_ptr();
        session.advance(0, Event::Received(head));
        let State::Answering(request, _) = &session.state else {
            panic!("a source is being opened, not {:?}", session.state);
        };
        assert_eq!(request.target().as_ptr(), address.wrapping_add(b"GET ".len()), "nothing was copied");
        assert_eq!(session.unread.capacity(), 0);
    }

    #[test]
    fn what_is_unread_is_bounded() {
        const EVENT: usize = 16 * 1024;
        for bytes in [REQUEST.repeat(2_000), b"GET / HTTP/1.1\r\n".repeat(5_000), b"x".repeat(99_999)] {
            let mut session = Session::new(Settings::default());
            for piece in bytes.chunks(EVENT) {
                run(&mut session, Event::Received(piece.to_vec()), |session| {
                    assert!(session.unread.len() <= request::HEADER_SECTION_LIMIT + EVENT);
                });
            }
        }
    }
}
