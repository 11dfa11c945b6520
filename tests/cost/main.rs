//! What a connection and an exchange allocate in the host: a number of allocations, and no time. The system calls are
//! counted by `tests/installed/cost.rs`.
//!
//! A change that needs one more is not forbidden. It is a decision: change the number here, and say why.

#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use multiclient::{Guest, Limits, Live, Running, Server, Sources, listen};

/// Blocks of memory that the host asks for.
const FOR_A_CONNECTION: u64 = 29;
const FOR_AN_EXCHANGE: u64 = 6;

const COUNT: u64 = 200;

#[global_allocator]
static COUNTING: Counting = Counting;

static BLOCKS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: all of it is the system's allocator; only a number changes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BLOCKS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        BLOCKS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        BLOCKS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

const CLOSE: &[u8] = b"GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const KEEP: &[u8] = b"GET /small HTTP/1.1\r\nHost: a\r\n\r\n";

/// What `act` allocates each time, without what is allocated once, or now and then: by a timer, or for a larger table.
fn blocks(mut act: impl FnMut()) -> u64 {
    let mut counts = [0; COUNT as usize];
    for count in &mut counts {
        let before = BLOCKS.load(Ordering::Relaxed);
        act();
        *count = BLOCKS.load(Ordering::Relaxed) - before;
    }
    // The host may be done with one only after the next has begun.
    counts.sort_unstable();
    counts[counts.len() / 2]
}

/// The fewest of several attempts: on a busy machine what belongs to one falls into the time of another.
fn fewest(mut act: impl FnMut()) -> u64 {
    (0..5).map(|_| blocks(&mut act)).min().expect("there were attempts")
}

/// A connection with one exchange. Allocates nothing itself.
fn connection(server: SocketAddr, buffer: &mut [u8]) {
    let mut client = TcpStream::connect(server).expect("it listens");
    client.write_all(CLOSE).expect("it reads");
    while client.read(buffer).expect("it answers") > 0 {}
}

/// One more exchange. Allocates nothing itself.
fn exchange(client: &mut TcpStream, buffer: &mut [u8], response: usize) {
    client.write_all(KEEP).expect("it reads");
    client.read_exact(&mut buffer[..response]).expect("it answers");
}

/// What is served is no file: looking one up again takes a few allocations, after some time.
fn serve() -> (Running, SocketAddr) {
    let small = format!("data:application/octet-stream,{}", "x".repeat(1_000));
    let sources = Sources::spelled(small.as_ref(), &Live::default()).and_then(|sources| sources.named("small"));
    let guest = Guest::built_in(Limits::default()).expect("a guest");
    let listener = TcpListener::from(listen::tcp("127.0.0.1:0".parse().expect("an address")).expect("a port"));
    let address = listener.local_addr().expect("it has one");
    let server = Server::new(guest, sources.expect("it can be served")).start(vec![OwnedFd::from(listener)]);
    (server.expect("it starts"), address)
}

#[test]
fn a_connection_and_an_exchange_allocate_as_little_as_now() {
    let (server, address) = serve();
    let mut buffer = vec![0; 4_096];

    let connection = fewest(|| connection(address, &mut buffer));

    let mut client = TcpStream::connect(address).expect("it listens");
    client.write_all(KEEP).expect("it reads");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut response = 0;
    while !buffer[..response].ends_with(&[b'x'; 1_000]) {
        response += client.read(&mut buffer[response..]).expect("it answers");
    }
    let exchange = fewest(|| exchange(&mut client, &mut buffer, response));

    drop(client);
    server.stop(Duration::from_secs(20));
    assert_eq!((connection, exchange), (FOR_A_CONNECTION, FOR_AN_EXCHANGE), "a connection, and one more exchange");
}
