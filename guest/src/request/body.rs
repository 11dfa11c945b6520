//! Request bodies: nobody here has a use for one, but the next request begins where it ends.
//!
//! Rule: where a body ends is decided by RFC 9112 section 6 and by nothing else. Whatever could be read
//! in two ways is refused.

use alloc::vec::Vec;

use crate::request::field::FieldName;
use crate::request::header_section::Request;
use crate::request::line::Version;
use crate::request::malformed::Malformed;
use crate::text::{decimal, hex_value, list, trim};

/// The longest body that is read for the sake of the next request. A longer one costs more than a new
/// connection.
const BODY_LIMIT: u64 = 64 * 1024;
/// The most bytes that chunk sizes, extensions and trailers of one body may have together: without this,
/// a body of a few bytes could go on for ever.
const OVERHEAD_LIMIT: u64 = 16 * 1024;

/// What is still to come of a body.
#[derive(Debug)]
pub(crate) enum Framing {
    /// So many bytes.
    Counted(u64),
    /// Chunks, until an empty one.
    Chunked(Chunks),
}

impl Framing {
    /// How the body of a request is framed. None: there is no body.
    pub(crate) fn of(request: &Request) -> Result<Option<Self>, Malformed> {
        let length = content_length(request)?;
        let codings = request.fields(FieldName::TransferEncoding);
        if codings.count() == 0 {
            return match length {
                Some(0) | None => Ok(None),
                Some(length) => Ok(Some(Self::Counted(length))),
            };
        }
        if request.version == Version::Http10 {
            return Err(Malformed::TransferEncodingInOldVersion);
        }
        if length.is_some() {
            return Err(Malformed::LengthWithTransferEncoding);
        }
        check_codings(request)?;
        Ok(Some(Self::Chunked(Chunks::default())))
    }

    /// Refuses a body that says itself that it is too long.
    pub(crate) fn check_size(&self) -> Result<(), Malformed> {
        match self {
            Self::Counted(length) if *length > BODY_LIMIT => Err(Malformed::BodyTooLarge),
            _ => Ok(()),
        }
    }

    /// Takes what belongs to the body from the front of `bytes`. Whether the body has ended.
    pub(crate) fn discard(&mut self, bytes: &mut Vec<u8>) -> Result<bool, Malformed> {
        let (taken, ended) = match self {
            Self::Counted(left) => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                (taken, *left == 0)
            }
            Self::Chunked(chunks) => {
                let taken = chunks.read(bytes)?;
                (taken, matches!(chunks.next, Expected::Nothing))
            }
        };
        if taken == bytes.len() {
            // An idle session holds no buffers: this gives up the capacity too.
            *bytes = Vec::new();
        } else {
            bytes.drain(..taken);
        }
        Ok(ended)
    }
}

fn content_length(request: &Request) -> Result<Option<u64>, Malformed> {
    let mut lengths = request.fields(FieldName::ContentLength).flat_map(|v| v.split(|b| *b == b','));
    let mut parsed = None;
    let mut repeated = false;
    for length in &mut lengths {
        let length = decimal(trim(length)).ok_or(Malformed::ContentLengthInvalid)?;
        if parsed.is_some_and(|before| before != length) {
            return Err(Malformed::ContentLengthsDiffer);
        }
        repeated |= parsed.is_some();
        parsed = Some(length);
    }
    if repeated { Err(Malformed::ContentLengthRepeated) } else { Ok(parsed) }
}

/// Chunked is the only coding there is, and is applied once.
fn check_codings(request: &Request) -> Result<(), Malformed> {
    let mut chunked = 0;
    for coding in request.fields(FieldName::TransferEncoding).flat_map(list) {
        if !coding.eq_ignore_ascii_case(b"chunked") {
            return Err(Malformed::TransferEncodingUnknown);
        }
        chunked += 1;
    }
    if chunked == 1 { Ok(()) } else { Err(Malformed::TransferEncodingInvalid) }
}

/// A chunked body that is being read and forgotten.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    next: Expected,
    /// Bytes of data so far, those announced for the current chunk among them.
    data: u64,
    /// Bytes of everything else so far.
    overhead: u64,
}

/// What the next byte of a chunked body belongs to.
#[derive(Clone, Copy, Debug, Default)]
enum Expected {
    /// The first digit of a size.
    #[default]
    FirstDigit,
    /// Further digits, or what ends them.
    Size(u64),
    /// An extension, up to the end of the line; then so many bytes.
    Extension(u64),
    /// The LF behind a size.
    SizeLf(u64),
    /// So many bytes of data.
    Data(u64),
    DataCr,
    DataLf,
    /// The first byte of a trailer line, or the CR of the empty line that ends it all.
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
    /// What comes now is not of this body.
    Nothing,
}

impl Chunks {
    /// How many of `bytes` belong to the body.
    fn read(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() {
            match self.next {
                Expected::Nothing => break,
                Expected::Data(left) => {
                    let taken = (bytes.len() - at).min(left as usize);
                    at += taken;
                    self.next = match left - taken as u64 {
                        0 => Expected::DataCr,
                        left => Expected::Data(left),
                    };
                }
                _ => {
                    self.next = self.after(bytes[at])?;
                    at += 1;
                    self.overhead += 1;
                    if self.overhead > OVERHEAD_LIMIT {
                        return Err(Malformed::BodyTooLarge);
                    }
                }
            }
        }
        Ok(at)
    }

    /// What comes after `byte`, which is not data.
    fn after(&mut self, byte: u8) -> Result<Expected, Malformed> {
        Ok(match (self.next, byte) {
            (Expected::FirstDigit, _) => Expected::Size(digit(byte)?),
            (Expected::Size(size), b'\r') => Expected::SizeLf(size),
            (Expected::Size(size), b';') => Expected::Extension(size),
            (Expected::Size(size), _) if size > BODY_LIMIT => return Err(Malformed::BodyTooLarge),
            (Expected::Size(size), _) => Expected::Size(size * 16 + digit(byte)?),
            (Expected::Extension(size), b'\r') => Expected::SizeLf(size),
            (Expected::Extension(size), b'\t' | b' '..=b'~' | 0x80..) => Expected::Extension(size),
            (Expected::SizeLf(0), b'\n') => Expected::TrailerStart,
            (Expected::SizeLf(size), b'\n') => {
                self.data += size;
                if self.data > BODY_LIMIT {
                    return Err(Malformed::BodyTooLarge);
                }
                Expected::Data(size)
            }
            (Expected::DataCr, b'\r') => Expected::DataLf,
            (Expected::DataLf, b'\n') => Expected::FirstDigit,
            (Expected::TrailerStart, b'\r') => Expected::LastLf,
            (Expected::TrailerStart, b'\t' | b' ' | b':') => return Err(Malformed::ChunkInvalid),
            (Expected::Trailer, b'\r') => Expected::TrailerLf,
            (Expected::TrailerStart | Expected::Trailer, b'\t' | b' '..=b'~' | 0x80..) => Expected::Trailer,
            (Expected::TrailerLf, b'\n') => Expected::TrailerStart,
            (Expected::LastLf, b'\n') => Expected::Nothing,
            _ => return Err(Malformed::ChunkInvalid),
        })
    }
}

fn digit(byte: u8) -> Result<u64, Malformed> {
    hex_value(byte).map(u64::from).ok_or(Malformed::ChunkInvalid)
}
