//! One client, as HTTP sees it: events go in, lists of actions come out.
//!
//! Rules:
//!
//! - Requests are answered one at a time and in order. What arrives meanwhile waits in `unread`, which is
//!   bounded: the session asks for more only when it holds less than a header section.
//! - Every list of actions is a [`Plan`] and a [`Wait`], so that exactly one action waits, and it is the
//!   last.
//! - Where it is in doubt where the next request begins, the connection is closed.

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
    /// What the client has sent and the session has not read yet. In an idle session it is empty, without
    /// capacity.
    unread: Vec<u8>,
    /// The number of requests so far.
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
    /// Reading a header section, or waiting for its first byte.
    Header(Scanner),
    /// Discarding the body of a request, which is answered afterwards.
    Body(Request, Framing),
    /// Giving others a turn: the list of actions was full, and there are more requests in `unread`.
    Yielding,
    /// Waiting for the host to open or list something for the response.
    Answering(Request, Way),
    /// Sending a body that does not fit one list of actions.
    Sending(Sending, Option<Exchange>, Then),
    /// The session has ended.
    Closed,
}

/// What the unread bytes are.
enum Next {
    /// Less than a request.
    Incomplete,
    Request(Request),
    /// A fault that ends the connection, and the bytes before it, for the log.
    Malformed(Malformed, Vec<u8>),
}

impl Session {
    /// The session of a client that has just connected.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            guard: None,
            state: State::Header(Scanner::default()),
            unread: Vec::new(),
            exchanges: 0,
            client: Client::Sends,
            server: Server::Runs,
        }
    }

    /// A session that asks the guard about each request before it opens anything.
    #[must_use]
    pub fn guarded(settings: Settings, guard: Guard) -> Self {
        Self { guard: Some(guard), ..Self::new(settings) }
    }

    /// What to do about `event`, which happened at `now`. The list is never empty; its last action waits, and
    /// no other does. An event that does not answer the wait before ends the session.
    pub fn advance(&mut self, now: Instant, event: Event) -> Vec<Action> {
        let mut plan = Plan::default();
        let wait = match (mem::replace(&mut self.state, State::Closed), event) {
            (state, Event::Stopping) => self.stop(state),
            (state @ (State::Header(_) | State::Body(..)), Event::Received(bytes)) => {
                self.state = state;
                self.keep(bytes);
                self.proceed(now, &mut plan)
            }
            (state @ (State::Header(_) | State::Body(..)), Event::Finished) => {
                self.state = state;
                self.client = Client::HasFinished;
                self.proceed(now, &mut plan)
            }
            (State::Yielding, Event::Proceeded) => {
                self.state = State::Header(Scanner::default());
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

    /// Takes bytes from the client. Usually nothing is unread, and they become the buffer without a copy.
    fn keep(&mut self, bytes: Vec<u8>) {
        if self.unread.is_empty() {
            self.unread = bytes;
        } else {
            self.unread.extend_from_slice(&bytes);
        }
    }

    /// The server stops. An idle client is disconnected; any other gets the response that it waits for.
    fn stop(&mut self, state: State) -> Wait {
        self.server = Server::Stops;
        let wait = match &state {
            State::Header(scanner) if scanner.is_idle(&self.unread) => Wait::Close(Remainder::Nothing),
            State::Header(_) | State::Body(..) => Wait::Receive(Phase::Partial),
            State::Yielding => Wait::Proceed,
            State::Answering(_, way) => way.wait(),
            State::Sending(sending, ..) => sending.wait(),
            State::Closed => Wait::Close(Remainder::Unread),
        };
        self.state = state;
        wait
    }

    /// Answers requests until the session has to wait.
    fn proceed(&mut self, now: Instant, plan: &mut Plan) -> Wait {
        loop {
            if plan.is_full() && matches!(self.state, State::Header(_)) {
                self.state = State::Yielding;
                return Wait::Proceed;
            }
            let wait = match self.next(plan) {
                Next::Incomplete => Some(self.wait_for_more()),
                Next::Request(request) => self.answer(now, request, plan),
                Next::Malformed(malformed, line) => Some(self.refuse(now, malformed, &line, plan)),
            };
            if let Some(wait) = wait {
                return wait;
            }
        }
    }

    /// Reads the next request, and its body if it has one.
    fn next(&mut self, plan: &mut Plan) -> Next {
        match mem::replace(&mut self.state, State::Closed) {
            State::Header(mut scanner) => match scanner.scan(&self.unread) {
                Ok(Some(end)) => self.begin(end, plan),
                Ok(None) => {
                    self.state = State::Header(scanner);
                    Next::Incomplete
                }
                Err((malformed, at)) => Next::Malformed(malformed, self.unread[..at].to_vec()),
            },
            State::Body(request, framing) => self.discard(request, framing),
            _ => unreachable!("requests are read only while a header or a body is waited for"),
        }
    }

    /// Begins a request whose header section is the first `end` unread bytes.
    fn begin(&mut self, end: usize, plan: &mut Plan) -> Next {
        let request = match Request::parse(self.take(end)) {
            Ok(request) => request,
            Err((malformed, header)) => return Next::Malformed(malformed, header),
        };
        self.exchanges = self.exchanges.saturating_add(1);
        match self.body_to_read(&request) {
            Err(malformed) => Next::Malformed(malformed, request.into_bytes()),
            Ok(None) => Next::Request(request),
            Ok(Some((framing, expectation))) => {
                if expectation == Expectation::Continue {
                    plan.send(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec());
                }
                self.discard(request, framing)
            }
        }
    }

    /// The body that has to be discarded before the next request can be read. None also where there is one
    /// and the connection will be closed instead.
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

    /// Whether the body of a request is discarded for the sake of the next one. Otherwise the connection is
    /// closed, which is cheaper for both sides.
    fn reads_body_of(&self, request: &Request) -> bool {
        request.method.is_served() && !self.settings.at_capacity
    }

    fn discard(&mut self, request: Request, mut framing: Framing) -> Next {
        match framing.discard(&mut self.unread) {
            Err(malformed) => Next::Malformed(malformed, request.into_bytes()),
            Ok(true) => Next::Request(request),
            Ok(false) => {
                self.state = State::Body(request, framing);
                Next::Incomplete
            }
        }
    }

    /// Takes the first `end` unread bytes. Usually these are all, and nothing is copied.
    fn take(&mut self, end: usize) -> Vec<u8> {
        let rest = if end == self.unread.len() { Vec::new() } else { self.unread.split_off(end) };
        mem::replace(&mut self.unread, rest)
    }

    /// What to do when `unread` has no complete request. A client that has finished in the middle of one gets
    /// no response, because it cannot do anything about it.
    fn wait_for_more(&mut self) -> Wait {
        let idle = matches!(&self.state, State::Header(scanner) if scanner.is_idle(&self.unread));
        if self.client == Client::HasFinished || (idle && self.server == Server::Stops) {
            self.state = State::Closed;
            return Wait::Close(Remainder::Nothing);
        }
        // Before its first request a client is not between two exchanges: the header timeout applies.
        Wait::Receive(if idle && self.exchanges > 0 { Phase::Idle } else { Phase::Partial })
    }

    /// Answers a request, or begins to look for the answer. None: go on with the next request.
    fn answer(&mut self, now: Instant, request: Request, plan: &mut Plan) -> Option<Wait> {
        let site = Site { settings: &self.settings, now };
        let step = match guard::ask(self.guard, &request) {
            // A full server does not ask for credentials.
            Err(denied) if !self.settings.at_capacity => Ok(Step::Response(denied.response(site, &request))),
            _ => way::begin(site, &request),
        };
        match step {
            Ok(Step::Look(way)) => Some(self.look(request, way)),
            Ok(Step::Response(response)) => {
                let delivered = self.deliver(&request, response, plan);
                self.finish(&request, delivered, plan)
            }
            Err(malformed) => Some(self.refuse(now, malformed, &request.into_bytes(), plan)),
        }
    }

    fn look(&mut self, request: Request, way: Way) -> Wait {
        let wait = way.wait();
        self.state = State::Answering(request, way);
        wait
    }

    /// Goes on with the host's answer.
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

    /// Goes on with a body, of which there is more now.
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

    /// Puts a response on the wire, as much of it as there is now.
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

    /// Waits for the rest of a response, or reports it and goes on. None: go on with the next request.
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
            // Without a last chunk, so that the client can tell that something is missing.
            (Some((_, Flow::Broken)), _) => Some(Wait::Close(Remainder::Nothing)),
            (_, Then::Close(remainder)) => Some(Wait::Close(remainder)),
            (_, Then::NextRequest) => {
                self.state = State::Header(Scanner::default());
                None
            }
        }
    }

    /// Answers a malformed request and closes the connection, because the start of the next request is
    /// unknown.
    fn refuse(&self, now: Instant, malformed: Malformed, header: &[u8], plan: &mut Plan) -> Wait {
        let site = Site { settings: &self.settings, now };
        let then = Then::Close(Remainder::Unread);
        let response = page::error(site, malformed.status(), Format::Plain);
        response.deliver(Recipient::of_malformed(header), then, plan);
        if self.settings.reports {
            plan.report(Exchange {
                request: request::line_for_log(header),
                status: malformed.status().code(),
                referrer: String::new(),
                agent: String::new(),
            });
        }
        Wait::Close(Remainder::Unread)
    }
}

/// A response on the wire, complete or with a rest.
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

    /// Answers everything that the session asks for until it waits for the client, and calls `look` after
    /// each step.
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
        let header = REQUEST.to_vec();
        let address = header.as_ptr();
        session.advance(0, Event::Received(header));
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
