//! Takes from a running server every right that serving does not need.
//!
//! The sandbox keeps guests away from the host. These walls stand behind it: somebody who escapes from
//! the sandbox, or runs code in the host by way of a request, is in a process that can serve what it
//! serves, and do nothing else.
//!
//! | wall | the process can no longer |
//! | --- | --- |
//! | [privileges](Wall::Privileges) | use capabilities, gain any, dump core, be traced by its own user |
//! | [files](Wall::Files) | open a file outside of what the [`Plan`] names |
//! | [network](Wall::Network) | listen on a TCP port, or connect to one |
//! | [scopes](Wall::Scopes) | signal another process, reach an abstract unix socket |
//! | [code](Wall::Code) | map memory that can be executed |
//! | [calls](Wall::Calls) | make a system call that is not in `calls/list.rs` |
//!
//! A process raises them in two steps, which the types put in order:
//!
//! 1. [`Plan::raise_files`], while it has one thread: sockets are bound, sources and folders are open.
//!    What follows, loading a guest included, happens behind the first four walls.
//! 2. [`Raised::raise_calls`], when the guest is loaded and the threads that serve have started.
//!
//! ```no_run
//! use multiclient_walls::{Mode, Plan};
//!
//! # fn main() -> Result<(), multiclient_walls::Missing> {
//! let plan = Plan::new(Mode::Auto).serves("/srv/media".as_ref()).writes_into("/var/lib/capsules".as_ref());
//! let raised = plan.raise_files()?;
//! // Load the guest, start the server.
//! let report = raised.raise_calls()?;
//! eprintln!("{report}");
//! # Ok(())
//! # }
//! ```
//!
//! Rule: this crate decides about the process that it is in, and knows nothing of clients, guests or HTTP.

mod calls;
mod code;
#[cfg(feature = "doors")]
pub mod doors;
mod files;
mod plan;
mod privileges;
mod report;

pub use plan::{Mode, Plan, Raised, UnknownMode};
pub use report::{Missing, Report, State, Wall};
