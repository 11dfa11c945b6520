//! Serves clients: accepts them, runs one session for each, and lets them go when the server stops.

mod accept;
pub(crate) mod admission;
mod buffer;
mod client;
mod crowd;
mod disk;
mod event_loop;
mod failed;
mod greet;
mod greeting;
pub mod listen;
pub(crate) mod observer;
mod pace;
mod reports;
pub(crate) mod roster;
pub(crate) mod server;
pub(crate) mod shared;
mod silent;
mod transfer;
mod untold;
mod wait;
