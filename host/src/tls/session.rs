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
    /// It has broken a rule. What is under way is not looked at again: its parts may be gone.
    Nonsense,
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
        if self.heard == Heard::Nonsense {
            return Err(TlsFault::Invalid);
        }
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
                self.heard = Heard::Nonsense;
                self.say_why();
                return Err(fault(&error));
            }
        }
        Ok(step)
    }

    /// Writes the records that carry `plain` to `out`, and returns how many bytes they have.
    pub(crate) fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> Result<usize, TlsFault> {
        let mut at = 0;
        while self.heard != Heard::Nonsense {
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
                _ => break,
            }
        }
        Err(TlsFault::Invalid)
    }

    /// Says to the client that nothing more will come, after what is unsent.
    pub(crate) fn close(&mut self) {
        if self.heard == Heard::Nonsense {
            return;
        }
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
        // Only as long as there is something to be said: beyond, it would look for what has come.
        while self.connection.wants_write()
            && let Ok(ConnectionState::EncodeTlsData(mut data)) = self.connection.process_tls_records(&mut []).state
        {
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

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::ring;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

    use super::*;
    use crate::tls::Tls;

    /// Takes every certificate: it is not what is tried here.
    #[derive(Debug)]
    struct Trusting;

    impl ServerCertVerifier for Trusting {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            ring::default_provider().signature_verification_algorithms.supported_schemes()
        }
    }

    fn client() -> ClientConnection {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().expect("there are some").dangerous();
        let config = config.with_custom_certificate_verifier(Arc::new(Trusting)).with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), "a".try_into().expect("a name")).expect("a client");
        client.set_buffer_limit(None);
        client
    }

    fn session() -> Session {
        Tls::self_signed(&["a".to_owned()]).map(|tls| tls.session().expect("a session")).expect("randomness")
    }

    /// Takes in bytes as a socket would: so many at once, after those that are there.
    fn take_in(
        session: &mut Session,
        bytes: &[u8],
        at_once: usize,
        mut plain: Option<&mut Vec<u8>>,
    ) -> Result<(), TlsFault> {
        for piece in bytes.chunks(at_once.min(TLS_RECORD_BYTES)) {
            let mut rest = piece;
            while !rest.is_empty() {
                let mut incoming = session.partial().to_vec();
                let taken = rest.len().min(session.wanted() - incoming.len());
                incoming.extend_from_slice(&rest[..taken]);
                rest = &rest[taken..];
                let mut room = vec![0; TLS_RECORD_BYTES];
                let taken = session.take_in(&mut incoming, plain.is_some().then_some(&mut room[..]))?;
                if let Some(plain) = &mut plain {
                    plain.extend_from_slice(&room[..taken.plain]);
                }
            }
        }
        Ok(())
    }

    /// Brings what the session has to say to the client.
    fn answer(session: &mut Session, client: &mut ClientConnection) {
        let said = session.unsent().to_vec();
        session.has_sent(said.len());
        let mut said = &said[..];
        while !said.is_empty() {
            client.read_tls(&mut said).expect("memory can be read");
            client.process_new_packets().expect("the session speaks TLS");
        }
    }

    fn said(client: &mut ClientConnection) -> Vec<u8> {
        let mut said = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut said).expect("a vector takes everything");
        }
        said
    }

    fn shake(session: &mut Session, client: &mut ClientConnection, at_once: usize) {
        while client.is_handshaking() {
            let said = said(client);
            take_in(session, &said, at_once, None).expect("the client speaks TLS");
            answer(session, client);
        }
        let said = said(client);
        take_in(session, &said, at_once, None).expect("the client speaks TLS");
        answer(session, client);
    }

    /// Records of TLS with anything in them, the first of the handshake.
    fn records() -> impl Strategy<Value = Vec<u8>> {
        let record = (20_u8..25, prop::collection::vec(0_u8..26, 0..60));
        prop::collection::vec(record, 1..6).prop_map(|records| {
            let mut bytes = Vec::new();
            for (at, (kind, payload)) in records.into_iter().enumerate() {
                bytes.extend([if at == 0 { HANDSHAKE } else { kind }, 3, 3, 0, payload.len() as u8]);
                bytes.extend(payload);
            }
            bytes
        })
    }

    /// What a client says first, with some of it changed, and then more.
    fn changed_hello() -> impl Strategy<Value = Vec<u8>> {
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
        (changes, records()).prop_map(|(changes, more)| {
            let mut hello = said(&mut client());
            for (at, byte) in changes {
                let at = at.index(hello.len());
                hello[at] = byte;
            }
            hello.extend(more);
            hello
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn however_it_is_cut_a_client_is_heard_to_the_byte_and_nothing_is_kept(
            at_once in prop_oneof![Just(1), 1_usize..100, 1_usize..40_000],
            lengths in prop::collection::vec(1_usize..40_000, 1..4),
        ) {
            let (mut session, mut client) = (session(), client());
            shake(&mut session, &mut client, at_once);
            let mut heard = Vec::new();
            let mut meant = Vec::new();
            for length in lengths {
                let bytes = vec![length as u8; length];
                std::io::Write::write_all(&mut client.writer(), &bytes).expect("the client takes it");
                meant.extend(bytes);
            }
            client.send_close_notify();
            take_in(&mut session, &said(&mut client), at_once, Some(&mut heard)).expect("it is TLS");
            prop_assert!(heard == meant);
            prop_assert!(session.has_finished());
            prop_assert!(session.partial().is_empty() && session.partial.capacity() == 0);
        }

        #[test]
        fn garbage_is_an_error_or_not_whole_and_never_more(
            bytes in prop_oneof![prop::collection::vec(any::<u8>(), 1..3_000), records(), changed_hello()],
            at_once in prop_oneof![1_usize..50, Just(usize::MAX)],
        ) {
            let mut session = session();
            let mut heard = Vec::new();
            if take_in(&mut session, &bytes, at_once, Some(&mut heard)).is_err() {
                session.close();
                prop_assert!(session.encrypt(b"a", &mut [0; 100]).is_err());
            }
            prop_assert!(heard.is_empty());
        }

        #[test]
        fn what_is_changed_on_the_way_is_noticed(at in 0_usize..1_000, bit in 0_u8..8) {
            let (mut session, mut client) = (session(), client());
            shake(&mut session, &mut client, usize::MAX);
            std::io::Write::write_all(&mut client.writer(), &[7; 2_000]).expect("the client takes it");
            let mut record = said(&mut client);
            // Beyond the header, whose length could promise more than has come.
            record[HEADER_BYTES + at] ^= 1 << bit;
            let mut heard = Vec::new();
            prop_assert_eq!(take_in(&mut session, &record, usize::MAX, Some(&mut heard)), Err(TlsFault::Invalid));
            prop_assert!(heard.is_empty());
        }
    }

    #[test]
    fn what_is_said_to_a_client_arrives_before_the_end() {
        let (mut session, mut client) = (session(), client());
        shake(&mut session, &mut client, usize::MAX);
        let mut out = vec![0; 20_000];
        let count = session.encrypt(&[1; 10_000], &mut out).expect("there is room");
        session.keep_unsent(&out[..count]);
        session.close();
        answer(&mut session, &mut client);
        let mut heard = Vec::new();
        client.reader().read_to_end(&mut heard).expect("it ends in good order");
        assert_eq!(heard, [1; 10_000]);
        assert!(session.unsent().is_empty() && session.unsent.capacity() == 0);
    }
}
