//! Finding bytes, eight at a time. Every byte of a source is searched, most of them more than once; a loop
//! over single bytes takes five times as long.

/// Where `byte` is first.
pub(crate) fn find_byte(byte: u8, bytes: &[u8]) -> Option<usize> {
    let wanted = ONES * u64::from(byte);
    let (blocks, rest) = bytes.as_chunks::<{ 4 * WORD }>();
    for (number, block) in blocks.iter().enumerate() {
        let (words, _) = block.as_chunks::<WORD>();
        let matches = words.iter().fold(0, |matches, word| matches | zeros(u64::from_le_bytes(*word) ^ wanted));
        if matches != 0 {
            return block.iter().position(|found| *found == byte).map(|at| number * block.len() + at);
        }
    }
    rest.iter().position(|found| *found == byte).map(|at| bytes.len() - rest.len() + at)
}

/// Where `needle`, which is not empty, begins in `bytes`: every place.
pub(crate) fn find_all(needle: &[u8], bytes: &[u8]) -> impl Iterator<Item = usize> {
    let first = needle.first().copied().unwrap_or_default();
    let mut from = 0;
    core::iter::from_fn(move || {
        loop {
            let at = from + find_byte(first, bytes.get(from..)?)?;
            from = at + 1;
            if bytes.get(at..)?.starts_with(needle) {
                return Some(at);
            }
        }
    })
}

const WORD: usize = 8;
const ONES: u64 = 0x0101_0101_0101_0101;

/// Not zero where one of the bytes of a word is.
fn zeros(word: u64) -> u64 {
    const HIGH: u64 = ONES << 7;
    word.wrapping_sub(ONES) & !word & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn a_byte_is_found_wherever_it_is() {
        for length in 0..100 {
            for byte in [0, 1, 0x7F, 0x80, 0xFF] {
                let other = byte ^ 0x81;
                assert_eq!(find_byte(byte, &vec![other; length]), None);
                for at in 0..length {
                    let bytes: Vec<u8> = (0..length).map(|place| if place < at { other } else { byte }).collect();
                    assert_eq!(find_byte(byte, &bytes), Some(at), "{byte} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn a_needle_is_found_wherever_it_begins() {
        let found: Vec<usize> = find_all(b"abab", b"abababxab abab").collect();
        assert_eq!(found, [0, 2, 10]);
        assert_eq!(find_all(b"ab", b"a").count(), 0);
    }
}
