//! Reading and writing the small pieces that HTTP is made of: numbers, lists, tokens, escapes.
//!
//! Rule: everything is written into a buffer that is there already. `format!` would cost an allocation
//! and the whole of `core::fmt` for every line of every response.

use alloc::string::String;
use alloc::vec::Vec;

/// Writes `number` in decimal.
pub(crate) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

/// Writes `number` in decimal with at least two digits, as dates want it.
pub(crate) fn push_two_digits(out: &mut Vec<u8>, number: u64) {
    if number < 10 {
        out.push(b'0');
    }
    push_decimal(out, number);
}

/// Writes `number` in lower-case hexadecimal, without leading zeros.
pub(crate) fn push_hex(out: &mut Vec<u8>, number: u64) {
    let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.push(hex_digit((number >> (4 * place)) as u8 & 0xf, b'a'));
    }
}

fn hex_digit(nibble: u8, ten: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { ten + nibble - 10 }
}

/// The value of a hexadecimal digit of either case.
pub(crate) fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Reads a number of digits and nothing else. None also when it does not fit.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Without blanks and tabs at the ends (RFC 9110 section 5.6.3, OWS).
pub(crate) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The members of a comma-separated list, trimmed, without the empty ones that RFC 9110 section 5.6.1.2
/// tells recipients to skip.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim).filter(|member| !member.is_empty())
}

/// Splits at the first `separator`. None where there is none.
pub(crate) fn split_once(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == separator)?;
    Some((&text[..at], &text[at + 1..]))
}

/// Whether this is a token (RFC 9110 section 5.6.2): a method, or the name of a field.
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Writes a name as the path of a URL: slashes stay, and so does what needs no escape anywhere, neither
/// in a URL, nor in HTML, nor in a shell.
pub(crate) fn push_path(out: &mut Vec<u8>, name: &[u8]) {
    for &byte in name {
        if byte.is_ascii_alphanumeric() || b"-._~/+,=:@".contains(&byte) {
            out.push(byte);
        } else {
            out.push(b'%');
            out.push(hex_digit(byte >> 4, b'A'));
            out.push(hex_digit(byte & 0xf, b'A'));
        }
    }
}

/// A hash that tells things apart which nobody makes to collide (FNV-1a).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hash(u64);

impl Hash {
    /// The hash of nothing.
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// The hash of what was hashed before, and of these bytes.
    pub(crate) fn add(self, bytes: &[u8]) -> Self {
        let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self(bytes.iter().fold(self.0, add))
    }

    /// Sixteen hexadecimal digits.
    pub(crate) fn digits(self) -> Vec<u8> {
        let mut digits = Vec::with_capacity(16);
        // The top bit makes them always sixteen.
        push_hex(&mut digits, self.0 | 1 << 63);
        digits
    }
}

/// At most `limit` characters of `bytes` that can stand in a log: what is not visible ASCII or a blank
/// becomes `\xNN`.
pub(crate) fn printable(bytes: &[u8], limit: usize) -> String {
    let mut text = String::with_capacity(bytes.len().min(limit));
    for &byte in bytes {
        let width = if matches!(byte, b' '..=b'~') { 1 } else { 4 };
        if text.len() + width > limit {
            break;
        }
        if width == 1 {
            text.push(char::from(byte));
        } else {
            text.push_str("\\x");
            text.push(char::from(hex_digit(byte >> 4, b'a')));
            text.push(char::from(hex_digit(byte & 0xf, b'a')));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(push: fn(&mut Vec<u8>, u64), number: u64) -> Vec<u8> {
        let mut out = Vec::new();
        push(&mut out, number);
        out
    }

    #[test]
    fn numbers_are_written_whole() {
        assert_eq!(written(push_decimal, 0), b"0");
        assert_eq!(written(push_decimal, u64::MAX), b"18446744073709551615");
        assert_eq!(written(push_hex, 0), b"0");
        assert_eq!(written(push_hex, 0x1c4), b"1c4");
        assert_eq!(written(push_hex, u64::MAX), b"ffffffffffffffff");
        assert_eq!(written(push_two_digits, 7), b"07");
    }

    #[test]
    fn a_number_that_does_not_fit_is_none() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(decimal(b"18446744073709551616"), None);
        assert_eq!(decimal(b""), None);
        assert_eq!(decimal(b"+1"), None);
    }

    #[test]
    fn a_path_is_escaped_once() {
        let mut out = Vec::new();
        push_path(&mut out, "a b/100%/ü'\"<&?#".as_bytes());
        assert_eq!(out, b"a%20b/100%25/%C3%BC%27%22%3C%26%3F%23");
    }

    #[test]
    fn what_is_logged_is_visible_and_bounded() {
        assert_eq!(printable(b"GET /\x1b[2J\xff", 100), "GET /\\x1b[2J\\xff");
        assert_eq!(printable(b"abcdef", 3), "abc");
        assert_eq!(printable(b"ab\n", 5), "ab");
    }
}
