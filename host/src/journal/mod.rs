//! What is told of clients and their exchanges: to the operator as lines of text, or to whoever embeds
//! the server.

mod combined;
mod escape;
mod events;
mod json;
mod log;
mod text;

pub use crate::quantity::{Size, Took};
pub use events::{Exchange, Journal, Silent};
pub use log::{Format, Log};
