//! A compiled guest, ready to make instances of.

use std::borrow::Cow;
#[cfg(feature = "compile")]
use std::collections::BTreeSet;
use std::fmt;

use wasmtime::component::{Component, Linker};
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::limits::Limits;
use crate::sandbox::engine::{self, MEMORY_RESERVATION};
use crate::sandbox::imports::GuestError;
#[cfg(feature = "compile")]
use crate::sandbox::imports::{self, Grant};
use crate::sandbox::inspect::{Inspection, sha256};
use crate::sandbox::meter::Bounds;
#[cfg(feature = "compile")]
use crate::sandbox::names;
use crate::sandbox::precompiled;
use crate::sandbox::ticker::Ticker;
use crate::sandbox::wire::GuestPre;

/// The component that is built in, and its machine code.
const BUILT_IN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest.wasm"));
const BUILT_IN_PRECOMPILED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest.cwasm"));

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
    component: Component,
    bytes: Cow<'static, [u8]>,
    limits: Limits,
    pub(super) pre: GuestPre<Bounds>,
    pub(super) ticker: Ticker,
    pub(super) wants_wasi: bool,
}

impl Guest {
    /// The built-in guest: HTTP/1.1.
    ///
    /// # Errors
    ///
    /// Fails where the system has no address space for so many clients, and, without the feature
    /// `compile`, where `limits.memory` is more than 16 MiB: machine code fits one size of memory.
    pub fn built_in(limits: Limits) -> Result<Self, GuestError> {
        let engine = engine_for(&limits, Clearing::ByAddress)?;
        let component = if limits.memory <= MEMORY_RESERVATION {
            precompiled::load(&engine, BUILT_IN_PRECOMPILED).map_err(GuestError::host)?
        } else {
            compile(&engine, BUILT_IN)?
        };
        let pre = Linker::new(&engine).instantiate_pre(&component).and_then(GuestPre::new);
        let pre = pre.map_err(GuestError::host)?;
        let ticker = Ticker::start(&engine).map_err(GuestError::host)?;
        Ok(Self { engine, component, bytes: BUILT_IN.into(), limits, pre, ticker, wants_wasi: false })
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
        Self::compiled(engine, component, limits, grants)
    }

    /// The same, in slots that are cleared by the page map. For the trial of isolation, which must find
    /// that this is not enough.
    #[cfg(all(feature = "compile", feature = "isolation-testing"))]
    #[doc(hidden)]
    pub fn cleared_by_page_map(component: Vec<u8>, limits: Limits) -> Result<Self, GuestError> {
        let engine = engine_for(&limits, Clearing::ByPageMap)?;
        Self::compiled(engine, component, limits, &BTreeSet::new())
    }

    #[cfg(feature = "compile")]
    fn compiled(
        engine: Engine,
        component: Vec<u8>,
        limits: Limits,
        grants: &BTreeSet<Grant>,
    ) -> Result<Self, GuestError> {
        let bytes = component;
        let compiled = Component::from_binary(&engine, &names::without_long(&bytes));
        let component = compiled.map_err(GuestError::not_a_component)?;
        let imports = imports::imports(&engine, &component);
        imports::check(&imports, grants)?;
        let linker = imports::linker(&engine)?;
        let pre = linker.instantiate_pre(&component).and_then(GuestPre::new).map_err(GuestError::not_a_guest)?;
        let ticker = Ticker::start(&engine).map_err(GuestError::host)?;
        Ok(Self { engine, component, bytes: bytes.into(), limits, pre, ticker, wants_wasi: !imports.is_empty() })
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
    pub fn inspect(&self) -> Inspection {
        Inspection::new(&self.engine, &self.component, &self.bytes)
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("inspection", &self.inspect()).finish_non_exhaustive()
    }
}

#[cfg(feature = "compile")]
fn compile(engine: &Engine, component: &[u8]) -> Result<Component, GuestError> {
    Component::from_binary(engine, component).map_err(GuestError::host)
}

#[cfg(not(feature = "compile"))]
fn compile(_: &Engine, _: &[u8]) -> Result<Component, GuestError> {
    let most = MEMORY_RESERVATION;
    Err(GuestError::Host(format!("more than {most} bytes of memory for a guest need the feature `compile`")))
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
