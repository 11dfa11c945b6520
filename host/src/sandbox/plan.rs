//! What a guest wants done, judged: a list of actions that keeps the contract's rules.

use crate::contract::{Action, Phase, Portion, Remainder, Report, Span};
use crate::ended::Breach;
use crate::limits::Limits;

/// Steps to carry out, and then one thing to wait for.
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) wait: Wait,
}

/// An action that is complete once it is carried out.
pub(crate) enum Step {
    Send(Vec<u8>),
    Pass(Span),
    Report(Report),
}

/// The last action of a list: what the guest waits for.
pub(crate) enum Wait {
    Receive(Phase),
    Open(Vec<u8>),
    List(Portion),
    /// For the open source to have bytes past this offset, or an end.
    Past(u64),
    /// For other clients to have had their turn.
    Proceed,
    Close(Remainder),
}

/// One action, as a plan has it.
enum Part {
    Step(Step),
    Nothing,
    Wait(Wait),
}

impl Plan {
    /// Fails where the list breaks a rule.
    pub(crate) fn new(actions: Vec<Action>, limits: &Limits) -> Result<Self, Breach> {
        if actions.len() as u64 > u64::from(limits.max_actions) {
            return Err(Breach::TooManyActions(actions.len()));
        }
        let mut steps = Vec::with_capacity(actions.len());
        let mut actions = actions.into_iter();
        while let Some(action) = actions.next() {
            match Part::new(action, limits)? {
                Part::Step(step) => steps.push(step),
                Part::Nothing => {}
                Part::Wait(_) if actions.len() > 0 => return Err(Breach::ActionAfterWait),
                Part::Wait(wait) => return Ok(Self { steps, wait }),
            }
        }
        Err(Breach::NoWait)
    }

    /// Bytes that are held until the steps are carried out and what is waited for has come.
    pub(crate) fn bytes(&self) -> usize {
        let step = |step: &Step| match step {
            Step::Send(bytes) => bytes.len(),
            Step::Pass(_) => 0,
            Step::Report(report) => report.bytes(),
        };
        self.steps.iter().map(step).sum::<usize>() + self.wait.bytes()
    }
}

impl Wait {
    /// Bytes that are held while this is waited for: a name may be as long as a list of actions.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Open(name) => name.len(),
            Self::List(portion) => portion.folder.len() + portion.after.len(),
            Self::Receive(_) | Self::Past(_) | Self::Proceed | Self::Close(_) => 0,
        }
    }
}

impl Part {
    fn new(action: Action, limits: &Limits) -> Result<Self, Breach> {
        Ok(match action {
            Action::Send(bytes) if bytes.len() as u64 > limits.max_send => return Err(Breach::LongSend(bytes.len())),
            Action::Send(bytes) if bytes.is_empty() => Self::Nothing,
            Action::Pass(span) if span.count == 0 => Self::Nothing,
            Action::Send(bytes) => Self::Step(Step::Send(bytes)),
            Action::Pass(span) => Self::Step(Step::Pass(span)),
            Action::Report(report) => Self::Step(Step::Report(report)),
            Action::Receive(phase) => Self::Wait(Wait::Receive(phase)),
            Action::Open(name) => Self::Wait(Wait::Open(name)),
            Action::List(portion) => Self::Wait(Wait::List(portion)),
            Action::Wait(offset) => Self::Wait(Wait::Past(offset)),
            Action::Proceed => Self::Wait(Wait::Proceed),
            Action::Close(remainder) => Self::Wait(Wait::Close(remainder)),
        })
    }
}
