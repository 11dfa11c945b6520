//! Sources that are read while they are served.

mod fifo;
mod life;
mod options;
mod reader;
mod source;

pub use options::{Join, Live};
pub(super) use reader::Input;
pub(super) use source::LiveSource;
