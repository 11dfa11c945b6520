//! Clients that mean well: victims, which ask at a pace and check every byte, and the polite ones of the control.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::content::Content;
use super::fetch::{PATIENCE, get};
use super::place::Place;
use super::response::{Complaint, Loss};
use crate::noise::{CANARY, Noise};

/// How long a response may take that does come.
const LONGEST: Duration = Duration::from_secs(15);

/// Between two requests of one victim. Many victims then leave the machine time for the attackers.
const PACE: Duration = Duration::from_millis(20);

/// One response, or what came in its place.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// When it was asked for, since the trial began.
    pub(crate) asked: Duration,
    /// Until its first byte came.
    pub(crate) waited: Duration,
    pub(crate) bytes: u64,
    /// None: every byte was the right one.
    pub(crate) complaint: Option<Complaint>,
}

/// What all clients of a trial have in common.
pub(crate) struct Clients<'a> {
    pub(crate) place: &'a Place,
    pub(crate) content: &'a Content,
    pub(crate) began: Instant,
    pub(crate) over: &'a AtomicBool,
    pub(crate) samples: &'a Mutex<Vec<Sample>>,
}

/// The first canary in a text that is not the reader's own.
pub(crate) fn foreign_canary<'a>(text: &'a str, own: &str) -> Option<&'a str> {
    let found = text.match_indices(CANARY).map(|(at, _)| &text[at..]);
    let canaries =
        found.map(|rest| rest.split(|c: char| c != '-' && !c.is_ascii_alphanumeric()).next().unwrap_or(rest));
    canaries.into_iter().find(|canary| !own.starts_with(canary))
}

impl Clients<'_> {
    /// Asks for one part after the other until the trial is over.
    pub(crate) fn be_victim(&self, mut noise: Noise) {
        while !self.over.load(Ordering::Relaxed) {
            let asked = self.began.elapsed();
            let sample = match self.ask(&mut noise) {
                Ok((waited, bytes)) => Sample { asked, waited, bytes, complaint: None },
                Err(complaint) => {
                    let waited = self.began.elapsed() - asked;
                    Sample { asked, waited, bytes: 0, complaint: Some(complaint) }
                }
            };
            self.samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
            thread::sleep(PACE + Duration::from_millis(noise.next() % 10));
        }
    }

    /// Asks for as many parts as attackers have made connections, with the others, for the control.
    pub(crate) fn be_polite(&self, mut noise: Noise, left: &AtomicU64) {
        let take = |left: u64| left.checked_sub(1);
        while !self.over.load(Ordering::Relaxed)
            && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
        {
            // What becomes of them says nothing: the victims beside them do.
            let _ = self.ask(&mut noise);
        }
    }

    /// Asks and checks, byte by byte: how long the first byte took, and how many came.
    fn ask(&self, noise: &mut Noise) -> Result<(Duration, u64), Complaint> {
        let part = self.content.part(noise);
        let canary = noise.canary();
        // Requests of many lengths, so that they do not all lie in the same places.
        let padding = "x".repeat(noise.below(600));
        let fields = format!("User-Agent: victim\r\nX-Canary: {canary}\r\nCookie: id={canary}; pad={padding}\r\n");
        let response = get(self.place, &fields, part, LONGEST)?;
        let foreign = |what: String| Err(Complaint { loss: Loss::Foreign, what });
        if let Some(canary) = foreign_canary(&response.head, &canary) {
            return foreign(format!("somebody else's {canary} in a header section"));
        }
        let status = if part.is_some() { 206 } else { 200 };
        if response.status != status {
            return Err(Complaint::cut(format!("another status: {}", response.status)));
        }
        if response.waited > PATIENCE {
            return Err(Complaint { loss: Loss::Late, what: "no byte in time".to_owned() });
        }
        if response.body != self.content.of(part) {
            return foreign("other bytes than were asked for".to_owned());
        }
        Ok((response.waited, response.body.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_somebody_elses_canary_is_foreign() {
        let (mut mine, mut other) = (Noise(1), Noise(2));
        let (own, other) = (mine.canary(), other.canary());
        assert_eq!(foreign_canary(&format!("<p>/{own}</p>"), &own), None);
        assert_eq!(foreign_canary(&format!("<p>/{own}</p>{other}\""), &own), Some(other.as_str()));
        // A server may cut what it repeats.
        assert_eq!(foreign_canary(&own[..20], &own), None);
        assert_eq!(foreign_canary(&other[..20], &own), Some(&other[..20]));
    }
}
