//! In which order a folder is listed that fits one portion.
//!
//! Rule: folders come first in every order, and the name decides between equals.

use core::cmp::Ordering;

use crate::contract::Entry;
use crate::request::target::parameter;

/// What entries are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Name,
    Size,
    Time,
}

/// An order that a client can ask for: `?sort=name|size|time&order=asc|desc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) key: Key,
    pub(crate) descending: bool,
}

impl Order {
    /// By name, as people expect it who have not asked for anything.
    pub(crate) const USUAL: Self = Self { key: Key::Name, descending: false };

    /// The order that a target asks for. None: it asks for none that there is.
    pub(crate) fn asked(target: &[u8]) -> Option<Self> {
        let key = match parameter(target, b"sort")? {
            b"name" => Key::Name,
            b"size" => Key::Size,
            b"time" => Key::Time,
            _ => return None,
        };
        Some(Self { key, descending: parameter(target, b"order") == Some(b"desc") })
    }

    /// Sorts entries.
    pub(crate) fn sort(self, entries: &mut [Entry]) {
        entries.sort_unstable_by(|a, b| b.folder.cmp(&a.folder).then_with(|| self.compare(a, b)));
    }

    fn compare(self, a: &Entry, b: &Entry) -> Ordering {
        let by_key = match self.key {
            Key::Name => a.name.cmp(&b.name),
            Key::Size => a.size.cmp(&b.size),
            Key::Time => a.modified.cmp(&b.modified),
        };
        let directed = if self.descending { by_key.reverse() } else { by_key };
        directed.then_with(|| a.name.cmp(&b.name))
    }
}
