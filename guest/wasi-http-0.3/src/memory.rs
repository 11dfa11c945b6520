//! What a component without a standard library needs: an allocator, and memory for the host.

#![expect(unsafe_code, reason = "the canonical ABI speaks in raw pointers")]

use alloc::alloc::{Layout, alloc, handle_alloc_error, realloc};
use core::ptr;

#[global_allocator]
static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// Allocates memory for what the host passes in. The canonical ABI requests new blocks with a null `old`, and
/// never frees one this way.
///
/// The bindings would link a ready-made version, which is found through the archive of the standard library's
/// build and not in a `no_std` component.
///
/// # Safety
///
/// `old` is null with an `old_size` of 0, or was returned from here with this `old_size` and `align`.
#[unsafe(export_name = "cabi_realloc")]
unsafe extern "C" fn cabi_realloc(old: *mut u8, old_size: usize, align: usize, new_size: usize) -> *mut u8 {
    if new_size == 0 {
        // Empty lists have an address, too: any that is aligned and not null.
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
