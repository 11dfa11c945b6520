//! Lines in the combined log format of Apache and nginx.

use std::fmt::{self, Write as _};

use super::escape::{Peer, bounded};
use super::events::Exchange;

/// A line for an exchange. Its size is that of header section and body together.
pub(super) fn exchange(line: &mut String, exchange: &Exchange<'_>) -> fmt::Result {
    let now = jiff::Timestamp::now().strftime("%d/%b/%Y:%H:%M:%S +0000");
    write!(line, "{} - - [{now}] \"", Peer(exchange.peer))?;
    write_combined(line, exchange.request)?;
    write!(line, "\" {} {} \"", exchange.status, exchange.bytes_out)?;
    write_combined(line, if exchange.referrer.is_empty() { "-" } else { exchange.referrer })?;
    line.write_str("\" \"")?;
    write_combined(line, if exchange.agent.is_empty() { "-" } else { exchange.agent })?;
    line.write_str("\"\n")
}

/// Writes what came from outside as nginx does: quotes, backslashes and what cannot be seen as `\xNN`. What a guest has
/// written that way already stays as it is.
fn write_combined(out: &mut String, text: &str) -> fmt::Result {
    let kept = bounded(text);
    for (at, character) in kept.char_indices() {
        let is_escape = || {
            let digits = kept.as_bytes().get(at + 2..at + 4);
            kept[at..].starts_with("\\x") && digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        };
        match character {
            '\\' if is_escape() => out.write_char(character)?,
            '"' | '\\' => write!(out, "\\x{:02X}", u32::from(character))?,
            ' '..='~' => out.write_char(character)?,
            _ => character.encode_utf8(&mut [0; 4]).bytes().try_for_each(|byte| write!(out, "\\x{byte:02X}"))?,
        }
    }
    if kept.len() < text.len() { out.write_str("...") } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_combined_line_has_bytes_escaped_once_and_quotes_never_bare() {
        let mut line = String::new();
        write_combined(&mut line, "GET /\\xff\"\\\" \u{1b}ü\\x HTTP/1.1").expect("a string takes everything");
        assert_eq!(line, "GET /\\xff\\x22\\x5C\\x22 \\x1B\\xC3\\xBC\\x5Cx HTTP/1.1");
    }
}
