//! Those who wait for a disk wait alone.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a test says what it measured, and why it was skipped")]

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

/// Microseconds of CPU time that this process has used.
fn cpu_us() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("there is a process");
    let fields: Vec<_> = stat.rsplit(')').next().expect("it has a name").split_whitespace().collect();
    let ticks = |field: usize| fields[field].parse::<u64>().expect("a number");
    // A hundred ticks in a second, on all machines that Linux runs on by now.
    (ticks(11) + ticks(12)) * 10_000
}

/// Asks for a path, and resets the connection without reading.
fn ask_and_reset(address: SocketAddr, path: &str) {
    let Ok(mut connection) = TcpStream::connect(address) else { return };
    let asked = write!(connection, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let socket = socket2::SockRef::from(&connection);
    socket.set_linger(Some(Duration::ZERO)).expect("a socket");
    asked.expect("the server is there");
    // Until it is being read, or waits for that.
    thread::sleep(Duration::from_millis(100));
}

#[test]
fn clients_that_ask_for_large_folders_and_leave_delay_nobody_else() {
    const ENTRIES: usize = 20_000;
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["large", "small"] {
        fs::create_dir(folder.path().join(name)).expect("a folder");
    }
    fs::write(folder.path().join("small/one"), "1").expect("a file");
    for number in 0..ENTRIES {
        let name = format!("large/{:06}", (number * 7_919) % ENTRIES);
        fs::File::create(folder.path().join(name)).expect("a file");
    }
    let server = serves(folder.path());
    let address = server.addresses()[0];
    let list = || {
        let began = Instant::now();
        assert!(body(&get(address, "/small/").expect("it is served")).windows(3).any(|three| three == b"one"));
        began.elapsed()
    };
    let alone = (0..10).map(|_| list()).max().expect("there were some");
    let mut waits = Vec::new();
    for _ in 0..3 {
        thread::scope(|scope| {
            let asking: Vec<_> = (0..128).map(|_| scope.spawn(|| ask_and_reset(address, "/large/"))).collect();
            while asking.iter().any(|asking| !asking.is_finished()) {
                waits.push(list());
            }
        });
        waits.push(list());
    }
    // Those that have left cost nothing more.
    let before = cpu_us();
    thread::sleep(Duration::from_millis(500));
    let after_us = cpu_us() - before;
    waits.sort_unstable();
    let slowest = waits.last().expect("there were some");
    println!("alone {alone:?}; {} beside them, median {:?}, slowest {slowest:?}", waits.len(), waits[waits.len() / 2]);
    println!("{after_us} µs of CPU time in the half second after them");
    assert!(*slowest < Duration::from_secs(2), "{slowest:?}");
    assert!(after_us < 250_000, "{after_us} µs");

    // It is there nevertheless, whole and in order.
    let listing = get(address, "/large/").expect("it is served");
    let listing = String::from_utf8_lossy(body(&listing)).into_owned();
    let mut at = 0;
    for number in 0..ENTRIES {
        let name = format!("{number:06}<");
        at += listing[at..].find(&name).unwrap_or_else(|| panic!("{name} is missing, or not in order"));
    }
}
