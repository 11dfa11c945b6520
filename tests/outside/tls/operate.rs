//! Servers with few rights.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use rustix::process::{Signal, geteuid};
use support::{Folder, Server, skip, text};

use super::certificate;
use super::client::{Secure, trusting};
use crate::walls::all_walls;

#[test]
fn a_key_that_only_root_can_read_serves_another_user_and_is_kept() {
    if !geteuid().is_root() {
        return skip("another-user", "only root can become another user");
    }
    let folder = Folder::new();
    folder.file("a", "first");
    let keys = Folder::new();
    let certificate = certificate(&keys, "one", &["localhost"]);
    for path in [folder.path(), keys.path()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    fs::set_permissions(&certificate.key, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let flags = ["--cert", text(&certificate.chain), "--key", text(&certificate.key), "--user", "nobody"];
    let server = Server::start_at(folder.path(), "https://127.0.0.1:0", &flags);
    let get = || Secure::to(server.address(), &trusting(&certificate.der)).get("/a").1;
    assert_eq!(get(), b"first");
    server.signal(Signal::HUP);
    let line = server.wait_for_line("cannot read ");
    assert!(line.contains("Permission denied"), "{line}");
    assert_eq!(get(), b"first");
    // Once that user may read it, it is read again.
    let nobody = fs::metadata(format!("/proc/{}", server.pid().as_raw_nonzero())).expect("it runs");
    chown(&certificate.key, Some(std::os::unix::fs::MetadataExt::uid(&nobody)), None).expect("root may");
    server.signal(Signal::HUP);
    server.wait_for_line("certificates read again");
}

#[test]
fn renewed_certificates_are_read_behind_all_walls() {
    if !all_walls() {
        return;
    }
    // As certbot lays them out: links into an archive, with a new number for each.
    let keys = Folder::new();
    let renew = |number: u32| {
        let made = certificate(&keys, &format!("archive/test/cert{number}"), &["localhost"]);
        keys.folder("live/test");
        for ending in ["pem", "key"] {
            let link = keys.at(&format!("live/test/cert.{ending}"));
            let _ = fs::remove_file(&link);
            symlink(format!("../../archive/test/cert{number}.{ending}"), link).expect("a link can be made");
        }
        made
    };
    renew(1);
    let served = Folder::new();
    served.file("a", "first");
    let (chain, key) = (keys.at("live/test/cert.pem"), keys.at("live/test/cert.key"));
    let flags = ["--cert", text(&chain), "--key", text(&key), "--walls", "strict"];
    let server = Server::start_at(served.path(), "https://127.0.0.1:0", &flags);
    let new = renew(2);
    server.signal(Signal::HUP);
    server.wait_for_line("certificates read again");
    assert_eq!(Secure::to(server.address(), &trusting(&new.der)).get("/a").1, b"first");
}
