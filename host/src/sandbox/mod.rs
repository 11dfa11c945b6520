//! The guest, compiled once, and a fresh instance of it for each client.
//!
//! Rules: a store lives as long as one client and is never used for another. Everything that comes out
//! of a guest is distrusted: a list of actions becomes a [`Plan`] here, or its client is disconnected.

#[doc(hidden)]
pub mod bench;
mod canonical;
mod core_module;
pub(crate) mod engine;
pub(crate) mod facts;
#[cfg(all(test, feature = "compile"))]
mod forms;
pub(crate) mod guest;
mod handles;
pub(crate) mod imports;
pub(crate) mod indexer;
pub(crate) mod inspect;
pub(crate) mod instance;
mod meter;
#[cfg(feature = "compile")]
mod names;
pub(crate) mod plan;
mod precompiled;
pub(crate) mod slow_lane;
mod ticker;
mod trap;
#[cfg(feature = "compile")]
mod unbundle;
#[cfg(feature = "wasi")]
mod wasi;
mod wire;
