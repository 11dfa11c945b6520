//! TLS with a client, as a state machine beneath the contract: bytes come and go, and nothing here waits.
//!
//! Rule: keys stay in here. A guest sees what a client says as if it had come without TLS.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod certificates;
#[cfg(feature = "tls")]
mod session;
mod taken;

#[cfg(not(feature = "tls"))]
pub(crate) use absent::{Session, Tls};
#[cfg(feature = "tls")]
pub use certificates::{Tls, TlsError};
#[cfg(feature = "tls")]
pub(crate) use session::Session;
pub(crate) use taken::Taken;
