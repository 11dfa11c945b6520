//! Serves files, folders and live media over HTTP to many clients, each in a fresh WebAssembly sandbox.
//!
//! A *guest* component speaks the protocol. It is told what happens to one client (bytes came, a source was
//! opened) and answers with what it wants done (send these bytes, pass that part of the source). This crate
//! is the host: it accepts clients, makes one instance of the guest for each, does what the guest asks
//! within [`Limits`], and passes the bytes from the [`Sources`] to the client with `sendfile`, without
//! letting them into the guest. The host knows no HTTP.
//!
//! | to do this | start from |
//! | --- | --- |
//! | serve files, a folder, a pipe | [`Sources`], [`Guest::built_in`], [`Server::new`] |
//! | serve what your program makes up | [`Sources::custom`] with a [`Publisher`] |
//! | change what a client may take | [`Limits`] |
//! | change how requests are answered | [`Settings`] |
//! | look at clients while they are connected | [`Server::observed`] and [`Running::observer`] |
//! | speak TLS, or be behind a proxy that tells addresses | [`listen::Listener`] |
//! | be told of requests and clients | [`Server::journal`] with a [`Journal`], or a [`journal::Log`] |
//! | serve through your own protocol | [`Guest::custom`], any component that exports `multiclient:session/handler` |
//! | record a client and replay it | [`Server::capsules`], [`Capsule::replay`] |
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use multiclient::{Closed, Guest, Journal, Limits, Server, Sources, listen};
//!
//! struct Printer;
//!
//! impl Journal for Printer {
//!     fn closed(&self, closed: &Closed) {
//!         println!("client {} {}: {} bytes", closed.client, closed.ended, closed.bytes_out);
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use std::io::{Read, Write};
//! # let folder = tempfile::tempdir()?;
//! # std::fs::write(folder.path().join("movie.mp4"), "moving pictures")?;
//! # let path = folder.path().join("movie.mp4");
//! let mut limits = Limits::default();
//! limits.max_clients = 50;
//! let server = Server::new(Guest::built_in(limits)?, Sources::at(&path)?)
//!     .journal(Arc::new(Printer))
//!     .start(vec![listen::tcp("127.0.0.1:0".parse()?)?])?;
//! println!("http://{}/movie.mp4", server.addresses()[0]);
//! # let mut client = std::net::TcpStream::connect(server.addresses()[0])?;
//! # client.write_all(b"GET /movie.mp4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
//! # let mut response = String::new();
//! # client.read_to_string(&mut response)?;
//! # assert!(response.ends_with("\r\n\r\nmoving pictures"), "{response}");
//!
//! let summary = server.stop(Duration::from_secs(10));
//! assert_eq!(summary.guest_failures, 0);
//! # assert_eq!(summary.clients, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! - `compile` (default): custom guests, compiled at run time. Without it the compiler is neither built nor
//!   linked, and the built-in guest is the only one.
//! - `wasi` (default): an empty WASI for custom guests with a standard library.
//! - `tls`: listeners with TLS; see [`Tls`](https://docs.rs/multiclient/latest/multiclient/struct.Tls.html).

#[cfg(not(target_os = "linux"))]
compile_error!("multiclient uses epoll, sendfile and openat2: it builds for Linux only");

mod budget;
mod contract;
mod ended;
pub mod journal;
mod limits;
mod machine;
mod protection;
mod proxy;
mod quantity;
mod record;
mod sandbox;
mod serve;
mod settings;
mod socket;
mod sources;
mod sync;
mod tls;

// For `benches/`, and no promise to anybody.
#[doc(hidden)]
pub use sandbox::bench;
#[cfg(feature = "isolation-testing")]
#[doc(hidden)]
pub mod isolation_testing {
    //! How the trial of isolation switches isolation off for its controls.

    /// Bytes of a slot that stay mapped when its client is gone.
    pub const KEPT_RESIDENT: usize = crate::sandbox::guest::KEPT_RESIDENT;
    /// Handles that a guest may hold.
    pub const HANDLES: usize = crate::limits::COMPONENT_HANDLES;
    /// Bytes of reports that are told of a guest whose client has said nothing.
    pub const REPORTS: u64 = crate::limits::REPORT_CREDIT;
    pub use crate::protection::Protection;
    pub use crate::sandbox::instance::{SharedInstance, Sharing};
}

pub use contract::{Entry, Refusal};
pub use ended::{Breach, Closed, Ended, Limit, Rejection, Timeout, TlsFault};
pub use journal::{Exchange, Journal};
pub use limits::Limits;
pub use record::capsule::{Capsule, CapsuleError};
pub use record::keeper::Capsules;
pub use record::replay::Replay;
pub use sandbox::facts::Engine;
pub use sandbox::guest::Guest;
pub use sandbox::imports::{Grant, GuestError, Import, Verdict};
pub use sandbox::indexer::Index;
pub use sandbox::inspect::Inspection;
pub use serve::admission::Summary;
pub use serve::listen;
pub use serve::observer::{Observer, Streamed};
pub use serve::roster::{Connected, Totals};
pub use serve::server::{Running, Server};
pub use serve::shared::OtherLimits;
pub use settings::Settings;
pub use sources::{Content, Join, Live, LiveStream, Named, Publisher, SourceError, Sources};
#[cfg(feature = "tls")]
pub use tls::{Tls, TlsError};
