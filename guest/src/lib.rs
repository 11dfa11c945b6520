//! The HTTP/1.1 session of `multiclient`: events in, actions out.
//!
//! [`Session`] is one client, as HTTP sees it. The host tells it what happened to the client, and it answers
//! with what to do, in the types of the contract (`wit/session.wit`, mirrored in [`contract`]). It is a pure
//! function of its events: no clock, no files, no sockets, no randomness.
//!
//! Rules:
//!
//! - Nothing here waits, and nothing here touches a byte of what is served: the body of a file is a span that
//!   the host passes on.
//! - What the client sends is parsed once, into types that only parsing can make. Every fault in it has a
//!   variant of [`Malformed`] and a status; none can cause a panic.
//! - An idle session holds no buffers.
//! - Imports run in one direction: words (`contract`, `text`, `date`, `media_type`, `status`, `plan`), then
//!   `request`, `response`, `decide`, and then `session` and `answer`.
//!
//! ```
//! use multiclient_guest::{Session, contract::{Action, Event, Settings}};
//!
//! let mut session = Session::new(Settings::default());
//! let request = b"GET /film.mp4 HTTP/1.1\r\nHost: example.org\r\n\r\n".to_vec();
//! assert_eq!(session.advance(0, Event::Received(request)), [Action::Open(b"film.mp4".to_vec())]);
//! ```

#![no_std]

extern crate alloc;

pub mod answer;
pub mod contract;
pub mod names;

mod date;
mod decide;
mod media_type;
mod plan;
mod request;
mod response;
mod session;
mod status;
mod text;

pub use decide::guard::{Asked, Denied, Guard};
pub use request::Malformed;
pub use session::Session;
