//! Reading numbers and parts off the front of a slice, where whatever is not there is `None`; and collecting
//! bytes.

use alloc::vec::Vec;

/// What is left of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(drop)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn be16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn be24(&mut self) -> Option<u32> {
        let [a, b, c] = self.array()?;
        Some(u32::from_be_bytes([0, a, b, c]))
    }

    pub(crate) fn be32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn be64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn le16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn le32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }
}

/// Bits, the most significant of a byte first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    next: usize,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, next: 0 }
    }

    pub(crate) fn bit(&mut self) -> Option<u32> {
        let byte = *self.bytes.get(self.next / 8)?;
        let bit = byte >> (7 - self.next % 8) & 1;
        self.next += 1;
        Some(u32::from(bit))
    }

    /// A number of so many bits, at most 32.
    pub(crate) fn number(&mut self, count: usize) -> Option<u32> {
        (0..count).try_fold(0, |number, _| Some(number << 1 | self.bit()?))
    }

    pub(crate) fn skip(&mut self, count: usize) {
        self.next = self.next.saturating_add(count);
    }

    /// An unsigned Exp-Golomb number (ITU-T H.264, section 9.1) below 2^16: none of those read here is
    /// greater.
    pub(crate) fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 15 {
                return None;
            }
        }
        let mut number = 1;
        for _ in 0..zeros {
            number = number << 1 | self.bit()?;
        }
        Some(number - 1)
    }
}

/// Appends to what may become a long header. It grows by an eighth and not, as usual, to twice its size: what
/// is not used of that counts, too.
pub(crate) fn append(to: &mut Vec<u8>, bytes: &[u8]) {
    if to.capacity() - to.len() < bytes.len() {
        to.reserve_exact(bytes.len().max(to.len() / 8));
    }
    to.extend_from_slice(bytes);
}

/// A count of bytes as it is in memory. What does not fit is beyond every limit anyway.
pub(crate) fn size(count: impl TryInto<usize>) -> usize {
    count.try_into().unwrap_or(usize::MAX)
}
