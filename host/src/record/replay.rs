//! Replays a recorded session in a fresh instance and without a client: the same events at the same times.
//! Then it compares what the guest answers.
//!
//! Rule: no sockets, no files and no clock. What the world did is in the capsule.

use std::fmt;
use std::sync::Arc;

use crate::contract::{Action, Event, Found, Report};
use crate::record::capsule::{Answer, Capsule, End, Extent, Secrets};
use crate::record::redact;
use crate::sandbox::guest::Guest;
use crate::sandbox::instance::Sandbox;

/// What came of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    client: u64,
    events: usize,
    actions: usize,
    ended: String,
    extent: Extent,
    secrets: Secrets,
    /// The fingerprint of the guest that was recorded, if this is another.
    other_guest: Option<String>,
    divergence: Option<Divergence>,
}

/// The first thing that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Divergence {
    place: String,
    expected: String,
    came: String,
}

impl Replay {
    /// Whether the guest answered as it had answered.
    pub fn is_identical(&self) -> bool {
        self.divergence.is_none()
    }
}

impl Capsule {
    /// Replays this session with a guest that was made with [its limits](Self::limits).
    pub fn replay(&self, guest: &Arc<Guest>) -> Replay {
        let sha256 = guest.sha256();
        Replay {
            client: self.client(),
            events: self.turns.len(),
            actions: self.turns.iter().map(|turn| turn.answer.count()).sum(),
            ended: self.ended.to_string(),
            extent: self.recording,
            secrets: self.secrets,
            other_guest: (sha256 != self.guest_sha256()).then(|| self.guest_sha256().to_owned()),
            divergence: self.compare(guest).err(),
        }
    }

    fn compare(&self, guest: &Arc<Guest>) -> Result<(), Divergence> {
        let started = Sandbox::start(&self.terms(guest), self.arrival(), &Arc::default());
        let mut sandbox = match (started.map_err(|(ended, _)| ended), self.turns.is_empty()) {
            (Ok(sandbox), false) => sandbox,
            (Ok(_), true) => {
                return Err(Divergence::new("when the session is made", &self.ended, "a session"));
            }
            (Err(ended), true) => return self.same_end("when the session is made", &End::from(&ended)),
            (Err(ended), false) => {
                return Err(Divergence::new("when the session is made", "a session", End::from(&ended)));
            }
        };
        for (number, turn) in self.turns.iter().enumerate() {
            let place = format!("event {} of {}, {}", number + 1, self.turns.len(), turn.event);
            let came = sandbox.advance(turn.now, &turn.event);
            match (&turn.answer, came) {
                (Answer::Actions(expected), Ok(came)) => {
                    same_actions(&place, expected, &came)?;
                }
                (&Answer::LeftOut { actions, bytes }, Ok(came)) => {
                    if (actions, bytes) != (came.len(), said_bytes(&came)) {
                        let expected = format!("{actions} actions with {bytes} bytes");
                        let came = format!("{} actions with {} bytes", came.len(), said_bytes(&came));
                        return Err(Divergence { place, expected, came });
                    }
                }
                (Answer::Nothing, Err(ended)) => return self.same_end(&place, &End::from(&ended)),
                (Answer::Nothing, Ok(came)) => {
                    return Err(Divergence::new(place, &self.ended, Count(came.len(), "action")));
                }
                (answer, Err(ended)) => {
                    let expected = Count(answer.count(), "action");
                    return Err(Divergence::new(place, expected, End::from(&ended)));
                }
            }
        }
        Ok(())
    }

    /// A guest that ended in a call ends there again, and in the same way. Where it was then depends on how
    /// it was built.
    fn same_end(&self, place: &str, came: &End) -> Result<(), Divergence> {
        if (&self.ended.kind, &self.ended.what) == (&came.kind, &came.what) {
            return Ok(());
        }
        Err(Divergence::new(place, &self.ended, came))
    }
}

fn said_bytes(actions: &[Action]) -> usize {
    actions.iter().map(Action::bytes).sum()
}

impl Answer {
    fn count(&self) -> usize {
        match self {
            Self::Actions(actions) => actions.len(),
            Self::LeftOut { actions, .. } => *actions,
            Self::Nothing => 0,
        }
    }
}

fn same_actions(place: &str, expected: &[Action], came: &[Action]) -> Result<(), Divergence> {
    for index in 0..expected.len().max(came.len()) {
        let at = |of: &[Action]| format!("{place}\n  at        action {} of {}", index + 1, of.len());
        match (expected.get(index), came.get(index)) {
            (Some(expected), Some(came)) => {
                if let Some((part, expected, came)) = difference(expected, came) {
                    return Err(Divergence {
                        place: format!("{place}\n  at        action {}{part}", index + 1),
                        expected,
                        came,
                    });
                }
            }
            (Some(missing), None) => return Err(Divergence::new(at(expected), missing, "nothing more")),
            (None, Some(more)) => return Err(Divergence::new(at(came), "nothing more", more)),
            (None, None) => {}
        }
    }
    Ok(())
}

/// In which part two actions differ, and what stands there.
fn difference(expected: &Action, came: &Action) -> Option<(String, String, String)> {
    let bytes = |what: &str, expected: &[u8], came: &[u8]| {
        let at = redact::differs_at(expected, came)?;
        let shown = |bytes: &[u8]| format!("{what} of {} bytes: {}", bytes.len(), Excerpt(bytes, at));
        Some((format!(", byte {at}"), shown(expected), shown(came)))
    };
    match (expected, came) {
        (Action::Send(a), Action::Send(b)) => bytes("send", a, b),
        (Action::Open(a), Action::Open(b)) => bytes("open", a, b),
        (Action::List(a), Action::List(b)) if a.limit == b.limit => {
            bytes("list", &a.folder, &b.folder).or_else(|| bytes("list after", &a.after, &b.after))
        }
        (
            Action::Report(Report { request: a, status: status_a, referrer: from_a, agent: agent_a }),
            Action::Report(Report { request: b, status: status_b, referrer: from_b, agent: agent_b }),
        ) if status_a == status_b => bytes("report of a request", a.as_bytes(), b.as_bytes())
            .or_else(|| bytes("report of a referrer", from_a.as_bytes(), from_b.as_bytes()))
            .or_else(|| bytes("report of an agent", agent_a.as_bytes(), agent_b.as_bytes())),
        _ if expected == came => None,
        _ => Some((String::new(), expected.to_string(), came.to_string())),
    }
}

/// The bytes around a place.
struct Excerpt<'a>(&'a [u8], usize);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const BEFORE: usize = 24;
        const AFTER: usize = 40;
        let Self(bytes, at) = self;
        let (start, end) = (at.saturating_sub(BEFORE), bytes.len().min(at + AFTER));
        let dots = |left_out: bool| if left_out { "..." } else { "" };
        write!(f, "{}\"{}\"{}", dots(start > 0), bytes[start..end].escape_ascii(), dots(end < bytes.len()))
    }
}

impl Divergence {
    fn new(place: impl Into<String>, expected: impl fmt::Display, came: impl fmt::Display) -> Self {
        Self { place: place.into(), expected: expected.to_string(), came: came.to_string() }
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, events, actions, ended, extent, secrets, other_guest, divergence } = self;
        if let Some(sha256) = other_guest {
            writeln!(f, "another guest than recorded, which was {}", sha256.escape_debug())?;
        }
        match divergence {
            None => {
                let then = match extent {
                    Extent::Whole => "then",
                    Extent::Beginning => "and more that is not recorded; in the end",
                };
                let (events, actions) = (Count(*events, "event"), Count(*actions, "action"));
                write!(f, "identical: client {client}, {events}, {actions}, {then} {ended}")
            }
            Some(Divergence { place, expected, came }) => {
                write!(f, "differs: client {client}, {place}\n  expected  {expected}\n  came      {came}")?;
                match secrets {
                    Secrets::Kept => Ok(()),
                    Secrets::Redacted => f.write_str(
                        "\nThis capsule is redacted: a guest that reads queries, passwords or cookies may differ. \
                         --capsule-secrets keeps them.",
                    ),
                }
            }
        }
    }
}

/// A number of things.
struct Count(usize, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, what) = self;
        match (count, what.strip_suffix('y')) {
            (1, _) => write!(f, "1 {what}"),
            (_, Some(stem)) => write!(f, "{count} {stem}ies"),
            (_, None) => write!(f, "{count} {what}s"),
        }
    }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Received(bytes) => write!(f, "received {} bytes: {}", bytes.len(), Excerpt(bytes, 0)),
            Self::Finished => f.write_str("finished"),
            Self::Opened(Ok(Found::Source(facts))) => write!(f, "opened a source of {} bytes", facts.window.end),
            Self::Opened(Ok(Found::Folder)) => f.write_str("opened a folder"),
            Self::Opened(Err(refusal)) => write!(f, "not opened: {refusal:?}"),
            Self::Listed(Ok(listing)) => write!(f, "listed {}", Count(listing.entries.len(), "entry")),
            Self::Listed(Err(refusal)) => write!(f, "not listed: {refusal:?}"),
            Self::Available(window) => write!(f, "available up to {}", window.end),
            Self::Proceeded => f.write_str("proceeded"),
            Self::Stopping => f.write_str("stopping"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receive(phase) => write!(f, "receive, {phase:?}"),
            Self::Open(name) => write!(f, "open {}", Excerpt(name, 0)),
            Self::List(portion) => {
                write!(f, "list {} after {}", Excerpt(&portion.folder, 0), Excerpt(&portion.after, 0))
            }
            Self::Send(bytes) => write!(f, "send of {} bytes: {}", bytes.len(), Excerpt(bytes, 0)),
            Self::Pass(span) => write!(f, "pass of {} bytes from {} on", span.count, span.offset),
            Self::Wait(offset) => write!(f, "wait for bytes past {offset}"),
            Self::Proceed => f.write_str("proceed"),
            Self::Report(Report { request, status, .. }) => {
                write!(f, "report of {status} for {}", Excerpt(request.as_bytes(), 0))
            }
            Self::Close(remainder) => write!(f, "close, remainder {remainder:?}"),
        }
    }
}
