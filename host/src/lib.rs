//! Serves a file or a folder over HTTP to many clients, each in a fresh WebAssembly sandbox.
//!
//! A *guest* component speaks the protocol: it is told what happens to one client (bytes came, a source
//! was opened) and says what it wants done (send these bytes, pass that part of the source). This crate
//! is the host: it accepts clients, makes one instance of the guest for each, does what the guest asks
//! within [`Limits`], and passes the bytes from the [`Sources`] to the client without letting them
//! into the guest. It knows no HTTP.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use multiclient::{Guest, Journal, Life, Limits, Server, Sources, listen};
//!
//! struct Ends;
//!
//! impl Journal for Ends {
//!     fn ended(&self, life: &Life) {
//!         println!("client {} {}: {} bytes", life.client, life.ended, life.bytes_out);
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use std::io::{Read, Write};
//! # let folder = tempfile::tempdir()?;
//! # std::fs::write(folder.path().join("movie.mp4"), "moving pictures")?;
//! # let path = folder.path().join("movie.mp4");
//! let limits = Limits { clients: 50, ..Limits::default() };
//! let guest = Arc::new(Guest::built_in(&limits)?);
//! let server = Server::new(guest, Sources::at(&path)?, limits)
//!     .journal(Arc::new(Ends))
//!     .start(vec![listen::tcp("127.0.0.1:0".parse()?)?])?;
//! println!("http://{}/movie.mp4", server.addresses()[0]);
//! # let mut client = std::net::TcpStream::connect(server.addresses()[0])?;
//! # client.write_all(b"GET /movie.mp4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
//! # let mut reply = String::new();
//! # client.read_to_string(&mut reply)?;
//! # assert!(reply.ends_with("\r\n\r\nmoving pictures"), "{reply}");
//!
//! let summary = server.stop(Duration::from_secs(10));
//! assert_eq!(summary.guest_failures, 0);
//! # assert_eq!(summary.clients, 1);
//! # Ok(())
//! # }
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!("multiclient uses epoll, sendfile and openat2: it builds for Linux only");

mod contract;
mod ended;
pub mod journal;
mod limits;
mod quantity;
mod record;
mod sandbox;
mod serve;
mod settings;
mod socket;
mod sources;
mod sync;

// For `benches/`, and no promise to anybody.
#[doc(hidden)]
pub use sandbox::bench;
#[cfg(feature = "isolation-testing")]
#[doc(hidden)]
pub mod isolation_testing {
    //! How the trial of isolation switches isolation off for its controls.

    /// Bytes of a slot that stay mapped when its client is gone.
    pub const KEPT_RESIDENT: usize = crate::sandbox::guest::KEPT_RESIDENT;
    pub use crate::sandbox::instance::{SharedInstance, Sharing};
}

pub use contract::{Entry, Refusal};
pub use ended::{Breach, Closed, Ended, Limit, Rejection, Timeout};
pub use journal::{Exchange, Journal};
pub use limits::Limits;
pub use record::capsule::{Capsule, CapsuleError};
pub use record::keeper::Capsules;
pub use record::replay::Replay;
pub use sandbox::guest::Guest;
pub use sandbox::imports::{Grant, GuestError, Import, Verdict};
pub use sandbox::inspect::Inspection;
pub use serve::admission::Summary;
pub use serve::listen;
pub use serve::server::{Running, Server};
pub use serve::shared::OtherLimits;
pub use settings::Settings;
pub use sources::{Content, Join, Live, LiveStream, Named, Publisher, SourceError, Sources};
