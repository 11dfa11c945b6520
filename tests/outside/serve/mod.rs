//! Responses over real sockets, of files on a real disk.
//!
//! The guest's own tests know every row of the protocol. These are about the whole.

mod connections;
mod files;
mod names;
mod requests;
