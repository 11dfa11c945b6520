//! What all clients of a server have in common.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use thiserror::Error;

use crate::budget::Budget;
use crate::ended::Closed;
use crate::journal::Journal;
use crate::limits::Limits;
use crate::protection::Protection;
use crate::record::keeper::Keeper;
use crate::record::recording::Recording;
use crate::sandbox::guest::Guest;
use crate::sandbox::instance::{Arrival, Terms};
use crate::serve::admission::Admissions;
use crate::serve::roster::Roster;
use crate::sources::Sources;

/// What all clients of a server have in common.
pub(crate) struct Shared {
    terms: RwLock<Arc<Terms>>,
    pub(crate) limits: Limits,
    /// In a control of the trial of isolation.
    pub(crate) lacks: Option<Protection>,
    /// The memory of all clients.
    pub(crate) budget: Arc<Budget>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) journal: Arc<dyn Journal>,
    /// Where sessions are recorded.
    keeper: Option<Keeper>,
    pub(crate) admissions: Arc<Admissions>,
    /// Who is connected, where somebody watches.
    pub(crate) roster: Option<Arc<Roster>>,
    numbers: AtomicU64,
}

/// A guest was made with other limits than the server that it was meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the guest was made with other limits than those of the server")]
pub struct OtherLimits;

/// How much a server wants to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    No,
    /// No new clients; the ones there are finish what they are at.
    Drain,
    /// At once.
    Now,
}

impl Shared {
    pub(crate) fn new(terms: Terms, sources: Sources, journal: Arc<dyn Journal>, keeper: Option<Keeper>) -> Self {
        Self {
            limits: terms.guest.limits().clone(),
            lacks: terms.lacks,
            budget: Arc::clone(&terms.budget),
            terms: RwLock::new(Arc::new(terms)),
            sources: Arc::new(sources),
            journal,
            keeper,
            admissions: Arc::default(),
            roster: None,
            numbers: AtomicU64::new(0),
        }
    }

    /// What the session of a client that comes now is made with.
    pub(crate) fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace_guest(&self, guest: Arc<Guest>) -> Result<(), OtherLimits> {
        if *guest.limits() != self.limits {
            return Err(OtherLimits);
        }
        let mut terms = self.terms.write().unwrap_or_else(PoisonError::into_inner);
        let Terms { form, settings, home, budget, sharing, lacks, .. } = &**terms;
        let (settings, home, budget, sharing) = (settings.clone(), home.clone(), Arc::clone(budget), sharing.clone());
        *terms = Arc::new(Terms { guest, form: *form, settings, home, budget, sharing, lacks: *lacks });
        Ok(())
    }

    /// The number of the next client: they are counted from 1.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Begins to record a client, where clients are recorded.
    pub(crate) fn record(&self, client: u64, arrival: Arrival, terms: &Arc<Terms>) -> Option<Box<Recording>> {
        self.keeper.as_ref()?.record(client, arrival, terms)
    }

    /// Waits until the capsules of clients that are gone are written, but not for ever.
    pub(crate) fn flush_capsules(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.flush();
        }
    }

    /// Counts a connection that is closed, keeps what was recorded of it if that is worth it, and tells the
    /// journal.
    pub(crate) fn closed(&self, closed: Closed, recording: Option<Box<Recording>>) {
        self.admissions.closed(&closed);
        let untold = match (&self.keeper, recording) {
            (Some(keeper), Some(recording)) => keeper.take(recording, closed),
            _ => Some(closed),
        };
        if let Some(closed) = untold {
            self.journal.closed(&closed);
        }
    }
}
