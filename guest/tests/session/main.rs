//! What the session promises, row by row.
//!
//! A small host in memory carries out what the session wants, watches that it keeps the contract, and
//! collects what a client would see. Every row runs whole, byte by byte, and with a second request
//! behind it.

mod answer;
mod compat;
mod conditions;
mod connection;
mod framing;
mod guard;
mod heads;
mod host;
mod listing;
mod live;
mod names;
mod negotiation;
mod player;
mod properties;
mod ranges;
