//! The index of a live source, as its reader uses it.

use std::sync::Arc;

use crate::contract::Marks;

/// Makes an index for each life of a source: where viewers may join is found out in a sandbox, because media
/// is untrusted and the host knows no formats.
pub(crate) type MakeIndex = Arc<dyn Fn() -> Result<Box<dyn Indexes>, String> + Send + Sync>;

/// The index of one life of a source.
pub(crate) trait Indexes: Send {
    /// What follows from the next bytes, or why the index is of no more use.
    fn advance(&mut self, bytes: &[u8]) -> Result<Marks, String>;

    /// What follows from the end.
    fn finish(&mut self) -> Result<Marks, String>;
}
