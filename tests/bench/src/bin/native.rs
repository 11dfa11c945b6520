//! The built-in guest's HTTP code without a sandbox: what the same server costs when it trusts that code.
//!
//!     cargo run --release -p multiclient-bench --bin multiclient-native -- FOLDER PORT
//!
//! One thread, one event queue, a session of `multiclient-guest` for each client, called as a function. It serves the
//! files of a folder on 127.0.0.1 and has no limits at all: it is for measuring, and for nothing else.

#![expect(clippy::print_stderr, reason = "a program that runs in the foreground")]

use std::collections::{HashMap, VecDeque};
use std::error::Error;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use multiclient_guest::Session;
use multiclient_guest::contract::{Action, Event, Facts, Found, Refusal, Settings, Span, Window};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags, SocketFlags};

/// Bodies up to so many bytes go out with their header section, as in the host.
const SMALL: u64 = 8 << 10;

/// Bytes of one `sendfile`, as in the host.
const PASSED_AT_ONCE: u64 = 2 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(root), Some(port)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: multiclient-native FOLDER PORT");
        std::process::exit(2);
    };
    let port = port.to_str().ok_or("PORT is a number")?.parse()?;
    Ok(serve(root.into(), port)?)
}

fn serve(root: PathBuf, port: u16) -> io::Result<()> {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    listener.set_reuse_address(true)?;
    listener.set_nonblocking(true)?;
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], port)).into())?;
    listener.listen(4_096)?;
    net::sockopt::set_tcp_nodelay(&listener, true)?;

    let queue = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&queue, &listener, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    let mut server = Server { root, queue, clients: HashMap::new(), came: 0, buffer: vec![0; 16 << 10] };
    let mut events = Vec::with_capacity(1_024);
    loop {
        events.clear();
        epoll::wait(&server.queue, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            match event.data.u64() {
                0 => server.accept(&listener)?,
                client => server.serve(client),
            }
        }
    }
}

struct Server {
    root: PathBuf,
    queue: OwnedFd,
    clients: HashMap<u64, Client>,
    came: u64,
    buffer: Vec<u8>,
}

struct Client {
    socket: OwnedFd,
    session: Session,
    source: Option<Source>,
    /// What is to be done yet, in this order.
    actions: VecDeque<Action>,
    /// What is to be sent before that.
    unsent: Vec<u8>,
}

struct Source {
    file: File,
    facts: Facts,
}

/// Why a client is left alone for now.
enum Pause {
    /// Until its socket has room, or bytes.
    Socket,
    /// For ever.
    Gone,
}

impl Server {
    fn accept(&mut self, listener: &socket2::Socket) -> io::Result<()> {
        loop {
            let socket = match net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(error) => return Err(error.into()),
            };
            self.came += 1;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&self.queue, &socket, epoll::EventData::new_u64(self.came), flags)?;
            let session = Session::new(Settings::default());
            let client = Client { socket, session, source: None, actions: VecDeque::new(), unsent: Vec::new() };
            self.clients.insert(self.came, client);
            // Usually the request is there already.
            self.serve(self.came);
        }
    }

    fn serve(&mut self, number: u64) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        if matches!(client.run(&self.root, &mut self.buffer), Pause::Gone) {
            self.clients.remove(&number);
        }
    }
}

impl Client {
    fn run(&mut self, root: &Path, buffer: &mut [u8]) -> Pause {
        loop {
            match self.step(root, buffer) {
                Ok(()) => {}
                Err(pause) => return pause,
            }
        }
    }

    fn step(&mut self, root: &Path, buffer: &mut [u8]) -> Result<(), Pause> {
        match self.actions.pop_front() {
            Some(Action::Send(bytes)) => self.unsent.extend(bytes),
            Some(Action::Pass(span)) => self.pass(span)?,
            Some(Action::Report(_)) => {}
            Some(Action::Open(name)) => {
                let opened = self.open(&root.join(OsStr::from_bytes(&name)));
                self.tell(Event::Opened(opened));
            }
            Some(Action::List(_)) => self.tell(Event::Listed(Err(Refusal::NotFound))),
            Some(Action::Proceed) => self.tell(Event::Proceeded),
            // Nothing here grows.
            Some(Action::Wait(_)) => return Err(Pause::Gone),
            Some(Action::Close(_)) => {
                self.send()?;
                return Err(Pause::Gone);
            }
            Some(Action::Receive(phase)) => {
                let received = self.send().and_then(|()| self.receive(buffer));
                match received {
                    Ok(event) => self.tell(event),
                    Err(pause) => {
                        self.actions.push_front(Action::Receive(phase));
                        return Err(pause);
                    }
                }
            }
            // A session that has not been told anything yet waits for its first bytes.
            None => {
                let event = self.receive(buffer)?;
                self.tell(event);
            }
        }
        Ok(())
    }

    fn tell(&mut self, event: Event) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.actions = self.session.advance(u64::try_from(now).unwrap_or(u64::MAX), event).into();
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<Event, Pause> {
        match net::recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
            Ok((_, 0)) => Ok(Event::Finished),
            Ok((_, count)) => Ok(Event::Received(buffer[..count].to_vec())),
            Err(error) => Err(pause(error)),
        }
    }

    fn open(&mut self, path: &Path) -> Result<Found, Refusal> {
        let not_found = |_| Refusal::NotFound;
        let file = File::open(path).map_err(not_found)?;
        let metadata = file.metadata().map_err(not_found)?;
        if metadata.is_dir() {
            return Ok(Found::Folder);
        }
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let facts = Facts {
            window: Window { start: 0, end: metadata.len(), is_final: true },
            modified: modified.and_then(|time| time.as_millis().try_into().ok()),
            version: format!("{:x}-{:x}", modified.unwrap_or_default().as_nanos(), metadata.len()),
            media_type: None,
        };
        self.source = Some(Source { file, facts: facts.clone() });
        Ok(Found::Source(facts))
    }

    /// Sends what waits to be sent.
    fn send(&mut self) -> Result<(), Pause> {
        while !self.unsent.is_empty() {
            let sent = net::send(&self.socket, &self.unsent, SendFlags::NOSIGNAL).map_err(pause)?;
            self.unsent.drain(..sent);
        }
        Ok(())
    }

    fn pass(&mut self, span: Span) -> Result<(), Pause> {
        let Some(Source { file, facts }) = &self.source else { return Err(Pause::Gone) };
        if span.end() > facts.window.end {
            return Err(Pause::Gone);
        }
        if span.count <= SMALL {
            let head = self.unsent.len();
            self.unsent.resize(head + span.count as usize, 0);
            let read = rustix::io::pread(file, &mut self.unsent[head..], span.offset);
            return if read.is_ok_and(|count| count as u64 == span.count) { Ok(()) } else { Err(Pause::Gone) };
        }
        let file = file.try_clone().map_err(|_| Pause::Gone)?;
        let mut rest = span;
        while rest.count > 0 {
            let passed = self.send().and_then(|()| {
                let count = rest.count.min(PASSED_AT_ONCE) as usize;
                rustix::fs::sendfile(self.socket.as_fd(), &file, Some(&mut rest.offset), count).map_err(pause)
            });
            match passed {
                Ok(0) => return Err(Pause::Gone),
                Ok(count) => rest.count -= count as u64,
                Err(pause) => {
                    self.actions.push_front(Action::Pass(rest));
                    return Err(pause);
                }
            }
        }
        Ok(())
    }
}

fn pause(error: Errno) -> Pause {
    if matches!(error, Errno::AGAIN | Errno::INTR) { Pause::Socket } else { Pause::Gone }
}
