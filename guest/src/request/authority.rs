//! `Host`, and the authority of a target.

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
    if let Some(address) = text.strip_prefix(b"[") {
        let Some((address, port)) = split_once(address, b']') else {
            return false;
        };
        let is_address = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        return !address.is_empty()
            && address.iter().all(is_address)
            && (port.is_empty() || port.strip_prefix(b":").is_some_and(is_port));
    }
    let (host, port) = split_once(text, b':').unwrap_or((text, b""));
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(byte);
    !host.is_empty() && host.iter().all(is_host) && is_port(port)
}
