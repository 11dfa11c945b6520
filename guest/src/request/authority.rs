//! `Host`, and the authority of a target.

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

/// Whether this is a host and perhaps a port (RFC 9110 section 4.2.1: the host is not empty).
pub(crate) fn is_authority(text: &[u8]) -> bool {
    let is_port = |port: &[u8]| port.iter().all(u8::is_ascii_digit);
    if let Some(literal) = text.strip_prefix(b"[") {
        let Some((address, port)) = split_once(literal, b']') else {
            return false;
        };
        return is_address(address) && (port.is_empty() || port.strip_prefix(b":").is_some_and(is_port));
    }
    let (host, port) = split_once(text, b':').unwrap_or((text, b""));
    !host.is_empty() && host.iter().all(|byte| is_name_byte(*byte) || *byte == b'%') && is_port(port)
}

/// What may stand in a name, escapes apart: `unreserved` and `sub-delims` (RFC 3986 section 3.2.2).
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

/// Whether this can stand between brackets (RFC 3986 section 3.2.2): an address of IPv6, perhaps with a zone,
/// or one of a version yet to come.
fn is_address(text: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = text {
        return split_once(future, b'.').is_some_and(|(version, address)| {
            let is_address = |byte: &u8| is_name_byte(*byte) || *byte == b':';
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

/// Whether this is the name of a zone, as RFC 6874 has it after `%25`, or as people write it after `%`. It
/// means something to the machine that sent it, and nothing here.
fn is_zone(zone: &[u8]) -> bool {
    let zone = zone.strip_prefix(b"25").unwrap_or(zone);
    let is_zone = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    !zone.is_empty() && zone.iter().all(is_zone)
}
