//! One client's session, in an instance of its own.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmtime::Store;
use wasmtime::component::ResourceAny;

use crate::budget::Budget;
use crate::contract::{Action, Event};
use crate::ended::Ended;
use crate::limits::COMPONENT_HANDLES;
use crate::protection::Protection;
use crate::sandbox::core_module::CoreInstance;
use crate::sandbox::guest::Guest;
use crate::sandbox::meter::{Bounds, timed};
use crate::sandbox::slow_lane::SlowLane;
use crate::sandbox::trap::{why, why_not_made};
#[cfg(feature = "wasi")]
use crate::sandbox::wasi::Wasi;
use crate::sandbox::wire::{self, Circumstances, wit};
use crate::settings::Settings;
use crate::sync::lock;

/// What the sessions of a server are made with, the same for all of them.
pub(crate) struct Terms {
    pub(crate) guest: Arc<Guest>,
    pub(crate) form: Form,
    pub(crate) settings: Settings,
    /// The name of the only source.
    pub(crate) home: Option<Vec<u8>>,
    /// The memory of all clients.
    pub(crate) budget: Arc<Budget>,
    pub(crate) sharing: Sharing,
    pub(crate) lacks: Option<Protection>,
}

/// In which form a guest runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// As a core module, if it is the built-in one, and otherwise as a component.
    #[default]
    Usual,
    /// As a component, whichever it is.
    Component,
}

/// Which place a client has been given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One of `max_clients`.
    Regular,
    /// One of the reserve: the client is only told that the server is full.
    Reserve,
}

/// How a client has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) place: Place,
    /// Over TLS.
    pub(crate) secure: bool,
}

/// Whether each client gets an instance of its own.
#[derive(Clone, Default)]
#[non_exhaustive]
#[cfg_attr(
    not(feature = "isolation-testing"),
    expect(unreachable_pub, dead_code, reason = "for the trial of isolation")
)]
pub enum Sharing {
    /// It does. There is no server that serves otherwise.
    #[default]
    Nothing,
    /// All clients are sessions in one instance, which the first of them makes: what the trial of
    /// isolation must find broken, or it would not find anything.
    Instance(SharedInstance),
}

/// An instance that clients share.
#[derive(Clone, Default)]
#[cfg_attr(not(feature = "isolation-testing"), expect(unreachable_pub, reason = "for the trial of isolation"))]
pub struct SharedInstance(Arc<Mutex<Option<Instance>>>);

/// One client's session, in an instance of its own.
pub(crate) struct Sandbox {
    instance: Held,
    session: Session,
    cpu: Duration,
}

/// What a guest has taken so far, and left behind.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    /// The time that it has been computing.
    pub(crate) cpu: Duration,
    /// The most memory that it has had, in bytes.
    pub(crate) memory_peak: u64,
    /// What it has written to stdout and stderr. Empty for the built-in guest, which has neither.
    pub(crate) output: String,
}

/// An instance, in its store.
struct Instance {
    store: Store<Bounds>,
    runs: Runs,
    compiled: Arc<Guest>,
}

/// An instance, in the form in which it runs.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are of the large one, and a box would be one more allocation"
)]
enum Runs {
    Core(CoreInstance),
    Component(wit::Guest),
}

/// A session, as its instance knows it.
#[derive(Clone, Copy)]
enum Session {
    Core(u32),
    Component(ResourceAny),
}

#[expect(clippy::large_enum_variant, reason = "the small one is only for the trial of isolation")]
enum Held {
    Own(Instance),
    Shared(SharedInstance),
}

impl Held {
    fn with<T>(&mut self, act: impl FnOnce(&mut Instance) -> T) -> T {
        match self {
            Self::Own(instance) => act(instance),
            Self::Shared(SharedInstance(shared)) => {
                act(lock(shared).as_mut().expect("a session is made in an instance"))
            }
        }
    }
}

impl Sandbox {
    /// Makes an instance and the session in it. Where that fails, what it took until then is returned too.
    pub(crate) fn start(terms: &Terms, arrival: Arrival, slow_lane: &Arc<SlowLane>) -> Result<Self, (Ended, Spent)> {
        let mut instance = match &terms.sharing {
            Sharing::Nothing => Held::Own(Instance::new(terms, arrival.place, slow_lane)?),
            Sharing::Instance(shared) => {
                let mut instance = lock(&shared.0);
                if instance.is_none() {
                    let mut first = Instance::new(terms, arrival.place, slow_lane)?;
                    // It holds the sessions of all that have come and gone.
                    allow_handles(&mut first.store, usize::MAX);
                    *instance = Some(first);
                }
                Held::Shared(shared.clone())
            }
        };
        instance
            .with(|instance| {
                let made = instance.last_cpu();
                let session = instance.session(terms, arrival);
                let cpu = made + instance.last_cpu();
                match session {
                    Ok(session) => Ok((session, cpu)),
                    Err(ended) => Err((ended, Spent { cpu, ..Spent::of(instance.store.data()) })),
                }
            })
            .map(|(session, cpu)| Self { instance, session, cpu })
    }

    /// Tells the guest what happened, and returns what it wants done, not yet judged (see
    /// [`Plan`](crate::sandbox::plan::Plan)).
    pub(crate) fn advance(&mut self, now: u64, event: &Event<'_>) -> Result<Vec<Action>, Ended> {
        let session = self.session;
        let (actions, cpu) =
            self.instance.with(|instance| (instance.advance(session, now, event), instance.last_cpu()));
        self.cpu += cpu;
        actions
    }

    /// The time that the guest has been computing so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.cpu
    }

    /// Everything that the guest has taken so far, and what it has written.
    pub(crate) fn spent(&mut self) -> Spent {
        let cpu = self.cpu;
        self.instance.with(|instance| Spent { cpu, ..Spent::of(instance.store.data()) })
    }

    /// The most memory that the guest has had so far, in bytes.
    pub(crate) fn memory_peak(&mut self) -> u64 {
        self.instance.with(|instance| instance.store.data().memory_peak)
    }
}

impl Spent {
    /// What a store knows of it: of the CPU time, the last call's only.
    fn of(bounds: &Bounds) -> Self {
        #[cfg(feature = "wasi")]
        let output = bounds.wasi.as_ref().map(|wasi| wasi.output()).unwrap_or_default();
        #[cfg(not(feature = "wasi"))]
        let output = String::new();
        Self { cpu: bounds.cpu.last, memory_peak: bounds.memory_peak, output }
    }
}

impl Instance {
    fn new(terms: &Terms, place: Place, slow_lane: &Arc<SlowLane>) -> Result<Self, (Ended, Spent)> {
        let compiled = &terms.guest;
        let limits = compiled.limits();
        let charge = match place {
            Place::Regular => terms.budget.charge(),
            Place::Reserve => terms.budget.last_charge(),
        };
        #[cfg_attr(not(feature = "wasi"), expect(unused_mut, reason = "only WASI is added later"))]
        let mut bounds = Bounds::new(limits, charge, slow_lane);
        #[cfg(feature = "wasi")]
        if compiled.wants_wasi {
            bounds.wasi = Some(Box::new(Wasi::new()));
        }
        let mut store = Store::new(compiled.engine(), bounds);
        store.limiter(|bounds| bounds);
        let handles = if terms.lacks == Some(Protection::Handles) { usize::MAX } else { COMPONENT_HANDLES };
        allow_handles(&mut store, handles);
        store.set_hostcall_fuel(usize::try_from(limits.action_bytes()).unwrap_or(usize::MAX));
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().cpu.tick()));

        let core = compiled.core.as_ref().filter(|_| terms.form == Form::Usual);
        let made = match core {
            Some(core) => timed(&compiled.ticker, &mut store, |store| core.instantiate(store)).map(Runs::Core),
            None => {
                let component = compiled.compiled().map_err(|error| {
                    let fault = Ended::HostFault(error.to_string());
                    (fault, Spent::default())
                })?;
                timed(&compiled.ticker, &mut store, |store| component.pre.instantiate(store))
                    .map(|guest| Runs::Component(guest.multiclient_session_handler().clone()))
            }
        };
        match made {
            Ok(runs) => Ok(Self { store, runs, compiled: Arc::clone(compiled) }),
            Err(error) => {
                let ended = why_not_made(&error, store.data());
                Err((ended, Spent::of(store.data())))
            }
        }
    }

    /// How long the guest was computing in the last call.
    fn last_cpu(&self) -> Duration {
        self.store.data().cpu.last
    }

    fn session(&mut self, terms: &Terms, arrival: Arrival) -> Result<Session, Ended> {
        let Self { store, runs, compiled } = self;
        let circumstances = Circumstances {
            home: terms.home.as_deref(),
            max_exchanges: compiled.limits().max_exchanges,
            secure: arrival.secure,
            at_capacity: arrival.place == Place::Reserve,
        };
        match runs {
            Runs::Core(core) => {
                let call = |store: &mut _| core.session(store, &terms.settings, &circumstances);
                timed(&compiled.ticker, store, call).map(Session::Core)
            }
            Runs::Component(guest) => wire::with_settings(&terms.settings, &circumstances, |settings| {
                timed(&compiled.ticker, store, |store| guest.session().call_constructor(store, settings))
            })
            .map(Session::Component),
        }
        .map_err(|error| why(&error, store.data()))
    }

    fn advance(&mut self, session: Session, now: u64, event: &Event<'_>) -> Result<Vec<Action>, Ended> {
        let Self { store, runs, compiled } = self;
        let actions = match (runs, session) {
            (Runs::Core(core), Session::Core(session)) => {
                timed(&compiled.ticker, store, |store| core.advance(store, session, now, event))
            }
            (Runs::Component(guest), Session::Component(session)) => wire::with_event(event, |event| {
                timed(&compiled.ticker, store, |store| guest.session().call_advance(store, session, now, event))
            })
            .map(|actions| actions.into_iter().map(Action::from).collect()),
            _ => unreachable!("a session is in the instance that made it"),
        };
        actions.map_err(|error| why(&error, store.data()))
    }
}

/// Sets how many handles a guest may have, in either form.
fn allow_handles(store: &mut Store<Bounds>, most: usize) {
    store.set_max_component_handles(most);
    store.data_mut().handles.limit = most;
}

/// The time, as a guest is told it.
pub(crate) fn now() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
