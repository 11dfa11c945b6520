//! What a component says of itself.

#[cfg(feature = "compile")]
use std::collections::BTreeSet;

use wasmtime::Engine;
use wasmtime::component::Component;

#[cfg(feature = "compile")]
use crate::sandbox::engine::{self, MEMORY_RESERVATION};
use crate::sandbox::imports::{self, Import};
#[cfg(feature = "compile")]
use crate::sandbox::imports::{Grant, GuestError};
#[cfg(feature = "compile")]
use crate::sandbox::wire::GuestPre;

/// What a component says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// What it wants from its host. Empty: it can compute, and do nothing else.
    pub imports: Vec<Import>,
    /// The interfaces that it offers.
    pub exports: Vec<String>,
    /// The SHA-256 of the component's file, in hexadecimal.
    pub sha256: String,
    /// The size of the component's file, in bytes.
    pub bytes: u64,
    /// The bytes of memory that an instance starts with.
    pub memory: u64,
    /// Why it cannot serve, whatever is granted to it. None: it can.
    pub unfit: Option<String>,
}

impl Inspection {
    /// Inspects any component, also one that could not be a guest.
    ///
    /// # Errors
    ///
    /// Fails where this is not a component.
    #[cfg(feature = "compile")]
    pub fn of(component: &[u8]) -> Result<Self, GuestError> {
        let engine = Engine::new(&engine::config(MEMORY_RESERVATION)).map_err(GuestError::host)?;
        let compiled = Component::from_binary(&engine, component).map_err(GuestError::not_a_component)?;
        let inspection = Self::new(&engine, &compiled, component);
        let fit = || {
            imports::check(&inspection.imports, &BTreeSet::from([Grant::Clocks, Grant::Random]))?;
            let linker = imports::linker(&engine)?;
            linker.instantiate_pre(&compiled).and_then(GuestPre::new).map_err(GuestError::not_a_guest)
        };
        let unfit = fit().err().map(|why: GuestError| why.to_string());
        Ok(Self { unfit, ..inspection })
    }

    pub(super) fn new(engine: &Engine, component: &Component, bytes: &[u8]) -> Self {
        let pages = component.resources_required().and_then(|needs| needs.max_initial_memory_size);
        Self {
            imports: imports::imports(engine, component),
            exports: component.component_type().exports(engine).map(|(name, _)| name.to_owned()).collect(),
            sha256: sha256(bytes),
            bytes: bytes.len() as u64,
            memory: pages.unwrap_or_default().saturating_mul(64 << 10),
            unfit: None,
        }
    }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
