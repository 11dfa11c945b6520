//! What the session promises, row by row.
//!
//! A host in memory carries out the actions, checks that the session keeps the contract, and collects what a
//! client would see. Every row runs at once, byte by byte, and followed by a second request.

mod answer;
mod compat;
mod conditions;
mod connection;
mod framing;
mod guard;
mod host;
mod listing;
mod live;
mod names;
mod negotiation;
mod player;
mod properties;
mod ranges;
mod wire;
