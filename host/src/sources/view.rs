//! What passes between those who ask for something published and the threads that look for it.

use std::sync::Arc;

use rustix::io::Errno;

use super::medium::Look;
use super::pool::Owner;
use super::root::{Root, RootPath};
use crate::contract::Refusal;

/// What a request sees of what is published: the same folder from its first look to its last, also where
/// another one takes its place meanwhile. Empty before the first look.
#[derive(Clone, Debug, Default)]
pub(crate) struct View(Option<Arc<Root>>);

impl View {
    pub(super) fn root(&mut self, path: &RootPath, look: Look) -> Result<&Arc<Root>, Errno> {
        let root = match self.0.take() {
            Some(root) => root,
            None => path.now(look)?,
        };
        Ok(self.0.insert(root))
    }
}

/// Who asks for something that a disk may have.
pub(crate) struct Asked {
    pub(crate) owner: Owner,
    pub(crate) view: View,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Looked<T> {
    pub(crate) view: View,
    pub(crate) found: Result<T, Refusal>,
}
