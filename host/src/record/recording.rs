//! Records a session while it is served.

use std::sync::Arc;

use super::capsule::{Answer, Capsule, End, Extent, FORMAT, Secrets, Turn};
use crate::contract::Text;
use crate::contract::{Action, Entry, Event, PACKAGE};
use crate::ended::Ended;
use crate::limits::CAPSULE_BYTES;
use crate::sandbox::instance::{Arrival, Place, Terms};

/// A session that is being recorded.
pub(crate) struct Recording {
    client: u64,
    arrival: Arrival,
    terms: Arc<Terms>,
    turns: Vec<Turn>,
    left: usize,
    extent: Extent,
}

impl Recording {
    pub(crate) fn new(client: u64, arrival: Arrival, terms: &Arc<Terms>) -> Self {
        Self {
            client,
            arrival,
            terms: Arc::clone(terms),
            turns: Vec::new(),
            left: CAPSULE_BYTES,
            extent: Extent::Whole,
        }
    }

    /// Takes down what the guest is about to be told.
    pub(crate) fn event(&mut self, now: u64, event: &Event<'_>) {
        if self.has_room(event_bytes(event)) {
            self.turns.push(Turn { now, event: event.clone().into_owned(), answer: Answer::Nothing });
        }
    }

    /// Takes down what it said to that.
    pub(crate) fn actions(&mut self, actions: &[Action]) {
        if self.extent == Extent::Beginning {
            return;
        }
        let bytes = actions.iter().map(action_bytes).sum();
        let room = self.has_room(bytes);
        if let Some(turn) = self.turns.last_mut() {
            turn.answer = if room {
                Answer::Actions(actions.to_vec())
            } else {
                Answer::LeftOut { actions: actions.len(), bytes: actions.iter().map(Action::bytes).sum() }
            };
        }
    }

    /// How many bytes it holds, at most `CAPSULE_BYTES`.
    pub(crate) fn bytes(&self) -> usize {
        CAPSULE_BYTES - self.left
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

    /// The capsule of a session that has ended, with all its secrets.
    pub(super) fn finish(self, ended: &Ended) -> Capsule {
        let Terms { guest, settings, home, .. } = &*self.terms;
        Capsule {
            format: FORMAT,
            contract: PACKAGE.to_owned(),
            guest_sha256: guest.sha256(),
            client: self.client,
            secrets: Secrets::Kept,
            ended: End::from(ended),
            recording: self.extent,
            settings: settings.clone(),
            home: home.clone().map(Text),
            secure: self.arrival.secure,
            at_capacity: self.arrival.place == Place::Reserve,
            limits: guest.limits().clone(),
            turns: self.turns,
        }
    }
}

fn event_bytes(event: &Event<'_>) -> usize {
    let within = match event {
        Event::Received(bytes) => bytes.len(),
        Event::Listed(Ok(listing)) => listing.entries.iter().map(|entry| size_of::<Entry>() + entry.name.len()).sum(),
        _ => 0,
    };
    size_of::<Turn>() + within
}

fn action_bytes(action: &Action) -> usize {
    size_of::<Action>() + action.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::contract::Phase;
    use crate::limits::{CAPSULE_FILE_BYTES, Limits};
    use crate::sandbox::guest::Guest;
    use crate::sandbox::instance::{Form, Sharing};
    use crate::settings::Settings;

    #[test]
    fn a_capsule_that_is_full_says_so() {
        let limits = Limits { max_clients: 1, reserve: 0, ..Limits::default() };
        let guest = Arc::new(Guest::built_in(limits).expect("it is built in"));
        let (settings, budget) = (Settings::default(), Budget::new(None));
        let form = Form::Usual;
        let terms = Terms { guest, form, settings, home: None, budget, sharing: Sharing::Nothing, lacks: None };
        let terms = Arc::new(terms);
        let arrival = Arrival { place: Place::Regular, secure: false };
        let mut recording = Recording::new(7, arrival, &terms);
        let piece = vec![b'a'; 16 << 10];
        for now in 0..100 {
            recording.event(now, &Event::Received(piece.as_slice().into()));
            recording.actions(&[Action::Receive(Phase::Partial)]);
        }
        let capsule = recording.finish(&Ended::Disconnected);
        assert_eq!(capsule.recording, Extent::Beginning);
        assert!(capsule.turns.len() < 100 && capsule.turns.len() * piece.len() <= CAPSULE_BYTES);
        let text = capsule.to_text().expect("a capsule can be written");
        assert!(text.len() as u64 <= CAPSULE_FILE_BYTES);

        let mut recording = Recording::new(7, arrival, &terms);
        recording.event(0, &Event::Received(b"a".as_slice().into()));
        recording.actions(&[Action::Send(vec![b'a'; CAPSULE_BYTES]), Action::Receive(Phase::Partial)]);
        recording.event(1, &Event::Finished);
        let capsule = recording.finish(&Ended::Disconnected);
        assert_eq!(capsule.recording, Extent::Beginning);
        assert_eq!(capsule.turns.len(), 1);
        assert_eq!(capsule.turns[0].answer, Answer::LeftOut { actions: 2, bytes: CAPSULE_BYTES });
    }
}
