//! The request line: method, target, version.

use crate::request::malformed::Malformed;
use crate::text::{is_token, split_once};

/// The methods, as far as the server tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Options,
    /// One that the server knows and does not have: 405.
    Refused,
    /// One that the server has never heard of: 501.
    Unknown,
}

impl Method {
    /// Methods are case-sensitive (RFC 9110 section 9.1).
    pub(crate) fn of(token: &[u8]) -> Self {
        match token {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"OPTIONS" => Self::Options,
            // RFC 9110, RFC 5789 and WebDAV (RFC 4918, 3253, 3648, 3744, 5323).
            b"POST" | b"PUT" | b"DELETE" | b"PATCH" | b"TRACE" | b"CONNECT" | b"PROPFIND" | b"PROPPATCH" | b"MKCOL"
            | b"COPY" | b"MOVE" | b"LOCK" | b"UNLOCK" | b"REPORT" | b"SEARCH" | b"ACL" | b"ORDERPATCH" | b"CHECKIN"
            | b"CHECKOUT" | b"UNCHECKOUT" | b"LABEL" | b"UPDATE" | b"MERGE" | b"VERSION-CONTROL" | b"MKACTIVITY"
            | b"MKWORKSPACE" | b"BASELINE-CONTROL" => Self::Refused,
            _ => Self::Unknown,
        }
    }

    /// Whether the server reads the body of such a request, to come to the next one.
    pub(crate) fn is_served(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options)
    }
}

/// The versions that make a difference. A minor version above 1 counts as 1 (RFC 9110 section 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http10,
    Http11,
}

/// The request line of a head that the scanner has passed, and what comes behind it. Every line ends with
/// CRLF, and an empty one may stand before the first.
pub(crate) fn first_line(head: &[u8]) -> (&[u8], &[u8]) {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let (line, rest) = split_once(head, b'\n').unwrap_or((head, b""));
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

pub(crate) fn request_line(line: &[u8]) -> Result<(Method, &[u8], Version), Malformed> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Malformed::RequestLineInvalid);
    };
    if !is_token(method) {
        return Err(Malformed::MethodInvalid);
    }
    if target.is_empty() || target.contains(&b'\t') {
        return Err(Malformed::TargetInvalid);
    }
    let version = match version {
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Version::Http11,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            return Err(Malformed::VersionUnsupported);
        }
        _ => return Err(Malformed::VersionInvalid),
    };
    Ok((Method::of(method), target, version))
}
