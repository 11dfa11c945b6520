//! The request target: from what the client wrote to the name it stands for.
//!
//! Rules:
//!
//! - Escapes are decoded once, in a segment and never across one: `%2F` does not make a folder, and
//!   since no name has a slash within a segment it stands for nothing that is published.
//! - Dot segments are resolved after decoding, as nginx and Apache do, and whoever climbs out of the root
//!   is refused. Empty segments are skipped, as they do it too.
//! - What comes out is a name by construction: no `.`, no `..`, no empty segment, no NUL, no slash at the
//!   ends. The host checks again; it trusts nobody.

use alloc::vec::Vec;

use crate::contract::Name;
use crate::request::authority::is_authority;
use crate::request::header_section::Request;
use crate::request::line::Method;
use crate::request::malformed::Malformed;
use crate::text::{hex_value, push_path, split_once};

/// What a target stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The server itself: `*`, or what `CONNECT` names.
    Server,
    /// A path.
    Path {
        /// The name that the path stands for. None: a path that no name can match.
        name: Option<Name>,
        /// Whether the path ends as that of a folder does.
        folder: bool,
    },
}

impl Target {
    /// Reads a target, in the form that its method asks for (RFC 9112 section 3.2).
    pub(crate) fn of(request: &Request) -> Result<Self, Malformed> {
        let target = request.target();
        match (target, request.method) {
            ([b'/', ..], _) => path(target),
            (b"*", Method::Options) => Ok(Self::Server),
            // CONNECT, the only one with an authority-form, is among the refused.
            (_, Method::Refused) if is_authority(target) => Ok(Self::Server),
            _ => absolute(target),
        }
    }
}

/// `http://host/path`. Its authority takes the place of `Host`, which nothing here depends on.
fn absolute(target: &[u8]) -> Result<Target, Malformed> {
    let (scheme, rest) = split_once(target, b':').ok_or(Malformed::TargetInvalid)?;
    let rest = rest.strip_prefix(b"//").ok_or(Malformed::TargetInvalid)?;
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(Malformed::TargetInvalid);
    }
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    if !is_authority(authority) {
        return Err(Malformed::HostInvalid);
    }
    path(rest)
}

/// What follows the path, question mark included. It selects nothing, and redirects keep it.
pub(crate) fn query(target: &[u8]) -> &[u8] {
    let start = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    &target[start..]
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

/// Takes back the segment before the one that begins behind `end`.
fn leave(name: &mut Name, end: usize) -> Result<(), Malformed> {
    if end == 0 {
        return Err(Malformed::TargetEscapes);
    }
    name.truncate(end);
    let parent = name.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    name.truncate(parent);
    Ok(())
}

/// Decodes a segment onto the end of `name`. Whether a segment of a name can look so.
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

/// The target of a redirect. It begins with one slash: with two it would name another host.
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
    fn a_redirect_stays_on_this_host() {
        assert_eq!(location(b"a b", b"/", b"?x=1"), b"/a%20b/?x=1");
        assert_eq!(location(b"evil.example", b"/", b""), b"/evil.example/");
        assert_eq!(location(b"\\evil", b"/", b""), b"/%5Cevil/");
    }
}
