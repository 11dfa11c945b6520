//! What the tests stand on: a server process, its log, a strict client, other programs, folders to serve.
//!
//! Rules:
//!
//! - Nothing waits for ever, and nothing sleeps to be on the safe side. A test waits for a byte, a line of the
//!   log, or a condition that is polled until [`wait::PATIENCE`] is over.
//! - The client forgives nothing: a line end, a length or a chunk that differs from RFC 9112 fails the test,
//!   whatever the test is about.
//! - Only this machine is talked to.

pub mod client;
pub mod components;
pub mod folder;
pub mod group;
pub mod live;
pub mod log;
pub mod programs;
pub mod server;
pub mod turn;
pub mod under_test;
pub mod wait;

pub use client::{Connection, HeaderSection, Response};
pub use folder::{Folder, LONG_AGO, age, make_fifo, noise, random, same, text};
pub use group::{ControlGroup, Limited};
pub use programs::{A_WHILE, Background, output_of, require, run, run_within, skip};
pub use server::{Server, Stopped};
pub use under_test::{export_guest, multiclient, program_under_test, without_settings};
pub use wait::{PATIENCE, SetOnDrop, eventually, eventually_or, exit_within, until_files_are_looked_up};
