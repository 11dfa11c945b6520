//! What a session asks the host to do, in order.

use alloc::vec::Vec;

use crate::contract::{Action, Exchange, Name, Phase, Portion, Remainder, Span};

/// The number of actions after which a list ends. A response without a source adds at most a few, so that
/// lists stay below the 64 that the contract allows.
const PLAN_LIMIT: usize = 48;

/// The actions before the next wait.
#[derive(Debug, Default)]
pub(crate) struct Plan(Vec<Action>);

impl Plan {
    /// Sends bytes. Does nothing if there are none.
    pub(crate) fn send(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.0.push(Action::Send(bytes));
        }
    }

    /// Passes a span. Does nothing if it is empty.
    pub(crate) fn pass(&mut self, span: Span) {
        if span.count > 0 {
            self.0.push(Action::Pass(span));
        }
    }

    pub(crate) fn report(&mut self, exchange: Exchange) {
        self.0.push(Action::Report(exchange));
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= PLAN_LIMIT
    }

    pub(crate) fn then(mut self, wait: Wait) -> Vec<Action> {
        self.0.push(match wait {
            Wait::Receive(phase) => Action::Receive(phase),
            Wait::Open(name) => Action::Open(name),
            Wait::List(portion) => Action::List(portion),
            Wait::Past(offset) => Action::Wait(offset),
            Wait::Proceed => Action::Proceed,
            Wait::Close(remainder) => Action::Close(remainder),
        });
        self.0
    }
}

/// The last action of a list.
#[derive(Debug)]
pub(crate) enum Wait {
    Receive(Phase),
    Open(Name),
    List(Portion),
    /// Waits until the open source reaches past this offset.
    Past(u64),
    /// Gives other clients their turn.
    Proceed,
    Close(Remainder),
}

/// What comes after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    NextRequest,
    Close(Remainder),
}

/// How far a body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// There is more to come.
    Goes,
    /// All of it was sent.
    Ended,
    /// The next part cannot be read, or is gone.
    Broken,
}
