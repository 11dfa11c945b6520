//! `multiclient health`: sends a server a request as a client would, and says whether it responds.
//!
//! Rule: this is a client, and knows no more HTTP than it takes to send a request and to read a status line.

use std::fmt;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Stream};
use socket2::{Domain, SockAddr, Socket, Type};

use super::any_certificate;
use crate::address::{Address, ServerUrl, TcpAddress};
use crate::args::Health;
use crate::failure::Failure;
use crate::output::print_line;

/// Bytes of a response that are read to find the end of its first line.
const FIRST_LINE_BYTES: usize = 1 << 10;

/// Checks that a server responds.
pub(crate) fn health(flags: &Health) -> Result<ExitCode, Failure> {
    let Health { url, timeout } = flags;
    let status = check(url, *timeout).map_err(|why| Failure::new(format!("{url} {why}")))?;
    print_line(format_args!("{url} answers {status}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Why a server is not healthy.
#[derive(Debug)]
enum Unhealthy {
    /// Nobody listens, or nothing was said in time.
    Silent(io::Error),
    /// It does not speak TLS, or nothing that this client speaks.
    NotTls(io::Error),
    /// The response is not HTTP.
    Strange,
    /// The server says so itself: 500 and above, also that it is full.
    Failing(u16),
}

impl fmt::Display for Unhealthy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(error) if is_timeout(error) => f.write_str("does not answer in time"),
            Self::Silent(error) => write!(f, "does not answer: {error}"),
            Self::NotTls(error) => write!(f, "answers, but not in TLS: {error}"),
            Self::Strange => f.write_str("answers, but not in HTTP"),
            Self::Failing(status) => write!(f, "answers {status}"),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Requests the root's header section, and returns the status that came within `timeout`. Any below 500 is that
/// of a healthy server: what is published there, and to whom, does not matter.
///
/// Of several addresses that a name stands for, the first that answers will do.
fn check(url: &ServerUrl, timeout: Duration) -> Result<u16, Unhealthy> {
    let deadline = Instant::now() + timeout;
    let (host, addresses) = match &url.address {
        Address::Unix(unix) => ("localhost".to_owned(), vec![SockAddr::unix(&unix.path).map_err(Unhealthy::Silent)?]),
        // Nothing is passed to a client.
        Address::Passed => (String::new(), Vec::new()),
        Address::Tcp(tcp) => (url.address.to_string(), tcp.sockets.iter().map(|&socket| socket.into()).collect()),
    };
    let mut unhealthy = Unhealthy::Silent(io::ErrorKind::AddrNotAvailable.into());
    for address in addresses {
        let line =
            Timed::connect(&address, deadline).map_err(Unhealthy::Silent).and_then(|socket| match &url.address {
                Address::Tcp(tcp) if url.is_secure => ask_securely(socket, tcp, &host),
                _ => ask(socket, &host).map_err(Unhealthy::Silent),
            });
        match line.and_then(|line| status(&line)) {
            Ok(status) if status < 500 => return Ok(status),
            Ok(status) => unhealthy = Unhealthy::Failing(status),
            Err(why) => unhealthy = why,
        }
    }
    Err(unhealthy)
}

/// A connection on which everything has to happen before the same time.
struct Timed {
    socket: Socket,
    deadline: Instant,
}

impl Timed {
    fn connect(address: &SockAddr, deadline: Instant) -> io::Result<Self> {
        let socket = Socket::new(Domain::from(i32::from(address.family())), Type::STREAM, None)?;
        let timed = Self { socket, deadline };
        // Connecting to a unix socket whose queue is full waits for as long as sending may.
        timed.socket.set_write_timeout(Some(timed.left()?))?;
        if address.is_unix() {
            timed.socket.connect(address)?;
        } else {
            timed.socket.connect_timeout(address, timed.left()?)?;
        }
        Ok(timed)
    }

    fn left(&self) -> io::Result<Duration> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.left()?))?;
        self.socket.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.left()?))?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// As `ask`, by way of TLS.
fn ask_securely(mut socket: Timed, address: &TcpAddress, host: &str) -> Result<Vec<u8>, Unhealthy> {
    let ip = address.sockets[0].ip();
    let name = ServerName::try_from(address.host().to_owned()).unwrap_or(ServerName::IpAddress(ip.into()));
    let sound = |error: rustls::Error| Unhealthy::NotTls(io::Error::other(error));
    let mut tls = ClientConnection::new(any_certificate::config().map_err(sound)?, name).map_err(sound)?;
    ask(Stream::new(&mut tls, &mut socket), host).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => Unhealthy::NotTls(error),
        _ => Unhealthy::Silent(error),
    })
}

/// Sends a request, and gives the first bytes of the response: at least its first line, if there is one.
fn ask(mut stream: impl Read + Write, host: &str) -> io::Result<Vec<u8>> {
    // A port alone, as in `9000`, will do for a host: the server only wants one that is not empty.
    stream.write_all(format!("HEAD / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut line = Vec::new();
    let mut piece = [0; FIRST_LINE_BYTES];
    while !line.contains(&b'\n') && line.len() < FIRST_LINE_BYTES {
        match stream.read(&mut piece)? {
            0 if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            0 => break,
            count => line.extend_from_slice(&piece[..count]),
        }
    }
    Ok(line)
}

/// The status in a status line.
fn status(line: &[u8]) -> Result<u16, Unhealthy> {
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', status @ ..] = line else { return Err(Unhealthy::Strange) };
    let digits = status.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).filter(|status| (100..600).contains(status)).ok_or(Unhealthy::Strange)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_a_status_line_and_from_nothing_else() {
        for (line, promised) in [("HTTP/1.1 200 OK\r\n", 200), ("HTTP/1.0 404\r\n", 404), ("HTTP/1.1 503 Busy", 503)] {
            assert!(matches!(status(line.as_bytes()), Ok(status) if status == promised), "{line}");
        }
        for line in
            ["", "HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 20", "HTTP/1.1 +20", "HTTP/1.1 999", "HTTP/2 200", "SSH-2.0"]
        {
            assert!(status(line.as_bytes()).is_err(), "{line}");
        }
    }
}
