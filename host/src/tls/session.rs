//! TLS with one client.
//!
//! Rule: buffers are the loop's. A client holds what has come of a record that is not whole, and what is still to
//! be sent of those that were made: mostly nothing.

use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, InsufficientSizeError, UnbufferedStatus};
use rustls::{AlertDescription, Error, ServerConfig};

use super::taken::Taken;
use crate::ended::TlsFault;
use crate::limits::{TLS_RECORD_BYTES, TLS_WIRE_BYTES};

/// The first byte of a record with a message of the handshake.
const HANDSHAKE: u8 = 22;

/// Bytes of a record's header: its kind, a version, and the length of the rest.
const HEADER_BYTES: usize = 5;

/// TLS with one client.
pub(crate) struct Session {
    connection: UnbufferedServerConnection,
    /// What has come of a record that is not whole.
    partial: Vec<u8>,
    /// Records that were made, and how many of their bytes were sent.
    unsent: Vec<u8>,
    sent: usize,
    heard: Heard,
    /// Whether bytes of the client came with the end of the handshake, and were not asked for so far.
    has_decrypted: bool,
}

/// How much has been heard of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Something,
    /// It has said that it will send no more.
    Everything,
}

/// What came of one step through what has come.
struct Step {
    /// So many bytes are done with.
    discard: usize,
    /// So many bytes of the client were in them.
    plain: usize,
    /// Whether that was the last step, and then whether the handshake is over.
    over: Option<bool>,
}

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, TlsFault> {
        let connection = UnbufferedServerConnection::new(config).map_err(|error| fault(&error))?;
        let (partial, unsent) = (Vec::new(), Vec::new());
        Ok(Self { connection, partial, unsent, sent: 0, heard: Heard::Nothing, has_decrypted: false })
    }

    /// What has come of a record that is not whole. What comes next belongs after it.
    pub(crate) fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// How many bytes may be taken in at once, the partial record among them: so many that what is in them is never
    /// more than a buffer has room for.
    pub(crate) fn wanted(&self) -> usize {
        let record = match self.partial.get(..HEADER_BYTES) {
            Some(&[_, _, _, high, low]) => HEADER_BYTES + usize::from(u16::from_be_bytes([high, low])),
            _ => 0,
        };
        record.clamp(TLS_RECORD_BYTES, TLS_WIRE_BYTES)
    }

    /// Whether there are bytes of the client that can be had without receiving any.
    pub(crate) fn has_decrypted(&self) -> bool {
        self.has_decrypted
    }

    /// Whether the client has said that it will send no more.
    pub(crate) fn has_finished(&self) -> bool {
        self.heard == Heard::Everything
    }

    /// Takes in the partial record and what has come after it. Writes what the client has said to `plain`, which
    /// has room for a record; without it only makes the handshake, and leaves the rest for later.
    pub(crate) fn take_in(&mut self, incoming: &mut [u8], mut plain: Option<&mut [u8]>) -> Result<Taken, TlsFault> {
        if self.heard == Heard::Nothing
            && let Some(first) = incoming.first()
        {
            if *first != HANDSHAKE {
                return Err(TlsFault::NotTls);
            }
            self.heard = Heard::Something;
        }
        self.partial = Vec::new();
        let (mut from, mut count) = (0, 0);
        let established = loop {
            let room = plain.as_deref_mut().map(|plain| &mut plain[count..]);
            let Step { discard, plain, over } = self.step(&mut incoming[from..], room)?;
            (from, count) = (from + discard, count + plain);
            if let Some(established) = over {
                break established;
            }
        };
        if incoming.len() - from >= TLS_WIRE_BYTES {
            return Err(TlsFault::Invalid);
        }
        self.partial = incoming[from..].to_vec();
        Ok(Taken { plain: count, established })
    }

    fn step(&mut self, incoming: &mut [u8], plain: Option<&mut [u8]>) -> Result<Step, TlsFault> {
        let UnbufferedStatus { discard, state } = self.connection.process_tls_records(incoming);
        let step = Step { discard, plain: 0, over: None };
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                let Some(plain) = plain else {
                    self.has_decrypted = true;
                    return Ok(Step { over: Some(true), ..step });
                };
                self.has_decrypted = false;
                let (mut count, mut discard) = (0, discard);
                while let Some(record) = traffic.next_record() {
                    let record = record.map_err(|error| fault(&error))?;
                    let end = count + record.payload.len();
                    plain.get_mut(count..end).ok_or(TlsFault::Invalid)?.copy_from_slice(record.payload);
                    (count, discard) = (end, discard + record.discard);
                }
                return Ok(Step { discard, plain: count, over: None });
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, &mut self.unsent),
            // It is among what is unsent, and what is sent next comes after it.
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => self.heard = Heard::Everything,
            Ok(ConnectionState::WriteTraffic(_) | ConnectionState::Closed) => {
                return Ok(Step { over: Some(true), ..step });
            }
            Ok(ConnectionState::BlockedHandshake) => return Ok(Step { over: Some(false), ..step }),
            // Early data, which is not offered.
            Ok(_) => return Err(TlsFault::Invalid),
            Err(error) => {
                self.say_why();
                return Err(fault(&error));
            }
        }
        Ok(step)
    }

    /// Writes the records that carry `plain` to `out`, and returns how many bytes they have.
    pub(crate) fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, TlsFault> {
        let mut at = 0;
        loop {
            match self.connection.process_tls_records(&mut self.partial).state.map_err(|error| fault(&error))? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let made = traffic.encrypt(plain, &mut out[at..]).map_err(|_| TlsFault::Invalid)?;
                    return Ok(at + made);
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    at += data.encode(&mut out[at..]).map_err(|_| TlsFault::Invalid)?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.heard = Heard::Everything,
                _ => return Err(TlsFault::Invalid),
            }
        }
    }

    /// Says to the client that nothing more will come, after what is unsent.
    pub(crate) fn close(&mut self) {
        let state = self.connection.process_tls_records(&mut self.partial).state;
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = state {
            let mut record = [0; 128];
            if let Ok(count) = traffic.queue_close_notify(&mut record) {
                self.unsent.extend_from_slice(&record[..count]);
            }
        }
    }

    /// Has the client told by an alert why its handshake failed.
    fn say_why(&mut self) {
        while let Ok(ConnectionState::EncodeTlsData(mut data)) = self.connection.process_tls_records(&mut []).state {
            encode(&mut data, &mut self.unsent);
        }
    }

    /// What was made and is still to be sent, before anything else is.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.unsent[self.sent..]
    }

    /// Notes that so much of it was sent.
    pub(crate) fn has_sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent >= self.unsent.len() {
            // Who waits holds no buffer.
            (self.unsent, self.sent) = (Vec::new(), 0);
        }
    }

    /// Keeps what the kernel has not taken.
    pub(crate) fn keep_unsent(&mut self, rest: &[u8]) {
        self.unsent.extend_from_slice(rest);
    }
}

fn encode<T>(data: &mut EncodeTlsData<'_, T>, unsent: &mut Vec<u8>) {
    if let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) = data.encode(&mut []) {
        let at = unsent.len();
        unsent.resize(at + required_size, 0);
        let encoded = data.encode(&mut unsent[at..]);
        debug_assert!(encoded.is_ok(), "it has the room that it asked for");
    }
}

fn fault(error: &Error) -> TlsFault {
    match error {
        Error::PeerIncompatible(_) => TlsFault::Incompatible,
        Error::NoApplicationProtocol => TlsFault::Protocol,
        Error::AlertReceived(AlertDescription::CloseNotify) => TlsFault::Left,
        Error::AlertReceived(alert) => TlsFault::Alert(u8::from(*alert)),
        _ => TlsFault::Invalid,
    }
}
