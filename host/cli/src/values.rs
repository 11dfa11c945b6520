//! Sizes, times, rates, counts and header fields, as they are written on a command line.

use std::str::FromStr;
use std::time::Duration;

/// A bound that may be lifted: a value, or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound<T>(pub(crate) Option<T>);

impl<T> Bound<T> {
    fn parse(text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Self, String> {
        match text {
            "unlimited" => Ok(Self(None)),
            _ => parse(text).map(|value| Self(Some(value))),
        }
    }
}

/// `128` or `unlimited`. Zero would lock everybody out.
pub(crate) fn count_or_unlimited(text: &str) -> Result<Bound<u32>, String> {
    Bound::parse(text, |text| match number(text) {
        Some(count @ 1..) => Ok(count),
        _ => Err("expected a number from 1, or `unlimited`".into()),
    })
}

/// `2M` or `unlimited`: bytes per second. Slower than a modem is no use to anybody.
pub(crate) fn rate_or_unlimited(text: &str) -> Result<Bound<u64>, String> {
    Bound::parse(text, |text| match bytes(text)? {
        rate @ 1_024.. => Ok(rate),
        _ => Err("a rate is at least 1K; `unlimited` lifts it".into()),
    })
}

/// `512M` or `unlimited`: bytes of memory for all clients.
pub(crate) fn memory_or_unlimited(text: &str) -> Result<Bound<u64>, String> {
    Bound::parse(text, |text| match bytes(text)? {
        memory @ 0x20_0000.. => Ok(memory),
        _ => Err("all clients together need at least 2M; `unlimited` lifts the limit".into()),
    })
}

/// `8M`, `512K`, `1G`, `65536`: at least one page of a guest's memory, at most all that it can address.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        bytes @ 0x1_0000..=0x1_0000_0000 => Ok(bytes),
        _ => Err("a size here is between 64K and 4G".into()),
    }
}

/// The same without bounds.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    const WRONG: &str = "a size is a number and K, M or G, as in 8M";
    let (digits, unit) = number_and_unit(text);
    let shift = match unit.strip_suffix("iB").unwrap_or(unit) {
        "" if unit.is_empty() => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        _ => return Err(WRONG.into()),
    };
    let number: u64 = number(digits).ok_or(WRONG)?;
    number.checked_mul(1 << shift).ok_or_else(|| "size too large".into())
}

/// `50ms`, `10s`, `2m`, `1h`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    const WRONG: &str = "a time is a number and ms, s, m or h, as in 10s";
    let (digits, unit) = number_and_unit(text);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(WRONG.into()),
    };
    match number::<u64>(digits).ok_or(WRONG)?.checked_mul(unit_ms) {
        // A year is as good as for ever, and fits every clock.
        Some(ms @ 1..=31_536_000_000) => Ok(Duration::from_millis(ms)),
        _ => Err("a time is between 1ms and a year".into()),
    }
}

/// The same, or `0`.
pub(crate) fn time_or_zero(text: &str) -> Result<Duration, String> {
    if text == "0" { Ok(Duration::ZERO) } else { time(text) }
}

fn number_and_unit(text: &str) -> (&str, &str) {
    text.split_at(text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len()))
}

/// Digits only: `FromStr` would take a sign, too.
fn number<T: FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Header fields that the guest sets itself and takes from nobody: they frame the response or date it.
pub(crate) const RESERVED_FIELDS: [&str; 8] = [
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "Date",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

/// `Name: value`.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(':').ok_or("a header is a name, a colon and a value, as in 'X-Served-By: me'")?;
    let value = value.trim();
    if RESERVED_FIELDS.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
        return Err(format!("{name} cannot be set: it frames or dates a response, and the guest sets it"));
    }
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)) {
        return Err(format!("{name:?} is not the name of a header field"));
    }
    if value.contains(char::is_control) {
        return Err("a header field's value has no control characters".into());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Text that can stand in a line of a response.
pub(crate) fn visible(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err("must be a line of visible ASCII".into());
    }
    Ok(text.to_owned())
}

/// A server that is compared with others: its name, and the command that starts it.
pub(crate) fn named_command(text: &str) -> Result<(String, String), String> {
    let named = text.split_once('=').filter(|(name, command)| !name.is_empty() && !command.is_empty());
    let named = named.ok_or("write it as NAME='COMMAND'")?;
    Ok((named.0.to_owned(), named.1.to_owned()))
}

/// Method and target of a request.
pub(crate) fn trigger(text: &str) -> Result<String, String> {
    match text.split(' ').collect::<Vec<_>>()[..] {
        [method, target]
            if !method.is_empty()
                && target.starts_with('/')
                && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') =>
        {
            Ok(text.to_owned())
        }
        _ => Err("write it as a method and a target, such as 'GET /boom'".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_as_documented() {
        assert_eq!(size("8M"), Ok(8 << 20));
        assert_eq!(size("64KiB"), Ok(64 << 10));
        assert_eq!(size("65536"), Ok(65_536));
        assert_eq!(size("4G"), Ok(4 << 30));
        assert_eq!(bytes("0"), Ok(0));
        for text in ["", "M", "8X", "-1", "+8M", "1", "99999G", "8MB", "64iB", "5G", "18446744073709551616", " 8M"] {
            assert!(size(text).is_err(), "{text}");
        }
        assert_eq!(time("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "s", "10", "0s", "1.5s", "+1s", "99999999999h", "18446744073709551615h", "8784h"] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bound_is_a_value_or_unlimited() {
        assert_eq!(count_or_unlimited("128"), Ok(Bound(Some(128))));
        assert_eq!(count_or_unlimited("unlimited"), Ok(Bound(None)));
        assert_eq!(rate_or_unlimited("2M"), Ok(Bound(Some(2 << 20))));
        assert_eq!(rate_or_unlimited("unlimited"), Ok(Bound(None)));
        for text in ["0", "", "-1", "+5", "Unlimited", "4294967296"] {
            assert!(count_or_unlimited(text).is_err(), "{text}");
        }
        for text in ["0", "1023", "", "fast"] {
            assert!(rate_or_unlimited(text).is_err(), "{text}");
        }
        assert_eq!(memory_or_unlimited("2M"), Ok(Bound(Some(2 << 20))));
        assert_eq!(memory_or_unlimited("unlimited"), Ok(Bound(None)));
        assert!(memory_or_unlimited("2047K").is_err());
    }

    #[test]
    fn a_header_cannot_smuggle_a_line() {
        assert_eq!(header("X-A: b c"), Ok(("X-A".into(), "b c".into())));
        for text in ["X-A", ": b", "X A: b", "content-length: 5", "Connection: close", "X: a\r\nY: b", "X\n: a"] {
            assert!(header(text).is_err(), "{text:?}");
        }
        for name in RESERVED_FIELDS {
            assert!(header(&format!("{}: a", name.to_lowercase())).is_err(), "{name}");
        }
    }
}
