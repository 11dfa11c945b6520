//! Producers of hostile media: do the viewers of such a stream get every byte of it?
//!
//! Each stream begins with something that an index may stumble over. What follows counts on, and viewers who were
//! there before its first byte have to get all of it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use multiclient::isolation_testing::Protection;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::arena::{Ground, Role};
use crate::noise::Noise;
use crate::plan::Failure;
use crate::victims::connect;

/// Viewers of each stream.
const VIEWERS: usize = 3;

/// What follows after the hostile bytes: more than an index may keep back.
const REST: usize = 2 << 20;

/// How long a viewer waits for anything before it calls the rest lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// What an index that was made to fail is asked for.
const FAULTS: [&str; 9] = ["trap", "loop", "grow", "flood", "lie", "preface", "header", "patch", "withhold"];

/// The beginnings of ordinary streams.
const STREAMS: [(&str, &[u8]); 5] = [
    ("MPEG-TS", include_bytes!("../../../guest/index/tests/streams/mpeg-ts")),
    ("Matroska", include_bytes!("../../../guest/index/tests/streams/matroska")),
    ("MP4", include_bytes!("../../../guest/index/tests/streams/mp4")),
    ("Ogg", include_bytes!("../../../guest/index/tests/streams/ogg-theora")),
    ("FLV", include_bytes!("../../../guest/index/tests/streams/flv")),
];

/// Headers that claim sizes as large as can be written down.
const ENORMOUS: [(&str, &[u8]); 6] = [
    ("MPEG-TS", b"\x47\x40\x00\x10\xff\x00\xbf\xff\x47\x40\x00\x30\xff"),
    ("Matroska", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff\x16\x54\xae\x6b\x01\xff\xff\xff\xff\xff\xff\xfe"),
    ("MP4", b"\0\0\0\x14ftypisom\0\0\0\0isom\xff\xff\xff\xffmoov"),
    ("MP4", b"\0\0\0\x14ftypisom\0\0\0\0isom\0\0\0\x01moov\xff\xff\xff\xff\xff\xff\xff\xff"),
    ("Ogg", b"OggS\0\x02\xff\xff\xff\xff\xff\xff\xff\x7f\0\0\0\0\0\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff"),
    ("FLV", b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x12\xff\xff\xff\0\0\0\0\0\0\0"),
];

/// A stream that means harm, or as much of it as comes before its rest.
struct Stream {
    what: String,
    beginning: Vec<u8>,
    /// Bytes at its beginning that the index may replace, as it has to in fragmented MP4.
    patched: usize,
}

/// What came of all streams.
#[derive(Debug, Default)]
pub(crate) struct Fed {
    pub(crate) streams: usize,
    pub(crate) complaints: Vec<String>,
}

/// Feeds one stream after the other to servers of their own.
pub(crate) fn feed(ground: &Ground<'_>) -> Result<Fed, Failure> {
    let mut fed = Fed::default();
    for stream in streams(&mut Noise(ground.plan.seed)) {
        fed.feed(ground, &stream, Role::Fresh)?;
    }
    Ok(fed)
}

/// The same with a server whose live source does not outlive its index.
pub(crate) fn control(ground: &Ground<'_>) -> Result<Fed, Failure> {
    let mut fed = Fed::default();
    fed.feed(ground, &Stream::of_fault("trap"), Role::Lacking(Protection::Index))?;
    Ok(fed)
}

fn streams(noise: &mut Noise) -> Vec<Stream> {
    let mut streams: Vec<_> = FAULTS.iter().map(|fault| Stream::of_fault(fault)).collect();
    let mut add = |what: String, beginning: Vec<u8>| {
        let patched = if what.starts_with("MP4") { beginning.len() } else { 0 };
        streams.push(Stream { what, beginning, patched });
    };
    add("noise".into(), noise.bytes(100_000));
    for (format, bytes) in STREAMS {
        let cut = 1 + noise.below(bytes.len());
        add(format!("{format}, cut after {cut} bytes"), bytes[..cut].to_vec());
        add(format!("{format}, damaged"), damaged(bytes, noise));
    }
    for (format, bytes) in ENORMOUS {
        add(format!("{format} of an enormous size"), bytes.to_vec());
    }
    streams
}

/// The same with some bytes changed, most of them where the header is.
fn damaged(bytes: &[u8], noise: &mut Noise) -> Vec<u8> {
    const HEADER: usize = 1_500;
    let mut damaged = bytes.to_vec();
    for _ in 0..8 {
        let at = noise.below(bytes.len().min(HEADER));
        damaged[at] = noise.bytes(1)[0];
    }
    damaged
}

impl Stream {
    fn of_fault(fault: &str) -> Self {
        let (what, beginning) = (format!("an index with the fault {fault}"), format!("!index-{fault}."));
        Self { what, beginning: beginning.into(), patched: 0 }
    }

    /// All of it.
    fn bytes(&self) -> Vec<u8> {
        let rest = (0_u64..).take(REST / 8).flat_map(u64::to_be_bytes);
        self.beginning.iter().copied().chain(rest).collect()
    }
}

impl Fed {
    fn feed(&mut self, ground: &Ground<'_>, stream: &Stream, role: Role) -> Result<(), Failure> {
        let failed = || Failure::of::<io::Error>("a live source cannot be tried");
        let (input, output) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed()(error.into()))?;
        let arena = ground.media_arena(input, role)?;
        let bytes = stream.bytes();
        let all_there = Barrier::new(VIEWERS + 1);
        let complaints: Vec<_> = thread::scope(|scope| {
            let view = || view(arena.address(), &bytes, stream.patched, &all_there);
            let viewers: Vec<_> = (0..VIEWERS).map(|_| scope.spawn(view)).collect();
            all_there.wait();
            produce(output, &bytes);
            let complaint = |viewer: thread::ScopedJoinHandle<'_, Result<(), String>>| viewer.join().ok()?.err();
            viewers.into_iter().filter_map(complaint).collect()
        });
        self.streams += 1;
        self.complaints.extend(complaints.into_iter().map(|complaint| format!("{}: {complaint}", stream.what)));
        let faults = arena.ends.host_faults();
        if faults > 0 {
            self.complaints.push(format!("{}: {faults} faults of the host", stream.what));
        }
        Ok(())
    }
}

fn produce(output: OwnedFd, bytes: &[u8]) {
    // Where the reader is gone, viewers have something to complain of.
    let _ = std::fs::File::from(output).write_all(bytes);
}

/// Watches from before the first byte to the end.
fn view(address: SocketAddr, expected: &[u8], patched: usize, all_there: &Barrier) -> Result<(), String> {
    let stream = ask(address);
    all_there.wait();
    let mut stream = stream.map_err(|error| format!("cannot ask: {error}"))?;
    let mut got = Vec::new();
    let ended = stream.read_to_end(&mut got);
    let differs = (patched..got.len().min(expected.len())).find(|at| got[*at] != expected[*at]);
    match (ended, differs) {
        (_, Some(at)) => Err(format!("byte {at} is another one")),
        (Ok(_), None) if got.len() == expected.len() => Ok(()),
        (Ok(_), None) => Err(format!("{} bytes came in place of {}", got.len(), expected.len())),
        (Err(error), None) => Err(format!("nothing came after {} bytes: {error}", got.len())),
    }
}

/// Asks, and reads the header section of the response: it comes before there is anything to watch.
fn ask(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /live HTTP/1.0\r\n\r\n")?;
    let mut header = Vec::new();
    while !header.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        header.push(byte[0]);
    }
    Ok(stream)
}
