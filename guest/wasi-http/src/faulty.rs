//! Requests that make the handler fail, for trying what its host does about it with `multiclient isolate`.
//!
//! `/!crash` traps, `/!hang` computes without end, `/!leak` takes a mebibyte and keeps it, and `/!peek` answers with
//! the canaries in the memory of its instance. Everything else is answered as by the handler that serves.
//!
//! Rules:
//!
//! - This is not part of the handler that serves. It is compiled with the feature `faulty` only, into a component of
//!   its own.
//! - No standard library: the handler for `wasi:http` 0.3, which has none, shares this file.

#[path = "../../session/src/faulty/peek.rs"]
mod peek;

use alloc::borrow::ToOwned;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::arch::wasm32;
use core::hint::black_box;
use core::mem;

use multiclient_guest::answer::{Message, Piece};

/// What each `/!leak` keeps, in bytes.
const LEAK: usize = 1 << 20;

/// Misbehaves, if the path and query name a fault. An unknown fault is a trap, as in the faulty session.
pub(crate) fn fail(path_and_query: &str) -> Option<Message> {
    let target = path_and_query.strip_prefix("/!")?;
    let fault = target.split_once('?').map_or(target, |(fault, _)| fault);
    let body = match fault {
        "hang" | "spin" => loop {
            black_box(());
        },
        "leak" => {
            // Written to, or no host would have to find memory for it.
            mem::forget(black_box(alloc::vec![1u8; LEAK]));
            b"leaked".to_vec()
        }
        "peek" => peek::peek(),
        _ => wasm32::unreachable(),
    };
    Some(message(body))
}

fn message(body: Vec<u8>) -> Message {
    let length = ("Content-Length".to_owned(), body.len().to_string().into_bytes());
    let body = if body.is_empty() { Vec::new() } else { Vec::from([Piece::Bytes(body)]) };
    Message { status: 200, fields: Vec::from([length]), body, rest: None }
}
