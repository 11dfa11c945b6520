//! Why there is nothing to publish.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why there is nothing to publish.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// There is nothing of that name.
    #[error("{} does not exist", .0.display())]
    Missing(PathBuf),
    /// It has no bytes.
    #[error("{} is neither a file nor a folder nor a FIFO", .0.display())]
    NotAFile(PathBuf),
    /// Only files can be put together, or be served in part.
    #[error("{} is not a file, and only files have parts", .0.display())]
    NoParts(PathBuf),
    /// The name that it should be published under could not be asked for.
    #[error(
        "a source cannot be published as {0:?}: its name must be segments separated by slashes, none of them empty or beginning with a dot"
    )]
    Name(String),
    /// It is one of FFmpeg's protocols that is not supported here.
    #[error("unsupported source `{0}:` (supported: a path, -, file:, pipe:, concat:, subfile, data:)")]
    Protocol(String),
    /// It begins like one of FFmpeg's source syntaxes and does not follow it.
    #[error("cannot parse {said:?}: the syntax of {spelling} is {pattern}")]
    Spelling {
        /// What was said.
        said: String,
        /// What it begins like.
        spelling: &'static str,
        /// The syntax of that.
        pattern: &'static str,
    },
    /// It cannot be read.
    #[error("{} cannot be read: {}", path.display(), error)]
    Unreadable {
        /// What was to be published.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

pub(super) fn unreadable(path: &Path, error: io::Error) -> SourceError {
    match error.kind() {
        io::ErrorKind::NotFound => SourceError::Missing(path.to_owned()),
        _ => SourceError::Unreadable { path: path.to_owned(), error },
    }
}
