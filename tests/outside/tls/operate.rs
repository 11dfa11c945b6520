//! Servers with few rights.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use rustix::process::{Signal, geteuid};
use support::{Folder, PATIENCE, Server, eventually, multiclient, noise, output_of, run_within, same, skip, text};

use super::client::{Secure, trusting};
use super::{certificate, serve};
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

#[test]
fn another_server_takes_over_and_no_download_breaks() {
    let (folder, keys) = (Folder::new(), Folder::new());
    // More than all buffers on the way, so that the old server has to go on.
    let film = noise(1, 9_000_001);
    folder.file("film.mp4", &film);
    folder.file("a", "first");
    let takeover = format!("unix:{}", text(&keys.at("takeover.sock")));
    let start = |url: &str, file: &str| {
        let made = certificate(&keys, file, &["localhost"]);
        let flags = ["--cert", text(&made.chain), "--key", text(&made.key), "--takeover", &takeover, "--drain", "1h"];
        (Server::start_at(folder.path(), url, &flags), trusting(&made.der))
    };
    let (old, old_certificate) = start("https://127.0.0.1:0", "old");
    let mut idle = Secure::to(old.address(), &old_certificate);
    assert_eq!(idle.get("/a").1, b"first");
    let mut download = Secure::to(old.address(), &old_certificate);
    download.send("GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n");

    let (new, new_certificate) = start(&format!("https://{}", old.address()), "new");
    old.wait_for_line("taken over by process ");
    // Who comes now gets the new certificate, and the download goes on. For a moment both servers accept connections.
    let mut client = None;
    eventually("the new server serves", || {
        client = Secure::named("localhost", new.address(), &new_certificate).ok();
        client.is_some()
    });
    assert_eq!(client.expect("it was made").get("/a").1, b"first");
    new.wait_for_line(" GET /a 200 ");
    same(&download.response().1, &film);
    assert_eq!(download.rest().expect("the server says that it is over"), b"");
    assert_eq!(idle.rest().expect("the server says that it is over"), b"");
    let ended = old.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.summary());
    assert!(ended.summary().ends_with(" 0 cut off"), "{}", ended.summary());
}

#[test]
fn a_health_check_asks_by_way_of_tls() {
    let folder = Folder::new();
    let tls = serve(folder.path(), &[]);
    let health = |url: &str| {
        let output = run_within(PATIENCE, multiclient().args(["health", url, "--timeout", "2s"]));
        (output.status.code(), output_of(&output))
    };
    let url = format!("https://{}", tls.server.address());
    assert_eq!(health(&url), (Some(0), format!("{url} answers 404\n")));
    let named = format!("https://localhost:{}", tls.server.address().port());
    assert_eq!(health(&named), (Some(0), format!("{named} answers 404\n")));
    let plain = Server::start(folder.path(), &[]);
    let url = format!("https://{}", plain.address());
    let (code, said) = health(&url);
    assert_eq!(code, Some(1));
    assert!(said.starts_with(&format!("error: {url} answers, but not in TLS: ")), "{said}");
}
