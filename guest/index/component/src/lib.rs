//! The index of live streams, as a component: the exports of `wit/index/index.wit`, where its memory comes
//! from, and what a panic does. It imports nothing.
//!
//! Rule: this is the only place that knows of generated bindings, and it decides nothing. It translates
//! marks on the way out.

#![cfg_attr(target_family = "wasm", no_std)]
#![cfg(target_family = "wasm")]
#![expect(unsafe_code, reason = "generated bindings speak the canonical ABI in raw pointers")]

extern crate alloc;

// An allocator that makes use of the memory that an instance is born with, as sessions have it.
#[path = "../../../shell/src/heap.rs"]
mod heap;

#[cfg(feature = "faulty")]
mod faulty;

use alloc::alloc::{Layout, alloc, handle_alloc_error, realloc};
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ptr;

use bindings::exports::multiclient::index::marks as wire;
use multiclient_index::{Header, Index, Join, Limits, Loss, Mark, Patch, Progress};

mod bindings {
    #![allow(missing_docs, reason = "generated")]

    wit_bindgen::generate!({ path: "../../../wit/index", world: "index" });
}

struct Component;

bindings::export!(Component with_types_in bindings);

impl wire::Guest for Component {
    type Indexer = Indexer;
}

/// The exported resource. Calls into an instance never overlap, so the cell is always free.
struct Indexer(RefCell<Index>);

impl wire::GuestIndexer for Indexer {
    fn new(limits: wire::Limits) -> Self {
        Self(RefCell::new(Index::new(Limits { max_header: limits.max_header })))
    }

    fn advance(&self, bytes: Vec<u8>) -> wire::Progress {
        #[cfg(feature = "faulty")]
        if let Some(progress) = faulty::fail(&bytes) {
            return progress;
        }
        let Progress { marks, settled } = self.0.borrow_mut().advance(&bytes);
        wire::Progress { marks: marks.into_iter().map(Into::into).collect(), settled }
    }

    fn finish(&self) -> Vec<wire::Mark> {
        self.0.borrow_mut().finish().into_iter().map(Into::into).collect()
    }
}

impl From<Mark> for wire::Mark {
    fn from(mark: Mark) -> Self {
        match mark {
            Mark::Header(Header { bytes, format, media_type }) => {
                Self::Header(wire::Header { bytes, format: String::from(format), media_type: media_type.into_owned() })
            }
            Mark::Join(Join { offset, preface }) => Self::Join(wire::Join { offset, preface }),
            Mark::End(offset) => Self::End(offset),
            Mark::Patch(Patch { offset, bytes }) => Self::Patch(wire::Patch { offset, bytes }),
            Mark::Lost(loss) => Self::Lost(match loss {
                Loss::Unrecognized => wire::Loss::Unrecognized,
                Loss::Oversized => wire::Loss::Oversized,
                Loss::Unjoinable => wire::Loss::Unjoinable,
                Loss::Malformed => wire::Loss::Malformed,
            }),
        }
    }
}

// On this target the compiler expects `memcmp` and its like from a C library, which only `std` would link
// by itself. Of the archive nothing but these is taken.
#[link(name = "c")]
unsafe extern "C" {}

/// A broken invariant ends the index of this source and nothing else. The host says where it was, from the
/// names in the binary.
#[panic_handler]
fn trap(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// How the host gets memory for what it passes in. The canonical ABI asks for a new block with a null
/// `old`, and never gives one back this way.
///
/// The bindings would link a ready-made one, which is found through the archive of the standard
/// library's build and not in a `no_std` component.
///
/// # Safety
///
/// `old` is null with an `old_size` of 0, or came from here with just this `old_size` and `align`.
#[unsafe(export_name = "cabi_realloc")]
unsafe extern "C" fn cabi_realloc(old: *mut u8, old_size: usize, align: usize, new_size: usize) -> *mut u8 {
    if new_size == 0 {
        // Empty lists have an address too: any that is aligned and not null.
        return ptr::without_provenance_mut(align);
    }
    // SAFETY: alignments come from the canonical ABI, which has only 1, 2, 4 and 8; sizes from there lie
    // within a 32-bit memory, far below what would overflow when rounded up.
    let layout = unsafe { Layout::from_size_align_unchecked(old_size, align) };
    // SAFETY: `new_size` is not zero; `old`, where it is used, is a block of this layout by the contract
    // of this function.
    let block = unsafe {
        if old_size == 0 {
            alloc(Layout::from_size_align_unchecked(new_size, align))
        } else {
            realloc(old, layout, new_size)
        }
    };
    if block.is_null() {
        handle_alloc_error(layout);
    }
    block
}
