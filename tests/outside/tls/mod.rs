//! TLS: clients get the same as without it, and nobody gets anything else.

mod certificates;
mod client;
mod clients;
mod ends;
mod faults;
mod operate;

use std::path::{Path, PathBuf};
use std::process::Command;

use client::Secure;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use support::{Folder, Server, multiclient};

/// A certificate for some names, signed by its own key, in files.
struct Certificate {
    der: CertificateDer<'static>,
    chain: PathBuf,
    key: PathBuf,
}

/// Makes a certificate and its key, in files of this name.
fn certificate(folder: &Folder, file: &str, names: &[&str]) -> Certificate {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let key = KeyPair::generate().expect("there is randomness");
    let made = CertificateParams::new(names).and_then(|wanted| wanted.self_signed(&key)).expect("names are sound");
    let chain = folder.file(&format!("{file}.pem"), pem("CERTIFICATE", made.der()));
    let key = folder.file(&format!("{file}.key"), pem("PRIVATE KEY", &key.serialize_der()));
    Certificate { der: made.der().clone(), chain, key }
}

/// What PEM makes of some bytes (RFC 7468).
fn pem(what: &str, bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or_default());
        let number = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let digit = char::from(DIGITS[(number >> (18 - 6 * at) & 63) as usize]);
            text.push(if at > three.len() { '=' } else { digit });
        }
    }
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}

/// A server with TLS, and the certificate by which its clients know it.
struct Tls {
    server: Server,
    certificate: Certificate,
    _folder: Folder,
}

/// Serves with TLS, for `localhost`.
#[track_caller]
fn serve(source: impl AsRef<Path>, flags: &[&str]) -> Tls {
    let mut command = multiclient();
    command.arg(source.as_ref()).args(flags);
    run(command)
}

/// Runs a server, for which source and flags are there already, with TLS for `localhost`.
#[track_caller]
fn run(mut command: Command) -> Tls {
    let folder = Folder::new();
    let certificate = certificate(&folder, "localhost", &["localhost"]);
    command.arg("https://127.0.0.1:0").arg("--cert").arg(&certificate.chain).arg("--key").arg(&certificate.key);
    Tls { server: Server::run(command), certificate, _folder: folder }
}

impl Tls {
    /// A client that has made its handshake.
    #[track_caller]
    fn connect(&self) -> Secure {
        Secure::to(self.server.address(), &client::trusting(&self.certificate.der))
    }
}
