//! Memory, and users without rights.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use rustix::process::{Signal, geteuid};
use support::{Folder, Server, skip, text};

use super::certificate;
use super::client::{Secure, trusting};

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
