//! The guest, compiled once, and a fresh instance of it for each client.
//!
//! Rules: a store lives as long as one client and is never used for another. Everything that comes out
//! of a guest is distrusted: a list of actions becomes a [`Plan`] here, or the client's end.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::task;
use wasmtime::component::{Component, Linker, ResourceAny};
use wasmtime::{
    Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter, Store, Trap, UpdateDeadline,
    WasmBacktrace,
};
use wasmtime_wasi::{WasiCtxView, WasiView};

use crate::ended::{Breach, Ended, Limit};
use crate::engine::{self, MEMORY_RESERVATION};
use crate::foreign::{self, Grant, GuestError, Import, Wasi};
use crate::limits::{Limits, TICK};
use crate::server::Settings;
use crate::slow_lane::{Place, SlowLane};
use crate::ticker::Ticker;

mod bindings {
    //! The contract in Rust, made from `wit/session.wit`.

    #![allow(unreachable_pub, missing_docs, reason = "generated; the documentation is in the WIT")]

    wasmtime::component::bindgen!({
        path: "../wit",
        world: "guest",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

pub(crate) use bindings::exports::multiclient::session::handler as contract;

/// The component that is built in, and its machine code.
const BUILT_IN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest.wasm"));
const BUILT_IN_PRECOMPILED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest.cwasm"));

/// The same with faults that one can ask for, to test what is around it.
const FAULTY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/faulty.wasm"));
const FAULTY_PRECOMPILED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/faulty.cwasm"));

/// A compiled guest, ready to make instances of.
pub struct Guest {
    engine: Engine,
    component: Component,
    bytes: Cow<'static, [u8]>,
    pre: bindings::GuestPre<Bounds>,
    ticker: Ticker,
    wants_wasi: bool,
}

impl Guest {
    /// The guest that is built in: HTTP/1.1.
    ///
    /// Sets aside address space (not memory) for the instances of as many clients as `limits` allow.
    pub fn built_in(limits: &Limits) -> wasmtime::Result<Self> {
        Self::embedded(BUILT_IN, BUILT_IN_PRECOMPILED, limits)
    }

    /// The guest that is built in, with faults that its clients can ask for. For tests of the isolation
    /// around it, and for nothing else.
    #[doc(hidden)]
    pub fn faulty(limits: &Limits) -> wasmtime::Result<Self> {
        Self::embedded(FAULTY, FAULTY_PRECOMPILED, limits)
    }

    fn embedded(bytes: &'static [u8], precompiled: &[u8], limits: &Limits) -> wasmtime::Result<Self> {
        let engine = Engine::new(&pooled(limits))?;
        let component = if limits.memory <= MEMORY_RESERVATION {
            precompiled::load(&engine, precompiled)?
        } else {
            // Machine code fits one size of reservation.
            Component::from_binary(&engine, bytes)?
        };
        let pre = bindings::GuestPre::new(Linker::new(&engine).instantiate_pre(&component)?)?;
        let ticker = Ticker::start(engine.clone())?;
        Ok(Self { engine, component, bytes: bytes.into(), pre, ticker, wants_wasi: false })
    }

    /// Somebody else's: any component that exports the contract.
    ///
    /// It may import an empty WASI 0.2 and what is granted. Everything else is refused by name.
    pub fn foreign(component: Vec<u8>, limits: &Limits, grants: &BTreeSet<Grant>) -> Result<Self, GuestError> {
        let engine = Engine::new(&pooled(limits)).map_err(GuestError::Host)?;
        let bytes = component;
        let component = Component::from_binary(&engine, &bytes).map_err(GuestError::NotAComponent)?;
        let imports = foreign::imports(&engine, &component);
        foreign::check(&imports, grants)?;
        let wants_wasi = !imports.is_empty();
        let mut linker = Linker::new(&engine);
        if wants_wasi {
            foreign::link(&mut linker).map_err(GuestError::Host)?;
        }
        let pre =
            linker.instantiate_pre(&component).and_then(bindings::GuestPre::new).map_err(GuestError::NotAGuest)?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| GuestError::Host(error.into()))?;
        Ok(Self { engine, component, bytes: bytes.into(), pre, ticker, wants_wasi })
    }

    /// The component that it was made of.
    pub fn component(&self) -> &[u8] {
        &self.bytes
    }

    /// The fingerprint of that component.
    pub fn sha256(&self) -> String {
        sha256(&self.bytes)
    }

    /// What the component itself says that it needs and offers, and its fingerprint.
    pub fn inspect(&self) -> Inspection {
        Inspection::new(&self.engine, &self.component, &self.bytes)
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("inspection", &self.inspect()).finish_non_exhaustive()
    }
}

/// What a component says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// What it wants from its host. Empty: it can compute, and do nothing else.
    pub imports: Vec<Import>,
    /// The interfaces that it offers.
    pub exports: Vec<String>,
    /// Of the component's file.
    pub sha256: String,
    /// The size of the component's file.
    pub bytes: usize,
    /// The bytes of memory that an instance starts with.
    pub memory: u64,
    /// Why it cannot serve, whatever is granted to it. None: it can.
    pub unfit: Option<String>,
}

impl Inspection {
    /// Inspects any component, also one that could not be a guest.
    pub fn of(component: &[u8]) -> Result<Self, GuestError> {
        let engine = Engine::new(&engine::config(MEMORY_RESERVATION)).map_err(GuestError::Host)?;
        let compiled = Component::from_binary(&engine, component).map_err(GuestError::NotAComponent)?;
        let inspection = Self::new(&engine, &compiled, component);
        let fit = || {
            foreign::check(&inspection.imports, &BTreeSet::from([Grant::Clocks, Grant::Random]))?;
            let mut linker = Linker::<Bounds>::new(&engine);
            foreign::link(&mut linker).map_err(GuestError::Host)?;
            linker.instantiate_pre(&compiled).and_then(bindings::GuestPre::new).map_err(GuestError::NotAGuest)
        };
        let unfit = fit().err().map(|why: GuestError| why.to_string());
        Ok(Self { unfit, ..inspection })
    }

    fn new(engine: &Engine, component: &Component, bytes: &[u8]) -> Self {
        let pages = component.resources_required().and_then(|needs| needs.max_initial_memory_size);
        Self {
            imports: foreign::imports(engine, component),
            exports: component.component_type().exports(engine).map(|(name, _)| name.to_owned()).collect(),
            sha256: sha256(bytes),
            bytes: bytes.len(),
            memory: pages.unwrap_or_default().saturating_mul(64 << 10),
            unfit: None,
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The engine's settings at run time: those of the build, and a pool of slots.
fn pooled(limits: &Limits) -> wasmtime::Config {
    let reservation = limits.memory.max(MEMORY_RESERVATION).next_multiple_of(64 << 10);
    let instances = u32::try_from(limits.clients + limits.reserve).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(TABLES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(1)
        .max_tables_per_component(TABLES)
        .table_elements(1_024)
        .max_memory_size(usize::try_from(reservation).unwrap_or(usize::MAX))
        .max_unused_warm_slots(instances)
        // A slot is cleared by hand and stays mapped: faulting its pages in again would cost sixty
        // times as much. The scan finds the pages that were touched; without it all would be.
        .linear_memory_keep_resident(KEPT_RESIDENT)
        .table_keep_resident(16 << 10)
        .pagemap_scan(Enabled::Auto)
        .decommit_batch_size(1);
    let mut config = engine::config(reservation);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Bytes of a slot that stay mapped when its client is gone: what the built-in guest is born with;
/// what a large listing or a hostile guest has touched beyond goes back to the system.
pub(crate) const KEPT_RESIDENT: usize = 128 << 10;

/// Core instances and tables that one component may be made of. Ours has one core module and the small
/// ones that the component model adds; guests with an adapted standard library have a few more.
const CORE_INSTANCES: u32 = 8;
const TABLES: u32 = 4;

mod precompiled {
    //! The one place that trusts machine code.

    use wasmtime::Engine;
    use wasmtime::component::Component;

    #[expect(unsafe_code, reason = "machine code cannot be checked, only its origin: this build made it")]
    pub(super) fn load(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
        // SAFETY: `bytes` are what this crate's build script had the same wasmtime compile, embedded
        // into this program. wasmtime checks that its version and its settings are the same.
        unsafe { Component::deserialize(engine, bytes) }
    }
}

/// What the store of one client knows: its bounds, and how much of them is used.
struct Bounds {
    memory: usize,
    memory_now: usize,
    memory_peak: usize,
    memory_refused: bool,
    /// Of one list of actions, in the host's memory.
    list: usize,
    cpu: Cpu,
    /// For foreign guests that want one.
    wasi: Option<Box<Wasi>>,
}

impl WasiView for Bounds {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi.as_mut().expect("a guest that imports WASI is given one").view()
    }
}

/// How long the guest has been computing in this call.
struct Cpu {
    per_event: Duration,
    spent: bool,
    /// Whether there was no place for one more guest that computes for long.
    refused: bool,
    slow_lane: Arc<SlowLane>,
    /// Once the call has been seen to be long: when that was, by the clock of its thread, and its place in
    /// the lane.
    long: Option<(Duration, Place)>,
    /// How long the guest was computing in the last call. Not how long the call lasted: the thread may
    /// have waited for its turn, or the machine may have had other things to do.
    last: Duration,
}

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(size_of::<usize>())))
    }
}

impl Bounds {
    fn grow(&mut self, bytes: usize) -> bool {
        let wanted = self.memory_now.saturating_add(bytes);
        if wanted > self.memory {
            self.memory_refused = true;
            return false;
        }
        self.memory_now = wanted;
        self.memory_peak = self.memory_peak.max(wanted);
        true
    }
}

impl Cpu {
    /// Called at each tick of a call that lasts longer than one.
    fn tick(&mut self) -> UpdateDeadline {
        let now = thread_cpu_time();
        match &mut self.long {
            None => match self.slow_lane.enter() {
                Some(place) => {
                    self.long = Some((now, place));
                    UpdateDeadline::Continue(1)
                }
                None => {
                    self.refused = true;
                    UpdateDeadline::Interrupt
                }
            },
            Some((since, place)) if now.saturating_sub(*since) < self.per_event => {
                self.slow_lane.take_turns(place);
                UpdateDeadline::Continue(1)
            }
            Some(_) => {
                self.spent = true;
                UpdateDeadline::Interrupt
            }
        }
    }
}

/// One client's session, in an instance of its own.
pub(crate) struct Sandbox {
    instance: Held,
    session: ResourceAny,
    cpu: Duration,
}

/// What a guest has taken so far, and left behind.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    /// The time that it has been computing.
    pub(crate) cpu: Duration,
    /// The most memory that it has had, in bytes.
    pub(crate) memory_peak: usize,
    /// What it has written to stdout and stderr. Empty for the built-in one, which has neither.
    pub(crate) output: String,
}

/// Whether each client gets an instance of its own.
#[derive(Clone, Default)]
pub(crate) enum Sharing {
    /// It does. There is no server that serves otherwise.
    #[default]
    Nothing,
    /// All clients are sessions in one instance, which the first of them makes: what the tests of
    /// isolation must find broken, or they would not find anything.
    Instance(Arc<Mutex<Option<Instance>>>),
}

/// An instance, in its store.
pub(crate) struct Instance {
    store: Store<Bounds>,
    guest: contract::Guest,
    compiled: Arc<Guest>,
}

enum Held {
    Own(Instance),
    Shared(Arc<Mutex<Option<Instance>>>),
}

impl Held {
    fn with<T>(&mut self, act: impl FnOnce(&mut Instance) -> T) -> T {
        match self {
            Self::Own(instance) => act(instance),
            Self::Shared(shared) => {
                let mut instance = shared.lock().unwrap_or_else(PoisonError::into_inner);
                act(instance.as_mut().expect("a session is made in an instance"))
            }
        }
    }
}

impl Sandbox {
    /// Makes an instance and the session in it. Where that fails, what it took until then is told as well.
    pub(crate) fn start(
        compiled: &Arc<Guest>,
        limits: &Arc<Limits>,
        slow_lane: &Arc<SlowLane>,
        settings: &Settings,
        home: Option<&[u8]>,
        at_capacity: bool,
        sharing: &Sharing,
    ) -> Result<Self, (Ended, Spent)> {
        let headers: Vec<_> = settings.headers.iter().map(|(name, value)| contract::Field { name, value }).collect();
        let settings = contract::Settings {
            dialect: if settings.compat { contract::Dialect::Compat } else { contract::Dialect::Standard },
            home,
            listing: settings.listing,
            headers: &headers,
            cors: settings.cors.as_deref(),
            max_exchanges: limits.exchanges,
            reports: settings.reports,
            at_capacity,
        };
        let mut instance = match sharing {
            Sharing::Nothing => Held::Own(Instance::new(compiled, limits, slow_lane)?),
            Sharing::Instance(shared) => {
                let mut instance = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if instance.is_none() {
                    *instance = Some(Instance::new(compiled, limits, slow_lane)?);
                }
                Held::Shared(Arc::clone(shared))
            }
        };
        instance
            .with(|instance| {
                let born = instance.last_cpu();
                let session = instance.session(settings);
                let cpu = born + instance.last_cpu();
                match session {
                    Ok(session) => Ok((session, cpu)),
                    Err(ended) => Err((ended, Spent { cpu, ..Spent::of(instance.store.data()) })),
                }
            })
            .map(|(session, cpu)| Self { instance, session, cpu })
    }

    /// Tells the guest what happened, and returns what it wants done, not yet judged (see [`Plan::new`]).
    pub(crate) fn advance(&mut self, now: u64, event: contract::Event<'_>) -> Result<Vec<contract::Action>, Ended> {
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
    pub(crate) fn memory_peak(&mut self) -> usize {
        self.instance.with(|instance| instance.store.data().memory_peak)
    }
}

impl Spent {
    /// What a store knows of it: the last call only, where it comes to CPU time.
    fn of(bounds: &Bounds) -> Self {
        let output = bounds.wasi.as_ref().map(|wasi| wasi.output()).unwrap_or_default();
        Self { cpu: bounds.cpu.last, memory_peak: bounds.memory_peak, output }
    }
}

impl Instance {
    fn new(compiled: &Arc<Guest>, limits: &Limits, slow_lane: &Arc<SlowLane>) -> Result<Self, (Ended, Spent)> {
        let bounds = Bounds {
            memory: usize::try_from(limits.memory).unwrap_or(usize::MAX),
            memory_now: 0,
            memory_peak: 0,
            memory_refused: false,
            list: limits.list_bytes(),
            cpu: Cpu {
                per_event: limits.cpu_per_event,
                spent: false,
                refused: false,
                slow_lane: Arc::clone(slow_lane),
                long: None,
                last: Duration::ZERO,
            },
            wasi: compiled.wants_wasi.then(|| Box::new(Wasi::new())),
        };
        let mut store = Store::new(&compiled.engine, bounds);
        store.limiter(|bounds| bounds);
        store.set_hostcall_fuel(limits.list_bytes());
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().cpu.tick()));

        let made = timed(&compiled.ticker, &mut store, |store| compiled.pre.instantiate(store));
        match made {
            Ok(guest) => {
                let guest = guest.multiclient_session_handler().clone();
                Ok(Self { store, guest, compiled: Arc::clone(compiled) })
            }
            Err(error) => {
                let ended = match why(&error, store.data()) {
                    // Of what fails before the guest runs, the guest knows nothing.
                    Ended::Trapped { message, backtrace } if backtrace.is_empty() => Ended::HostFault(message),
                    ended => ended,
                };
                Err((ended, Spent::of(store.data())))
            }
        }
    }

    /// How long the guest was computing in the last call.
    fn last_cpu(&self) -> Duration {
        self.store.data().cpu.last
    }

    fn session(&mut self, settings: contract::Settings<'_>) -> Result<ResourceAny, Ended> {
        let Self { store, guest, compiled } = self;
        let made = timed(&compiled.ticker, store, |store| guest.session().call_constructor(store, settings));
        made.map_err(|error| why(&error, store.data()))
    }

    fn advance(
        &mut self,
        session: ResourceAny,
        now: u64,
        event: contract::Event<'_>,
    ) -> Result<Vec<contract::Action>, Ended> {
        let Self { store, guest, compiled } = self;
        let advance = |store: &mut Store<Bounds>| guest.session().call_advance(store, session, now, event);
        timed(&compiled.ticker, store, advance).map_err(|error| why(&error, store.data()))
    }
}

/// Makes a call under the limit of CPU time.
fn timed<T>(
    ticker: &Ticker,
    store: &mut Store<Bounds>,
    call: impl FnOnce(&mut Store<Bounds>) -> wasmtime::Result<T>,
) -> wasmtime::Result<T> {
    let began = Instant::now();
    let _ticking = ticker.run();
    // The tick that comes next may come at once. Two are at least one whole.
    store.set_epoch_deadline(2);
    let result = if store.data().wasi.is_some() {
        // The functions of WASI may wait (here they never have to), and say so to the loop in a way
        // that it only accepts from a thread that is not its own.
        task::block_in_place(|| call(store))
    } else {
        call(store)
    };
    let cpu = &mut store.data_mut().cpu;
    // The thread's own clock is a system call. Short calls, which are nearly all, do without.
    cpu.last = began.elapsed().min(2 * TICK);
    if let Some((since, _)) = cpu.long.take() {
        cpu.last += thread_cpu_time().saturating_sub(since);
        cpu.slow_lane.leave();
    }
    result
}

/// Why a call did not come back with a result.
fn why(error: &wasmtime::Error, bounds: &Bounds) -> Ended {
    let backtrace = backtrace(error);
    if bounds.cpu.spent {
        return Ended::OverLimit { limit: Limit::Cpu(bounds.cpu.per_event), backtrace };
    }
    if bounds.cpu.refused {
        return Ended::OverLimit { limit: Limit::Turn, backtrace };
    }
    // A guest that was refused memory may go on without; one that then fails, fails of that.
    if bounds.memory_refused {
        return Ended::OverLimit { limit: Limit::Memory(bounds.memory as u64), backtrace };
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => Ended::Trapped { message: trap.to_string(), backtrace },
        None if error.root_cause().to_string().contains("fuel") => {
            Ended::OverLimit { limit: Limit::Actions(bounds.list as u64), backtrace }
        }
        // What a guest hands over and nobody can read (a list that lies beyond its memory, an action that
        // does not exist) is a trap too, says the component model.
        None => Ended::Trapped { message: error.root_cause().to_string(), backtrace },
    }
}

/// The names of the functions in which the guest was, innermost first.
fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    frames
        .iter()
        .map(|frame| {
            let symbol = frame.func_name().map(|name| format!("{:#}", rustc_demangle::demangle(name)));
            symbol.unwrap_or_else(|| format!("function {}", frame.func_index()))
        })
        .collect()
}

/// The time, as a guest is told it.
pub(crate) fn now() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// A list of actions that keeps the contract's rules: steps to carry out, and then one thing to wait for.
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) wait: Wait,
}

/// An action that is done when it is done.
pub(crate) enum Step {
    Send(Vec<u8>),
    Pass(contract::Span),
    Report(contract::Exchange),
}

/// The last action of a list: what the guest waits for.
pub(crate) enum Wait {
    Receive,
    Open(Vec<u8>),
    List(Vec<u8>),
    /// For the open source to have bytes past this offset, or an end.
    Past(u64),
    Close(contract::Remainder),
}

impl Plan {
    pub(crate) fn new(actions: Vec<contract::Action>, limits: &Limits) -> Result<Self, Breach> {
        use contract::Action;
        if actions.len() > limits.actions {
            return Err(Breach::TooManyActions(actions.len()));
        }
        let mut plan = Self { steps: Vec::with_capacity(actions.len()), wait: Wait::Receive };
        let mut waits = false;
        for action in actions {
            if waits {
                return Err(Breach::ActionAfterWait);
            }
            let wait = match action {
                Action::Send(bytes) if bytes.len() > limits.send_bytes => return Err(Breach::LongSend(bytes.len())),
                Action::Send(bytes) if bytes.is_empty() => continue,
                Action::Pass(span) if span.count == 0 => continue,
                Action::Send(bytes) => {
                    plan.steps.push(Step::Send(bytes));
                    continue;
                }
                Action::Pass(span) => {
                    plan.steps.push(Step::Pass(span));
                    continue;
                }
                Action::Report(exchange) => {
                    plan.steps.push(Step::Report(exchange));
                    continue;
                }
                Action::Receive => Wait::Receive,
                Action::Open(name) => Wait::Open(name),
                Action::List(name) => Wait::List(name),
                Action::Wait(offset) => Wait::Past(offset),
                Action::Close(remainder) => Wait::Close(remainder),
            };
            plan.wait = wait;
            waits = true;
        }
        if waits { Ok(plan) } else { Err(Breach::NoWait) }
    }
}
