//! A client that speaks TLS, and sees how the server ends it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion, version};
use support::PATIENCE;

/// Both versions, the newer first.
pub(super) const VERSIONS: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

/// A connection with TLS, after the handshake.
pub(super) struct Secure(pub(super) StreamOwned<ClientConnection, TcpStream>);

/// A client that trusts this certificate, and no other.
pub(super) fn trusting(certificate: &CertificateDer<'static>) -> ClientConfig {
    speaking(certificate, VERSIONS)
}

/// The same, with these versions of TLS only.
pub(super) fn speaking(
    certificate: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("it is a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_protocol_versions(versions).expect("they go together");
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

/// A TCP connection that nobody waits for too long on.
#[track_caller]
pub(super) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts connections");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket can time out");
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket can time out");
    stream
}

/// The client's side of TLS with a server of this name.
pub(super) fn hello(name: &str, config: &ClientConfig) -> ClientConnection {
    let name = ServerName::try_from(name.to_owned()).expect("it is a name");
    ClientConnection::new(Arc::new(config.clone()), name).expect("the client is sound")
}

impl Secure {
    /// Connects to `localhost` at this address.
    #[track_caller]
    pub(super) fn to(address: SocketAddr, config: &ClientConfig) -> Self {
        Self::named("localhost", address, config).expect("the handshake succeeds")
    }

    /// Connects to a server of this name at this address.
    #[track_caller]
    pub(super) fn named(name: &str, address: SocketAddr, config: &ClientConfig) -> io::Result<Self> {
        Self::over(connect(address), hello(name, config))
    }

    /// Makes the handshake on this connection.
    pub(super) fn over(mut stream: TcpStream, mut connection: ClientConnection) -> io::Result<Self> {
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Self(StreamOwned::new(connection, stream)))
    }

    #[track_caller]
    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).and_then(|()| self.0.flush()).expect("the server takes it");
    }

    /// Asks for `target` on this connection and leaves it open.
    #[track_caller]
    pub(super) fn get(&mut self, target: &str) -> (String, Vec<u8>) {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.response()
    }

    /// Reads a response with a length.
    #[track_caller]
    pub(super) fn response(&mut self) -> (String, Vec<u8>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).expect("a response comes");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("a header section is text");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("it has a length");
        let mut body = vec![0; length.parse().expect("it is a number")];
        self.0.read_exact(&mut body).expect("all of the body comes");
        (head, body)
    }

    /// Reads until the server has said that nothing more will come. Fails where it leaves without a word.
    pub(super) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest)?;
        Ok(rest)
    }
}
