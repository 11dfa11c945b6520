//! Text from outside, so that it can forge nothing in a log.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use crate::limits::REPORT_BYTES;

/// Writes what came from outside so that it can neither end the line nor move the cursor.
pub(super) fn write_printable(out: &mut String, text: &str) -> fmt::Result {
    let kept = bounded(text);
    for character in kept.chars() {
        match character {
            '\\' => out.write_str("\\\\")?,
            // Also characters that turn the direction of writing.
            _ if character.is_control() || matches!(character, '\u{200e}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                write!(out, "{}", character.escape_default())?;
            }
            _ => out.write_char(character)?,
        }
    }
    if kept.len() < text.len() { out.write_str("...") } else { Ok(()) }
}

/// The same between double quotes.
pub(super) fn write_quoted(out: &mut String, text: &str) -> fmt::Result {
    let mut parts = text.split('"');
    write_printable(out, parts.next().unwrap_or_default())?;
    parts.try_for_each(|part| {
        out.write_str("\\\"")?;
        write_printable(out, part)
    })
}

/// As much of a text from outside as is worth keeping.
pub(super) fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(REPORT_BYTES)]
}

/// The address that a client came from, as it stands in a line.
pub(super) struct Peer(pub(super) Option<SocketAddr>);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(peer) => peer.ip().to_canonical().fmt(f),
            None => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_cannot_forge_a_line() {
        let mut line = String::new();
        write_printable(&mut line, "GET /a\r\n#1 forged \x1b[31m\u{202e} \\n").expect("a string takes everything");
        assert_eq!(line, "GET /a\\r\\n#1 forged \\u{1b}[31m\\u{202e} \\\\n");
    }

    #[test]
    fn what_a_client_says_is_bounded() {
        let mut line = String::new();
        write_printable(&mut line, &"ü".repeat(REPORT_BYTES)).expect("a string takes everything");
        assert!(line.len() <= REPORT_BYTES + 3 && line.ends_with("..."));
    }
}
