//! What an index takes of memory, measured: the contract promises less than five headers and a mebibyte,
//! of which WebAssembly may need one for gaps.
//!
//! The count is that of the whole program: the tests take turns.

#![expect(unsafe_code, reason = "counts what is allocated")]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use multiclient_index::{Index, Limits, Loss, Mark};
use support::{LARGEST_PIECE, STREAMS};

#[global_allocator]
static HEAP: Counted = Counted;
static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counted;

// SAFETY: the system's allocator does everything; only sizes are counted.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the layout is the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the block came from `alloc` above with this layout, says the caller.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Whoever measures.
static TURN: Mutex<()> = Mutex::new(());

const MEBIBYTE: usize = 1 << 20;

/// What the index of a source takes at most, and the losses that it reports.
fn measure<'a>(limits: Limits, pieces: impl Iterator<Item = &'a [u8]>) -> (usize, Vec<Loss>) {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    let mut index = Index::new(limits);
    let mut losses = Vec::new();
    for piece in pieces {
        let marks = index.advance(piece).marks;
        losses.extend(marks.iter().filter_map(|mark| if let Mark::Lost(loss) = mark { Some(*loss) } else { None }));
    }
    (PEAK.load(Relaxed) - before, losses)
}

/// A beginning, and what comes over and over after it.
struct Endless {
    name: &'static str,
    beginning: Vec<u8>,
    more: Vec<u8>,
    lost: Option<Loss>,
}

/// Streams whose headers have 100 MiB and more.
fn endless_headers() -> Vec<Endless> {
    const HUNDRED: u32 = 100 << 20;
    let filling = vec![0x55; LARGEST_PIECE];
    let case =
        |name, beginning: &[&[u8]], lost| Endless { name, beginning: beginning.concat(), more: filling.clone(), lost };
    let ftyp = b"\0\0\0\x18ftypiso5\0\0\x02\0iso5iso6";
    let ebml = b"\x1A\x45\xDF\xA3\x8B\x42\x82\x88matroska\x18\x53\x80\x67\x01\xFF\xFF\xFF\xFF\xFF\xFF\xFF";
    let flv = b"FLV\x01\x01\0\0\0\x09\0\0\0\0";
    let oversized = Some(Loss::Oversized);
    let mut opus = support::stream("ogg-opus").to_vec();
    opus.truncate(opus.windows(8).position(|at| at == b"OpusTags").expect("it is there") - 28);
    vec![
        case("mp4", &[ftyp, &HUNDRED.to_be_bytes(), b"moov"], oversized),
        case("matroska", &[ebml, b"\x16\x54\xAE\x6B\x01\0\0\0", &HUNDRED.to_be_bytes()], oversized),
        case("matroska, attachment", &[ebml, b"\x19\x41\xA4\x69\x01\0\0\0", &HUNDRED.to_be_bytes()], None),
        case("flv", &[flv, b"\x09\xFF\xFF\xFF\0\0\0\0\0\0\0\x17\0\0\0\0"], oversized),
        // Metadata has at most 16 MiB, and is passed over: what follows it is garbage.
        case("flv, metadata", &[flv, b"\x12\xFF\xFF\xFF\0\0\0\0\0\0\0\x02\0\0\0\0"], Some(Loss::Malformed)),
        case("wav", &[b"RIFF\xFF\xFF\xFF\xFFWAVEfmt ", &HUNDRED.to_le_bytes()], oversized),
        Endless { name: "ogg", beginning: opus, more: continued_page(), lost: oversized },
    ]
}

/// A page of Ogg that is full of a packet that goes on before and after it.
fn continued_page() -> Vec<u8> {
    let serial = support::stream("ogg-opus")[14..18].to_vec();
    let start = [b"OggS\0\x01".as_slice(), &[0xFF; 8], &serial, &[0; 4]].concat();
    let body = [[0xFF].as_slice(), &[0xFF; 255], &[0x55; 255 * 255]].concat();
    let whole = [start.as_slice(), &[0; 4], &body].concat();
    let crc = whole.iter().fold(0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04C1_1DB7 } else { 0 })
    });
    [start.as_slice(), &crc.to_le_bytes(), &body].concat()
}

#[test]
fn memory_is_bounded_by_the_longest_header() {
    let _turn = TURN.lock();
    // So many pieces are 100 MiB; what is given up at once needs fewer to show it.
    for (max_header, pieces) in [(0, 300), (4 << 20, 1_600)] {
        let limits = Limits { max_header };
        let promised = 4 * (max_header as usize).max(4_096) + MEBIBYTE;
        for Endless { name, beginning, more, lost } in endless_headers() {
            let pieces = [beginning.as_slice()].into_iter().chain((0..pieces).map(|_| more.as_slice()));
            let (taken, losses) = measure(limits, pieces);
            assert!(taken < promised, "{name} takes {taken} bytes with headers of at most {max_header}");
            assert_eq!(losses.first().copied(), lost, "{name}, {max_header}");
        }
        for (name, source) in STREAMS {
            let (taken, _) = measure(limits, source.chunks(LARGEST_PIECE));
            assert!(taken < MEBIBYTE / 2, "{name} takes {taken} bytes");
        }
    }
}

#[test]
fn a_header_that_just_fits_takes_less_than_four_of_it() {
    let _turn = TURN.lock();
    let free = (4 << 20) - 24 - 8_u32;
    let beginning =
        [b"\0\0\0\x18ftypiso5\0\0\x02\0iso5iso6".as_slice(), &free.to_be_bytes(), b"moov\0\0\0\x08mvex"].concat();
    let rest = vec![0; free as usize - 16];
    let (taken, losses) =
        measure(Limits::default(), [beginning.as_slice()].into_iter().chain(rest.chunks(LARGEST_PIECE)));
    assert_eq!(losses, []);
    assert!(taken < (16 << 20) + MEBIBYTE, "{taken}");
}
