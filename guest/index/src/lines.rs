//! Lines of text in UTF-8.
//!
//! There is no header. A viewer begins with a line.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::format::{Format, Next, Parser, Probe, Step, Unit};
use crate::mark::Header;
use crate::out::Out;
use crate::search::find_byte;

pub(crate) static FORMAT: Format = Format { probe, parser: |_| Box::new(Lines::default()), signature: None };

/// Formats that begin with a line of text and go on with something else: raw video (YUV4MPEG2), portable
/// any-maps, speech (RFC 4867), Radiance pictures.
const OTHERS: [&[u8]; 7] = [b"YUV4MPEG2 ", b"P4", b"P5", b"P6", b"P7", b"#!AMR", b"#?RADIANCE"];

/// A first line of nothing but text.
fn probe(bytes: &[u8]) -> Probe {
    let end = find_byte(b'\n', bytes);
    let line = end.and_then(|end| bytes.get(..end)).unwrap_or(bytes);
    let is_text = match str::from_utf8(line) {
        Ok(text) => text.chars().all(is_printed),
        // The rest of a character may come.
        Err(error) if error.error_len().is_none() && end.is_none() => true,
        Err(_) => false,
    };
    if !is_text || OTHERS.iter().any(|other| line.starts_with(other)) {
        return Probe::No;
    }
    if end.is_some() { Probe::Yes } else { Probe::Pending }
}

/// Control characters that text for terminals has: tab, return, and those of colours and overprinting.
fn is_printed(character: char) -> bool {
    !character.is_control() || matches!(character, '\t' | '\r' | '\x1B' | '\x08' | '\x0C')
}

#[derive(Debug, Default)]
struct Lines {
    has_begun: bool,
}

impl Parser for Lines {
    fn first(&self) -> Next {
        Next::Read { skip: 0, count: 0 }
    }

    fn step(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        if !self.has_begun {
            self.has_begun = true;
            let media_type = "text/plain; charset=utf-8".into();
            out.header(unit.at, Header { bytes: Vec::new(), format: "lines", media_type });
        }
        // The unit is the end of the line before, or nothing.
        let used = unit.bytes.len();
        out.join(unit.at.saturating_add(used as u64));
        Step { used, next: Next::Find { byte: b'\n', count: 1 } }
    }
}
