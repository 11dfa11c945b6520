//! The one place that trusts machine code.

use wasmtime::component::Component;
use wasmtime::{Engine, Module};

/// Loads a component that the build script compiled.
#[expect(unsafe_code, reason = "machine code cannot be checked, only its origin: this build made it")]
pub(super) fn load(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `bytes` are what this crate's build script had the same wasmtime compile (or what the package
    // brings along, compared with its SHA-256), embedded into this program. wasmtime checks that its
    // version and its settings are the same.
    unsafe { Component::deserialize(engine, bytes) }
}

/// Loads a core module that the build script compiled.
#[expect(unsafe_code, reason = "as above")]
pub(super) fn load_module(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Module> {
    // SAFETY: as above.
    unsafe { Module::deserialize(engine, bytes) }
}
