//! A compiled guest, ready to make instances of.

use std::borrow::Cow;
#[cfg(feature = "compile")]
use std::collections::BTreeSet;
use std::fmt;
use std::sync::OnceLock;

use wasmtime::component::{Component, Linker};
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, Module, PoolingAllocationConfig};

use crate::limits::Limits;
use crate::machine;
use crate::sandbox::core_module::CoreModule;
use crate::sandbox::engine::{self, MEMORY_RESERVATION};
#[cfg(feature = "compile")]
use crate::sandbox::imports::{self, Grant};
use crate::sandbox::imports::{GuestError, Import};
use crate::sandbox::inspect::{Inspection, sha256};
use crate::sandbox::meter::Bounds;
#[cfg(feature = "compile")]
use crate::sandbox::names;
use crate::sandbox::precompiled;
use crate::sandbox::ticker::Ticker;
#[cfg(feature = "compile")]
use crate::sandbox::unbundle;
use crate::sandbox::wire::GuestPre;

/// The component that is built in, its machine code, and that of its core module alone.
const BUILT_IN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest.wasm"));
const BUILT_IN_PRECOMPILED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest.cwasm"));
const BUILT_IN_CORE_PRECOMPILED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest-core.cwasm"));

/// Bytes at the start of a slot that are zeroed when its client is gone, and stay mapped. The rest of the
/// slot goes back to the system.
///
/// As much as the built-in guest touches in an exchange: its stack, its data, and what its heap grows to
/// (`guest/session/build.rs`, `guest/shell/src/heap.rs`). With 4 KiB less each client faults a page in
/// again, 3 to 5 µs; with 32 KiB more each client costs 0.7 µs more.
pub(crate) const KEPT_RESIDENT: usize = 20 << 10;

/// Core instances and tables that one component may be made of. Ours has one core module and the small
/// ones that the component model adds; guests with an adapted standard library have a few more.
const CORE_INSTANCES: u32 = 8;
const TABLES: u32 = 4;
const TABLE_ELEMENTS: usize = 1_024;

/// A compiled guest, and the limits that its instances run within.
///
/// It sets aside address space (not memory) for the instances of as many clients as the limits allow.
pub struct Guest {
    engine: Engine,
    bytes: Cow<'static, [u8]>,
    limits: Limits,
    /// Its core module, where it runs as that.
    pub(super) core: Option<CoreModule>,
    /// Loaded when it is first needed, where the guest runs as a core module.
    component: OnceLock<Compiled>,
    /// What it is loaded from, unless it is compiled.
    machine_code: Option<&'static [u8]>,
    pub(super) ticker: Ticker,
    pub(super) wants_wasi: bool,
}

/// A compiled component.
pub(super) struct Compiled {
    component: Component,
    pub(super) pre: GuestPre<Bounds>,
}

impl Guest {
    /// The built-in guest: HTTP/1.1.
    ///
    /// It runs as the core module that its component consists of. Sessions are replayed in the component.
    ///
    /// # Errors
    ///
    /// Fails where the system has no address space for so many clients, and, without the feature
    /// `compile`, where `limits.memory` is more than 16 MiB: machine code fits one size of memory.
    pub fn built_in(limits: Limits) -> Result<Self, GuestError> {
        let engine = engine_for(&limits, Clearing::ByAddress)?;
        let fits = limits.memory <= MEMORY_RESERVATION;
        let module = if fits {
            precompiled::load_module(&engine, BUILT_IN_CORE_PRECOMPILED).map_err(GuestError::host)?
        } else {
            compile_core(&engine, BUILT_IN)?
        };
        let machine_code = fits.then_some(BUILT_IN_PRECOMPILED);
        Self::of_core(engine, &module, BUILT_IN.into(), machine_code, limits)
    }

    fn of_core(
        engine: Engine,
        module: &Module,
        bytes: Cow<'static, [u8]>,
        machine_code: Option<&'static [u8]>,
        limits: Limits,
    ) -> Result<Self, GuestError> {
        let core = Some(CoreModule::new(&engine, module).map_err(GuestError::host)?);
        let ticker = Ticker::start(&engine).map_err(GuestError::host)?;
        let component = OnceLock::new();
        Ok(Self { engine, bytes, limits, core, component, machine_code, ticker, wants_wasi: false })
    }

    /// Any component that consists of one core module and imports nothing, run as that module: as the built-in
    /// guest is. For tests of just that; a custom guest runs as a component.
    ///
    /// # Errors
    ///
    /// Says what of it is not such a component.
    #[cfg(all(feature = "compile", any(feature = "isolation-testing", test)))]
    #[doc(hidden)]
    pub fn as_core_module(component: Vec<u8>, limits: Limits) -> Result<Self, GuestError> {
        let engine = engine_for(&limits, Clearing::ByAddress)?;
        let module = compile_core(&engine, &component)?;
        Self::of_core(engine, &module, component.into(), None, limits)
    }

    /// A custom guest: any component that exports the contract.
    ///
    /// It may import an empty WASI 0.2 (with the feature `wasi`) and what is granted. Everything else is
    /// refused by name.
    ///
    /// # Errors
    ///
    /// Says what of it is not a guest, or which import is not granted.
    #[cfg(feature = "compile")]
    pub fn custom(component: Vec<u8>, limits: Limits, grants: &BTreeSet<Grant>) -> Result<Self, GuestError> {
        let engine = engine_for(&limits, Clearing::ByAddress)?;
        let compiled = Component::from_binary(&engine, &names::without_long(&component));
        let compiled = compiled.map_err(GuestError::not_a_component)?;
        let imports = imports::imports(&engine, &compiled);
        imports::check(&imports, grants)?;
        let linker = imports::linker(&engine)?;
        let pre = linker.instantiate_pre(&compiled).and_then(GuestPre::new).map_err(GuestError::not_a_guest)?;
        let ticker = Ticker::start(&engine).map_err(GuestError::host)?;
        Ok(Self {
            engine,
            bytes: component.into(),
            limits,
            core: None,
            component: Compiled { component: compiled, pre }.into(),
            machine_code: None,
            ticker,
            wants_wasi: !imports.is_empty(),
        })
    }

    /// The same, in slots that are cleared by the page map. For the trial of isolation, which must find
    /// that this is not enough.
    #[cfg(all(feature = "compile", feature = "isolation-testing"))]
    #[doc(hidden)]
    pub fn cleared_by_page_map(component: Vec<u8>, limits: Limits) -> Result<Self, GuestError> {
        let engine = engine_for(&limits, Clearing::ByPageMap)?;
        let module = compile_core(&engine, &component)?;
        Self::of_core(engine, &module, component.into(), None, limits)
    }

    /// The limits that its clients are served within.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The component that it was made of.
    pub fn component(&self) -> &[u8] {
        &self.bytes
    }

    /// The SHA-256 of that component, in hexadecimal.
    pub fn sha256(&self) -> String {
        sha256(&self.bytes)
    }

    /// What the component itself says that it needs and offers.
    ///
    /// # Panics
    ///
    /// Panics where the built-in component was not looked at before, and the process may no longer load machine code.
    pub fn inspect(&self) -> Inspection {
        let compiled = self.compiled().expect("the process may load the machine code of the built-in component");
        Inspection::new(&self.engine, &compiled.component, &self.bytes)
    }

    /// What it imports. Empty: it can compute, and do nothing else.
    pub fn imports(&self) -> Vec<Import> {
        match &self.core {
            // A core module that imports anything is no guest.
            Some(_) => Vec::new(),
            None => self.inspect().imports,
        }
    }

    /// The bytes of memory that an instance of it starts with.
    pub fn initial_memory(&self) -> u64 {
        self.core.as_ref().map_or_else(|| self.inspect().memory, |core| core.initial_memory)
    }

    /// The guest as a component.
    pub(super) fn compiled(&self) -> Result<&Compiled, GuestError> {
        if let Some(compiled) = self.component.get() {
            return Ok(compiled);
        }
        let component = match self.machine_code {
            Some(machine_code) => precompiled::load(&self.engine, machine_code).map_err(GuestError::host)?,
            None => compile(&self.engine, &self.bytes)?,
        };
        let pre = Linker::new(&self.engine).instantiate_pre(&component).and_then(GuestPre::new);
        let pre = pre.map_err(GuestError::host)?;
        // Another thread may have been faster.
        Ok(self.component.get_or_init(|| Compiled { component, pre }))
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("sha256", &self.sha256()).finish_non_exhaustive()
    }
}

#[cfg(feature = "compile")]
fn compile(engine: &Engine, component: &[u8]) -> Result<Component, GuestError> {
    Component::from_binary(engine, component).map_err(GuestError::host)
}

/// Compiles the core module in a component.
#[cfg(feature = "compile")]
fn compile_core(engine: &Engine, component: &[u8]) -> Result<Module, GuestError> {
    let module = unbundle::core_module(component).map_err(GuestError::NotAComponent)?;
    Module::from_binary(engine, module).map_err(GuestError::host)
}

#[cfg(not(feature = "compile"))]
fn compile(_: &Engine, _: &[u8]) -> Result<Component, GuestError> {
    Err(without_compiler())
}

#[cfg(not(feature = "compile"))]
fn compile_core(_: &Engine, _: &[u8]) -> Result<Module, GuestError> {
    Err(without_compiler())
}

#[cfg(not(feature = "compile"))]
fn without_compiler() -> GuestError {
    let most = MEMORY_RESERVATION;
    GuestError::Host(format!("more than {most} bytes of memory for a guest need the feature `compile`"))
}

/// How a slot is cleared before the next client gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clearing {
    /// Address by address.
    ByAddress,
    /// What the page map says is present: not enough, which the trial of isolation must notice.
    #[cfg(feature = "isolation-testing")]
    ByPageMap,
}

/// The engine at run time: the settings of the build, and a pool of slots.
fn engine_for(limits: &Limits, clearing: Clearing) -> Result<Engine, GuestError> {
    // Before there are threads.
    machine::share_heap();
    limits.check().map_err(|(limit, least)| GuestError::Limit { limit, least })?;
    let reservation = limits.memory.max(MEMORY_RESERVATION).next_multiple_of(64 << 10);
    let instances = limits.max_clients.saturating_add(limits.reserve);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(TABLES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(1)
        .max_tables_per_component(TABLES)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(usize::try_from(reservation).unwrap_or(usize::MAX))
        .max_unused_warm_slots(instances)
        // Zeroing writes to addresses and giving back removes whatever an address maps to: neither
        // depends on where the kernel keeps a page just then. The scan clears only pages that are
        // present, and leaves those in swap or under migration to the next client.
        .pagemap_scan(Enabled::No)
        .linear_memory_keep_resident(KEPT_RESIDENT)
        // A table is zeroed whole.
        .table_keep_resident(TABLE_ELEMENTS * size_of::<usize>())
        .decommit_batch_size(1);
    #[cfg(feature = "isolation-testing")]
    if clearing == Clearing::ByPageMap {
        pool.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(128 << 10);
    }
    #[cfg(not(feature = "isolation-testing"))]
    let Clearing::ByAddress = clearing;
    // Guests run on the stacks of their loops. With the machinery for others the pool would reserve one of two
    // megabytes for each instance.
    #[cfg(feature = "wasi")]
    pool.total_stacks(0);
    let mut config = engine::config(reservation);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).map_err(GuestError::host)
}
