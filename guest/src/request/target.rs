//! The request target: from what the client wrote to a name.
//!
//! Rules:
//!
//! - Escapes are decoded once, within a segment: `%2F` does not begin a folder, and since no name contains a
//!   slash within a segment, such a target names nothing.
//! - Dot segments are resolved after decoding and empty segments skipped, as in nginx and Apache. A path that
//!   leads out of the root is rejected.
//! - The result is a name by construction: no `.`, no `..`, no empty segment, no NUL, no slash at either end.
//!   The host checks again.

use alloc::vec::Vec;

use crate::contract::Name;
use crate::request::authority::is_authority;
use crate::request::field::FieldName;
use crate::request::header_section::Request;
use crate::request::line::Method;
use crate::request::malformed::Malformed;
use crate::text::{hex_value, list, push_path, split_once};

/// What a target stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The server itself: `*`, or the authority of `CONNECT`.
    Server,
    /// A path.
    Path {
        /// The name of the path. None if no name can match it.
        name: Option<Name>,
        /// Whether the path ends like that of a folder.
        folder: bool,
    },
}

impl Target {
    /// Reads a target in the form that its method requires (RFC 9112 section 3.2).
    pub(crate) fn of(request: &Request) -> Result<Self, Malformed> {
        let target = request.target();
        match (target, request.method) {
            ([b'/', ..], _) => path(target),
            (b"*", Method::Options) => Ok(Self::Server),
            // Only CONNECT has the authority-form, and it is not supported.
            (_, Method::Refused) if is_authority(target) => Ok(Self::Server),
            _ => absolute(target),
        }
    }
}

/// Reads `http://host/path`. The authority takes precedence over `Host`.
fn absolute(target: &[u8]) -> Result<Target, Malformed> {
    let (scheme, rest) = split_once(target, b':').ok_or(Malformed::TargetInvalid)?;
    let rest = rest.strip_prefix(b"//").ok_or(Malformed::TargetInvalid)?;
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(Malformed::TargetInvalid);
    }
    let (authority, rest) = split_authority(rest);
    if !is_authority(authority) {
        return Err(Malformed::HostInvalid);
    }
    path(rest)
}

/// What follows the path, including the question mark. Redirects keep it.
pub(crate) fn query(target: &[u8]) -> &[u8] {
    let start = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    &target[start..]
}

/// The value of the first parameter of this name in the query, as it was sent. Empty if it has no value.
pub(crate) fn parameter<'a>(target: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let parameters = query(target).strip_prefix(b"?")?.split(|byte| *byte == b'&');
    let mut pairs = parameters.map(|parameter| split_once(parameter, b'=').unwrap_or((parameter, b"")));
    pairs.find_map(|(own, value)| (own == name).then_some(value))
}

/// Scheme and authority of the requested URL (RFC 9110 section 7.1), such as `http://example.org`. None if
/// the client did not send an authority. The scheme is that of the target, what a proxy in front says, or that of
/// the connection, in this order; a client that forges it misleads only itself.
pub(crate) fn origin(request: &Request, secure: bool) -> Option<Vec<u8>> {
    let target = request.target();
    if !target.starts_with(b"/") {
        let (scheme, rest) = split_once(target, b':')?;
        let (authority, _) = split_authority(rest.strip_prefix(b"//")?);
        return Some([scheme, b"://", authority].concat());
    }
    let mut fields = request.all_fields();
    let forwarded = fields.find(|(name, _)| name.eq_ignore_ascii_case(b"x-forwarded-proto"));
    let is_https = match forwarded.and_then(|(_, value)| list(value).next()) {
        Some(scheme) => scheme.eq_ignore_ascii_case(b"https"),
        None => secure,
    };
    let scheme: &[u8] = if is_https { b"https://" } else { b"http://" };
    Some([scheme, request.field(FieldName::Host)?].concat())
}

/// The authority at the front of what follows `//`, and the rest.
fn split_authority(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(text.len());
    text.split_at(end)
}

fn path(path: &[u8]) -> Result<Target, Malformed> {
    if path.contains(&b'#') {
        return Err(Malformed::TargetInvalid);
    }
    let (path, _) = path.split_at(path.len() - query(path).len());
    let mut name = Vec::with_capacity(path.len());
    let mut folder = true;
    let mut exists = true;
    for segment in path.split(|byte| *byte == b'/') {
        let before = name.len();
        if before > 0 {
            name.push(b'/');
        }
        let start = name.len();
        exists &= decode(segment, &mut name)?;
        folder = match &name[start..] {
            b"" | b"." => {
                name.truncate(before);
                true
            }
            b".." => {
                leave(&mut name, before)?;
                true
            }
            _ => false,
        };
    }
    Ok(Target::Path { name: exists.then_some(name), folder })
}

/// Removes the segment before the one that begins after `end`.
fn leave(name: &mut Name, end: usize) -> Result<(), Malformed> {
    if end == 0 {
        return Err(Malformed::TargetEscapes);
    }
    name.truncate(end);
    let parent = name.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    name.truncate(parent);
    Ok(())
}

/// Appends the decoded segment to `name`. Returns whether a name can contain it.
fn decode(segment: &[u8], name: &mut Name) -> Result<bool, Malformed> {
    let mut possible = true;
    let mut rest = segment;
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            name.push(*byte);
            continue;
        }
        let [high, low, after @ ..] = after else {
            return Err(Malformed::TargetInvalid);
        };
        let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low)) else {
            return Err(Malformed::TargetInvalid);
        };
        rest = after;
        match high << 4 | low {
            0 => return Err(Malformed::TargetInvalid),
            // Kept apart from a real slash, so that it cannot end a segment for the dot rules either.
            b'/' => possible = false,
            byte => name.push(byte),
        }
    }
    Ok(possible)
}

/// The target of a redirect. It begins with one slash; with two it would name another host.
pub(crate) fn location(name: &[u8], ending: &[u8], query: &[u8]) -> Vec<u8> {
    let mut location = Vec::with_capacity(name.len() + query.len() + 16);
    location.push(b'/');
    push_path(&mut location, name);
    location.extend_from_slice(ending);
    location.extend_from_slice(query);
    location
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[track_caller]
    fn check(text: &str, expected: Result<(&str, bool), Malformed>) {
        let target = path(text.as_bytes());
        let expected = expected.map(|(name, folder)| (Some(name.as_bytes().to_vec()), folder));
        let found = target.map(|target| match target {
            Target::Path { name, folder, .. } => (name, folder),
            Target::Server => unreachable!("a path is a path"),
        });
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_path_is_decoded_once() {
        check("/", Ok(("", true)));
        check("/film.mp4", Ok(("film.mp4", false)));
        check("/sp%20ace", Ok(("sp ace", false)));
        check("/100%2525", Ok(("100%25", false)));
        check("/%C3%BC", Ok(("ü", false)));
        check("/ü", Ok(("ü", false)));
        check("/a+b%3F?x=%zz", Ok(("a+b?", false)));
    }

    #[test]
    fn dot_segments_and_empty_ones_are_resolved() {
        check("/a/./b", Ok(("a/b", false)));
        check("/a//b/", Ok(("a/b", true)));
        check("//a", Ok(("a", false)));
        check("/a/b/..", Ok(("a", true)));
        check("/a/b/../c", Ok(("a/c", false)));
        check("/a/%2e%2E/c", Ok(("c", false)));
        check("/a/..", Ok(("", true)));
        check("/a/b/.", Ok(("a/b", true)));
        check("/..a/...", Ok(("..a/...", false)));
        check("", Ok(("", true)));
    }

    #[test]
    fn nobody_climbs_out_of_the_root() {
        for text in ["/..", "/../etc/passwd", "/a/../..", "/%2e%2e/a", "/a/../../b", "/./../b"] {
            check(text, Err(Malformed::TargetEscapes));
        }
    }

    #[test]
    fn broken_escapes_nul_and_fragments_are_refused() {
        for text in ["/%", "/%4", "/%zz", "/%00", "/a#b", "/a?b#c"] {
            check(text, Err(Malformed::TargetInvalid));
        }
    }

    #[test]
    fn an_escaped_slash_stands_for_nothing() {
        for text in ["/a%2Fb", "/..%2fetc", "/%2F"] {
            let found = path(text.as_bytes());
            assert!(matches!(found, Ok(Target::Path { name: None, .. })), "{text}");
        }
    }

    #[test]
    fn a_parameter_is_found_in_the_query_and_nowhere_else() {
        assert_eq!(parameter(b"/a?m3u", b"m3u"), Some(&b""[..]));
        assert_eq!(parameter(b"/a?x=1&sort=size&sort=time", b"sort"), Some(&b"size"[..]));
        assert_eq!(parameter(b"/a?play=a=b", b"play"), Some(&b"a=b"[..]));
        for target in [&b"/m3u"[..], b"/a?", b"/a?xm3u", b"/a?x=m3u", b"/a?M3U"] {
            assert_eq!(parameter(target, b"m3u"), None, "{}", target.escape_ascii());
        }
    }

    #[test]
    fn an_origin_is_that_of_the_target_or_of_the_host_field() {
        #[track_caller]
        fn check_over(secure: bool, header: &str, expected: Option<&str>) {
            let request = Request::parse(format!("{header}\r\n\r\n").into_bytes()).expect("a request in order");
            assert_eq!(origin(&request, secure).as_deref(), expected.map(str::as_bytes), "{header}");
        }
        let check = |header, expected| check_over(false, header, expected);
        check("GET / HTTP/1.1\r\nHost: a:80", Some("http://a:80"));
        check("GET https://b/x?y HTTP/1.1\r\nHost: a", Some("https://b"));
        check("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https", Some("https://a"));
        check("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: gopher", Some("http://a"));
        check("GET / HTTP/1.0", None);
        check_over(true, "GET / HTTP/1.1\r\nHost: a", Some("https://a"));
        check_over(true, "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: http", Some("http://a"));
        check_over(true, "GET http://b/x HTTP/1.1\r\nHost: a", Some("http://b"));
    }

    #[test]
    fn a_redirect_stays_on_this_host() {
        assert_eq!(location(b"a b", b"/", b"?x=1"), b"/a%20b/?x=1");
        assert_eq!(location(b"evil.example", b"/", b""), b"/evil.example/");
        assert_eq!(location(b"\\evil", b"/", b""), b"/%5Cevil/");
    }
}
