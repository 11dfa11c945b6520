//! Live sources, from both ends: producers that write to pipes, viewers that watch.
//!
//! Every byte that a producer writes tells its position, so that a viewer knows where it has joined, and
//! that nothing is missing from there on.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

use crate::client::{Connection, HeaderSection};
use crate::folder::same;
use crate::server::Server;
use crate::under_test::multiclient;
use crate::wait::{PATIENCE, eventually};

/// The length of a packet.
pub const PACKET: usize = 188;

/// A packet as the producer writes it: a byte that no format begins with that an index knows, its number, and
/// bytes that differ from packet to packet.
pub fn packet(number: u64) -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    packet[0] = 0xB5;
    packet[1..9].copy_from_slice(&number.to_be_bytes());
    for (at, byte) in packet.iter_mut().enumerate().skip(9) {
        *byte = number.wrapping_mul(7).wrapping_add(at as u64) as u8;
    }
    packet
}

/// The packets from one number up to, and not including, another.
pub fn packets(from: u64, to: u64) -> Vec<u8> {
    let mut packets = Vec::with_capacity((to - from) as usize * PACKET);
    (from..to).for_each(|number| packets.extend_from_slice(&packet(number)));
    packets
}

/// Checks that this is the end of what was written, without a gap, and gives the offset where it begins.
#[track_caller]
pub fn joined_at(got: &[u8], written: &[u8]) -> usize {
    assert!(got.len() <= written.len(), "{} bytes of {}", got.len(), written.len());
    let joined = written.len() - got.len();
    same(got, &written[joined..]);
    joined
}

// ---- producers

/// A program that writes to a pipe. It never waits for longer than the test wants.
pub struct Producer(File);

impl Producer {
    /// Writes to this end of a pipe.
    pub fn new(pipe: impl Into<OwnedFd>) -> Self {
        let pipe = pipe.into();
        rustix::io::ioctl_fionbio(&pipe, true).expect("a pipe can be made not to wait");
        Self(pipe.into())
    }

    /// Opens a FIFO for writing, when the server has opened it for reading.
    #[track_caller]
    pub fn of_fifo(path: &Path) -> Self {
        let mut opened = None;
        eventually("the FIFO has a reader", || {
            opened = rustix::fs::open(path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).ok();
            opened.is_some()
        });
        Self::new(opened.expect("it was opened"))
    }

    /// Writes all of it.
    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) {
        let written = self.write_within(PATIENCE, bytes);
        assert_eq!(written, bytes.len(), "the server reads on");
    }

    /// Writes until the other side has read nothing for a while. Gives how much it has read.
    #[track_caller]
    pub fn write_until_blocked(&mut self, bytes: &[u8]) -> usize {
        self.write_within(Duration::from_millis(300), bytes)
    }

    #[track_caller]
    fn write_within(&mut self, patience: Duration, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.0.write(&bytes[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let patience = Timespec::try_from(patience).expect("it is short");
                    if poll(&mut [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::OUT)], Some(&patience)) == Ok(0) {
                        break;
                    }
                }
                Err(error) => panic!("the server has given up: {error}"),
            }
        }
        written
    }
}

/// A server whose standard input is the other end of the producer's pipe.
#[track_caller]
pub fn fed(flags: &[&str]) -> (Server, Producer) {
    fed_logging("text", flags)
}

/// The same with a log in this format.
#[track_caller]
pub fn fed_logging(format: &str, flags: &[&str]) -> (Server, Producer) {
    let (reader, writer) = io::pipe().expect("there are descriptors left");
    (server_logging(reader, format, flags), Producer::new(writer))
}

/// A server of a live source, read from this pipe.
#[track_caller]
pub fn server_of(pipe: impl Into<Stdio>, flags: &[&str]) -> Server {
    server_logging(pipe, "text", flags)
}

#[track_caller]
fn server_logging(pipe: impl Into<Stdio>, format: &str, flags: &[&str]) -> Server {
    let mut command = multiclient();
    command.args(["-", "0", "--as", "/live.ts", "--log", format]).args(flags).stdin(pipe).stdout(Stdio::null());
    Server::run(command)
}

/// What a producer lets pass between two writes: its pace, and nothing that a test waits for.
pub fn pause(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

// ---- viewers

/// A client that watches something without a known length.
pub struct Viewer {
    /// Its connection.
    pub connection: Connection,
    /// The header section of the response.
    pub header: HeaderSection,
    /// The bytes so far, without chunks.
    pub got: Vec<u8>,
    chunked: bool,
    /// What is left of the current chunk.
    left: usize,
    ended: bool,
}

impl Viewer {
    /// Watches `target` over HTTP/1.1.
    #[track_caller]
    pub fn of(server: &Server, target: &str) -> Self {
        Self::with_request(server.connect(), &format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }

    /// Watches `target` over HTTP/1.0, where nothing but the close ends the response.
    #[track_caller]
    pub fn with_http_10(server: &Server, target: &str) -> Self {
        Self::with_request(server.connect(), &format!("GET {target} HTTP/1.0\r\n\r\n"))
    }

    /// Watches what this request gets.
    #[track_caller]
    pub fn with_request(mut connection: Connection, request: &str) -> Self {
        connection.send(request);
        let header = connection.header_section();
        assert_eq!(header.status, 200, "{header:?}");
        assert_eq!(header.field("Content-Length"), None, "its length is not known: {header:?}");
        assert_eq!(header.expect_field("Cache-Control"), "no-store");
        let chunked = header.field("Transfer-Encoding") == Some("chunked");
        assert_eq!(chunked, request.contains("HTTP/1.1"), "{header:?}");
        Self { connection, header, got: Vec::new(), chunked, left: 0, ended: false }
    }

    /// Reads what there is next.
    #[track_caller]
    fn more(&mut self) {
        assert!(!self.ended, "it has ended after {} bytes", self.got.len());
        if self.chunked && self.left == 0 {
            self.left = self.connection.chunk_size();
            self.ended = self.left == 0;
            if self.ended {
                return;
            }
        }
        let mut piece = [0; 64 << 10];
        let most = if self.chunked { self.left.min(piece.len()) } else { piece.len() };
        let count = self.connection.read_into(&mut piece[..most]);
        self.got.extend_from_slice(&piece[..count]);
        if !self.chunked {
            self.ended = count == 0;
            return;
        }
        assert!(count > 0, "it ends in the middle of a chunk, after {} bytes", self.got.len());
        self.left -= count;
        if self.left == 0 {
            assert!(self.connection.line().is_empty(), "a chunk ends with an empty line");
        }
    }

    /// Reads until there are this many bytes.
    #[track_caller]
    pub fn until(&mut self, count: usize) {
        while self.got.len() < count {
            self.more();
        }
    }

    /// Reads up to a proper end.
    #[track_caller]
    pub fn until_end(&mut self) {
        while !self.ended {
            self.more();
        }
    }

    /// Reads up to a proper end, and gives all that came.
    #[track_caller]
    pub fn all(mut self) -> Vec<u8> {
        self.until_end();
        if self.chunked {
            self.connection.expect_open();
        }
        self.got
    }
}
