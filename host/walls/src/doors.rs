//! Ways out of a server's process, to be tried from inside: without walls each leads out, behind them none.
//!
//! Rule: a door is tried with the right that it is about, and does no harm where it opens. It may end the
//! process that tries it, so each is tried in a process of its own.
#![expect(unsafe_code, reason = "these are the calls that no library has a safe name for")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::ptr;

use rustix::process::{Pid, test_kill_process};

/// What is on the other side.
#[derive(Clone, Debug)]
pub struct Outside {
    /// A process of the same user.
    pub process: Pid,
    /// Where in its memory something lies that can be read: 16 bytes.
    pub address: usize,
    /// Where somebody listens.
    pub listener: SocketAddr,
    /// A folder beside the sources that the user may write to.
    pub folder: PathBuf,
}

/// Bytes that are mapped to try whether they can be executed.
const PAGE: usize = 4 << 10;

/// A way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Door {
    /// Read a file that is not served.
    ReadFile,
    /// Make a file beside the sources.
    WriteFile,
    /// Connect to a TCP port.
    Connect,
    /// Take a socket that listens, and connect it to a TCP port by sending (TCP Fast Open).
    SendOut,
    /// Listen on a TCP port.
    Listen,
    /// Run a program.
    RunProgram,
    /// Become two processes.
    Fork,
    /// Map memory that can be written and executed.
    MapCode,
    /// Write to memory, then make it executable.
    MakeCode,
    /// Signal another process.
    Signal,
    /// Read another process' memory by a call.
    ReadMemory,
    /// Open another process' memory as a file.
    OpenMemory,
    /// Have the kernel make calls by itself.
    IoUring,
    /// Become root of a user namespace, with all its capabilities.
    Namespace,
}

impl Door {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::ReadFile,
        Self::WriteFile,
        Self::Connect,
        Self::SendOut,
        Self::Listen,
        Self::RunProgram,
        Self::Fork,
        Self::MapCode,
        Self::MakeCode,
        Self::Signal,
        Self::ReadMemory,
        Self::OpenMemory,
        Self::IoUring,
        Self::Namespace,
    ];

    /// What is tried, in a few words.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadFile => "open /etc/passwd",
            Self::WriteFile => "write beside the sources",
            Self::Connect => "connect out",
            Self::SendOut => "connect out by sending",
            Self::Listen => "listen",
            Self::RunProgram => "run a program",
            Self::Fork => "fork",
            Self::MapCode => "map executable memory",
            Self::MakeCode => "make memory executable",
            Self::Signal => "signal another process",
            Self::ReadMemory => "read another process' memory",
            Self::OpenMemory => "open another process' memory",
            Self::IoUring => "set up an io_uring",
            Self::Namespace => "become root of a user namespace",
        }
    }

    /// Tries it.
    ///
    /// # Errors
    ///
    /// The door is closed. Or the process has ended by `SIGSYS`, and this does not return.
    pub fn open(self, outside: &Outside) -> io::Result<()> {
        match self {
            Self::ReadFile => File::open("/etc/passwd")?.read_exact(&mut [0; 1]),
            Self::WriteFile => {
                let path = outside.folder.join("made-behind-the-walls");
                OpenOptions::new().create(true).append(true).open(&path)?;
                std::fs::remove_file(path)
            }
            Self::Connect => TcpStream::connect(outside.listener).map(drop),
            Self::SendOut => send_out(outside.listener),
            Self::Listen => TcpListener::bind(("127.0.0.1", 0)).map(drop),
            // In place of this one, and it succeeds. This returns only where that fails.
            Self::RunProgram => Err(Command::new("true").exec()),
            Self::Fork => fork(0),
            Self::MapCode => map(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC).map(drop),
            Self::MakeCode => make_executable(map(libc::PROT_READ | libc::PROT_WRITE)?),
            Self::Signal => Ok(test_kill_process(outside.process)?),
            Self::ReadMemory => read_memory(outside),
            Self::OpenMemory => File::open(format!("/proc/{}/mem", outside.process.as_raw_pid())).map(drop),
            Self::IoUring => io_uring(),
            // A process of its own: one with threads cannot enter another namespace.
            Self::Namespace => fork(libc::CLONE_NEWUSER),
        }
    }
}

/// The result of a call in the manner of libc.
fn done(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Connects a socket that the process has already. It asks for none of the calls that connect, and no rule about
/// those is looked at.
fn send_out(to: SocketAddr) -> io::Result<()> {
    let SocketAddr::V4(to) = to else { return Err(io::ErrorKind::Unsupported.into()) };
    // Where there are no walls, any process can make one that listens.
    let made = listening().is_none().then(|| TcpListener::bind(("127.0.0.1", 0))).transpose()?;
    let socket = listening().ok_or(io::ErrorKind::NotFound)?;
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: to.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(to.ip().octets()) },
        sin_zero: [0; 8],
    };
    let size = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: it takes numbers.
    done(unsafe { libc::shutdown(socket, libc::SHUT_RDWR) }.into())?;
    // SAFETY: `address` and the byte live until the call returns.
    let sent =
        unsafe { libc::sendto(socket, b"x".as_ptr().cast(), 1, libc::MSG_FASTOPEN, (&raw const address).cast(), size) };
    let connected = done(sent as libc::c_long).or_else(|error| match error.raw_os_error() {
        // A socket that does not wait.
        Some(libc::EINPROGRESS) => wait_until_connected(socket),
        _ => Err(error),
    });
    drop(made);
    connected
}

fn wait_until_connected(socket: libc::c_int) -> io::Result<()> {
    const PATIENCE_MS: libc::c_int = 2_000;
    let mut waiting = libc::pollfd { fd: socket, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry is there to be read and written.
    unsafe { libc::poll(&raw mut waiting, 1, PATIENCE_MS) };
    // SAFETY: an address of any family has room in it.
    let mut peer: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut size = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: `peer` has room for `size` bytes.
    done(unsafe { libc::getpeername(socket, (&raw mut peer).cast(), &raw mut size) }.into())
}

/// A descriptor of this process that listens for TCP.
fn listening() -> Option<libc::c_int> {
    let listens = |descriptor: &libc::c_int| {
        let mut answer: libc::c_int = 0;
        let mut size = size_of::<libc::c_int>() as libc::socklen_t;
        let (level, option) = (libc::SOL_SOCKET, libc::SO_ACCEPTCONN);
        // SAFETY: `answer` has room for `size` bytes.
        let asked = unsafe { libc::getsockopt(*descriptor, level, option, (&raw mut answer).cast(), &raw mut size) };
        asked == 0 && answer == 1
    };
    (0..1_024).find(listens)
}

/// Makes a process, with what these flags of `clone` ask for.
fn fork(flags: libc::c_int) -> io::Result<()> {
    let nothing: libc::c_ulong = 0;
    let flags = libc::c_ulong::from((flags | libc::SIGCHLD).unsigned_abs());
    // SAFETY: without shared memory or a stack this is `fork`. The child calls nothing but `_exit`.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, nothing, nothing, nothing, nothing) };
    if child == 0 {
        // SAFETY: as above.
        unsafe { libc::_exit(0) };
    }
    done(child)?;
    let child = libc::pid_t::try_from(child).map_err(io::Error::other)?;
    // SAFETY: a null pointer means that the status is not wanted.
    done(unsafe { libc::waitpid(child, ptr::null_mut(), 0) }.into())
}

/// A page of new memory. It stays mapped until the process ends.
fn map(protection: libc::c_int) -> io::Result<*mut libc::c_void> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: the kernel chooses the place, so nothing that is mapped is replaced.
    let page = unsafe { libc::mmap(ptr::null_mut(), PAGE, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(page) }
}

fn make_executable(page: *mut libc::c_void) -> io::Result<()> {
    // SAFETY: the page was mapped for this, and nothing else uses it.
    done(unsafe { libc::mprotect(page, PAGE, libc::PROT_READ | libc::PROT_EXEC) }.into())
}

fn read_memory(outside: &Outside) -> io::Result<()> {
    let mut bytes = [0_u8; 16];
    let here = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let there = libc::iovec { iov_base: ptr::without_provenance_mut(outside.address), iov_len: bytes.len() };
    let process = outside.process.as_raw_pid();
    // SAFETY: `here` is writable for its length; `there` is the other process's, where the kernel checks it.
    let read = unsafe { libc::process_vm_readv(process, &raw const here, 1, &raw const there, 1, 0) };
    done(read as libc::c_long)
}

fn io_uring() -> io::Result<()> {
    // `struct io_uring_params`, which the kernel fills in.
    let mut parameters = [0_u8; 120];
    // SAFETY: the second argument points to as many writable bytes as the kernel writes.
    done(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) })
}
