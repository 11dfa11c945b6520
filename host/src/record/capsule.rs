//! The record of one client's session: what it was made with, every event, every list of actions, and how it
//! ended. It can be replayed without the client (see `replay`).
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
use std::{fmt, io};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::budget::Budget;
use crate::contract::{Action, Event, PACKAGE, Report, Text};
use crate::ended::{Ended, In};
use crate::limits::{CAPSULE_FILE_BYTES, Limits};
use crate::record::redact::{self, Words};
use crate::sandbox::guest::Guest;
use crate::sandbox::instance::{Arrival, Form, Place, Sharing, Terms};
use crate::settings::Settings;

/// The version of what a capsule looks like.
pub(super) const FORMAT: u32 = 2;

/// One client's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Capsule {
    pub(super) format: u32,
    pub(super) contract: String,
    /// The SHA-256 of the component.
    pub(super) guest_sha256: String,
    pub(super) client: u64,
    pub(super) secrets: Secrets,
    pub(super) ended: End,
    pub(super) recording: Extent,
    pub(super) settings: Settings,
    /// The name of the only source.
    pub(super) home: Option<Text>,
    pub(super) secure: bool,
    pub(super) at_capacity: bool,
    pub(super) limits: Limits,
    pub(super) turns: Vec<Turn>,
}

/// Whether a capsule has the client's secrets in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Secrets {
    /// Replaced by filler of the same length.
    Redacted,
    /// As they came.
    Kept,
}

/// Whether all of a session was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Extent {
    Whole,
    /// Only its beginning: the capsule was full.
    Beginning,
}

/// How a session ended.
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

/// One event, and what the guest answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Turn {
    /// The time that the guest was given.
    pub(crate) now: u64,
    pub(crate) event: Event<'static>,
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

/// Why a file could not be read as a capsule.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CapsuleError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It is a folder, a FIFO or a device.
    #[error("not a file")]
    NotAFile,
    /// It ends in a way that this program does not know.
    #[error("not a valid capsule: unknown end reason {0:?}")]
    UnknownEnd(String),
    /// It is larger than any capsule.
    #[error("not a capsule: larger than any capsule can be")]
    TooLarge,
    /// It is something else, or was damaged.
    #[error("not a valid capsule: {0}")]
    NotACapsule(String),
    /// It was written by another version of this program.
    #[error("a capsule of format {0}; this program reads format {FORMAT}")]
    OtherFormat(u64),
    /// Its guest spoke another contract.
    #[error("recorded with the contract {0}; this program speaks {PACKAGE}")]
    OtherContract(String),
}

fn not_a_capsule(error: serde_json::Error) -> CapsuleError {
    CapsuleError::NotACapsule(error.to_string())
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
        let value: serde_json::Value = serde_json::from_slice(text).map_err(not_a_capsule)?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format != u64::from(FORMAT) => return Err(CapsuleError::OtherFormat(format)),
            _ => {}
        }
        let capsule: Self = serde_json::from_value(value).map_err(not_a_capsule)?;
        if capsule.contract != PACKAGE {
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

    /// The SHA-256 of the guest's component, in hexadecimal.
    pub fn guest_sha256(&self) -> &str {
        &self.guest_sha256
    }

    /// The limits that it was recorded within, for a guest to replay it with.
    pub fn limits(&self) -> Limits {
        Limits {
            max_clients: 1,
            reserve: 0,
            // As the command line has it. A capsule may come from anybody.
            memory: self.limits.memory.clamp(64 << 10, 4 << 30),
            ..self.limits.clone()
        }
    }

    /// What its session was made with, for this guest.
    pub(crate) fn terms(&self, guest: &Arc<Guest>) -> Terms {
        let home = self.home.as_ref().map(|home| home.0.clone());
        // Nobody else takes of it now.
        let budget = Budget::new(None);
        let (guest, settings) = (Arc::clone(guest), self.settings.clone());
        // Whatever it was recorded in: two ways to call a guest that must not differ.
        let form = Form::Component;
        Terms { guest, form, settings, home, budget, sharing: Sharing::Nothing, lacks: None }
    }

    pub(crate) fn arrival(&self) -> Arrival {
        let place = if self.at_capacity { Place::Reserve } else { Place::Regular };
        Arrival { place, secure: self.secure }
    }

    /// Replaces secrets by filler.
    pub(crate) fn redact(&mut self) {
        self.secrets = Secrets::Redacted;
        // A header section may come in any number of pieces, and be sent in some.
        let mut received = joined(self.received());
        let words = Words::of_secrets(&received);
        redact::redact(&mut received);
        split(&received, self.received());
        let mut sent = joined(self.sent());
        redact::redact(&mut sent);
        words.redact_in(&mut sent);
        split(&sent, self.sent());
        let hide = |text: &mut Vec<u8>| {
            redact::redact(text);
            words.redact_in(text);
        };
        for action in self.turns.iter_mut().flat_map(Turn::actions_mut) {
            match action {
                Action::Open(name) => hide(name),
                Action::List(portion) => {
                    hide(&mut portion.folder);
                    hide(&mut portion.after);
                }
                Action::Report(Report { request, referrer, agent, .. }) => {
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
            Event::Received(bytes) => Some(bytes.to_mut()),
            _ => None,
        })
    }

    fn sent(&mut self) -> impl Iterator<Item = &mut Vec<u8>> {
        self.turns.iter_mut().flat_map(Turn::actions_mut).filter_map(|action| match action {
            Action::Send(bytes) => Some(bytes),
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

impl From<&Ended> for End {
    fn from(ended: &Ended) -> Self {
        let what = match ended {
            Ended::TimedOut(timeout) => timeout.to_string(),
            Ended::OverLimit { limit, .. } => limit.to_string(),
            Ended::Trapped { message: what, .. } | Ended::SourceFailed(what) | Ended::HostFault(what) => what.clone(),
            Ended::Breach(breach) => breach.to_string(),
            Ended::Rejected(reason) => reason.to_string(),
            Ended::TlsFailed(fault) => fault.to_string(),
            Ended::Finished | Ended::Disconnected | Ended::ProxyFailed | Ended::ShutDown | Ended::Displaced => {
                String::new()
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Phase;

    fn capsule(turns: Vec<Turn>) -> Capsule {
        Capsule {
            format: FORMAT,
            contract: PACKAGE.to_owned(),
            guest_sha256: String::new(),
            client: 1,
            secrets: Secrets::Kept,
            ended: End::from(&Ended::Finished),
            recording: Extent::Whole,
            settings: Settings::default(),
            home: None,
            secure: false,
            at_capacity: false,
            limits: Limits::default(),
            turns,
        }
    }

    fn received(bytes: &[u8], answer: Vec<Action>) -> Turn {
        Turn { now: 1, event: Event::Received(bytes.to_vec().into()), answer: Answer::Actions(answer) }
    }

    #[test]
    fn every_byte_is_there_again_and_the_text_is_printable() {
        let all: Vec<u8> = (0..=255).collect();
        let report = Action::Report(Report {
            request: "GET /ä\u{202e}\u{7f} 😀".into(),
            status: 200,
            referrer: "\0".into(),
            agent: "\\u0041\"".into(),
        });
        let capsule =
            capsule(vec![received(&all, vec![Action::Send(all.clone()), report, Action::Receive(Phase::Partial)])]);
        let text = capsule.to_text().expect("a capsule can be written");
        assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')), "{text}");
        assert_eq!(Capsule::from_text(text.as_bytes()).expect("and read"), capsule);
    }

    #[test]
    fn what_is_not_a_capsule_is_refused() {
        let sound = capsule(Vec::new()).to_text().expect("a capsule can be written");
        for (from, to, why) in [
            ("{", "", "not a valid capsule"),
            ("\"format\": 2", "\"format\": 3", "format 3"),
            ("session@0.1.0", "session@0.2.0", "session@0.2.0"),
            ("\"client\"", "\"viewer\"", "viewer"),
        ] {
            let text = sound.replacen(from, to, 1);
            let error = Capsule::from_text(text.as_bytes()).expect_err(to).to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn secrets_are_redacted_however_the_header_section_was_split() {
        let head = b"GET /a?kez=secret HTTP/1.1\r\nAuthorization: Basic c2VjcmV0\r\nReferer: /?p\r\n\r\n";
        let location = b"HTTP/1.1 308 Permanent Redirect\r\nLocation: /a/?kez=secret\r\n\r\n";
        let hidden_head = b"GET /a?XXX=XXXXXX HTTP/1.1\r\nAuthorization: XXXXX XXXXXXXX\r\nReferer: /?X\r\n\r\n";
        let hidden_location = b"HTTP/1.1 308 Permanent Redirect\r\nLocation: /a/?XXX=XXXXXX\r\n\r\n";
        for at in 0..=head.len() {
            for sent_at in [0, 1, 45, 46, 52, location.len()] {
                let report = Action::Report(Report {
                    request: "GET /a?kez=secret HTTP/1.1".into(),
                    status: 308,
                    referrer: "/?p".into(),
                    agent: "secret".into(),
                });
                let sends = |location: &[u8]| {
                    [&location[..sent_at], &location[sent_at..]].map(|part| Action::Send(part.to_vec()))
                };
                let answer = sends(location).into_iter().chain([report]).collect();
                let mut capsule = capsule(vec![
                    received(&head[..at], vec![Action::Receive(Phase::Partial)]),
                    received(&head[at..], answer),
                ]);
                capsule.redact();
                let report = Action::Report(Report {
                    request: "GET /a?XXX=XXXXXX HTTP/1.1".into(),
                    status: 308,
                    referrer: "/?X".into(),
                    agent: "XXXXXX".into(),
                });
                let answer = sends(hidden_location).into_iter().chain([report]).collect();
                let turns = vec![
                    received(&hidden_head[..at], vec![Action::Receive(Phase::Partial)]),
                    received(&hidden_head[at..], answer),
                ];
                assert_eq!(capsule.turns, turns);
                assert_eq!(capsule.secrets, Secrets::Redacted);
                let once = capsule.clone();
                capsule.redact();
                assert_eq!(capsule, once, "to hide twice is to hide once");
            }
        }
    }
}
