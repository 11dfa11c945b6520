//! Those who wait for a disk wait alone.

#[path = "fuse/mod.rs"]
mod fuse;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use fuse::SlowFiles;
use multiclient::{Guest, Limits, Running, Server, Settings, Sources, listen};

/// How long the disk takes for each look and each read.
const DELAY: Duration = Duration::from_secs(1);

/// How long anything may take. Only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn serves(folder: &Path) -> Running {
    let guest = Guest::built_in(Limits::default()).expect("it is built in");
    let mut settings = Settings::default();
    settings.listing = true;
    let sources = Sources::at(folder).expect("a folder is published");
    let listener = listen::tcp(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port is free");
    Server::new(guest, sources).settings(settings).loops(2).start(vec![listener]).expect("it starts")
}

/// The whole response to a `GET`.
fn get(address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    write!(connection, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut response = Vec::new();
    connection.read_to_end(&mut response)?;
    Ok(response)
}

fn body(response: &[u8]) -> &[u8] {
    assert!(response.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&response[..response.len().min(99)]));
    let end = response.windows(4).position(|four| four == b"\r\n\r\n").expect("there is a header section");
    &response[end + 4..]
}

#[test]
fn clients_of_a_slow_disk_delay_nobody_else() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("fast"), vec![b'f'; 100_000]).expect("a file");
    fs::create_dir(folder.path().join("slow")).expect("a folder");
    let Some(_mounted) = SlowFiles::mount(&folder.path().join("slow"), DELAY) else {
        assert!(std::env::var_os("CI").is_none(), "a FUSE file system can be mounted where CI runs");
        return eprintln!("SKIPPED: no FUSE file system can be mounted here (that takes root and /dev/fuse)");
    };
    let server = serves(folder.path());
    let address = server.addresses()[0];
    let mut waits = Vec::new();
    thread::scope(|scope| {
        let paths = ["/slow/a", "/slow/b", "/slow/c", "/slow/a"];
        let slow: Vec<_> = paths.map(|path| scope.spawn(move || get(address, path))).into();
        let listing = scope.spawn(move || get(address, "/slow/"));
        while slow.iter().any(|client| !client.is_finished()) {
            let began = Instant::now();
            assert_eq!(body(&get(address, "/fast").expect("it is served")).len(), 100_000);
            waits.push(began.elapsed());
            thread::sleep(Duration::from_millis(5));
        }
        for client in slow {
            let response = client.join().expect("no panic").expect("it is served");
            assert!(
                body(&response).len() as u64 == fuse::SIZE && body(&response).iter().all(|&byte| byte == fuse::CONTENT)
            );
        }
        let listing = listing.join().expect("no panic").expect("it is served");
        assert!(body(&listing).windows(4).any(|four| four == b">c</"), "{}", String::from_utf8_lossy(&listing));
    });
    waits.sort_unstable();
    let slowest = waits.last().expect("there were some");
    println!("{} others, median {:?}, slowest {slowest:?}", waits.len(), waits[waits.len() / 2]);
    assert!(waits.len() > 50 && *slowest < DELAY / 2, "{} others, slowest {slowest:?}", waits.len());
}
