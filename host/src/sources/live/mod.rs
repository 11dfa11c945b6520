//! Sources that are read while they are served.

mod fifo;
mod indexed;
mod joins;
mod life;
mod notices;
mod options;
mod reader;
mod source;

pub(crate) use indexed::{Indexes, MakeIndex};
pub use options::{Join, Live};
pub(super) use reader::Input;
pub(super) use source::LiveSource;
