//! Responses of servers that may be of any make: read to their end, whichever way it is told.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

/// How a response was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It did not come in time. Other load on the machine can cause that.
    Late,
    /// The connection was refused or ended early, or something else was said.
    Cut,
    /// There were bytes in it that are somebody else's.
    Foreign,
}

/// Why a response is not the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) loss: Loss,
    pub(crate) what: String,
}

impl Complaint {
    pub(crate) fn cut(what: impl Into<String>) -> Self {
        Self { loss: Loss::Cut, what: what.into() }
    }

    /// Of a call on a socket that failed.
    pub(crate) fn of(doing: &str, error: &std::io::Error) -> Self {
        let loss = match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => Loss::Late,
            _ => Loss::Cut,
        };
        let what = match loss {
            Loss::Late => format!("{doing} in time"),
            _ => format!("{doing}: {error}"),
        };
        Self { loss, what }
    }
}

/// A response that came to its end.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// With the empty line at its end.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Until the first byte came.
    pub(crate) waited: Duration,
}

/// The most that a response may have of everything.
pub(crate) const LONGEST_BODY: usize = 64 << 20;
const LONGEST_HEAD: usize = 64 << 10;

/// How the end of a body is told.
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// What has come and is not used up.
struct Bytes<'a, R> {
    stream: &'a mut R,
    ahead: Vec<u8>,
    began: Instant,
    waited: Option<Duration>,
    until: Instant,
}

/// Reads the response to a GET that was sent at `began`. All of it has to be there within `patience`.
pub(crate) fn read(stream: &mut impl Read, began: Instant, patience: Duration) -> Result<Response, Complaint> {
    let mut bytes = Bytes { stream, ahead: Vec::new(), began, waited: None, until: began + patience };
    let head = bytes.head()?;
    let status = status(&head).ok_or_else(|| Complaint::cut("not a response"))?;
    let body = match framing(&head, status)? {
        Framing::Length(length) => bytes.take(length)?,
        Framing::Chunked => bytes.chunks()?,
        Framing::UntilClose => bytes.rest()?,
    };
    Ok(Response { status, head, body, waited: bytes.waited.unwrap_or_default() })
}

fn status(head: &str) -> Option<u16> {
    let (version, rest) = head.split_once(' ')?;
    version.strip_prefix("HTTP/1.")?;
    rest.get(..3)?.parse().ok()
}

/// The value of a field, if it is there.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

fn framing(head: &str, status: u16) -> Result<Framing, Complaint> {
    if status == 204 || status == 304 {
        return Ok(Framing::Length(0));
    }
    if field(head, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return Ok(Framing::Chunked);
    }
    match field(head, "content-length").map(str::parse) {
        None => Ok(Framing::UntilClose),
        Some(Ok(length)) if length <= LONGEST_BODY => Ok(Framing::Length(length)),
        Some(_) => Err(Complaint::cut(format!("a body of more than {} MiB, or without a length", LONGEST_BODY >> 20))),
    }
}

impl<R: Read> Bytes<'_, R> {
    /// Reads some more. False: there is no more.
    fn more(&mut self) -> Result<bool, Complaint> {
        let mut buffer = [0; 64 << 10];
        if Instant::now() > self.until {
            return Err(Complaint { loss: Loss::Late, what: "it did not come to its end in time".to_owned() });
        }
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.waited.get_or_insert_with(|| self.began.elapsed());
                    self.ahead.extend_from_slice(&buffer[..count]);
                    return Ok(true);
                }
                // A process that was stopped and goes on has only been away.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Complaint::of("no response", &error)),
            }
        }
    }

    fn must_have_more(&mut self) -> Result<(), Complaint> {
        if self.more()? { Ok(()) } else { Err(Complaint::cut("cut short")) }
    }

    fn head(&mut self) -> Result<String, Complaint> {
        loop {
            if let Some(end) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<_> = self.ahead.drain(..end + 4).collect();
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            if self.ahead.len() > LONGEST_HEAD {
                return Err(Complaint::cut("a header section without an end"));
            }
            if !self.more()? {
                return Err(Complaint::cut("closed without a response"));
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>, Complaint> {
        while self.ahead.len() < count {
            self.must_have_more()?;
        }
        Ok(self.ahead.drain(..count).collect())
    }

    fn rest(&mut self) -> Result<Vec<u8>, Complaint> {
        while self.ahead.len() <= LONGEST_BODY && self.more()? {}
        Ok(std::mem::take(&mut self.ahead))
    }

    fn line(&mut self) -> Result<String, Complaint> {
        loop {
            if let Some(end) = self.ahead.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.ahead.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim().to_owned());
            }
            self.must_have_more()?;
        }
    }

    fn chunks(&mut self) -> Result<Vec<u8>, Complaint> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).ok().filter(|size| body.len() + size <= LONGEST_BODY);
            let size = size.ok_or_else(|| Complaint::cut("not the size of a chunk"))?;
            if size == 0 {
                // Fields may follow, and an empty line. A server that closes in place of it has said enough.
                while self.line().is_ok_and(|line| !line.is_empty()) {}
                return Ok(body);
            }
            body.extend(self.take(size)?);
            self.line()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(&mut buffer[..1])
        }
    }

    fn parse(text: &str) -> Result<Response, Complaint> {
        read(&mut Trickle(text.as_bytes()), Instant::now(), Duration::from_secs(60))
    }

    #[test]
    fn a_body_ends_where_it_says() {
        for (text, body) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", "abc"),
            ("HTTP/1.0 200 OK\r\n\r\nabcd", "abcd"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n", "abc"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n", "a"),
            ("HTTP/1.1 304 OK\r\nContent-Length: 3\r\n\r\n", ""),
        ] {
            let response = parse(text).expect(text);
            assert_eq!(response.body, body.as_bytes(), "{text}");
        }
    }

    #[test]
    fn a_response_that_is_cut_short_is_lost() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\na",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\na",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            "SSH-2.0-x\r\n\r\n",
        ] {
            assert_eq!(parse(text).expect_err(text).loss, Loss::Cut, "{text}");
        }
    }
}
