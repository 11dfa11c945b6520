//! What a session wants done, in the order in which it is done.

use alloc::vec::Vec;

use crate::contract::{Action, Exchange, Name, Phase, Portion, Remainder, Span};

/// When a list of actions is full enough to end it. A response that needs no source has at most a few
/// actions, so that this stays below the 64 that the contract allows.
const PLAN_LIMIT: usize = 48;

/// What is to be done before the session waits again.
#[derive(Debug, Default)]
pub(crate) struct Plan(Vec<Action>);

impl Plan {
    /// Sends bytes. None: does nothing.
    pub(crate) fn send(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.0.push(Action::Send(bytes));
        }
    }

    /// Passes a span. An empty one: does nothing.
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

/// What ends a list of actions.
#[derive(Debug)]
pub(crate) enum Wait {
    Receive(Phase),
    Open(Name),
    List(Portion),
    /// Until the open source reaches past this offset.
    Past(u64),
    /// For the next turn.
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
    /// What should come next cannot be read, or not any more.
    Broken,
}
