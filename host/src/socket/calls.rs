//! The system calls that move bytes, without waiting.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

/// How far an attempt went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// So many bytes, at least one.
    Bytes(usize),
    /// There will never be more: the client has shut its side, or the file has ended.
    End,
    /// Nothing now.
    Later,
}

/// Whether more bytes, or the end, follow at once, so that the kernel should not send a small packet yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follows {
    More,
    Nothing,
}

pub(super) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Moved> {
    let received = retry(|| rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT));
    moved(received.map(|(count, _)| count))
}

pub(super) fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Moved> {
    let seen = retry(|| rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT | RecvFlags::PEEK));
    moved(seen.map(|(count, _)| count))
}

pub(super) fn send(socket: BorrowedFd<'_>, bytes: &[u8], follows: Follows) -> io::Result<Moved> {
    let more = match follows {
        Follows::More => SendFlags::MORE,
        Follows::Nothing => SendFlags::empty(),
    };
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL | more;
    moved(retry(|| rustix::net::send(socket, bytes, flags)))
}

/// Sends up to `count` bytes of `file` from `offset` on. They do not pass through this process. Does not wait for
/// the socket; for the file it may.
pub(crate) fn send_file(
    socket: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    mut offset: u64,
    count: usize,
) -> io::Result<Moved> {
    moved(retry(|| rustix::fs::sendfile(socket, file, Some(&mut offset), count)))
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

fn moved(result: Result<usize, Errno>) -> io::Result<Moved> {
    match result {
        Ok(0) => Ok(Moved::End),
        Ok(count) => Ok(Moved::Bytes(count)),
        Err(Errno::AGAIN) => Ok(Moved::Later),
        Err(error) => Err(error.into()),
    }
}
