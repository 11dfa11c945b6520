//! An index that misbehaves on request, for testing that viewers do not suffer for it.
//!
//! A piece of the source that begins with `!index-` names a fault, as in `!index-trap.`; everything else is
//! indexed as by the built-in index.
//!
//! Rule: this is not part of the index that serves. It is compiled with the feature `faulty` only, into a
//! component of its own.

use alloc::string::ToString;
use alloc::vec::Vec;
use core::arch::wasm32;
use core::hint::black_box;
use core::ptr;

use crate::wire::{Header, Join, Mark, Patch, Progress};

/// The faults, by name.
pub(crate) fn fail(bytes: &[u8]) -> Option<Progress> {
    let fault = bytes.strip_prefix(b"!index-")?;
    let fault = &fault[..fault.iter().position(|byte| *byte == b'.')?];
    let settled = bytes.len() as u64;
    let marks = match fault {
        b"loop" => loop {
            black_box(());
        },
        b"grow" => fill_memory(),
        // More marks than the contract allows, and than the host makes room for.
        b"flood" => (0..20_000).map(|offset| Mark::Join(Join { offset, preface: Vec::new() })).collect(),
        // A header, and a place to join that has not come.
        b"lie" => Vec::from([header(10), Mark::Join(Join { offset: u64::MAX, preface: Vec::new() })]),
        b"preface" => Vec::from([header(10), Mark::Join(Join { offset: 0, preface: alloc::vec![0; 4_096] })]),
        b"header" => Vec::from([header(2 << 20)]),
        // Bytes that viewers may have seen, and bytes that nobody has.
        b"patch" => Vec::from([Mark::Patch(Patch { offset: u64::MAX - 3, bytes: alloc::vec![b'!'; 8] })]),
        // Says that everything has to be kept back, for ever.
        b"withhold" => return Some(Progress { marks: Vec::new(), settled: 0 }),
        b"settle" => return Some(Progress { marks: Vec::new(), settled: u64::MAX }),
        _ => wasm32::unreachable(),
    };
    Some(Progress { marks, settled })
}

fn header(count: usize) -> Mark {
    let (format, media_type) = ("faulty".to_string(), "video/faulty".to_string());
    Mark::Header(Header { bytes: alloc::vec![0; count], format, media_type })
}

/// Takes all the memory that there is, and fails when there is no more.
fn fill_memory() -> ! {
    loop {
        let page = wasm32::memory_grow(0, 1);
        if page == usize::MAX {
            wasm32::unreachable();
        }
        let page = ptr::with_exposed_provenance_mut::<u8>(page << 16);
        // SAFETY: the page is new, and nobody else's.
        unsafe { page.write_bytes(1, 1 << 16) };
    }
}
