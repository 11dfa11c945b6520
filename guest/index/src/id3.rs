//! ID3v2 tags (ID3v2.4.0, section 3), which come before and between streams of audio and say nothing of
//! their format.

use crate::bytes::Reader;

/// The length of a tag's header, and of its footer.
pub(crate) const HEADER: u64 = 10;

/// The length of a tag at the beginning, header and footer included.
pub(crate) fn length(bytes: &[u8]) -> Option<u64> {
    let mut tag = Reader(bytes.strip_prefix(b"ID3")?);
    let [_, _, flags, sizes @ ..] = tag.array::<7>()?;
    let has_footer = flags & 0x10 != 0;
    let size = sizes.iter().fold(0, |size, byte| size << 7 | u64::from(byte & 0x7F));
    Some(HEADER + size + if has_footer { HEADER } else { 0 })
}
