//! What is published, by name. No path leaves this folder.

mod ahead;
mod beneath;
mod cache;
mod content;
mod error;
mod files;
mod folder;
mod follow;
mod growing;
mod listings;
mod live;
mod medium;
mod pool;
mod published;
mod publisher;
mod root;
mod syntax;
mod view;

pub use content::Content;
pub(crate) use content::{Lost, Passing, Reading};
pub use error::SourceError;
pub(crate) use files::Resolved;
pub(crate) use follow::{Edge, Source};
pub(crate) use live::{Indexes, MakeIndex};
pub use live::{Join, Live};
pub(crate) use pool::Owner;
pub use published::Sources;
pub use publisher::{LiveStream, Named, Publisher};
pub(crate) use view::{Asked, Looked, View};
