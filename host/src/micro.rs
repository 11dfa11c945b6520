//! A door for microbenchmarks: lives of the built-in guest without sockets, a step at a time.
//!
//! Rule: it goes the way that clients go, through the same calls, and does nothing that they do not.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ended::Ended;
use crate::foreign::GuestError;
use crate::limits::Limits;
use crate::sandbox::{self, Guest, Plan, Sandbox, Sharing, Step, Wait, contract};
use crate::server::Settings;
use crate::slow_lane::SlowLane;

/// What lives are made with.
pub struct Lives {
    guest: Arc<Guest>,
    limits: Arc<Limits>,
    settings: Settings,
    slow_lane: Arc<SlowLane>,
}

/// One client's session, in an instance of its own, until it is dropped.
pub struct OneLife<'a> {
    lives: &'a Lives,
    sandbox: Sandbox,
}

impl Lives {
    /// Of the built-in guest, or of another that speaks HTTP, with the limits of everyday and without reports.
    pub fn new(component: Option<Vec<u8>>) -> Result<Self, GuestError> {
        // A session that stays may go on for as long as it is measured.
        let limits = Limits { exchanges: u32::MAX, ..Limits::default() };
        let guest = match component {
            Some(component) => Guest::foreign(component, &limits, &BTreeSet::new())?,
            None => Guest::built_in(&limits).map_err(GuestError::Host)?,
        };
        let guest = Arc::new(guest);
        Ok(Self { guest, limits: Arc::new(limits), settings: Settings::default(), slow_lane: Arc::default() })
    }

    /// Makes a store, an instance and a session.
    ///
    /// # Panics
    ///
    /// Panics when that fails.
    pub fn begin(&self) -> OneLife<'_> {
        let Self { guest, limits, settings, slow_lane } = self;
        let sandbox = Sandbox::start(guest, limits, slow_lane, settings, None, false, &Sharing::Nothing);
        OneLife { lives: self, sandbox: sandbox.expect("the built-in guest starts") }
    }
}

impl OneLife<'_> {
    /// One exchange: a request comes, a source of 1 KiB is opened for it, its reply is planned. Returns how
    /// many bytes the reply has.
    ///
    /// # Panics
    ///
    /// Panics when the request is none for a file, or the guest fails.
    pub fn exchange(&mut self, request: &[u8]) -> u64 {
        let plan = self.advance(contract::Event::Received(request));
        assert!(matches!(plan.wait, Wait::Open(_)), "the request is one for a file");
        let facts = contract::Facts {
            window: contract::Window { start: 0, end: 1_024, final_: true },
            modified: Some(1_767_323_045_000),
            version: "1f-400-653a1b2c3d4e5",
            media_type: None,
        };
        let plan = self.advance(contract::Event::Opened(Ok(contract::Found::Source(facts))));
        let bytes = plan.steps.iter().map(|step| match step {
            Step::Send(bytes) => bytes.len() as u64,
            Step::Pass(span) => span.count,
            Step::Report(_) => 0,
        });
        bytes.sum()
    }

    fn advance(&mut self, event: contract::Event<'_>) -> Plan {
        let actions = self.sandbox.advance(sandbox::now(), event).and_then(|actions| {
            // Judged as a client's would be.
            Plan::new(actions, &self.lives.limits).map_err(Ended::Breach)
        });
        actions.unwrap_or_else(|ended| panic!("the built-in guest keeps the contract: {ended}"))
    }
}
