//! The HTTP/1.1 session of `multiclient`: events in, actions out.
//!
//! [`Session`] is one client as HTTP sees it. It is told what happened to the client and answers with
//! what is to be done about it, in the words of the contract (`wit/session.wit`, mirrored in
//! [`contract`]). It is a pure function of what it was told: no clock, no files, no sockets, no
//! randomness.
//!
//! Rules:
//!
//! - Nothing in here waits, and nothing in here touches a byte of what is served: bodies of files are
//!   spans that the host passes on.
//! - What the client sends is parsed once, into types that only parsing can make. Whatever is wrong with
//!   it has a name in [`Malformed`] and a status; none of it can panic.
//! - An idle session holds no buffers.
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
