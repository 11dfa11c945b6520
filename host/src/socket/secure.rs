//! A socket's bytes by way of TLS.
//!
//! Rule: what is encrypted and what is not lie in buffers of the thread, one client after the other. What the kernel
//! does not take stays with the client, and goes before everything else.

use std::cell::RefCell;
use std::io;
use std::os::fd::BorrowedFd;

use super::calls::{self, Follows, Moved};
use crate::ended::TlsFault;
use crate::limits::{TLS_OVERHEAD, TLS_RECORD_BYTES, TLS_RECORDS, TLS_WIRE_BYTES};
use crate::tls::{Session, Taken};

thread_local! {
    static INCOMING: RefCell<Vec<u8>> = RefCell::new(vec![0; TLS_WIRE_BYTES]);
    static OUTGOING: RefCell<Vec<u8>> = RefCell::new(vec![0; TLS_RECORDS * (TLS_RECORD_BYTES + TLS_OVERHEAD) + 1_024]);
}

/// How far a handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shaken {
    Done,
    /// It waits for the client to say something, or to take what was said to it.
    Waits(For),
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    Bytes,
    Room,
}

/// TLS on a socket.
pub(super) struct Secure {
    session: Box<Session>,
    /// Whether the last attempt to receive has left nothing behind in the kernel.
    emptied: bool,
}

impl Secure {
    pub(super) fn new(session: Session) -> Self {
        Self { session: Box::new(session), emptied: false }
    }

    /// Goes on with the handshake. What the client has said beyond it is there when it is asked for.
    pub(super) fn shake(&mut self, socket: BorrowedFd<'_>) -> io::Result<Shaken> {
        loop {
            if !self.flush(socket, Follows::Nothing)? {
                return Ok(Shaken::Waits(For::Room));
            }
            let taken = self.take_in(socket, None);
            if taken.is_err() {
                // The alert that says why.
                let _ = self.flush(socket, Follows::Nothing);
            }
            match taken? {
                Some(taken) if taken.established => {
                    // What is left of it goes before the response.
                    self.flush(socket, Follows::Nothing)?;
                    return Ok(Shaken::Done);
                }
                Some(_) => {}
                None => return Ok(Shaken::Waits(For::Bytes)),
            }
        }
    }

    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Moved> {
        loop {
            if self.session.has_decrypted() {
                let mut partial = self.session.partial().to_vec();
                let taken = self.session.take_in(&mut partial, Some(buffer)).map_err(failed)?;
                if taken.plain > 0 {
                    return Ok(Moved::Bytes(taken.plain));
                }
            }
            if self.session.has_finished() {
                return Ok(Moved::End);
            }
            match self.take_in(socket, Some(buffer))? {
                Some(taken) if taken.plain > 0 => return Ok(Moved::Bytes(taken.plain)),
                // The beginning of a record, or something that is not for us.
                Some(_) => self.flush(socket, Follows::Nothing).map(drop)?,
                None => return Ok(Moved::Later),
            }
        }
    }

    /// Receives once, and takes in what has come. None: nothing has.
    fn take_in(&mut self, socket: BorrowedFd<'_>, plain: Option<&mut [u8]>) -> io::Result<Option<Taken>> {
        INCOMING.with_borrow_mut(|incoming| {
            let (partial, wanted) = (self.session.partial(), self.session.wanted());
            let before = partial.len();
            if before >= wanted {
                return Err(failed(TlsFault::Invalid));
            }
            incoming[..before].copy_from_slice(partial);
            match calls::receive(socket, &mut incoming[before..wanted])? {
                Moved::Bytes(count) => {
                    self.emptied = before + count < wanted;
                    self.session.take_in(&mut incoming[..before + count], plain).map(Some).map_err(failed)
                }
                Moved::Later => {
                    self.emptied = true;
                    Ok(None)
                }
                // Without a word that it has finished: somebody else may have cut it off.
                Moved::End => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        })
    }

    /// Whether another attempt to receive would find nothing but by waiting.
    pub(super) fn is_emptied(&self) -> bool {
        self.emptied && !self.session.has_decrypted() && !self.session.has_finished()
    }

    /// Whether it holds something of the client that nobody has asked for.
    pub(super) fn has_unread(&self) -> bool {
        self.session.has_decrypted() || !self.session.partial().is_empty()
    }

    /// Encrypts and sends some of `bytes`. What of them is encrypted counts as sent.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8], follows: Follows) -> io::Result<Moved> {
        if !self.flush(socket, Follows::More)? {
            return Ok(Moved::Later);
        }
        let piece = &bytes[..bytes.len().min(TLS_RECORDS * TLS_RECORD_BYTES)];
        let follows = if piece.len() < bytes.len() { Follows::More } else { follows };
        OUTGOING.with_borrow_mut(|outgoing| {
            let made = self.session.encrypt(piece, outgoing).map_err(failed)?;
            let sent = match calls::send(socket, &outgoing[..made], follows)? {
                Moved::Bytes(sent) => sent,
                Moved::Later | Moved::End => 0,
            };
            if sent < made {
                self.session.keep_unsent(&outgoing[sent..made]);
            }
            Ok(Moved::Bytes(piece.len()))
        })
    }

    /// Sends what was made before. False: not all of it.
    pub(super) fn flush(&mut self, socket: BorrowedFd<'_>, follows: Follows) -> io::Result<bool> {
        while !self.session.unsent().is_empty() {
            match calls::send(socket, self.session.unsent(), follows)? {
                Moved::Bytes(count) => self.session.has_sent(count),
                Moved::Later | Moved::End => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Has it said to the client, after what is unsent, that nothing more will come.
    pub(super) fn close(&mut self) {
        self.session.close();
    }
}

/// A fault of TLS as an error of the socket; [`fault_of`] finds it again.
fn failed(fault: TlsFault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

/// What of TLS has failed, if that is why a socket has.
pub(crate) fn fault_of(error: &io::Error) -> Option<TlsFault> {
    error.get_ref()?.downcast_ref().copied()
}
