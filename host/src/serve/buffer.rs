//! The buffer of a loop.

use std::cell::RefCell;

use crate::limits::{RECEIVED_BYTES, TLS_RECORD_BYTES, TLS_RECORDS};

thread_local! {
    /// What all clients of a loop receive into and gather small responses in, one after the other: a client
    /// that waits holds no buffer.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; RECEIVED_BYTES]);

    /// What is read from sources to be encrypted. Made when TLS is first used.
    static RECORDS: RefCell<Vec<u8>> = RefCell::new(vec![0; TLS_RECORDS * TLS_RECORD_BYTES]);
}

/// Lends the buffer of this thread, of `RECEIVED_BYTES`.
pub(super) fn with_buffer<T>(act: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| act(buffer))
}

/// Lends the buffer of this thread for what fills several records of TLS.
pub(super) fn with_records<T>(act: impl FnOnce(&mut [u8]) -> T) -> T {
    RECORDS.with_borrow_mut(|buffer| act(buffer))
}
