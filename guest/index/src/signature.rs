//! Finding the beginning of another stream in the middle of one.
//!
//! A producer may be cut off anywhere and the next begin: in the middle of a box, a block or a frame whose
//! length was announced. So all bytes are searched, also those that nobody parses. A signature is long
//! enough never to be met by chance: the weakest here has 56 bits, which is once in two centuries at
//! 10 MB/s.

use crate::search::find_all;

/// No signature is longer.
const LONGEST: usize = 16;

type Window = [u8; LONGEST];

/// A signature that was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Where it begins.
    pub(crate) at: u64,
    /// Its bytes, then zeros.
    pub(crate) window: Window,
}

/// How streams of a format begin.
#[derive(Debug)]
pub(crate) struct Signature {
    /// Bytes that are always there.
    pub(crate) anchor: &'static [u8],
    /// How many bytes of the signature come before the anchor.
    pub(crate) before: usize,
    /// How many bytes the signature has; at most 16.
    pub(crate) length: usize,
    /// Whether so many bytes, with the anchor in its place, are the beginning of a stream.
    pub(crate) check: fn(&[u8]) -> bool,
}

impl Signature {
    fn is(&self, window: &[u8]) -> bool {
        window.get(self.before..).is_some_and(|from| from.starts_with(self.anchor)) && (self.check)(window)
    }
}

/// Searches a source for a signature.
#[derive(Debug)]
pub(crate) struct Scanner {
    signature: &'static Signature,
    /// The last bytes searched: too few for the signature.
    tail: Window,
    tail_length: usize,
    /// The offset up to which all is searched.
    searched: u64,
}

impl Scanner {
    /// Searches from offset `from` on.
    pub(crate) fn new(signature: &'static Signature, from: u64) -> Self {
        Self { signature, tail: [0; LONGEST], tail_length: 0, searched: from }
    }

    /// The first signature that ends within `bytes`, which begin at offset `at`. Bytes that were searched
    /// before are passed over; there must be no gap.
    pub(crate) fn search(&mut self, at: u64, bytes: &[u8]) -> Option<Found> {
        let searched = usize::try_from(self.searched.saturating_sub(at)).unwrap_or(usize::MAX);
        let bytes = bytes.get(searched..).unwrap_or_default();
        let found = match self.in_tail(bytes) {
            Some((back, window)) => Some(Found { at: self.searched - back as u64, window }),
            None => self.within(bytes).map(|(on, window)| Found { at: self.searched + on as u64, window }),
        };
        match &found {
            None => self.remember(bytes),
            Some(found) => {
                self.searched = found.at + self.signature.length as u64;
                self.tail_length = 0;
            }
        }
        found
    }

    /// The signature that begins in the tail and ends in these bytes, and how far back it begins.
    fn in_tail(&self, bytes: &[u8]) -> Option<(usize, Window)> {
        let mut joint = [0; 2 * LONGEST];
        let head = bytes.get(..LONGEST).unwrap_or(bytes);
        let both = self.tail.iter().take(self.tail_length).chain(head);
        joint.iter_mut().zip(both).for_each(|(to, from)| *to = *from);
        let joint = joint.get(..self.tail_length + head.len())?;
        let mut begins = 0..self.tail_length;
        begins.find_map(|begin| Some((self.tail_length - begin, self.at(joint, begin)?)))
    }

    /// The signature in these bytes, and how far on it begins.
    fn within(&self, bytes: &[u8]) -> Option<(usize, Window)> {
        let mut begins =
            find_all(self.signature.anchor, bytes).filter_map(|anchor| anchor.checked_sub(self.signature.before));
        begins.find_map(|begin| Some((begin, self.at(bytes, begin)?)))
    }

    /// The signature that begins just here.
    fn at(&self, bytes: &[u8], begin: usize) -> Option<Window> {
        let mut window = [0; LONGEST];
        let found = bytes.get(begin..)?.get(..self.signature.length).filter(|window| self.signature.is(window))?;
        window.get_mut(..found.len())?.copy_from_slice(found);
        Some(window)
    }

    fn remember(&mut self, bytes: &[u8]) {
        self.searched = self.searched.saturating_add(bytes.len() as u64);
        let wanted = self.signature.length.saturating_sub(1);
        let fresh = bytes.get(bytes.len().saturating_sub(wanted)..).unwrap_or_default();
        let stale = self.tail_length.min(wanted - fresh.len());
        self.tail.copy_within(self.tail_length - stale..self.tail_length, 0);
        if let Some(room) = self.tail.get_mut(stale..stale + fresh.len()) {
            room.copy_from_slice(fresh);
        }
        self.tail_length = stale + fresh.len();
    }
}
