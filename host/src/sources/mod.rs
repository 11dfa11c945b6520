//! What is published, by name. No path leaves this folder.

mod beneath;
mod cache;
mod content;
mod error;
mod fifo;
mod folder;
mod growing;
mod live;
mod published;
mod publisher;
mod root;
mod syntax;

pub use content::Content;
pub(crate) use content::{Kind, Lost, Source};
pub use error::SourceError;
pub use live::{Join, Live};
pub use published::Sources;
pub(crate) use published::{Resolved, View};
pub use publisher::{Named, Publisher};
