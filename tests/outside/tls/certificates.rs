//! Which certificate a client gets, and what becomes of those that are changed while the server runs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use multiclient_isolate::FAULTY;
use rustix::process::Signal;
use support::{Folder, Server, SetOnDrop, eventually, multiclient, text};

use super::client::{Secure, trusting};
use super::{Certificate, certificate, serve};

/// Whether the server shows this certificate to a client that asks for this name.
fn shows(server: &Server, certificate: &Certificate, name: &str) -> bool {
    Secure::named(name, server.address(), &trusting(&certificate.der)).is_ok()
}

#[test]
fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let folder = Folder::new();
    let first = certificate(&folder, "first", &["first.test", "localhost"]);
    let second = certificate(&folder, "second", &["second.test", "*.second.test"]);
    let mut flags = Vec::new();
    for certificate in [&first, &second] {
        flags.extend(["--cert", text(&certificate.chain), "--key", text(&certificate.key)]);
    }
    let server = Server::start_at(folder.path(), "https://127.0.0.1:0", &flags);
    assert!(shows(&server, &first, "first.test"));
    assert!(shows(&server, &second, "second.test"));
    assert!(shows(&server, &second, "www.second.test"));
    // Who asks for something else, or for nothing, gets the first, and judges it.
    let wrong_name = Secure::named("third.test", server.address(), &trusting(&first.der)).err();
    let why = wrong_name.expect("it is not for that name").to_string();
    assert!(why.contains("only valid for DnsName(\"first.test\")"), "{why}");
}

/// Puts the files of another certificate in the place of these.
fn replace(old: &Certificate, new: &Certificate) {
    fs::rename(&new.chain, &old.chain).expect("a file can be renamed");
    fs::rename(&new.key, &old.key).expect("a file can be renamed");
}

#[test]
fn sighup_reads_certificates_again_and_keeps_the_old_ones_where_the_new_are_bad() {
    let folder = Folder::new();
    folder.file("a", "first");
    let tls = serve(folder.path(), &[]);
    let mut open = tls.connect();
    let (server, old) = (&tls.server, &tls.certificate);
    fs::write(&old.key, "no key").expect("a file can be written");
    server.signal(Signal::HUP);
    let line = server.wait_for_line("has no private key in PEM");
    assert!(line.contains(text(&old.key)), "{line}");
    server.wait_for_line("the certificates stay as they are");
    assert!(shows(server, old, "localhost"));
    let place = Folder::new();
    let new = certificate(&place, "new", &["localhost"]);
    replace(old, &new);
    server.signal(Signal::HUP);
    server.wait_for_line("certificates read again");
    assert!(shows(server, &new, "localhost"));
    assert!(!shows(server, old, "localhost"));
    assert_eq!(open.get("/a").1, b"first");
}

/// Lays a certificate out as Kubernetes does a secret: files are links into a folder that is a link itself.
fn lay(folder: &Folder, version: &str) -> Certificate {
    folder.folder(version);
    let made = certificate(folder, &format!("{version}/tls"), &["localhost"]);
    let _ = fs::remove_file(folder.at("..new"));
    symlink(version, folder.at("..new")).expect("a link can be made");
    fs::rename(folder.at("..new"), folder.at("..data")).expect("a link can be renamed");
    made
}

#[test]
fn a_certificate_that_changes_while_the_server_starts_is_noticed() {
    let folder = Folder::new();
    lay(&folder, "..2026_01");
    symlink("..data/tls.pem", folder.at("tls.pem")).expect("a link can be made");
    symlink("..data/tls.key", folder.at("tls.key")).expect("a link can be made");
    let files = [folder.at("tls.pem"), folder.at("tls.key")];
    // A guest that has to be compiled first: the start takes a while.
    let served = Folder::new();
    let guest = served.file("guest.wasm", FAULTY);
    let flags = ["--cert", text(&files[0]), "--key", text(&files[1]), "--watch", "--guest", text(&guest)];
    thread::scope(|scope| {
        let swapped = scope.spawn(|| {
            thread::sleep(Duration::from_millis(300));
            lay(&folder, "..2026_02")
        });
        let server = Server::start_at(served.path(), "https://127.0.0.1:0", &flags);
        let new = swapped.join().expect("it is swapped");
        eventually("the new certificate is shown", || shows(&server, &new, "localhost"));
    });
}

#[test]
fn a_folder_that_is_swapped_by_its_link_is_watched() {
    let folder = Folder::new();
    let old = lay(&folder, "..2026_01");
    symlink("..data/tls.pem", folder.at("tls.pem")).expect("a link can be made");
    symlink("..data/tls.key", folder.at("tls.key")).expect("a link can be made");
    let files = [folder.at("tls.pem"), folder.at("tls.key")];
    let flags = ["--cert", text(&files[0]), "--key", text(&files[1]), "--watch"];
    let served = Folder::new();
    let server = Server::start_at(served.path(), "https://127.0.0.1:0", &flags);
    assert!(shows(&server, &old, "localhost"));
    let new = lay(&folder, "..2026_02");
    server.wait_for_line("certificates read again");
    assert!(shows(&server, &new, "localhost"));
}

#[test]
fn a_certificate_that_is_made_for_the_moment_tells_its_fingerprint() {
    let folder = Folder::new();
    let server = Server::start_at(folder.path(), "https://127.0.0.1:0", &["--self-signed"]);
    let line = server.wait_for_line("self-signed, SHA-256 ");
    let fingerprint = line.rsplit(' ').next().expect("a line has words");
    assert_eq!(fingerprint.split(':').filter(|pair| pair.len() == 2).count(), 32, "{line}");
    // There is nothing to be read again.
    server.signal(Signal::HUP);
    assert_eq!(server.log().iter().filter(|line| line.contains("certificates")).count(), 0);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = Folder::new();
    let certificate = certificate(&folder, "one", &["localhost"]);
    let other = super::certificate(&folder, "other", &["localhost"]);
    let empty = folder.file("empty", "");
    let (chain, key) = (text(&certificate.chain), text(&certificate.key));
    for (chain, key, why) in [
        (chain, text(&other.key), "is not the key of"),
        (text(&empty), key, "has no certificate in PEM"),
        (key, key, "has no certificate in PEM"),
        (chain, text(&empty), "has no private key in PEM"),
        (chain, text(&folder.at("missing")), "cannot read"),
    ] {
        let mut program = multiclient();
        program.arg(folder.path()).args(["https://127.0.0.1:0", "--cert", chain, "--key", key]);
        let output = program.output().expect("it can be run");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(why), "{said}");
    }
}

#[test]
fn a_key_that_everybody_can_read_is_warned_of() {
    let folder = Folder::new();
    let certificate = certificate(&folder, "one", &["localhost"]);
    for (mode, warns) in [(0o640, false), (0o644, true)] {
        fs::set_permissions(&certificate.key, fs::Permissions::from_mode(mode)).expect("it is ours");
        let flags = ["--cert", text(&certificate.chain), "--key", text(&certificate.key)];
        let server = Server::start_at(folder.path(), "https://127.0.0.1:0", &flags);
        let warned = server.log().iter().any(|line| line.contains("everybody on this machine can read"));
        assert_eq!(warned, warns, "{:?}", server.log());
    }
}

#[test]
fn reloading_under_load_fails_nobody() {
    let folder = Folder::new();
    folder.file("a", "first");
    let tls = serve(folder.path(), &[]);
    let (server, config) = (&tls.server, trusting(&tls.certificate.der));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = SetOnDrop(&over);
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut served = 0;
                    while !over.load(Ordering::Relaxed) {
                        assert_eq!(Secure::to(server.address(), &config).get("/a").1, b"first");
                        served += 1;
                    }
                    served
                })
            })
            .collect();
        for round in 1..=20 {
            server.signal(Signal::HUP);
            server.wait_for_lines(round, "certificates read again");
        }
        over.store(true, Ordering::Relaxed);
        assert!(clients.into_iter().map(|client| client.join().expect("nobody fails")).sum::<u32>() > 0);
    });
}
