//! The certificates of listeners with TLS: read from files, made in memory, and read again while the server runs.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{self, cipher_suite};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedCipherSuite, version};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::session::Session;
use crate::ended::TlsFault;
use crate::limits::{CERTIFICATES, PEM_BYTES};

/// TLS 1.2 and 1.3 for listeners, with certificates. Cheap to clone: all clones share them.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
}

/// A certificate or its key cannot be used.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct TlsError(String);

/// Where certificates come from, and what they are now.
#[derive(Debug)]
struct Certificates {
    /// A file with a chain and one with its key, each. Empty: they were made in memory.
    files: Vec<(PathBuf, PathBuf)>,
    /// The first is for clients that name none of the others. At least one.
    current: RwLock<Vec<Arc<CertifiedKey>>>,
}

impl Tls {
    /// Reads a certificate chain and its private key, in PEM, from each pair of files. A client that asks for a name
    /// (SNI) gets the first certificate that holds for it; everybody else gets the first one.
    ///
    /// # Errors
    ///
    /// Fails where there is no pair, or more than 64; where a file cannot be read, or holds something else; and where
    /// a key is not that of its certificate.
    pub fn from_files(pairs: &[(PathBuf, PathBuf)]) -> Result<Self, TlsError> {
        if pairs.is_empty() || pairs.len() > CERTIFICATES {
            return Err(TlsError(format!("expected 1 to {CERTIFICATES} certificates, not {}", pairs.len())));
        }
        let current = read_all(pairs)?;
        Self::new(Certificates { files: pairs.to_vec(), current: RwLock::new(current) })
    }

    /// Makes a certificate for these names and addresses, valid for a year, and signs it with its own key. Both are
    /// in memory only. Clients have to be told to trust it: by its [fingerprint](Self::fingerprint).
    pub fn self_signed(names: &[String]) -> Result<Self, TlsError> {
        let made = self_signed(names).map_err(|error| TlsError(format!("cannot make a certificate: {error}")))?;
        Self::new(Certificates { files: Vec::new(), current: RwLock::new(vec![Arc::new(made)]) })
    }

    fn new(certificates: Certificates) -> Result<Self, TlsError> {
        let certificates = Arc::new(certificates);
        let failed = |error: rustls::Error| TlsError(format!("TLS cannot be set up: {error}"));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Certificates>::clone(&certificates));
        config.ignore_client_order = true;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Whoever comes again brings the session along: the server remembers nothing of it.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = ring::Ticketer::new().map_err(failed)?;
        Ok(Self { config: Arc::new(config), certificates })
    }

    /// Reads all files again, for connections that are made from now on. What was made in memory stays as it is.
    ///
    /// # Errors
    ///
    /// Fails where [`from_files`](Self::from_files) does. All certificates then stay as they are.
    pub fn reload(&self) -> Result<(), TlsError> {
        if !self.certificates.files.is_empty() {
            let read = read_all(&self.certificates.files)?;
            *self.certificates.current.write().unwrap_or_else(PoisonError::into_inner) = read;
        }
        Ok(())
    }

    /// The SHA-256 of the first certificate, as 32 pairs of hexadecimal digits with colons between them.
    pub fn fingerprint(&self) -> String {
        let current = self.certificates.current.read().unwrap_or_else(PoisonError::into_inner);
        let first = current.first().and_then(|certified| certified.end_entity_cert().ok());
        let digest = Sha256::digest(first.map_or(&[][..], |certificate| certificate.as_ref()));
        let digits: Vec<_> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        digits.join(":")
    }

    /// Whether there are no files to be read again.
    pub fn is_in_memory(&self) -> bool {
        self.certificates.files.is_empty()
    }

    /// TLS with one more client.
    pub(crate) fn session(&self) -> Result<Session, TlsFault> {
        Session::new(Arc::clone(&self.config))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.certificates.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let is_understood =
            |certified: &&Arc<CertifiedKey>| certified.key.choose_scheme(hello.signature_schemes()).is_some();
        let asked = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let of_name = |certified: &&Arc<CertifiedKey>| asked.as_ref().is_some_and(|name| holds_for(certified, name));
        let named = current.iter().filter(is_understood).find(of_name);
        let any = || current.iter().find(is_understood).or(current.first());
        named.or_else(any).cloned()
    }
}

/// The ciphers, in the order in which the server picks one. AES with 128 bits comes first: as far as is known it is
/// as safe as the others, and it is the cheapest.
const CIPHERS: [SupportedCipherSuite; 9] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { cipher_suites: CIPHERS.to_vec(), ..ring::default_provider() })
}

fn holds_for(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}

fn read_all(pairs: &[(PathBuf, PathBuf)]) -> Result<Vec<Arc<CertifiedKey>>, TlsError> {
    pairs.iter().map(|(chain, key)| read_pair(chain, key).map(Arc::new)).collect()
}

fn read_pair(chain: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let unread = |path: &Path, error: &io::Error| TlsError(format!("cannot read {}: {error}", path.display()));
    let chain_pem = read(chain).map_err(|error| unread(chain, &error))?;
    let key_pem = read(key).map_err(|error| unread(key, &error))?;
    let wrong = |path: &Path, what: &str| TlsError(format!("{} {what}", path.display()));
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain_pem).collect();
    let certificates = certificates.map_err(|_| wrong(chain, "is not a PEM file"))?;
    if certificates.is_empty() {
        return Err(wrong(chain, "has no certificate in PEM (`-----BEGIN CERTIFICATE-----`)"));
    }
    let private = PrivateKeyDer::from_pem_slice(&key_pem)
        .map_err(|_| wrong(key, "has no private key in PEM; an encrypted key has to be decrypted first"))?;
    let certified = CertifiedKey::from_der(certificates, private, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => wrong(key, &format!("is not the key of {}", chain.display())),
        error => TlsError(format!("{} and {} cannot be used: {error}", chain.display(), key.display())),
    })?;
    let first = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
    first.map_err(|error| wrong(chain, &format!("cannot be used: {error}")))?;
    Ok(certified)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(PEM_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        0..=PEM_BYTES => Ok(bytes),
        _ => Err(io::Error::other("the file is too large")),
    }
}

fn self_signed(names: &[String]) -> Result<CertifiedKey, Box<dyn std::error::Error>> {
    let key = rcgen::KeyPair::generate()?;
    let mut wanted = rcgen::CertificateParams::new(names)?;
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    wanted.distinguished_name.push(rcgen::DnType::CommonName, "multiclient");
    let day = |date: jiff::civil::Date| {
        let number = |part: i8| u8::try_from(part).unwrap_or(1);
        rcgen::date_time_ymd(i32::from(date.year()), number(date.month()), number(date.day()))
    };
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    // Clocks differ. Browsers take no certificate that is valid for longer than 398 days.
    wanted.not_before = day(today.yesterday()?);
    wanted.not_after = day(today.checked_add(jiff::Span::new().days(365))?);
    wanted.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    wanted.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = wanted.self_signed(&key)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok(CertifiedKey::from_der(vec![certificate.der().clone()], private, &provider())?)
}
