//! The words of `wit/index/index.wit` in plain Rust. What they promise is said there.

use alloc::borrow::Cow;
use alloc::vec::Vec;

/// The bounds within which an index works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest header, in bytes; see the contract.
    pub max_header: u32,
}

impl Limits {
    /// Below this, no header of the formats known here would fit.
    const LEAST: u32 = 4_096;

    pub(crate) fn max_header(self) -> usize {
        usize::try_from(self.max_header.max(Self::LEAST)).unwrap_or(usize::MAX)
    }
}

impl Default for Limits {
    /// Covers in Ogg and FLAC are seldom larger than 2 MiB.
    fn default() -> Self {
        Self { max_header: 4 << 20 }
    }
}

/// What every viewer needs before it can begin at a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What goes in front of the bytes of the source; may be empty.
    pub bytes: Vec<u8>,
    /// The name of the format, for people and logs.
    pub format: &'static str,
    /// The media type of the composed stream.
    pub media_type: Cow<'static, str>,
}

/// A place to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Offset of the first byte of the source that the viewer gets.
    pub offset: u64,
    /// What goes between the header and that byte; mostly empty.
    pub preface: Vec<u8>,
}

/// Bytes that replace as many bytes of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Offset of the first byte to replace.
    pub offset: u64,
    /// What replaces it and those after it; never empty.
    pub bytes: Vec<u8>,
}

/// Why there are no joins from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// None of the formats known here.
    Unrecognized,
    /// A header is too long.
    Oversized,
    /// Known, in a form that nobody can join late.
    Unjoinable,
    /// The bytes do not follow the format.
    Malformed,
}

/// Something that the index knows now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The header of all joins from here on.
    Header(Header),
    /// A viewer may begin here, after the newest header.
    Join(Join),
    /// What comes from here on does not continue the stream of the newest header.
    End(u64),
    /// These bytes change before anybody reads them.
    Patch(Patch),
    /// There are no joins until the next header.
    Lost(Loss),
}

/// What came of a piece of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// In the order in which they take effect.
    pub marks: Vec<Mark>,
    /// Viewers may read up to this offset.
    pub settled: u64,
}
