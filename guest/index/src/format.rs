//! What a format is to the index: how to tell it, how to read it, and how to tell that it starts over.
//!
//! A parser never sees how the source was cut. It says what it wants (`Next`), and gets exactly that: a
//! unit of a size that it chose, with its offset. So marks are the same for all cuts, by construction.

use alloc::boxed::Box;

use crate::mark::{Limits, Loss};
use crate::out::Out;
use crate::signature::Signature;

/// A format that can be told by its beginning.
pub(crate) struct Format {
    /// Whether this is how the format begins.
    pub(crate) probe: fn(&[u8]) -> Probe,
    /// Reads the format from its first byte.
    pub(crate) parser: fn(Limits) -> Box<dyn Parser>,
    /// How another stream of the format begins, in the middle of everything: for formats in which a second
    /// one does not continue the first.
    pub(crate) signature: Option<&'static Signature>,
}

/// What the first bytes of a source say about a format. More bytes never change a yes or a no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    Yes,
    No,
    /// Too few to tell.
    Pending,
}

impl Probe {
    pub(crate) fn is(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }

    /// Whether the bytes begin with the magic number.
    pub(crate) fn magic(bytes: &[u8], magic: &[u8]) -> Self {
        match bytes.get(..magic.len()) {
            Some(start) => Self::is(start == magic),
            None if magic.starts_with(bytes) => Self::Pending,
            None => Self::No,
        }
    }

    /// This where it is not a yes, otherwise what the next probe says.
    pub(crate) fn and(self, next: impl FnOnce() -> Self) -> Self {
        if self == Self::Yes { next() } else { self }
    }
}

/// Bytes of the stream in a row: as many as were asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit<'a> {
    /// Offset of the first.
    pub(crate) at: u64,
    pub(crate) bytes: &'a [u8],
}

/// Reads one format.
pub(crate) trait Parser: Send {
    /// What it wants first.
    fn first(&self) -> Next;

    /// Judges a unit.
    fn step(&mut self, unit: Unit<'_>, out: &mut Out) -> Step;
}

/// What a parser made of a unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// How many of the unit's bytes are done with. The others come again.
    pub(crate) used: usize,
    pub(crate) next: Next,
}

/// What a parser wants to see next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    /// So many bytes, after so many that it does not care for.
    Read { skip: u64, count: usize },
    /// So many bytes, from the next one of this value on.
    Find { byte: u8, count: usize },
    /// Nothing until the stream starts over: this one is beyond understanding.
    Nothing(Loss),
}

impl Step {
    /// The same unit again, with more bytes: `count` in all.
    pub(crate) fn again(count: usize) -> Self {
        Self { used: 0, next: Next::Read { skip: 0, count } }
    }

    /// The next unit comes right after this one.
    pub(crate) fn read(unit: Unit<'_>, count: usize) -> Self {
        Self::skip(unit, 0, count)
    }

    /// The next unit comes after some bytes that do not matter.
    pub(crate) fn skip(unit: Unit<'_>, skip: u64, count: usize) -> Self {
        Self { used: unit.bytes.len(), next: Next::Read { skip, count } }
    }

    /// The unit is done with, except its last bytes.
    pub(crate) fn used(used: usize, count: usize) -> Self {
        Self { used, next: Next::Read { skip: 0, count } }
    }

    /// The first byte was nothing; the next unit begins with one of this value.
    pub(crate) fn find(byte: u8, count: usize) -> Self {
        Self { used: 1, next: Next::Find { byte, count } }
    }

    pub(crate) fn lost(loss: Loss) -> Self {
        Self { used: 0, next: Next::Nothing(loss) }
    }
}
