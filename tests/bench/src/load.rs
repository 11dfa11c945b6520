//! The load generator: one thread, blocking where there is one connection, an event queue where there are
//! more, loopback only.
//!
//! Rule: it takes as little of a small machine as it can. Bodies are thrown away inside the kernel
//! (`MSG_TRUNC`), so that a byte costs it nothing; what it takes all the same is told with each sample.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::net::RecvFlags;
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Socket, Type};

/// How long one reply may take before the server is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A piece of a body that is thrown away at once.
const PIECE: usize = 1 << 20;

/// Where the CPU time of a server is read.
pub(crate) trait Meter {
    /// All that its processes have used so far.
    fn cpu(&self) -> Duration;
}

/// A stretch of work, and what it cost.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) exchanges: u64,
    pub(crate) bytes: u64,
    pub(crate) wall: Duration,
    /// Of the server's processes.
    pub(crate) cpu: Duration,
    /// Of the load generator.
    pub(crate) own_cpu: Duration,
    /// From before `connect` to the first byte, of each fresh connection.
    pub(crate) first_bytes: Vec<Duration>,
}

impl Work {
    /// Microseconds of the server's CPU for one exchange.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.exchanges.max(1) as f64
    }

    /// Seconds of the server's CPU for 10^9 bytes.
    pub(crate) fn cpu_s_per_gb(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e9 / self.bytes.max(1) as f64
    }

    /// The share of a core that the load generator took.
    pub(crate) fn own_share(&self) -> f64 {
        self.own_cpu.as_secs_f64() / self.wall.as_secs_f64()
    }

    /// In microseconds, the time to first byte that so many of a hundred stay below.
    pub(crate) fn first_byte_us(&self, percent: usize) -> f64 {
        let mut sorted = self.first_bytes.clone();
        sorted.sort_unstable();
        let at = (sorted.len().saturating_sub(1)) * percent / 100;
        sorted.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    }
}

/// Reads clocks at both ends of a stretch of work.
struct Stretch<'a> {
    meter: &'a dyn Meter,
    began: Instant,
    cpu: Duration,
    own_cpu: Duration,
}

impl<'a> Stretch<'a> {
    fn begin(meter: &'a dyn Meter) -> Self {
        Self { meter, began: Instant::now(), cpu: meter.cpu(), own_cpu: own_cpu() }
    }

    fn end(&self, work: &mut Work) {
        work.wall = self.began.elapsed();
        work.cpu = self.meter.cpu().saturating_sub(self.cpu);
        work.own_cpu = own_cpu().saturating_sub(self.own_cpu);
    }
}

fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Waits until the server answers, and returns what it answered first.
pub(crate) fn wait(port: u16, path: &str, patience: Duration) -> io::Result<String> {
    let deadline = Instant::now() + patience;
    loop {
        let answer = TcpStream::connect(local(port)).and_then(|mut socket| {
            socket.set_read_timeout(Some(PATIENCE))?;
            write!(socket, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
            let mut head = [0; 1024];
            let count = socket.read(&mut head)?;
            Ok(String::from_utf8_lossy(&head[..count]).into_owned())
        });
        match answer {
            Ok(head) if !head.is_empty() => return Ok(head),
            _ if Instant::now() < deadline => std::thread::sleep(Duration::from_micros(100)),
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => return Err(error),
        }
    }
}

/// How a fresh connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// When the server has closed it, to the last byte.
    Whole,
    /// At the first byte, by a reset: of a server that is asked for something endless.
    AtFirstByte,
}

/// One fresh connection after the other.
pub(crate) fn fresh(
    port: u16,
    path: &str,
    ends: Ends,
    warm: Duration,
    time: Duration,
    meter: &dyn Meter,
) -> io::Result<Work> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    let mut buffer = vec![0; PIECE];
    let mut one = |work: &mut Work| -> io::Result<()> {
        let began = Instant::now();
        let mut socket = TcpStream::connect(local(port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(request.as_bytes())?;
        let count = socket.read(&mut buffer[..4096])?;
        work.first_bytes.push(began.elapsed());
        if !buffer.starts_with(b"HTTP/1.1 200") && !buffer.starts_with(b"HTTP/1.0 200") {
            return Err(io::Error::other("the reply is not a 200"));
        }
        work.bytes += count as u64;
        if ends == Ends::AtFirstByte {
            rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
        } else {
            loop {
                match rustix::net::recv(&socket, &mut buffer[..], RecvFlags::TRUNC)? {
                    (_, 0) => break,
                    (_, count) => work.bytes += count as u64,
                }
            }
        }
        work.exchanges += 1;
        Ok(())
    };
    let end = Instant::now() + warm;
    while Instant::now() < end {
        one(&mut Work::default())?;
    }
    let mut work = Work::default();
    let stretch = Stretch::begin(meter);
    while stretch.began.elapsed() < time {
        one(&mut work)?;
    }
    stretch.end(&mut work);
    Ok(work)
}

/// What connections that stay ask for, again and again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wants {
    Whole,
    /// A range of so many bytes, somewhere in a file of so many.
    Range {
        length: u64,
        of: u64,
    },
}

/// A connection that stays, and how far its reply has come.
struct Kept {
    socket: TcpStream,
    head: Vec<u8>,
    /// Of the body, once the head is whole.
    left: Option<u64>,
}

/// So many connections that stay, each with one request under way.
pub(crate) fn kept(
    port: u16,
    path: &str,
    clients: usize,
    wants: Wants,
    warm: Duration,
    time: Duration,
    meter: &dyn Meter,
) -> io::Result<Work> {
    let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut dice = Dice(88_172_645_463_325_252);
    let mut all = Vec::new();
    for number in 0..clients {
        let socket = TcpStream::connect(local(port))?;
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        epoll::add(&queue, &socket, epoll::EventData::new_u64(number as u64), epoll::EventFlags::IN)?;
        let mut kept = Kept { socket, head: Vec::with_capacity(4096), left: None };
        kept.ask(path, wants, &mut dice)?;
        all.push(kept);
    }
    let mut buffer = vec![0; PIECE];
    let mut events = Vec::with_capacity(256);
    let mut work = Work::default();
    let mut stretch = Stretch::begin(meter);
    let mut warming = true;
    loop {
        let passed = stretch.began.elapsed();
        if warming && passed >= warm {
            (warming, work, stretch) = (false, Work::default(), Stretch::begin(meter));
        } else if !warming && passed >= time {
            stretch.end(&mut work);
            return Ok(work);
        }
        events.clear();
        let patience = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        match epoll::wait(&queue, rustix::buffer::spare_capacity(&mut events), Some(&patience)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let number = usize::try_from(event.data.u64()).expect("a number that was given out here");
            let kept = &mut all[number];
            let (bytes, over) = kept.take(&mut buffer)?;
            work.bytes += bytes;
            if over {
                work.exchanges += 1;
                kept.ask(path, wants, &mut dice)?;
            }
        }
    }
}

impl Kept {
    fn ask(&mut self, path: &str, wants: Wants, dice: &mut Dice) -> io::Result<()> {
        self.head.clear();
        self.left = None;
        match wants {
            Wants::Whole => self.socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").as_bytes()),
            Wants::Range { length, of } => {
                let from = dice.roll() % (of - length + 1);
                let to = from + length - 1;
                let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes={from}-{to}\r\n\r\n");
                self.socket.write_all(request.as_bytes())
            }
        }
    }

    /// Takes what is there of the reply: how many bytes of body, and whether that was the last.
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<(u64, bool)> {
        let (count, left) = match self.left {
            None => {
                let (count, _) = rustix::net::recv(&self.socket, &mut buffer[..8192], RecvFlags::empty())?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.head.extend_from_slice(&buffer[..count]);
                let Some((length, body)) = parse(&self.head)? else { return Ok((0, false)) };
                let body = (self.head.len() - body) as u64;
                (body, length)
            }
            Some(left) => {
                let most = usize::try_from(left).unwrap_or(PIECE).min(buffer.len());
                match rustix::net::recv(&self.socket, &mut buffer[..most], RecvFlags::TRUNC) {
                    Ok((_, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok((_, count)) => (count as u64, left),
                    Err(rustix::io::Errno::AGAIN) => (0, left),
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let left = left.checked_sub(count).ok_or_else(|| io::Error::other("more body than its length"))?;
        self.left = Some(left);
        Ok((count, left == 0))
    }
}

/// The length of a reply's body, and where it begins. None: the head is not whole.
fn parse(head: &[u8]) -> io::Result<Option<(u64, usize)>> {
    let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(&head[..end]);
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok());
    match (status, length) {
        ("200" | "206", Some(length)) => Ok(Some((length, end + 4))),
        _ => Err(io::Error::other(format!("not a reply of known length: {text}"))),
    }
}

/// Clients that are open and do nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Open {
    /// They have connected, and say nothing.
    Silent,
    /// They have had a small reply, and their connection stays.
    Idle,
    /// They have asked for a large file, read its beginning, and read no more. The connection closes
    /// behind it.
    Stalled,
    /// The same where the connection would stay.
    StalledKept,
}

/// Opens so many of them, with the buffers of a client somewhere in the world and not those of loopback.
/// They are there as long as what is returned.
pub(crate) fn hold(port: u16, path: &str, count: usize, open: Open) -> io::Result<Vec<TcpStream>> {
    let connection = match open {
        Open::Stalled => "Connection: close\r\n",
        Open::Silent | Open::Idle | Open::StalledKept => "",
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{connection}\r\n");
    let mut held = Vec::with_capacity(count);
    let mut buffer = [0; 2048];
    for _ in 0..count {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_tcp_mss(1448)?;
        socket.set_recv_buffer_size(4096)?;
        socket.connect_timeout(&local(port).into(), PATIENCE)?;
        let mut socket = TcpStream::from(socket);
        socket.set_read_timeout(Some(PATIENCE))?;
        if open != Open::Silent {
            socket.write_all(request.as_bytes())?;
            let most = if open == Open::Idle { buffer.len() } else { 512 };
            let count = socket.read(&mut buffer[..most])?;
            if !buffer[..count].starts_with(b"HTTP/1.1 200") && !buffer[..count].starts_with(b"HTTP/1.0 200") {
                return Err(io::Error::other("a client to be held was not served"));
            }
        }
        held.push(socket);
    }
    Ok(held)
}

/// How many of those are still connected.
pub(crate) fn still_there(held: &[TcpStream]) -> usize {
    let there = |socket: &&TcpStream| {
        let mut byte = [0];
        let _ = socket.set_nonblocking(true);
        // Nothing to read, or something: both are a connection. Its end would be a zero or an error.
        match rustix::net::recv(socket, &mut byte[..], RecvFlags::PEEK) {
            Ok((_, count)) => count > 0,
            Err(error) => error == rustix::io::Errno::AGAIN,
        }
    };
    held.iter().filter(there).count()
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
