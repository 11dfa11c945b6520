//! The two forms in which a guest runs, as a core module and as a component, held against each other: the same
//! events must give the same actions, or end in the same way.

mod hostile;
mod sound;
mod wrapped;

use std::sync::Arc;

use crate::budget::Budget;
use crate::contract::{Action, Event};
use crate::ended::Ended;
use crate::limits::Limits;
use crate::sandbox::guest::Guest;
use crate::sandbox::instance::{Arrival, Form, Place, Sandbox, Sharing, Terms};
use crate::settings::Settings;

/// A guest in both forms.
struct Both {
    core: Terms,
    component: Terms,
}

/// A session in each of them.
struct Sessions {
    core: Sandbox,
    component: Sandbox,
}

impl Both {
    fn new(guest: &Arc<Guest>, settings: &Settings, home: Option<&[u8]>) -> Self {
        let terms = |form| Terms {
            guest: Arc::clone(guest),
            form,
            settings: settings.clone(),
            home: home.map(<[u8]>::to_vec),
            budget: Budget::new(None),
            sharing: Sharing::Nothing,
            lacks: None,
        };
        Self { core: terms(Form::Usual), component: terms(Form::Component) }
    }

    /// Makes a session in each, or tells how both failed.
    fn start(&self) -> Result<Sessions, Ended> {
        // Not 0, which a setting that does not arrive would be, too.
        let arrival = Arrival { place: Place::Regular, secure: true };
        let start = |terms| Sandbox::start(terms, arrival, &Arc::default()).map_err(|(ended, _)| ended);
        match (start(&self.core), start(&self.component)) {
            (Ok(core), Ok(component)) => Ok(Sessions { core, component }),
            (core, component) => {
                let (core, component) = (core.err(), component.err());
                assert_eq!(core, component, "the core module and the component");
                Err(core.expect("they are the same"))
            }
        }
    }
}

impl Sessions {
    /// Tells both what happened, and what both answer.
    fn advance(&mut self, event: &Event<'_>) -> Result<Vec<Action>, Ended> {
        const NOW: u64 = 1_767_323_045_000;
        let core = self.core.advance(NOW, event);
        let component = self.component.advance(NOW, event);
        assert_eq!(core, component, "the core module and the component, told {event:?}");
        assert_eq!(self.core.memory_peak(), self.component.memory_peak());
        core
    }
}

/// Limits of a guest for both forms.
fn limits() -> Limits {
    Limits { max_clients: 2, reserve: 0, max_send: 64 << 10, ..Limits::default() }
}
