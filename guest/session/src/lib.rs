//! The built-in guest: the HTTP session as a component.

#![cfg_attr(target_family = "wasm", no_std)]
#![cfg(target_family = "wasm")]

extern crate alloc;

#[cfg(feature = "faulty")]
mod faulty;

#[cfg(feature = "faulty")]
use faulty::Session;
#[cfg(not(feature = "faulty"))]
use multiclient_guest::Session;

multiclient_shell::component!(Session);
