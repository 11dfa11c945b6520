//! `Host`, and the authority of a target (RFC 3986 section 3.2).

use core::net::Ipv6Addr;

use crate::request::line::Version;
use crate::request::malformed::Malformed;
use crate::text::split_once;

pub(crate) fn check_host<'a>(mut values: impl Iterator<Item = &'a [u8]>, version: Version) -> Result<(), Malformed> {
    match (values.next(), values.next()) {
        (None, _) if version == Version::Http10 => Ok(()),
        (None, _) => Err(Malformed::HostMissing),
        (Some(_), Some(_)) => Err(Malformed::HostRepeated),
        (Some(host), None) if is_authority(host) => Ok(()),
        (Some(_), None) => Err(Malformed::HostInvalid),
    }
}

/// Whether this is a host, optionally with a port (RFC 9110 section 4.2.1: the host is not empty).
pub(crate) fn is_authority(text: &[u8]) -> bool {
    let is_port = |port: &[u8]| port.iter().all(u8::is_ascii_digit);
    if let Some(literal) = text.strip_prefix(b"[") {
        let Some((address, port)) = split_once(literal, b']') else {
            return false;
        };
        return is_address(address) && (port.is_empty() || port.strip_prefix(b":").is_some_and(is_port));
    }
    let (host, port) = split_once(text, b':').unwrap_or((text, b""));
    !host.is_empty() && is_name(host) && is_port(port)
}

/// Whether all of it is a registered name (RFC 3986 section 3.2.2): after each `%` come two hexadecimal digits.
fn is_name(text: &[u8]) -> bool {
    let mut parts = text.split(|byte| *byte == b'%');
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(byte);
    let is_plain = parts.next().is_some_and(|part| part.iter().all(is_name));
    let is_encoded = |part: &[u8]| part.get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    is_plain && parts.all(|part| is_encoded(part) && part.iter().all(is_name))
}

/// Whether this is valid between brackets (RFC 3986 section 3.2.2): an IPv6 address, optionally with a zone,
/// or an address of a future version.
fn is_address(text: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = text {
        return split_once(future, b'.').is_some_and(|(version, address)| {
            let is_address = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:".contains(byte);
            !version.is_empty()
                && version.iter().all(u8::is_ascii_hexdigit)
                && !address.is_empty()
                && address.iter().all(is_address)
        });
    }
    let (address, zone) = split_once(text, b'%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    let is_ipv6 = str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok());
    is_ipv6 && zone.is_none_or(is_zone)
}

/// Whether this is a zone, after `%25` as in RFC 6874 or after a plain `%` as people write it. A zone means
/// something to the client's machine only; browsers and curl send it for link-local addresses.
fn is_zone(zone: &[u8]) -> bool {
    let zone = zone.strip_prefix(b"25").unwrap_or(zone);
    let is_zone = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    !zone.is_empty() && zone.iter().all(is_zone)
}
