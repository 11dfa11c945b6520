//! Linker settings of the component. Native builds need none.

use std::env;

/// The guest's stack, in bytes. A session is called, returns, and keeps nothing on the stack. The deepest
/// call, which sorts a portion of 512 entries, needs 4 KiB and traps with 3.
///
/// The stack comes first in memory, and the data after it. Together they end shortly before the fourth page of the
/// host's ends (4 KiB each), so that an exchange touches four pages: one with the top of the stack, two with data, and
/// the heap. The host zeroes the first 20 KiB for each client and keeps them.
const STACK: u32 = 7_424;

/// That of a build without optimisation.
const STACK_FOR_DEVELOPMENT: u32 = 16 * 1024;

/// The memory that an instance starts with, in bytes: the stack, the data, and room for a usual request and
/// its response, so that most clients never ask for more.
const MEMORY: u32 = 128 * 1024;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../wit");
    if env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm") {
        let optimised = env::var("OPT_LEVEL").is_ok_and(|level| level != "0");
        let stack = if optimised { STACK } else { STACK_FOR_DEVELOPMENT };
        println!("cargo::rustc-link-arg-cdylib=-zstack-size={stack}");
        println!("cargo::rustc-link-arg-cdylib=--initial-memory={MEMORY}");
    }
}
