//! The component's heap: first the memory that the instance starts with, then pages that it asks for.
//!
//! The allocator of Rust's WASI targets asks for a new page at its first allocation and leaves the memory
//! between the data and the end of the last page unused. For the host a new page is a system call for each
//! client, and another to take it back.

#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32;
use core::cell::{Cell, UnsafeCell};
use core::ptr;

use dlmalloc::{Allocator, Dlmalloc};

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(empty_heap()));

/// The heap grows by multiples of this, in bytes: a page of the host's memory.
///
/// The allocator writes to the end of what it is given. Given all at once, it would touch the last page of
/// the instance's memory for every client, and the host would have to take that page back.
const PIECE: usize = 4 * 1024;

const fn empty_heap() -> Dlmalloc<Pages> {
    let mut heap = Dlmalloc::new_with_allocator(Pages { given_out: Cell::new(0) });
    assert!(heap.set_granularity(PIECE));
    heap
}

/// The size of a page of WebAssembly memory.
const PAGE: usize = 64 * 1024;

struct Heap(UnsafeCell<Dlmalloc<Pages>>);

// SAFETY: an instance has one thread.
unsafe impl Sync for Heap {}

// SAFETY: dlmalloc keeps the promises of an allocator. Each call has it for itself: there is one thread,
// and dlmalloc does not call back.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above; the layout is the caller's.
        unsafe { (*self.0.get()).malloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above; the block came from here with this layout, says the caller.
        unsafe { (*self.0.get()).free(block, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as above; the block came from here with this layout, says the caller.
        unsafe { (*self.0.get()).realloc(block, layout.size(), layout.align(), new_size) }
    }
}

/// The instance's memory after the stack and the data.
struct Pages {
    /// Where the part that the heap does not have yet starts; 0 until it has some.
    given_out: Cell<usize>,
}

unsafe extern "C" {
    /// Where the linker's own use of the memory ends. Only its address means anything.
    static __heap_base: u8;
}

// SAFETY: what is handed out is handed out once: the memory behind the linker's part, then new pages.
unsafe impl Allocator for Pages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        const REFUSED: usize = usize::MAX;
        let start = self.given_out.get().max(&raw const __heap_base as usize);
        let Some(end) = start.checked_add(size) else { return (ptr::null_mut(), 0, 0) };
        let missing = end.saturating_sub(wasm32::memory_size(0) * PAGE);
        if missing > 0 && wasm32::memory_grow(0, missing.div_ceil(PAGE)) == REFUSED {
            return (ptr::null_mut(), 0, 0);
        }
        self.given_out.set(end);
        (ptr::with_exposed_provenance_mut(start), size, 0)
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE
    }
}
