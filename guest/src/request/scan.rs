//! Where a header section ends, and what in it cannot be part of one.
//!
//! Rules:
//!
//! - Strict where two readers could disagree on where something ends (RFC 9112 section 11.2): lines end
//!   with CRLF and nothing else does, a field's name touches its colon, nothing is folded. Who sends
//!   otherwise is answered once and gets no second chance on this connection.
//! - What is wrong is judged by its position, never by how the bytes happened to arrive.

use crate::request::line::request_line;
use crate::request::malformed::Malformed;

/// The longest request line, with its CRLF. RFC 9112 section 3 recommends at least 8,000 bytes.
const LINE_LIMIT: usize = 8 * 1024;
/// The longest head, request line and empty line included. As nginx and Apache have it, give or take;
/// what a browser sends is a tenth of it.
pub(crate) const HEADER_SECTION_LIMIT: usize = 16 * 1024;

/// Finds the end of a head, and looks at every byte of it once however it arrives.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// The byte to look at next.
    next: usize,
    /// Where the current line begins.
    line: usize,
    /// Where the request line begins: behind the empty line that is tolerated before it.
    start: usize,
}

impl Scanner {
    /// How long the head is whose first bytes these are. None: it has not ended yet. Fails at the first
    /// byte that cannot be part of a head, and says where that is.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, (Malformed, usize)> {
        loop {
            self.skip_plain(bytes);
            let Some(&byte) = bytes.get(self.next) else { return Ok(None) };
            let length = self.next + 1 - self.start;
            let refused = match (byte, bytes.get(self.next + 1)) {
                // The last byte within a limit can only be the LF that is taken together with its CR.
                _ if self.in_request_line() && length >= LINE_LIMIT => Malformed::LineTooLong,
                _ if length >= HEADER_SECTION_LIMIT => Malformed::HeaderSectionTooLarge,
                (b'\r', None) => return Ok(None),
                (b'\r', Some(b'\n')) => match self.end_line(bytes) {
                    Ok(Line::Last) => return Ok(Some(self.next)),
                    Ok(Line::Other) => continue,
                    Err(malformed) => malformed,
                },
                (b'\r', Some(_)) => Malformed::BareCr,
                (b'\n', _) => Malformed::BareLf,
                (b' ' | b'\t', _) if self.next == self.line && !self.in_request_line() => Malformed::ObsoleteFold,
                (b'\t' | b' '..=b'~' | 0x80.., _) => {
                    self.next += 1;
                    continue;
                }
                _ => Malformed::ControlCharacter,
            };
            return Err((refused, self.next));
        }
    }

    /// Steps over bytes that can stand anywhere in a line, eight at a time, up to the next one that has to
    /// be looked at by itself. Most of a head is such bytes.
    fn skip_plain(&mut self, bytes: &[u8]) {
        let limit = if self.in_request_line() { LINE_LIMIT } else { HEADER_SECTION_LIMIT };
        let end = bytes.len().min(self.start + limit - 1);
        // The first byte of a line may be a fold.
        if self.next == self.line {
            return;
        }
        while let Some(Some(&eight)) = bytes.get(self.next..end).map(<[u8]>::first_chunk::<8>) {
            let special = controls(u64::from_le_bytes(eight));
            if special != 0 {
                // The first byte is the lowest.
                self.next += special.trailing_zeros() as usize / 8;
                return;
            }
            self.next += 8;
        }
    }

    fn in_request_line(&self) -> bool {
        self.line == self.start
    }

    /// Ends a line of `bytes`. The request line is read as soon as it is there: who sends something
    /// else than HTTP would wait for ever for a head to end.
    fn end_line(&mut self, bytes: &[u8]) -> Result<Line, Malformed> {
        let line = &bytes[self.line..self.next];
        let ended = match (line, self.in_request_line()) {
            ([], false) => Line::Last,
            ([], true) if self.start > 0 => return Err(Malformed::LeadingEmptyLines),
            ([], true) => {
                self.start = self.next + 2;
                Line::Other
            }
            (_, true) => {
                request_line(line)?;
                Line::Other
            }
            (_, false) => Line::Other,
        };
        self.next += 2;
        self.line = self.next;
        Ok(ended)
    }

    /// Whether nothing has come yet but the empty line that is tolerated before a request.
    pub(crate) fn is_idle(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.start
    }
}

/// Of eight bytes, marks those that are below a blank or DEL, by their highest bit. What is marked above
/// the lowest mark may be wrong, because the subtractions carry.
fn controls(eight: u64) -> u64 {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    let below_blank = eight.wrapping_sub(EACH * 0x20) & !eight;
    let less_del = eight ^ (EACH * 0x7f);
    let del = less_del.wrapping_sub(EACH) & !less_del;
    (below_blank | del) & (EACH * 0x80)
}

/// What a line that has just ended means for the head.
enum Line {
    /// The empty one behind the fields.
    Last,
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bytes_at_once_find_the_first_control_character_that_one_by_one_finds() {
        let others = *b"a~ \x80\xff!\x21\xa0";
        for place in 0..8 {
            for byte in 0..=u8::MAX {
                for behind in [b'a', 0, 0x1f, 0x7f, 0xff] {
                    let mut eight = others;
                    eight[place] = byte;
                    eight[place + 1..].fill(behind);
                    let first = eight.iter().position(|byte| *byte < b' ' || *byte == 0x7f);
                    let marks = controls(u64::from_le_bytes(eight));
                    let marked = (marks != 0).then(|| marks.trailing_zeros() as usize / 8);
                    assert_eq!(marked, first, "{eight:?}");
                }
            }
        }
    }
}
