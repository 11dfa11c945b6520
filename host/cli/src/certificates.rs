//! `--cert`, `--key`, `--self-signed`: the certificates of `https://` addresses, and how they are read again.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use multiclient::listen::Listener;
use multiclient::{Tls, TlsError};
use socket2::SockRef;

use crate::args::Serve;
use crate::failure::Failure;
use crate::listening::{Encryption, Manner, Origin};
use crate::reach;

/// Permission to read for everybody.
const READABLE_BY_ALL: u32 = 0o004;

/// The certificates of the server. None: no address has TLS.
pub(crate) fn open(flags: &Serve, listeners: &[(OwnedFd, Manner)]) -> Result<Option<Tls>, Failure> {
    let tls = if flags.tls.self_signed {
        Tls::self_signed(&names(listeners))
    } else if flags.tls.cert.is_empty() {
        return Ok(None);
    } else {
        Tls::from_files(&pairs(flags))
    };
    tls.map(Some).map_err(|error| failure(&error))
}

fn failure(error: &TlsError) -> Failure {
    Failure::new(error.to_string())
        .next("`--cert` takes a certificate chain and `--key` its private key, both in PEM, as certbot writes them")
}

fn pairs(flags: &Serve) -> Vec<(PathBuf, PathBuf)> {
    flags.tls.cert.iter().cloned().zip(flags.tls.key.iter().cloned()).collect()
}

/// Keys that everybody on this machine can read.
pub(crate) fn exposed_keys(flags: &Serve) -> impl Iterator<Item = &Path> {
    let is_exposed = |key: &&PathBuf| key.metadata().is_ok_and(|metadata| metadata.mode() & READABLE_BY_ALL != 0);
    flags.tls.key.iter().filter(is_exposed).map(PathBuf::as_path)
}

/// Says how clients come and speak on each listener.
pub(crate) fn listeners(bound: Vec<(OwnedFd, Manner)>, tls: Option<&Tls>) -> Vec<Listener> {
    let listener = |(socket, Manner { encryption, origin })| {
        let listener = match (encryption, tls) {
            (Encryption::Tls, Some(tls)) => Listener::from(socket).tls(tls),
            _ => Listener::from(socket),
        };
        match origin {
            Origin::Clients => listener,
            Origin::Proxy => listener.behind_proxy(),
        }
    };
    bound.into_iter().map(listener).collect()
}

/// How clients come and speak on the TCP listeners among these.
pub(crate) fn of_tcp(bound: &[(OwnedFd, Manner)]) -> Vec<Manner> {
    let is_tcp = |socket: &OwnedFd| address(socket).is_some();
    bound.iter().filter(|(socket, _)| is_tcp(socket)).map(|(_, manner)| *manner).collect()
}

fn address(socket: &OwnedFd) -> Option<std::net::SocketAddr> {
    let address: io::Result<_> = SockRef::from(socket).local_addr();
    address.ok()?.as_socket()
}

/// What a self-signed certificate holds for.
fn names(listeners: &[(OwnedFd, Manner)]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    let mut add = |name: String| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if !machine.is_empty() && is_name(&machine) {
        add(machine);
    }
    for listener in listeners.iter().filter_map(|(socket, _)| address(socket)) {
        let reached = match listener.ip().is_unspecified() {
            true => reach::addresses(listener),
            false => vec![listener],
        };
        reached.into_iter().for_each(|address| add(address.ip().to_string()));
    }
    names
}

/// Describes the certificates for the start-up text.
pub(crate) fn line(flags: &Serve, tls: &Tls) -> String {
    match flags.tls.cert.len() {
        0 => format!("tls      self-signed, SHA-256 {}", tls.fingerprint()),
        1 => format!("tls      {}", flags.tls.cert[0].display()),
        count => format!("tls      {} and {} more", flags.tls.cert[0].display(), count - 1),
    }
}
