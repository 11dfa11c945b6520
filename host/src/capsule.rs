//! The record of one client's life: what its session was made with, every event, every list of actions,
//! and how it ended. With it the life can be had again, without the client (see `replay`).
//!
//! A capsule is a file of JSON. Bytes stand in it as text of which each character is one byte, U+0000 to
//! U+00FF; the file itself is printable ASCII, everything else is escaped as JSON has it. What was passed
//! from a source is a span, so that a capsule is small.
//!
//! Rule: what is recorded is what was said, before anybody judged it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ended::{Ended, In};
use crate::limits::{CAPSULE_BYTES, CAPSULE_FILE_BYTES, Limits};
use crate::redact::{self, Words};
use crate::sandbox::{Guest, contract};
use crate::server::Settings;

/// The version of what a capsule looks like.
const FORMAT: u32 = 1;

/// The contract that is spoken in it.
const CONTRACT: &str = "multiclient:session@0.1.0";

/// One client's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Capsule {
    format: u32,
    contract: String,
    /// The fingerprint of the component.
    guest_sha256: String,
    client: u64,
    secrets: Secrets,
    pub(crate) ended: End,
    pub(crate) recording: Extent,
    settings: Told,
    limits: Bounds,
    pub(crate) turns: Vec<Turn>,
}

/// Whether a capsule has the client's secrets in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Secrets {
    /// Filler of the same length stands for them.
    Hidden,
    /// As they came.
    Kept,
}

/// Whether all of a life was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Extent {
    Whole,
    /// Only its beginning: the capsule was full.
    Beginning,
}

/// How a life ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct End {
    pub(crate) kind: String,
    /// Which limit, which rule, which message. Empty: there is nothing to add.
    pub(crate) what: String,
    /// The functions of the guest, innermost first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) backtrace: Vec<String>,
}

/// One event, and what the guest said to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Turn {
    /// The time that the guest was given.
    pub(crate) now: u64,
    pub(crate) event: Event,
    pub(crate) answer: Answer,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Actions(Vec<Action>),
    /// More than there was room for.
    LeftOut {
        actions: usize,
        bytes: usize,
    },
    /// The guest ended in this call.
    Nothing,
}

/// What the guest was told of the operator's choices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Told {
    compat: bool,
    home: Option<Bytes>,
    listing: bool,
    headers: Vec<(String, String)>,
    cors: Option<String>,
    reports: bool,
    at_capacity: bool,
}

/// The limits that a life depends on, the guest's and the client's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Bounds {
    memory_bytes: u64,
    cpu_per_event_us: u64,
    cpu_without_progress_us: u64,
    exchanges: u32,
    actions: usize,
    send_bytes: usize,
    head_timeout_ms: u64,
    idle_timeout_ms: u64,
    stall_timeout_ms: u64,
}

/// The contract's `event`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    Received(Bytes),
    Finished,
    Opened(Opened),
    Listed(Listed),
    Available(Window),
    Stopping,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Opened {
    Source(Facts),
    Folder,
    Refused(Refusal),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Listed {
    Listing { entries: Vec<Entry>, complete: bool },
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Refusal {
    NotFound,
    Forbidden,
    Unavailable,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Facts {
    pub(crate) window: Window,
    pub(crate) modified: Option<u64>,
    pub(crate) version: String,
    pub(crate) media_type: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Window {
    pub(crate) start: u64,
    pub(crate) end: u64,
    #[serde(rename = "final")]
    pub(crate) final_: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) name: Bytes,
    pub(crate) folder: bool,
    pub(crate) size: u64,
    pub(crate) modified: Option<u64>,
}

/// The contract's `action`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    Receive,
    Open(Bytes),
    List(Bytes),
    Send(Bytes),
    Pass { offset: u64, count: u64 },
    Wait(u64),
    Report { request: String, status: u16, referrer: String, agent: String },
    Close(Remainder),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Remainder {
    Nothing,
    Unread,
}

/// Bytes, in JSON a text of characters from U+0000 to U+00FF.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl From<Bytes> for String {
    fn from(bytes: Bytes) -> Self {
        bytes.0.into_iter().map(char::from).collect()
    }
}

impl TryFrom<String> for Bytes {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes: Result<_, _> = text.chars().map(|byte| u8::try_from(u32::from(byte))).collect();
        bytes.map(Self).map_err(|_| "bytes have no characters beyond U+00FF")
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Why there is no capsule in a file.
#[derive(Debug, Error)]
pub enum CapsuleError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is a folder, a FIFO or a device.
    #[error("it is not a file")]
    NotAFile,
    /// A life ends in it as none does.
    #[error("it is no capsule: no life ends as {0:?}")]
    UnknownEnd(String),
    /// It is larger than any capsule.
    #[error("it is no capsule: none is so large")]
    TooLarge,
    /// It is something else, or was damaged.
    #[error("it is no capsule: {0}")]
    NotACapsule(#[from] serde_json::Error),
    /// It was written by another version of this program.
    #[error("it is a capsule of format {0}, and this program reads format {FORMAT}")]
    OtherFormat(u64),
    /// It is of a guest with another contract.
    #[error("it is of the contract {0}, and this program speaks {CONTRACT}")]
    OtherContract(String),
}

impl Capsule {
    /// Reads a capsule from its file.
    pub fn read(path: &Path) -> Result<Self, CapsuleError> {
        // Opening a FIFO would wait for somebody to write to it, and what a device gives has no end.
        let nonblock = OFlags::NONBLOCK.bits().cast_signed();
        let file = File::options().read(true).custom_flags(nonblock).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(CapsuleError::NotAFile);
        }
        let mut text = Vec::new();
        file.take(CAPSULE_FILE_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > CAPSULE_FILE_BYTES {
            return Err(CapsuleError::TooLarge);
        }
        Self::from_text(&text)
    }

    fn from_text(text: &[u8]) -> Result<Self, CapsuleError> {
        // Its format first: another one may have other fields.
        let value: serde_json::Value = serde_json::from_slice(text)?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format != u64::from(FORMAT) => return Err(CapsuleError::OtherFormat(format)),
            _ => {}
        }
        let capsule: Self = serde_json::from_value(value)?;
        if capsule.contract != CONTRACT {
            return Err(CapsuleError::OtherContract(capsule.contract));
        }
        if !Ended::KINDS.contains(&capsule.ended.kind.as_str()) {
            return Err(CapsuleError::UnknownEnd(capsule.ended.kind));
        }
        Ok(capsule)
    }

    /// What is in its file: printable ASCII, and line ends.
    pub(crate) fn to_text(&self) -> serde_json::Result<String> {
        use fmt::Write as _;
        let json = serde_json::to_string_pretty(self)?;
        let mut text = String::with_capacity(json.len() + 1);
        for character in json.chars() {
            if character.is_ascii() && character != '\x7f' {
                text.push(character);
                continue;
            }
            // Only texts have such characters, and there JSON takes an escape for any of them.
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing into a string cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
        text.push('\n');
        Ok(text)
    }

    /// What its file is called.
    pub(crate) fn file_name(client: u64) -> String {
        format!("{client}.capsule")
    }

    /// The number of the client.
    pub fn client(&self) -> u64 {
        self.client
    }

    /// The fingerprint of the guest whose life it is.
    pub fn guest_sha256(&self) -> &str {
        &self.guest_sha256
    }

    /// The limits within which that was, for a guest to live it again.
    pub fn limits(&self) -> Limits {
        let Bounds {
            memory_bytes,
            cpu_per_event_us,
            cpu_without_progress_us,
            exchanges,
            actions,
            send_bytes,
            head_timeout_ms,
            idle_timeout_ms,
            stall_timeout_ms,
        } = self.limits;
        Limits {
            clients: 1,
            reserve: 0,
            // As the command line has it. A capsule may come from anybody.
            memory: memory_bytes.clamp(64 << 10, 4 << 30),
            cpu_per_event: Duration::from_micros(cpu_per_event_us),
            cpu_without_progress: Duration::from_micros(cpu_without_progress_us),
            exchanges,
            actions,
            send_bytes,
            head_timeout: Duration::from_millis(head_timeout_ms),
            idle_timeout: Duration::from_millis(idle_timeout_ms),
            stall_timeout: Duration::from_millis(stall_timeout_ms),
            ..Limits::default()
        }
    }

    /// The settings of its session, the name of its home, and whether the server was full.
    pub(crate) fn settings(&self) -> (Settings, Option<&[u8]>, bool) {
        let Told { compat, home, listing, headers, cors, reports, at_capacity } = &self.settings;
        let settings = Settings {
            reports: *reports,
            listing: *listing,
            compat: *compat,
            headers: headers.clone(),
            cors: cors.clone(),
        };
        (settings, home.as_ref().map(|home| home.0.as_slice()), *at_capacity)
    }

    /// Replaces what is secret in it by filler.
    pub(crate) fn hide_secrets(&mut self) {
        self.secrets = Secrets::Hidden;
        // A head may come in any number of pieces, and be sent in some.
        let mut received = joined(self.received());
        let words = Words::of_secrets(&received);
        redact::hide(&mut received);
        split(&received, self.received());
        let mut sent = joined(self.sent());
        redact::hide(&mut sent);
        words.hide_in(&mut sent);
        split(&sent, self.sent());
        let hide = |text: &mut Vec<u8>| {
            redact::hide(text);
            words.hide_in(text);
        };
        for action in self.turns.iter_mut().flat_map(Turn::actions_mut) {
            match action {
                Action::Open(name) | Action::List(name) => hide(&mut name.0),
                Action::Report { request, referrer, agent, .. } => {
                    for text in [request, referrer, agent] {
                        let mut bytes = std::mem::take(text).into_bytes();
                        hide(&mut bytes);
                        // Filler of UTF-8 is UTF-8.
                        *text = String::from_utf8(bytes).unwrap_or_default();
                    }
                }
                _ => {}
            }
        }
    }

    fn received(&mut self) -> impl Iterator<Item = &mut Vec<u8>> {
        self.turns.iter_mut().filter_map(|turn| match &mut turn.event {
            Event::Received(bytes) => Some(&mut bytes.0),
            _ => None,
        })
    }

    fn sent(&mut self) -> impl Iterator<Item = &mut Vec<u8>> {
        self.turns.iter_mut().flat_map(Turn::actions_mut).filter_map(|action| match action {
            Action::Send(bytes) => Some(&mut bytes.0),
            _ => None,
        })
    }
}

fn joined<'a>(pieces: impl Iterator<Item = &'a mut Vec<u8>>) -> Vec<u8> {
    pieces.fold(Vec::new(), |mut all, piece| {
        all.extend_from_slice(piece);
        all
    })
}

/// Puts back what [`joined`] has put together.
fn split<'a>(mut all: &[u8], pieces: impl Iterator<Item = &'a mut Vec<u8>>) {
    for piece in pieces {
        let (this, rest) = all.split_at(piece.len());
        piece.copy_from_slice(this);
        all = rest;
    }
}

impl Turn {
    fn actions_mut(&mut self) -> &mut [Action] {
        match &mut self.answer {
            Answer::Actions(actions) => actions,
            Answer::LeftOut { .. } | Answer::Nothing => &mut [],
        }
    }
}

/// A life that is being recorded.
pub(crate) struct Recording {
    client: u64,
    at_capacity: bool,
    guest: Arc<Guest>,
    limits: Arc<Limits>,
    turns: Vec<Turn>,
    left: usize,
    extent: Extent,
}

impl Recording {
    pub(crate) fn new(client: u64, at_capacity: bool, guest: &Arc<Guest>, limits: &Arc<Limits>) -> Self {
        Self {
            client,
            at_capacity,
            guest: Arc::clone(guest),
            limits: Arc::clone(limits),
            turns: Vec::new(),
            left: CAPSULE_BYTES,
            extent: Extent::Whole,
        }
    }

    /// Takes down what the guest is about to be told.
    pub(crate) fn event(&mut self, now: u64, event: &contract::Event<'_>) {
        if self.has_room(event_bytes(event)) {
            self.turns.push(Turn { now, event: Event::from(event), answer: Answer::Nothing });
        }
    }

    /// Takes down what it said to that.
    pub(crate) fn actions(&mut self, actions: &[contract::Action]) {
        if self.extent == Extent::Beginning {
            return;
        }
        let bytes = actions.iter().map(action_bytes).sum();
        let room = self.has_room(bytes);
        if let Some(turn) = self.turns.last_mut() {
            turn.answer = if room {
                Answer::Actions(actions.iter().map(Action::from).collect())
            } else {
                Answer::LeftOut { actions: actions.len(), bytes: said_bytes(actions) }
            };
        }
    }

    /// Whether there is room for so much more. When there is not, this is the end of the recording.
    fn has_room(&mut self, bytes: usize) -> bool {
        match self.left.checked_sub(bytes) {
            Some(left) if self.extent == Extent::Whole => {
                self.left = left;
                true
            }
            _ => {
                self.extent = Extent::Beginning;
                false
            }
        }
    }

    /// The capsule of a life that is over, with all its secrets.
    pub(crate) fn finish(self, ended: &Ended, settings: &Settings, home: Option<&[u8]>) -> Capsule {
        let Settings { reports, listing, compat, headers, cors } = settings.clone();
        let home = home.map(|home| Bytes(home.to_vec()));
        Capsule {
            format: FORMAT,
            contract: CONTRACT.to_owned(),
            guest_sha256: self.guest.sha256(),
            client: self.client,
            secrets: Secrets::Kept,
            ended: End::from(ended),
            recording: self.extent,
            settings: Told { compat, home, listing, headers, cors, reports, at_capacity: self.at_capacity },
            limits: Bounds::from(&*self.limits),
            turns: self.turns,
        }
    }
}

fn event_bytes(event: &contract::Event<'_>) -> usize {
    let within = match event {
        contract::Event::Received(bytes) => bytes.len(),
        contract::Event::Listed(Ok(listing)) => {
            listing.entries.iter().map(|entry| size_of::<Entry>() + entry.name.len()).sum()
        }
        _ => 0,
    };
    size_of::<Turn>() + within
}

fn action_bytes(action: &contract::Action) -> usize {
    size_of::<Action>() + said_bytes(std::slice::from_ref(action))
}

/// The bytes that a guest says in its actions.
pub(crate) fn said_bytes(actions: &[contract::Action]) -> usize {
    let said = |action: &contract::Action| match action {
        contract::Action::Open(bytes) | contract::Action::List(bytes) | contract::Action::Send(bytes) => bytes.len(),
        contract::Action::Report(exchange) => exchange.request.len() + exchange.referrer.len() + exchange.agent.len(),
        _ => 0,
    };
    actions.iter().map(said).sum()
}

impl From<&Limits> for Bounds {
    fn from(limits: &Limits) -> Self {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self {
            memory_bytes: limits.memory,
            cpu_per_event_us: us(limits.cpu_per_event),
            cpu_without_progress_us: us(limits.cpu_without_progress),
            exchanges: limits.exchanges,
            actions: limits.actions,
            send_bytes: limits.send_bytes,
            head_timeout_ms: ms(limits.head_timeout),
            idle_timeout_ms: ms(limits.idle_timeout),
            stall_timeout_ms: ms(limits.stall_timeout),
        }
    }
}

impl From<&Ended> for End {
    fn from(ended: &Ended) -> Self {
        let what = match ended {
            Ended::TimedOut(phase) => phase.to_string(),
            Ended::OverLimit { limit, .. } => limit.to_string(),
            Ended::Trapped { message: what, .. } | Ended::SourceFailed(what) | Ended::HostFault(what) => what.clone(),
            Ended::Breach(breach) => breach.to_string(),
            Ended::TurnedAway(reason) => reason.to_string(),
            Ended::Finished | Ended::Disconnected | Ended::ShutDown => String::new(),
        };
        Self { kind: ended.kind().to_owned(), what, backtrace: ended.backtrace().to_vec() }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may come from a file that anybody has written.
        write!(f, "{}", self.kind.escape_debug())?;
        if !self.what.is_empty() {
            write!(f, ": {}", self.what.escape_debug())?;
        }
        write!(f, "{}", In(&self.backtrace).to_string().escape_debug())
    }
}

impl From<&contract::Event<'_>> for Event {
    fn from(event: &contract::Event<'_>) -> Self {
        match event {
            contract::Event::Received(bytes) => Self::Received(Bytes(bytes.to_vec())),
            contract::Event::Finished => Self::Finished,
            contract::Event::Opened(Ok(contract::Found::Source(facts))) => Self::Opened(Opened::Source(Facts {
                window: facts.window.into(),
                modified: facts.modified,
                version: facts.version.to_owned(),
                media_type: facts.media_type.map(str::to_owned),
            })),
            contract::Event::Opened(Ok(contract::Found::Folder)) => Self::Opened(Opened::Folder),
            contract::Event::Opened(Err(refusal)) => Self::Opened(Opened::Refused((*refusal).into())),
            contract::Event::Listed(Ok(listing)) => {
                let entry = |entry: &contract::Entry<'_>| Entry {
                    name: Bytes(entry.name.to_vec()),
                    folder: entry.folder,
                    size: entry.size,
                    modified: entry.modified,
                };
                let entries = listing.entries.iter().map(entry).collect();
                Self::Listed(Listed::Listing { entries, complete: listing.complete })
            }
            contract::Event::Listed(Err(refusal)) => Self::Listed(Listed::Refused((*refusal).into())),
            contract::Event::Available(window) => Self::Available((*window).into()),
            contract::Event::Stopping => Self::Stopping,
        }
    }
}

impl From<&contract::Action> for Action {
    fn from(action: &contract::Action) -> Self {
        match action {
            contract::Action::Receive => Self::Receive,
            contract::Action::Open(name) => Self::Open(Bytes(name.clone())),
            contract::Action::List(name) => Self::List(Bytes(name.clone())),
            contract::Action::Send(bytes) => Self::Send(Bytes(bytes.clone())),
            contract::Action::Pass(span) => Self::Pass { offset: span.offset, count: span.count },
            contract::Action::Wait(offset) => Self::Wait(*offset),
            contract::Action::Report(exchange) => Self::Report {
                request: exchange.request.clone(),
                status: exchange.status,
                referrer: exchange.referrer.clone(),
                agent: exchange.agent.clone(),
            },
            contract::Action::Close(contract::Remainder::Nothing) => Self::Close(Remainder::Nothing),
            contract::Action::Close(contract::Remainder::Unread) => Self::Close(Remainder::Unread),
        }
    }
}

impl From<contract::Window> for Window {
    fn from(window: contract::Window) -> Self {
        Self { start: window.start, end: window.end, final_: window.final_ }
    }
}

impl From<Window> for contract::Window {
    fn from(window: Window) -> Self {
        Self { start: window.start, end: window.end, final_: window.final_ }
    }
}

impl From<contract::Refusal> for Refusal {
    fn from(refusal: contract::Refusal) -> Self {
        match refusal {
            contract::Refusal::NotFound => Self::NotFound,
            contract::Refusal::Forbidden => Self::Forbidden,
            contract::Refusal::Unavailable => Self::Unavailable,
            contract::Refusal::Failed => Self::Failed,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn capsule(turns: Vec<Turn>) -> Capsule {
        Capsule {
            format: FORMAT,
            contract: CONTRACT.to_owned(),
            guest_sha256: String::new(),
            client: 1,
            secrets: Secrets::Kept,
            ended: End::from(&Ended::Finished),
            recording: Extent::Whole,
            settings: Told {
                compat: false,
                home: None,
                listing: false,
                headers: Vec::new(),
                cors: None,
                reports: true,
                at_capacity: false,
            },
            limits: Bounds::from(&Limits::default()),
            turns,
        }
    }

    fn received(bytes: &[u8], answer: Vec<Action>) -> Turn {
        Turn { now: 1, event: Event::Received(Bytes(bytes.to_vec())), answer: Answer::Actions(answer) }
    }

    #[test]
    fn every_byte_is_there_again_and_the_text_is_printable() {
        let all: Vec<u8> = (0..=255).collect();
        let report = Action::Report {
            request: "GET /ä\u{202e}\u{7f} 😀".into(),
            status: 200,
            referrer: "\0".into(),
            agent: "\\u0041\"".into(),
        };
        let capsule = capsule(vec![received(&all, vec![Action::Send(Bytes(all.clone())), report, Action::Receive])]);
        let text = capsule.to_text().expect("a capsule can be written");
        assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "{text}");
        assert_eq!(Capsule::from_text(text.as_bytes()).expect("and read"), capsule);
    }

    #[test]
    fn bytes_are_told_from_each_other() {
        for (bytes, text) in [
            (&b"GET / HTTP/1.1\r\n"[..], r#""GET / HTTP/1.1\r\n""#),
            (b"\\r\"", r#""\\r\"""#),
            (b"\xe4\x00", "\"\u{e4}\\u0000\""),
        ] {
            assert_eq!(serde_json::to_string(&Bytes(bytes.to_vec())).expect("it is a text"), text);
        }
        assert!(serde_json::from_str::<Bytes>("\"\u{100}\"").is_err());
    }

    #[test]
    fn what_is_no_capsule_is_refused() {
        let sound = capsule(Vec::new()).to_text().expect("a capsule can be written");
        for (from, to, why) in [
            ("{", "", "no capsule"),
            ("\"format\": 1", "\"format\": 2", "format 2"),
            ("session@0.1.0", "session@0.2.0", "session@0.2.0"),
            ("\"client\"", "\"viewer\"", "viewer"),
        ] {
            let text = sound.replacen(from, to, 1);
            let error = Capsule::from_text(text.as_bytes()).expect_err(to).to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn secrets_are_hidden_however_the_head_was_split() {
        let head = b"GET /a?kez=secret HTTP/1.1\r\nAuthorization: Basic c2VjcmV0\r\nReferer: /?p\r\n\r\n";
        let location = b"HTTP/1.1 308 Permanent Redirect\r\nLocation: /a/?kez=secret\r\n\r\n";
        let hidden_head = b"GET /a?XXX=XXXXXX HTTP/1.1\r\nAuthorization: XXXXX XXXXXXXX\r\nReferer: /?X\r\n\r\n";
        let hidden_location = b"HTTP/1.1 308 Permanent Redirect\r\nLocation: /a/?XXX=XXXXXX\r\n\r\n";
        for at in 0..=head.len() {
            for sent_at in [0, 1, 45, 46, 52, location.len()] {
                let report = Action::Report {
                    request: "GET /a?kez=secret HTTP/1.1".into(),
                    status: 308,
                    referrer: "/?p".into(),
                    agent: "secret".into(),
                };
                let sends = |location: &[u8]| {
                    [&location[..sent_at], &location[sent_at..]].map(|part| Action::Send(Bytes(part.to_vec())))
                };
                let answer = sends(location).into_iter().chain([report]).collect();
                let mut capsule =
                    capsule(vec![received(&head[..at], vec![Action::Receive]), received(&head[at..], answer)]);
                capsule.hide_secrets();
                let report = Action::Report {
                    request: "GET /a?XXX=XXXXXX HTTP/1.1".into(),
                    status: 308,
                    referrer: "/?X".into(),
                    agent: "XXXXXX".into(),
                };
                let answer = sends(hidden_location).into_iter().chain([report]).collect();
                let turns =
                    vec![received(&hidden_head[..at], vec![Action::Receive]), received(&hidden_head[at..], answer)];
                assert_eq!(capsule.turns, turns);
                assert_eq!(capsule.secrets, Secrets::Hidden);
                let once = capsule.clone();
                capsule.hide_secrets();
                assert_eq!(capsule, once, "to hide twice is to hide once");
            }
        }
    }

    #[test]
    fn a_capsule_that_is_full_says_so() {
        let limits = Arc::new(Limits { clients: 1, reserve: 0, ..Limits::default() });
        let guest = Arc::new(Guest::built_in(&limits).expect("it is built in"));
        let mut recording = Recording::new(7, false, &guest, &limits);
        let piece = vec![b'a'; 16 << 10];
        for now in 0..100 {
            recording.event(now, &contract::Event::Received(&piece));
            recording.actions(&[contract::Action::Receive]);
        }
        let capsule = recording.finish(&Ended::Disconnected, &Settings::default(), None);
        assert_eq!(capsule.recording, Extent::Beginning);
        assert!(capsule.turns.len() < 100 && capsule.turns.len() * piece.len() <= CAPSULE_BYTES);
        let text = capsule.to_text().expect("a capsule can be written");
        assert!(text.len() as u64 <= CAPSULE_FILE_BYTES);

        let mut recording = Recording::new(7, false, &guest, &limits);
        recording.event(0, &contract::Event::Received(b"a"));
        recording.actions(&[contract::Action::Send(vec![b'a'; CAPSULE_BYTES]), contract::Action::Receive]);
        recording.event(1, &contract::Event::Finished);
        let capsule = recording.finish(&Ended::Disconnected, &Settings::default(), None);
        assert_eq!(capsule.recording, Extent::Beginning);
        assert_eq!(capsule.turns.len(), 1);
        assert_eq!(capsule.turns[0].answer, Answer::LeftOut { actions: 2, bytes: CAPSULE_BYTES });
    }
}
