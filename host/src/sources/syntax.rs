//! How FFmpeg spells inputs that are not quite a file.
//!
//! Rule: a name opens files, memory and pipes that are there already, and nothing else, whatever it says.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use data_url::DataUrl;
use rustix::fs::Mode;

use super::beneath::READ;
use super::error::SourceError;

/// What was said, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Spelled {
    Path(PathBuf),
    /// A descriptor of this process: 0 is stdin.
    Pipe(u32),
    Parts(Vec<Part>),
    Data {
        bytes: Vec<u8>,
        media_type: String,
    },
}

/// Some of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    pub(crate) from: u64,
    /// None: to the end.
    pub(crate) to: Option<u64>,
}

impl Part {
    pub(crate) fn whole(path: &Path) -> Self {
        Self { path: path.to_owned(), from: 0, to: None }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.from == 0 && self.to.is_none()
    }
}

impl Spelled {
    pub(crate) fn parse(said: &OsStr) -> Result<Self, SourceError> {
        let wrong =
            |spelling, pattern| SourceError::Spelling { said: said.to_string_lossy().into_owned(), spelling, pattern };
        let bytes = said.as_bytes();
        if bytes == b"-" {
            return Ok(Self::Pipe(0));
        }
        if let Some(rest) = bytes.strip_prefix(b"subfile,") {
            let part = subfile(rest).ok_or_else(|| wrong("subfile", "subfile,,start,FIRST,end,PAST,,:FILE"))?;
            return Ok(Self::Parts(vec![part]));
        }
        let Some(scheme) = scheme(bytes) else { return Ok(Self::Path(said.into())) };
        let rest = &bytes[scheme.len() + 1..];
        match scheme {
            "file" => Ok(Self::Path(path(rest))),
            "pipe" if rest.is_empty() => Ok(Self::Pipe(0)),
            "pipe" => {
                let number = std::str::from_utf8(rest).ok().and_then(|number| number.parse().ok());
                number.map(Self::Pipe).ok_or_else(|| wrong("pipe", "pipe: or pipe:NUMBER"))
            }
            "concat" => {
                let parts = rest.split(|&byte| byte == b'|').map(part).collect::<Option<_>>();
                parts.map(Self::Parts).ok_or_else(|| wrong("concat", "concat:FILE|FILE|FILE"))
            }
            "data" => data(said).ok_or_else(|| wrong("data", "data:TYPE,TEXT or data:TYPE;base64,TEXT")),
            // A file can be called anything, if it is there.
            _ if Path::new(said).exists() => Ok(Self::Path(said.into())),
            other => Err(SourceError::Protocol(other.to_owned())),
        }
    }
}

/// What stands before the first colon, if it can be the name of a protocol.
fn scheme(said: &[u8]) -> Option<&str> {
    let end = said.iter().position(|&byte| byte == b':')?;
    let scheme = std::str::from_utf8(&said[..end]).ok()?;
    let proper = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.,_".contains(&byte);
    (scheme.starts_with(|first: char| first.is_ascii_alphabetic()) && scheme.bytes().all(proper)).then_some(scheme)
}

fn path(bytes: &[u8]) -> PathBuf {
    OsStr::from_bytes(bytes).into()
}

/// One of the parts that are put together.
fn part(said: &[u8]) -> Option<Part> {
    if said.is_empty() {
        return None;
    }
    if let Some(rest) = said.strip_prefix(b"subfile,") {
        return subfile(rest);
    }
    let file = said.strip_prefix(b"file:").unwrap_or(said);
    Some(Part { path: path(file), from: 0, to: None })
}

/// What stands behind `subfile,`: a separator, keys and values between separators, two separators, a
/// colon, the file. An end of 0 is that of the file.
fn subfile(rest: &[u8]) -> Option<Part> {
    let separator = *rest.first()?;
    let end = rest.windows(3).position(|three| three == [separator, separator, b':'])?;
    let mut fields = rest[1..end].split(|&byte| byte == separator);
    let (mut from, mut to) = (0, None);
    while let Some(key) = fields.next() {
        let value: u64 = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        match key {
            b"start" => from = value,
            b"end" => to = Some(value).filter(|&end| end > 0),
            _ => return None,
        }
    }
    let file = &rest[end + 3..];
    let file = file.strip_prefix(b"file:").unwrap_or(file);
    let ordered = to.is_none_or(|to| from <= to);
    (ordered && !file.is_empty()).then(|| Part { path: path(file), from, to })
}

fn data(said: &OsStr) -> Option<Spelled> {
    let url = DataUrl::process(said.to_str()?).ok()?;
    let media_type = url.mime_type().to_string();
    let (bytes, _) = url.decode_to_vec().ok()?;
    Some(Spelled::Data { bytes, media_type })
}

/// A descriptor that this process was started with.
pub(crate) fn pipe(number: u32) -> io::Result<OwnedFd> {
    if number == 0 {
        return io::stdin().as_fd().try_clone_to_owned();
    }
    Ok(rustix::fs::open(format!("/proc/self/fd/{number}"), READ, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(said: &str) -> Result<Spelled, SourceError> {
        Spelled::parse(OsStr::new(said))
    }

    fn part(path: &str, from: u64, to: Option<u64>) -> Part {
        Part { path: path.into(), from, to }
    }

    #[test]
    fn inputs_are_spelled_as_ffmpeg_spells_them() {
        for (said, promised) in [
            ("movie.mp4", Spelled::Path("movie.mp4".into())),
            ("a b|c", Spelled::Path("a b|c".into())),
            ("./http:x", Spelled::Path("./http:x".into())),
            ("file:movie.mp4", Spelled::Path("movie.mp4".into())),
            ("file:/a:b", Spelled::Path("/a:b".into())),
            ("-", Spelled::Pipe(0)),
            ("pipe:", Spelled::Pipe(0)),
            ("pipe:0", Spelled::Pipe(0)),
            ("pipe:7", Spelled::Pipe(7)),
            ("concat:a", Spelled::Parts(vec![part("a", 0, None)])),
            (
                "concat:a|file:b|/c d",
                Spelled::Parts(vec![part("a", 0, None), part("b", 0, None), part("/c d", 0, None)]),
            ),
            ("subfile,,start,10,end,20,,:a,b:c", Spelled::Parts(vec![part("a,b:c", 10, Some(20))])),
            ("subfile,,start,10,end,0,,:a", Spelled::Parts(vec![part("a", 10, None)])),
            ("subfile,,end,20,start,10,,:file:a", Spelled::Parts(vec![part("a", 10, Some(20))])),
            ("subfile,;start;5;;:a", Spelled::Parts(vec![part("a", 5, None)])),
            ("concat:subfile,,start,1,end,2,,:a|b", Spelled::Parts(vec![part("a", 1, Some(2)), part("b", 0, None)])),
            ("data:text/plain,a%20b", Spelled::Data { bytes: b"a b".into(), media_type: "text/plain".into() }),
            ("data:image/png;base64,AAEC", Spelled::Data { bytes: vec![0, 1, 2], media_type: "image/png".into() }),
        ] {
            match parse(said) {
                Ok(found) => assert_eq!(found, promised, "{said}"),
                Err(error) => panic!("{said}: {error}"),
            }
        }
    }

    #[test]
    fn nothing_else_is_opened_because_a_name_says_so() {
        for said in
            ["http://a/b", "https://a", "rtmp://a", "tcp://1.2.3.4:5", "async:cache:http://a", "crypto:a", "unix:/a"]
        {
            assert!(matches!(parse(said), Err(SourceError::Protocol(_))), "{said}");
        }
        for said in [
            "concat:",
            "concat:a||b",
            "pipe:x",
            "pipe:-1",
            "subfile,,start,x,,:a",
            "subfile,,end,5",
            "subfile,",
            "data:a",
            "subfile,,start,9,end,3,,:a",
        ] {
            assert!(matches!(parse(said), Err(SourceError::Spelling { .. })), "{said}");
        }
        // What stands in a sequence is a file, whatever it looks like.
        assert_eq!(parse("concat:http://a").ok(), Some(Spelled::Parts(vec![part("http://a", 0, None)])));
    }
}
