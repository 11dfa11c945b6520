//! System calls (seccomp): what is allowed, what is refused, and what ends the process.

mod filter;
mod list;

pub(crate) use filter::{Code, Passing, restrict};
