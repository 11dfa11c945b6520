//! The component around a session: the exports of `wit/session.wit`, the allocator, and the panic handler. It
//! imports nothing.
//!
//! Rule: this is the only crate that knows of generated bindings, and it decides nothing. It converts events
//! on the way in and actions on the way out.
//!
//! A guest is a crate for `wasm32-wasip2` of the type `cdylib`, without `std`, that names the type of its
//! sessions:
//!
//! ```ignore
//! #![no_std]
//! multiclient_shell::component!(multiclient_guest::Session);
//! ```

#![cfg_attr(target_family = "wasm", no_std)]
#![cfg(target_family = "wasm")]
#![expect(unsafe_code, reason = "generated bindings speak the canonical ABI in raw pointers")]

extern crate alloc;

mod heap;

use alloc::alloc::{Layout, alloc, handle_alloc_error, realloc};
use alloc::vec::Vec;
use core::cell::RefCell;
use core::ptr;

#[doc(hidden)]
pub use bindings::exports::multiclient::session::handler as wire;
use multiclient_guest::contract;
use multiclient_guest::contract::{Action, Event, Instant, Settings};

#[doc(hidden)]
pub mod bindings {
    #![allow(missing_docs, reason = "generated")]

    wit_bindgen::generate!({ path: "../../wit", world: "guest" });
}

/// One client's session: the `session` of the contract.
pub trait Session: 'static {
    /// The session of a client that has just connected.
    fn new(settings: Settings) -> Self;

    /// What to do about `event`, which happened at `now`.
    fn advance(&mut self, now: Instant, event: Event) -> Vec<Action>;
}

impl Session for multiclient_guest::Session {
    fn new(settings: Settings) -> Self {
        Self::new(settings)
    }

    fn advance(&mut self, now: Instant, event: Event) -> Vec<Action> {
        self.advance(now, event)
    }
}

/// Makes the crate that uses this, once, the component whose sessions have this type.
///
/// It expands to what `export!` of the bindings would, without the destructor of a session. With one, the
/// component consists of three core modules, because its type has to exist before the module with the
/// destructor; without, of one, and an instance costs a fifth less. Nobody would call it: a session ends with
/// its instance.
#[macro_export]
macro_rules! component {
    ($session:ty) => {
        const _: () = {
            type Client = $crate::Client<$session>;

            /// # Safety
            ///
            /// As the canonical ABI has it for this function; this goes for all three.
            #[unsafe(export_name = "multiclient:session/handler@0.1.0#[constructor]session")]
            unsafe extern "C" fn constructor(
                a0: i32,
                a1: i32,
                a2: *mut u8,
                a3: usize,
                a4: i32,
                a5: i32,
                a6: *mut u8,
                a7: usize,
                a8: i32,
                a9: *mut u8,
                a10: usize,
                a11: i32,
                a12: i32,
                a13: i32,
                a14: i32,
            ) -> i32 {
                // SAFETY: what comes from the canonical ABI is handed to the bindings as it is.
                unsafe {
                    $crate::wire::_export_constructor_session_cabi::<Client>(
                        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14,
                    )
                }
            }

            #[unsafe(export_name = "multiclient:session/handler@0.1.0#[method]session.advance")]
            unsafe extern "C" fn advance(
                a0: *mut u8,
                a1: i64,
                a2: i32,
                a3: ::core::mem::MaybeUninit<u64>,
                a4: ::core::mem::MaybeUninit<u64>,
                a5: i64,
                a6: i64,
                a7: i32,
                a8: i32,
                a9: i64,
                a10: *mut u8,
                a11: usize,
                a12: i32,
                a13: *mut u8,
                a14: usize,
            ) -> *mut u8 {
                // SAFETY: as above.
                unsafe {
                    $crate::wire::_export_method_session_advance_cabi::<Client>(
                        a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14,
                    )
                }
            }

            #[unsafe(export_name = "cabi_post_multiclient:session/handler@0.1.0#[method]session.advance")]
            unsafe extern "C" fn advance_returned(a0: *mut u8) {
                // SAFETY: as above.
                unsafe { $crate::wire::__post_return_method_session_advance::<Client>(a0) }
            }
        };
    };
}

// On this target the compiler expects `memcpy` and the like from a C library, which only `std` links by
// itself. Nothing else is taken from the archive.
#[link(name = "c")]
unsafe extern "C" {}

/// A broken invariant ends this client and no other. The host reports where, from the names in the binary;
/// formatting a message here would make every instance larger.
#[panic_handler]
fn trap(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

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

/// The exported resource. Calls into an instance never overlap, so the cell is always free.
#[doc(hidden)]
pub struct Client<S>(RefCell<S>);

impl<S: Session> wire::GuestSession for Client<S> {
    fn new(settings: wire::Settings) -> Self {
        Self(RefCell::new(S::new(settings.into())))
    }

    fn advance(&self, now: wire::Instant, event: wire::Event) -> Vec<wire::Action> {
        let actions = self.0.borrow_mut().advance(now, event.into());
        actions.into_iter().map(Into::into).collect()
    }
}

impl From<wire::Settings> for contract::Settings {
    fn from(settings: wire::Settings) -> Self {
        Self {
            dialect: match settings.dialect {
                wire::Dialect::Standard => contract::Dialect::Standard,
                wire::Dialect::Compat => contract::Dialect::Compat,
            },
            home: settings.home,
            listing: settings.listing,
            pages: settings.pages,
            headers: settings.headers.into_iter().map(Into::into).collect(),
            cors: settings.cors,
            max_exchanges: settings.max_exchanges,
            reports: settings.reports,
            secure: settings.secure,
            at_capacity: settings.at_capacity,
        }
    }
}

impl From<wire::Field> for contract::Field {
    fn from(field: wire::Field) -> Self {
        Self { name: field.name, value: field.value }
    }
}

impl From<wire::Event> for contract::Event {
    fn from(event: wire::Event) -> Self {
        match event {
            wire::Event::Received(bytes) => Self::Received(bytes),
            wire::Event::Finished => Self::Finished,
            wire::Event::Opened(result) => Self::Opened(result.map(Into::into).map_err(Into::into)),
            wire::Event::Listed(result) => Self::Listed(result.map(Into::into).map_err(Into::into)),
            wire::Event::Available(window) => Self::Available(window.into()),
            wire::Event::Proceeded => Self::Proceeded,
            wire::Event::Stopping => Self::Stopping,
        }
    }
}

impl From<wire::Found> for contract::Found {
    fn from(found: wire::Found) -> Self {
        match found {
            wire::Found::Source(facts) => Self::Source(contract::Facts {
                window: facts.window.into(),
                modified: facts.modified,
                version: facts.version,
                media_type: facts.media_type,
            }),
            wire::Found::Folder => Self::Folder,
        }
    }
}

impl From<wire::Window> for contract::Window {
    fn from(window: wire::Window) -> Self {
        Self { start: window.start, end: window.end, is_final: window.final_ }
    }
}

impl From<wire::Refusal> for contract::Refusal {
    fn from(refusal: wire::Refusal) -> Self {
        match refusal {
            wire::Refusal::NotFound => Self::NotFound,
            wire::Refusal::Forbidden => Self::Forbidden,
            wire::Refusal::Unavailable => Self::Unavailable,
            wire::Refusal::Failed => Self::Failed,
        }
    }
}

impl From<wire::Listing> for contract::Listing {
    fn from(listing: wire::Listing) -> Self {
        Self { entries: listing.entries.into_iter().map(Into::into).collect(), complete: listing.complete }
    }
}

impl From<wire::Entry> for contract::Entry {
    fn from(entry: wire::Entry) -> Self {
        Self { name: entry.name, folder: entry.folder, size: entry.size, modified: entry.modified }
    }
}

impl From<contract::Action> for wire::Action {
    fn from(action: contract::Action) -> Self {
        match action {
            contract::Action::Receive(phase) => Self::Receive(match phase {
                contract::Phase::Idle => wire::Phase::Idle,
                contract::Phase::Partial => wire::Phase::Partial,
            }),
            contract::Action::Open(name) => Self::Open(name),
            contract::Action::List(contract::Portion { folder, after, limit }) => {
                Self::List(wire::Portion { folder, after, limit })
            }
            contract::Action::Send(bytes) => Self::Send(bytes),
            contract::Action::Pass(span) => Self::Pass(wire::Span { offset: span.offset, count: span.count }),
            contract::Action::Wait(offset) => Self::Wait(offset),
            contract::Action::Proceed => Self::Proceed,
            contract::Action::Report(exchange) => Self::Report(wire::Exchange {
                request: exchange.request,
                status: exchange.status,
                referrer: exchange.referrer,
                agent: exchange.agent,
            }),
            contract::Action::Close(remainder) => Self::Close(match remainder {
                contract::Remainder::Nothing => wire::Remainder::Nothing,
                contract::Remainder::Unread => wire::Remainder::Unread,
            }),
        }
    }
}
