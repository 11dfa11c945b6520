//! Linker settings of the component. Native builds need none.

use std::env;

/// The guest's stack, in bytes. A session is called, returns, and keeps nothing on the stack. The deepest
/// call, which sorts a portion of 512 entries, needs 4 KiB in a release build and traps with 3; a debug build
/// needs 16. The host zeroes the first 32 KiB of an instance's memory for each client and keeps them: the
/// stack comes first, so whatever it does not need is taken from the heap there.
const STACK: u32 = 16 * 1024;

/// The memory that an instance starts with, in bytes: the stack, the data, and room for a usual request and
/// its response, so that most clients never ask for more.
const MEMORY: u32 = 128 * 1024;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../wit");
    if env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm") {
        println!("cargo::rustc-link-arg-cdylib=-zstack-size={STACK}");
        println!("cargo::rustc-link-arg-cdylib=--initial-memory={MEMORY}");
    }
}
