//! The component's allocator: it uses the memory that the instance starts with first, and then asks for more.
//!
//! The allocator of Rust's WASI targets asks for a new page at its first allocation, and leaves what the
//! linker put after the data unused. For the host a page more is a system call for each client, and another
//! one to take it back.

#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32;
use core::cell::{Cell, UnsafeCell};
use core::ptr;

use dlmalloc::{Allocator, Dlmalloc};

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(Dlmalloc::new_with_allocator(Pages { born_with: Cell::new(true) })));

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

/// The pages of the instance's memory.
struct Pages {
    /// Whether the memory that it started with is still unused.
    born_with: Cell<bool>,
}

unsafe extern "C" {
    /// The end of the linker's part of the memory. Only its address means anything.
    static __heap_base: u8;
}

// SAFETY: what is handed out is handed out once: the memory behind the linker's part, then new pages.
unsafe impl Allocator for Pages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        const REFUSED: usize = usize::MAX;
        if self.born_with.replace(false) {
            let base = &raw const __heap_base as usize;
            let count = (wasm32::memory_size(0) * PAGE).saturating_sub(base);
            if count >= size {
                return (ptr::with_exposed_provenance_mut(base), count, 0);
            }
        }
        let pages = size.div_ceil(PAGE);
        match wasm32::memory_grow(0, pages) {
            REFUSED => (ptr::null_mut(), 0, 0),
            before => (ptr::with_exposed_provenance_mut(before * PAGE), pages * PAGE, 0),
        }
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
