//! Guests that mean harm: each ends in the way that the contract has for it, and the clients beside it notice
//! nothing.
//!
//! The server runs in this process, with a guest that is the built-in one until a request asks it to fail.

mod arena;
mod faults;
mod neighbours;
