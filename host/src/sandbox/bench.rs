//! A way in for benchmarks: sessions of a guest without sockets, one call at a time.
//!
//! Rule: it goes the way that clients go, through the same calls, and does nothing that they do not.

use std::borrow::Cow;
use std::sync::Arc;

use crate::budget::Budget;
use crate::contract::{Event, Facts, Found, Window};
use crate::ended::Ended;
use crate::limits::Limits;
use crate::sandbox::guest::Guest;
use crate::sandbox::imports::GuestError;
use crate::sandbox::instance::{self, Arrival, Form, Place, Sandbox, Sharing, Terms};
use crate::sandbox::plan::{Plan, Step, Wait};
use crate::sandbox::slow_lane::SlowLane;
use crate::settings::Settings;

/// What sessions are made with.
pub struct Sessions {
    terms: Terms,
    slow_lane: Arc<SlowLane>,
}

/// One client's session, in an instance of its own, until it is dropped.
pub struct OneSession<'a> {
    sessions: &'a Sessions,
    sandbox: Sandbox,
}

impl Sessions {
    /// Of the built-in guest, or of another that speaks HTTP, with the default limits and without reports.
    pub fn new(component: Option<Vec<u8>>) -> Result<Self, GuestError> {
        // A session that stays may go on for as long as it is measured.
        let limits = Limits { max_exchanges: u32::MAX, ..Limits::default() };
        let guest = match component {
            #[cfg(feature = "compile")]
            Some(component) => Guest::custom(component, limits, &std::collections::BTreeSet::new())?,
            #[cfg(not(feature = "compile"))]
            Some(_) => return Err(GuestError::Host("a custom guest needs the feature `compile`".into())),
            None => Guest::built_in(limits)?,
        };
        let settings = Settings::default();
        let budget = Budget::new(guest.limits().total_memory);
        let guest = Arc::new(guest);
        let form = Form::Usual;
        let terms = Terms { guest, form, settings, home: None, budget, sharing: Sharing::Nothing, lacks: None };
        Ok(Self { terms, slow_lane: Arc::default() })
    }

    /// Makes a store, an instance and a session.
    ///
    /// # Panics
    ///
    /// Panics when that fails.
    pub fn begin(&self) -> OneSession<'_> {
        let arrival = Arrival { place: Place::Regular, secure: false };
        let sandbox = Sandbox::start(&self.terms, arrival, &self.slow_lane);
        let sandbox = sandbox.unwrap_or_else(|(ended, _)| panic!("the guest starts: {ended}"));
        OneSession { sessions: self, sandbox }
    }
}

impl OneSession<'_> {
    /// One exchange: a request comes, a source of 1 KiB is opened for it, its response is planned. Returns
    /// the size of the response in bytes.
    ///
    /// # Panics
    ///
    /// Panics when this is not a request for a file, or the guest fails.
    pub fn exchange(&mut self, request: &[u8]) -> u64 {
        let plan = self.advance(&Event::Received(Cow::Borrowed(request)));
        assert!(matches!(plan.wait, Wait::Open(_)), "the request is one for a file");
        let facts = Facts {
            window: Window { start: 0, end: 1_024, is_final: true },
            modified: Some(1_767_323_045_000),
            version: Cow::Borrowed("1f-400-653a1b2c3d4e5"),
            media_type: None,
        };
        let plan = self.advance(&Event::Opened(Ok(Found::Source(facts))));
        let bytes = plan.steps.iter().map(|step| match step {
            Step::Send(bytes) => bytes.len() as u64,
            Step::Pass(span) => span.count,
            Step::Report(_) => 0,
        });
        bytes.sum()
    }

    fn advance(&mut self, event: &Event<'_>) -> Plan {
        let plan = self.sandbox.advance(instance::now(), event).and_then(|actions| {
            // Judged as a client's would be.
            Plan::new(actions, self.sessions.terms.guest.limits()).map_err(Ended::Breach)
        });
        plan.unwrap_or_else(|ended| panic!("the guest keeps the contract: {ended}"))
    }
}
