//! Pictures in a row as `multipart/x-mixed-replace` (RFC 2046, section 5.1), as web cameras and `ffmpeg -f
//! mpjpeg` send them.
//!
//! There is no header. A viewer begins with the delimiter before a part.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::format::{Format, Next, Parser, Probe, Step, Unit};
use crate::mark::Header;
use crate::out::Out;
use crate::search::find_byte;

/// Another producer's parts replace those before, as long as it has the same boundary.
pub(crate) static FORMAT: Format = Format { probe, parser: |_| Box::new(Multipart::default()), signature: None };

/// Two dashes, at most 70 characters (RFC 2046, section 5.1.1), and a line end.
const LONGEST_DELIMITER: usize = 74;

/// No line of a part's header is longer.
const LONGEST_LINE: usize = 1_024;

/// A delimiter, and a header that says that a picture follows.
fn probe(bytes: &[u8]) -> Probe {
    if Probe::magic(bytes, b"--") != Probe::Yes {
        return Probe::magic(bytes, b"--");
    }
    let (delimiter, mut rest) = match bounded_line(bytes, LONGEST_DELIMITER) {
        Ok(split) => split,
        Err(probe) => return probe,
    };
    if boundary(delimiter).is_none() {
        return Probe::No;
    }
    loop {
        let (line, more) = match bounded_line(rest, LONGEST_LINE) {
            Ok(split) => split,
            Err(probe) => return probe,
        };
        match value_of(line, "content-type") {
            Some(value) => return Probe::is(value.starts_with("image/")),
            None if line.is_empty() => return Probe::No,
            None => rest = more,
        }
    }
}

/// The first line, if it ends within so many bytes, and what follows it.
fn bounded_line(bytes: &[u8], longest: usize) -> Result<(&[u8], &[u8]), Probe> {
    let within = bytes.get(..longest);
    match find_byte(b'\n', within.unwrap_or(bytes)).and_then(|end| bytes.split_at_checked(end + 1)) {
        Some((line, rest)) => Ok((whole_line(line).unwrap_or_default(), rest)),
        None if within.is_some() => Err(Probe::No),
        None => Err(Probe::Pending),
    }
}

#[derive(Debug, Default)]
struct Multipart {
    /// The delimiter without its line end; empty until it is known.
    delimiter: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Reads the first delimiter.
    #[default]
    First,
    /// Reads the header of a part, which has said how long its body is, or not.
    Header(Option<u64>),
    /// Looks for the next delimiter.
    Body,
}

impl Parser for Multipart {
    fn first(&self) -> Next {
        Next::Read { skip: 0, count: 1 }
    }

    fn step(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        match self.state {
            State::First => self.first_delimiter(unit, out),
            State::Header(length) => self.header_line(unit, length),
            State::Body => self.delimiter(unit, out),
        }
    }
}

impl Multipart {
    fn first_delimiter(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        let Some(line) = whole_line(unit.bytes) else { return Step::again(unit.bytes.len() + 1) };
        self.delimiter = line.to_vec();
        let media_type = media_type(boundary(line).unwrap_or_default());
        out.header(unit.at, Header { bytes: Vec::new(), format: "multipart", media_type });
        self.part(unit, out)
    }

    /// A delimiter: a part begins.
    fn part(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        self.state = State::Header(None);
        out.join(unit.at);
        Step::read(unit, 1)
    }

    fn header_line(&mut self, unit: Unit<'_>, length: Option<u64>) -> Step {
        match whole_line(unit.bytes) {
            None if unit.bytes.len() < LONGEST_LINE => Step::again(unit.bytes.len() + 1),
            None => self.body(unit, None),
            Some([]) => self.body(unit, length),
            Some(line) => {
                let said = value_of(line, "content-length").and_then(|value| value.parse().ok());
                self.state = State::Header(said.or(length));
                Step::read(unit, 1)
            }
        }
    }

    /// The header of a part is over.
    fn body(&mut self, unit: Unit<'_>, length: Option<u64>) -> Step {
        self.state = State::Body;
        Step::skip(unit, length.unwrap_or_default(), 1)
    }

    /// What may be the next delimiter.
    fn delimiter(&mut self, unit: Unit<'_>, out: &mut Out) -> Step {
        let wanted = self.delimiter.len() + 2;
        let so_far = unit.bytes.get(..self.delimiter.len()).unwrap_or(unit.bytes);
        if !self.delimiter.starts_with(so_far) {
            return Step::find(b'-', 1);
        }
        match whole_line(unit.bytes) {
            Some(line) if line == self.delimiter => self.part(unit, out),
            None if unit.bytes.len() < wanted => Step::again(unit.bytes.len() + 1),
            _ => Step::find(b'-', 1),
        }
    }
}

/// A line without its end, if that is the last byte: a unit grows byte by byte.
fn whole_line(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// The boundary in a delimiter line.
fn boundary(line: &[u8]) -> Option<&str> {
    let boundary = str::from_utf8(line.strip_prefix(b"--")?).ok()?.trim_end_matches(' ');
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    ((1..=70).contains(&boundary.len()) && boundary.bytes().all(is_allowed)).then_some(boundary)
}

/// The value of a header line, if it has this name, which is in lower case.
fn value_of<'a>(line: &'a [u8], name: &str) -> Option<&'a str> {
    let (found, value) = str::from_utf8(line).ok()?.split_once(':')?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_matches([' ', '\t']))
}

fn media_type(boundary: &str) -> Cow<'static, str> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"'+_-.".contains(&byte);
    let quote = if boundary.bytes().all(is_token) { "" } else { "\"" };
    Cow::Owned::<str>(String::from(format!("multipart/x-mixed-replace; boundary={quote}{boundary}{quote}").as_str()))
}
