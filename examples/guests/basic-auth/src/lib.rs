//! The HTTP session behind a password (RFC 7617):
//!
//! ```text
//! BASIC_AUTH=$(printf 'alice:sesame' | base64) cargo build --release -p multiclient-basic-auth --target wasm32-wasip2
//! multiclient films/ --guest target/wasm32-wasip2/release/multiclient_basic_auth.wasm
//! ```
//!
//! The session reads the requests, and asks `admit` about each before it opens anything. The credentials are
//! in the component: whoever can read the file knows them. Without TLS in front of the server, so does
//! everybody on the way.

#![cfg_attr(target_family = "wasm", no_std)]
#![cfg(target_family = "wasm")]

extern crate alloc;

use alloc::vec::Vec;

use multiclient_guest::contract::{Action, Event, Instant, Settings};
use multiclient_guest::{Asked, Denied};

/// User, colon, password, in Base64 as clients send it.
const RIGHT: &str = env!("BASIC_AUTH", "say who may come in: the base64 of user:password");

struct Session(multiclient_guest::Session);

multiclient_shell::component!(Session);

impl multiclient_shell::Session for Session {
    fn new(settings: Settings) -> Self {
        Self(multiclient_guest::Session::guarded(settings, admit))
    }

    fn advance(&mut self, now: Instant, event: Event) -> Vec<Action> {
        self.0.advance(now, event)
    }
}

/// Admits requests that have the right credentials, once.
fn admit(asked: &Asked<'_>) -> Result<(), Denied> {
    let mut said = asked.fields("Authorization");
    match (said.next().and_then(credentials), said.next()) {
        (Some(said), None) if is_same(said, RIGHT.as_bytes()) => Ok(()),
        _ => Err(Denied::Unauthorized(b"Basic realm=\"multiclient\", charset=\"UTF-8\"".to_vec())),
    }
}

/// What follows the name of the scheme, which is case-insensitive.
fn credentials(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(b"Basic ".len())?;
    scheme.eq_ignore_ascii_case(b"Basic ").then(|| rest.trim_ascii_start())
}

/// Whether they are equal. The time that this takes does not reveal where they differ.
fn is_same(said: &[u8], right: &[u8]) -> bool {
    said.len() == right.len() && said.iter().zip(right).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
