//! Well-behaved clients: they ask at the pace of a player, check every byte, and note how long they wait.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::arena::Piece;
use crate::noise::Noise;

/// One response, or what came in its place.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// When it was asked for, since the trial began.
    pub(crate) asked: Duration,
    /// Until its first byte came.
    pub(crate) waited: Duration,
    pub(crate) bytes: u64,
    /// None: every byte was the right one.
    pub(crate) complaint: Option<String>,
}

impl Sample {
    /// When its first byte came, or it was given up.
    pub(crate) fn answered(&self) -> Duration {
        self.asked + self.waited
    }
}

/// What all victims of a trial have in common.
pub(crate) struct Victims<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) pieces: &'a [Piece],
    pub(crate) began: Instant,
    pub(crate) over: &'a AtomicBool,
    pub(crate) samples: &'a Mutex<Vec<Sample>>,
}

/// How long a victim waits for anything before it calls it lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// Between two requests of one victim. Many victims then leave the machine time for the attackers.
const PACE: Duration = Duration::from_millis(20);

/// Requests on one connection, before the victim connects anew.
const REQUESTS: usize = 4;

impl Victims<'_> {
    /// Asks for one piece after the other until the trial is over.
    pub(crate) fn run(&self, mut noise: Noise) {
        let mut connection = None;
        let mut requests = 0;
        while !self.over.load(Ordering::Relaxed) {
            requests += 1;
            if requests % REQUESTS == 0 {
                connection = None;
            }
            let piece = &self.pieces[noise.below(self.pieces.len())];
            let asked = self.began.elapsed();
            // Requests of many lengths, so that they do not all lie in the same places.
            let fields = format!("Cookie: {}\r\n", "x".repeat(noise.below(600)));
            let result = ask(&mut connection, self.address, piece, &noise.canary(), &fields);
            if result.is_err() {
                connection = None;
            }
            let (waited, bytes, complaint) = match result {
                Ok((waited, bytes)) => (waited, bytes, None),
                Err(complaint) => (self.began.elapsed() - asked, 0, Some(complaint)),
            };
            let sample = Sample { asked, waited, bytes, complaint };
            self.samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
            thread::sleep(PACE + Duration::from_millis(noise.next() % 10));
        }
    }
}

/// Asks for a piece and checks it, byte by byte. How long the first byte took, and how many came.
fn ask(
    connection: &mut Option<TcpStream>,
    address: SocketAddr,
    piece: &Piece,
    canary: &str,
    fields: &str,
) -> Result<(Duration, u64), String> {
    let began = Instant::now();
    let stream = match connection {
        Some(stream) => stream,
        None => connection.insert(connect(address).map_err(|error| format!("cannot connect: {error}"))?),
    };
    let range = piece.range.map_or(String::new(), |(first, last)| format!("Range: bytes={first}-{last}\r\n"));
    let Piece { target, bytes: promised, .. } = piece;
    let request = format!("GET {target} HTTP/1.1\r\nHost: victim\r\nX-Canary: {canary}\r\n{fields}{range}\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| format!("cannot ask: {error}"))?;
    let (response, end, waited) = head(stream, began)?;
    let status = if piece.range.is_some() { "HTTP/1.1 206 " } else { "HTTP/1.1 200 " };
    let text = String::from_utf8_lossy(&response[..end]);
    if !text.starts_with(status) {
        return Err(format!("another status: {}", text.lines().next().unwrap_or_default()));
    }
    if text.replace(canary, "").contains("canary-") {
        return Err("somebody else's canary on the wire".into());
    }
    let mut body = response[end..].to_vec();
    let there = body.len();
    if there < promised.len() {
        body.resize(promised.len(), 0);
        stream.read_exact(&mut body[there..]).map_err(|error| format!("cut short: {error}"))?;
    }
    if body != *promised {
        return Err("other bytes".into());
    }
    Ok((waited, (end + body.len()) as u64))
}

pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Reads up to the end of a head: what came, where the head ends in it, and how long the first byte took.
fn head(stream: &mut impl Read, began: Instant) -> Result<(Vec<u8>, usize, Duration), String> {
    const LONGEST: usize = 16 << 10;
    let mut response = Vec::new();
    let mut waited = None;
    let mut buffer = [0; 4 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Err("closed without a response".into()),
            Ok(count) => {
                waited.get_or_insert_with(|| began.elapsed());
                response.extend_from_slice(&buffer[..count]);
            }
            // Whoever was stopped and goes on has only been away.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(format!("no response: {error}")),
        }
        if let Some(end) = response.windows(4).position(|four| four == b"\r\n\r\n") {
            return Ok((response, end + 4, waited.unwrap_or_default()));
        }
        if response.len() > LONGEST {
            return Err("a head without an end".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_is_interrupted_is_not_lost() {
        struct Interrupted<'a>(bool, &'a [u8]);
        impl Read for Interrupted<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 = !self.0;
                if self.0 { Err(io::ErrorKind::Interrupted.into()) } else { self.1.read(&mut buffer[..1]) }
            }
        }
        const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";
        let (response, end, _) = head(&mut Interrupted(false, HEAD), Instant::now()).expect("it comes in the end");
        assert_eq!((response.as_slice(), end), (HEAD, HEAD.len()));
    }
}
