//! The library and its components from within: the contract, guests that mean harm, the trial of isolation, other
//! hosts. Most of these measure, so they run one after the other.

mod against;
mod component;
mod hostile;
mod inetd;
mod isolate;
