//! The unread part of the source: what was kept of earlier calls, and the bytes of this one, as one.

use alloc::vec::Vec;

/// A buffer larger than this is given back when it is empty: headers are rare, and most units small.
const KEPT_CAPACITY: usize = 128 << 10;

/// The unread bytes during a call.
#[derive(Debug)]
pub(crate) struct View<'a> {
    /// What was kept, then, as far as a unit reaches, a copy of what follows it in `new`.
    old: Vec<u8>,
    /// How many bytes of `old` were kept.
    kept: usize,
    new: &'a [u8],
    /// How many of all bytes have been read.
    read: usize,
    /// How long the unit is for which there were too few.
    wanted: usize,
}

impl<'a> View<'a> {
    pub(crate) fn new(old: Vec<u8>, new: &'a [u8]) -> Self {
        Self { kept: old.len(), old, new, read: 0, wanted: 0 }
    }

    /// The next `count` bytes in one piece, if there are so many.
    pub(crate) fn unit(&mut self, count: usize) -> Option<&[u8]> {
        self.wanted = count;
        if let Some(at) = self.read.checked_sub(self.kept) {
            return self.new.get(at..)?.get(..count);
        }
        let end = self.read.checked_add(count)?;
        if end > self.old.len() {
            let copied = self.old.len() - self.kept;
            let copied = self.new.get(copied..end - self.kept)?;
            self.old.reserve_exact(copied.len());
            self.old.extend_from_slice(copied);
        }
        self.old.get(self.read..end)
    }

    /// Unread bytes in one piece; empty only when there are none.
    pub(crate) fn piece(&self) -> &[u8] {
        self.pieces()[0]
    }

    /// All unread bytes.
    pub(crate) fn pieces(&self) -> [&[u8]; 2] {
        match self.old.get(self.read..self.kept) {
            Some(old) if !old.is_empty() => [old, self.new],
            _ => [self.new.get(self.read - self.kept..).unwrap_or_default(), &[]],
        }
    }

    pub(crate) fn advance(&mut self, count: usize) {
        self.read = self.read.saturating_add(count).min(self.kept + self.new.len());
    }

    /// Puts bytes that were read before in front of the unread ones again.
    pub(crate) fn rewind(&mut self, bytes: &[u8]) {
        let mut old = bytes.to_vec();
        match self.read.checked_sub(self.kept) {
            Some(at) => self.new = self.new.get(at..).unwrap_or_default(),
            None => old.extend_from_slice(self.old.get(self.read..self.kept).unwrap_or_default()),
        }
        *self = Self::new(old, self.new);
    }

    /// What is still unread, to be kept for the next call.
    pub(crate) fn into_rest(mut self) -> Vec<u8> {
        self.old.truncate(self.kept);
        let unread = match self.read.checked_sub(self.kept) {
            Some(at) => {
                self.old.clear();
                self.new.get(at..).unwrap_or_default()
            }
            None => {
                self.old.drain(..self.read);
                self.new
            }
        };
        if unread.is_empty() && self.old.is_empty() && self.old.capacity() > KEPT_CAPACITY {
            return Vec::new();
        }
        let length = self.old.len() + unread.len();
        if length > self.old.capacity() {
            // All that the unit will have, at once: growing step by step would leave gaps of half the size,
            // and a memory of WebAssembly never shrinks.
            self.old.reserve_exact(self.wanted.max(length) - self.old.len());
        }
        self.old.extend_from_slice(unread);
        self.old
    }
}
