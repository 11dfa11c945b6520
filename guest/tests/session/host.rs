//! A host in memory, and the client at the other end.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use multiclient_guest::contract::{
    Action, Entry, Event, Exchange, Facts, Field, Found, Instant, Listing, Phase, Portion, Refusal, Remainder,
    Settings, Window,
};
use multiclient_guest::{Guard, Session};

/// 2026-01-02T03:04:05Z.
pub(crate) const NOW: Instant = 1_767_323_045_000;
/// An hour before.
pub(crate) const BEFORE: Instant = NOW - 3_600_000;

/// Something that is published.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) bytes: Vec<u8>,
    pub(crate) facts: Facts,
    /// The windows that follow that of the facts, one for each wait.
    pub(crate) growth: Vec<Window>,
}

/// The byte at an offset of every source that is not text: the original's fixture.
pub(crate) fn pattern(length: u64) -> Vec<u8> {
    (0..length).map(|i| ((i * 7 + 3) % 251) as u8).collect()
}

pub(crate) fn file(bytes: &[u8]) -> Source {
    let window = Window { start: 0, end: bytes.len() as u64, is_final: true };
    let version = format!("v{}", bytes.len());
    let facts = Facts { window, modified: Some(BEFORE), version, media_type: None };
    Source { bytes: bytes.to_vec(), facts, growth: Vec::new() }
}

/// What happens at the server's end of a session.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) settings: Settings,
    pub(crate) guard: Option<Guard>,
    pub(crate) now: Instant,
    pub(crate) sources: BTreeMap<Vec<u8>, Source>,
    pub(crate) folders: BTreeMap<Vec<u8>, Vec<Entry>>,
    pub(crate) refusals: BTreeMap<Vec<u8>, Refusal>,
    /// The most entries that are listed at once.
    pub(crate) portion: usize,
    /// After so many portions a folder cannot be listed any more.
    pub(crate) vanishes_after: Option<usize>,
    /// Whether every portion is the first.
    pub(crate) cursor_sticks: bool,
}

impl Default for Host {
    /// What most rows ask for.
    fn default() -> Self {
        let mut host = Self {
            settings: Settings::default(),
            guard: None,
            now: NOW,
            sources: BTreeMap::new(),
            folders: BTreeMap::new(),
            refusals: BTreeMap::new(),
            portion: 1_024,
            vanishes_after: None,
            cursor_sticks: false,
        };
        host.publish("f.bin", file(&pattern(2500)));
        host.publish("ten", file(b"0123456789"));
        host.publish("empty", file(b""));
        host.publish("film.mp4", file(&pattern(100)));
        host.publish("live.m3u8", file(b"#EXTM3U\n"));
        host.publish("sp ace.mp4", file(b"space"));
        host.publish("100%.mp4", file(b"percent"));
        host.publish("\u{fc}.mp4", file(b"umlaut"));
        host.publish("new\nline", file(b"line"));
        host.publish("page/index.html", file(b"<p>index\n"));
        host.publish("style.css", file(b"a { color: red }"));
        host.publish("style.css.gz", file(b"gzipped"));
        host.publish("style.css.br", file(b"brotli"));
        host.publish("film.mp4.gz", file(b"nonsense"));
        host.folders.insert(b"page".to_vec(), Vec::new());
        host.folders.insert(b"sub".to_vec(), Vec::new());
        host.folders.insert(Vec::new(), Vec::new());
        host.refusals.insert(b"secret".to_vec(), Refusal::Forbidden);
        host.refusals.insert(b"busy".to_vec(), Refusal::Unavailable);
        host.refusals.insert(b"broken".to_vec(), Refusal::Failed);
        host
    }
}

/// What a client and the log see of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) output: Vec<u8>,
    pub(crate) reports: Vec<Exchange>,
    pub(crate) opened: Vec<Vec<u8>>,
    pub(crate) listed: Vec<Portion>,
    /// What each list sent, in bytes.
    pub(crate) sent: Vec<usize>,
    /// Where the session stands, if it waits for the client.
    pub(crate) phase: Option<Phase>,
    /// None: the session waits for more.
    pub(crate) closed: Option<Remainder>,
}

impl Outcome {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

/// What the client does, or the server's operator.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Bytes(Vec<u8>),
    Finish,
    /// The server stops at the next wait, whatever is waited for.
    Stop,
    /// What is waited for comes, if it is not the client.
    Turn,
}

impl Host {
    pub(crate) fn publish(&mut self, name: &str, source: Source) {
        self.sources.insert(name.as_bytes().to_vec(), source);
    }

    pub(crate) fn header(&mut self, name: &str, value: &str) {
        self.settings.headers.push(Field { name: name.into(), value: value.into() });
    }

    /// Runs a client that sends these bytes at once, in pieces of up to 16 KiB.
    pub(crate) fn whole(&self, bytes: &[u8]) -> Outcome {
        self.run(bytes.chunks(16 * 1024).map(|piece| Input::Bytes(piece.to_vec())))
    }

    pub(crate) fn byte_by_byte(&self, bytes: &[u8]) -> Outcome {
        self.run(bytes.iter().map(|byte| Input::Bytes(vec![*byte])))
    }

    pub(crate) fn run(&self, inputs: impl Iterator<Item = Input>) -> Outcome {
        let mut inputs: VecDeque<Input> = inputs.skip_while(|input| matches!(input, Input::Turn)).collect();
        let settings = self.settings.clone();
        let mut session = match self.guard {
            Some(guard) => Session::guarded(settings, guard),
            None => Session::new(settings),
        };
        let mut outcome = Outcome::default();
        let mut open: Option<Open> = None;
        let mut event = match inputs.pop_front() {
            Some(Input::Bytes(bytes)) => Event::Received(bytes),
            Some(Input::Finish) => Event::Finished,
            Some(Input::Stop) => Event::Stopping,
            Some(Input::Turn) => unreachable!("left out before"),
            None => return outcome,
        };
        loop {
            let actions = session.advance(self.now, event);
            let wait = self.carry_out(actions, &mut outcome, &mut open);
            if let (Some(Input::Turn), false) = (inputs.front(), matches!(wait, Action::Receive(_) | Action::Close(_)))
            {
                inputs.pop_front();
            } else if let (Some(Input::Stop), true) = (inputs.front(), !matches!(wait, Action::Close(_))) {
                inputs.pop_front();
                event = Event::Stopping;
                continue;
            }
            if matches!(wait, Action::Receive(_)) {
                while let Some(Input::Turn) = inputs.front() {
                    inputs.pop_front();
                }
                if let Some(Input::Stop) = inputs.front() {
                    inputs.pop_front();
                    event = Event::Stopping;
                    continue;
                }
            }
            event = match wait {
                Action::Receive(phase) => {
                    outcome.phase = Some(phase);
                    match inputs.pop_front() {
                        Some(Input::Bytes(bytes)) => Event::Received(bytes),
                        Some(Input::Finish) => Event::Finished,
                        Some(Input::Stop | Input::Turn) => unreachable!("looked at before"),
                        None => return outcome,
                    }
                }
                Action::Close(remainder) => {
                    outcome.closed = Some(remainder);
                    return outcome;
                }
                other => self.answer(other, &mut outcome, &mut open),
            };
        }
    }

    /// What an action that does not wait for the client leads to.
    fn answer(&self, wait: Action, outcome: &mut Outcome, open: &mut Option<Open>) -> Event {
        match wait {
            Action::Open(name) => {
                let found = self.open(&name, open);
                outcome.opened.push(name);
                Event::Opened(found)
            }
            Action::List(portion) => {
                let vanished = self.vanishes_after == Some(outcome.listed.len());
                let listed = if vanished { Err(Refusal::NotFound) } else { self.list(&portion) };
                outcome.listed.push(portion);
                Event::Listed(listed)
            }
            Action::Proceed => Event::Proceeded,
            Action::Wait(offset) => {
                Event::Available(open.as_mut().expect("a wait is for the open source").grow(offset))
            }
            other => panic!("{other:?} does not wait"),
        }
    }

    /// Carries out a list of actions as the contract has it, and gives back the last.
    fn carry_out(&self, mut actions: Vec<Action>, outcome: &mut Outcome, open: &mut Option<Open>) -> Action {
        assert!(actions.len() <= 64, "a list has at most 64 actions, not {}", actions.len());
        let last = actions.pop().expect("a list is never empty");
        let before = outcome.output.len();
        for action in actions {
            match action {
                Action::Send(bytes) => {
                    assert!(bytes.len() <= 1024 * 1024, "a send is at most 1 MiB");
                    outcome.output.extend_from_slice(&bytes);
                }
                Action::Pass(span) => {
                    let open = open.as_ref().expect("a pass is from the open source");
                    let window = open.window;
                    assert!(window.start <= span.offset && span.end() <= window.end, "{span:?} is within {window:?}");
                    let bytes = &open.source.bytes[span.offset as usize..span.end() as usize];
                    outcome.output.extend_from_slice(bytes);
                }
                Action::Report(exchange) => outcome.reports.push(exchange),
                other => panic!("{other:?} waits, and is not the last"),
            }
        }
        outcome.sent.push(outcome.output.len() - before);
        outcome.phase = None;
        last
    }

    fn open(&self, name: &[u8], open: &mut Option<Open>) -> Result<Found, Refusal> {
        assert_name(name);
        *open = None;
        let found = self.find(name)?;
        if let Found::Source(facts) = &found {
            *open = Some(Open { window: facts.window, source: self.sources[name].clone(), step: 0 });
        }
        Ok(found)
    }

    pub(crate) fn find(&self, name: &[u8]) -> Result<Found, Refusal> {
        if let Some(refusal) = self.refusals.get(name) {
            return Err(*refusal);
        }
        if self.folders.contains_key(name) {
            return Ok(Found::Folder);
        }
        let source = self.sources.get(name).ok_or(Refusal::NotFound)?;
        Ok(Found::Source(source.facts.clone()))
    }

    pub(crate) fn list(&self, portion: &Portion) -> Result<Listing, Refusal> {
        assert_name(&portion.folder);
        if let Some(refusal) = self.refusals.get(&[&portion.folder[..], b"/"].concat()) {
            return Err(*refusal);
        }
        let all = self.folders.get(&portion.folder).ok_or(Refusal::NotFound)?;
        let after = if self.cursor_sticks { &[] } else { &portion.after[..] };
        let mut entries: Vec<&Entry> = all.iter().filter(|entry| &entry.name[..] > after).collect();
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let wanted = if portion.limit == 0 { self.portion } else { self.portion.min(portion.limit as usize) };
        let complete = entries.len() <= wanted;
        Ok(Listing { entries: entries.into_iter().take(wanted).cloned().collect(), complete })
    }
}

/// What comes out of a target is a name by construction.
fn assert_name(name: &[u8]) {
    let is_segment = |segment: &[u8]| !matches!(segment, b"" | b"." | b"..") && !segment.contains(&0);
    assert!(name.is_empty() || name.split(|b| *b == b'/').all(is_segment), "{name:?} is a name");
}

struct Open {
    source: Source,
    window: Window,
    step: usize,
}

impl Open {
    /// The next window in which there is something for who waits past `offset`.
    fn grow(&mut self, offset: u64) -> Window {
        loop {
            let Window { start, end, is_final } = self.window;
            if end > offset || is_final || start > offset {
                return self.window;
            }
            self.window = self.source.growth[self.step];
            self.step += 1;
        }
    }
}

/// A response as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) head: String,
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body ended as its head said, or with the connection where that is the way.
    pub(crate) complete: bool,
}

impl Response {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there once in {}", self.head);
        value
    }

    /// Reads the response at the front of `output`, as strictly as a client can, and what is behind it.
    pub(crate) fn read<'a>(output: &'a [u8], method: &str) -> (Self, &'a [u8]) {
        let end = output.windows(4).position(|four| four == b"\r\n\r\n").expect("the head ends") + 4;
        let head = String::from_utf8(output[..end].to_vec()).expect("heads are ASCII here");
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().expect("a status line");
        let status: u16 =
            status_line.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("{status_line:?} is a status line"))[..3]
                .parse()
                .expect("a status");
        let fields: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is a field")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut response = Self { head, status, fields, body: Vec::new(), complete: true };
        let rest = response.read_body(&output[end..], method);
        (response, rest)
    }

    fn read_body<'a>(&mut self, rest: &'a [u8], method: &str) -> &'a [u8] {
        let length = self.field("Content-Length").map(|length| length.parse().expect("a length"));
        let coding = self.field("Transfer-Encoding").map(str::to_owned);
        assert!(length.is_none() || coding.is_none(), "one framing in {}", self.head);
        if self.status < 200 || self.status == 204 || self.status == 304 {
            assert!(length.is_none() && coding.is_none(), "no framing in {}", self.head);
            return rest;
        }
        if method == "HEAD" {
            return rest;
        }
        match (length, coding) {
            (Some(length), _) => {
                let taken = rest.len().min(length);
                self.complete = taken == length;
                self.body = rest[..taken].to_vec();
                &rest[taken..]
            }
            (None, Some(coding)) => {
                assert_eq!(coding, "chunked");
                self.read_chunks(rest)
            }
            (None, None) => {
                assert!(self.field("Connection") == Some("close"), "delimited in {}", self.head);
                self.body = rest.to_vec();
                &rest[rest.len()..]
            }
        }
    }

    fn read_chunks<'a>(&mut self, mut rest: &'a [u8]) -> &'a [u8] {
        loop {
            let Some(end) = rest.windows(2).position(|two| two == b"\r\n") else {
                assert!(rest.is_empty(), "a stream breaks between chunks");
                self.complete = false;
                return rest;
            };
            let size = std::str::from_utf8(&rest[..end]).expect("a size");
            let size = usize::from_str_radix(size, 16).expect("a size");
            self.body.extend_from_slice(&rest[end + 2..end + 2 + size]);
            assert_eq!(&rest[end + 2 + size..end + 4 + size], b"\r\n", "a chunk ends with a line end");
            rest = &rest[end + 4 + size..];
            if size == 0 {
                return rest;
            }
        }
    }
}

/// A second request after a row, to see that nothing is out of step.
const SECOND: &str = "GET /ten HTTP/1.1\r\nHost: second\r\n\r\n";

/// Runs a request in all three ways and gives back its response.
#[track_caller]
pub(crate) fn response_of(host: &Host, request: &str) -> Response {
    let outcome = check_ways(host, request.as_bytes());
    let method = request.trim_start().split(' ').next().expect("a method");
    let (response, rest) = Response::read(&outcome.output, method);
    assert_eq!(rest, b"", "one response to one request");
    response
}

/// Runs bytes at once, byte by byte, and followed by a second request. That one is answered if and only if
/// the session has not closed.
#[track_caller]
pub(crate) fn check_ways(host: &Host, request: &[u8]) -> Outcome {
    let whole = host.whole(request);
    let pieces = host.byte_by_byte(request);
    assert_eq!(whole.text(), pieces.text(), "whole and byte by byte");
    assert_eq!(whole.reports, pieces.reports, "whole and byte by byte");
    assert_eq!(whole.closed.is_some(), pieces.closed.is_some(), "whole and byte by byte");
    let followed = host.whole(&[request, SECOND.as_bytes()].concat());
    let mut expected = whole.output.clone();
    if whole.closed.is_none() {
        expected.extend(host.whole(SECOND.as_bytes()).output);
    }
    assert_eq!(followed.text(), String::from_utf8_lossy(&expected), "with a second request");
    whole
}

/// A `GET` with these lines besides `Host`.
pub(crate) fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}
