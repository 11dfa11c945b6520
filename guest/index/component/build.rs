//! Linker settings of the component. Native builds need none.

use std::env;

/// The index's stack, in bytes. It is called, returns, and keeps nothing on the stack; what it parses is
/// not nested deeper than its functions are. Rust's default of 1 MiB would be 16 pages that nobody uses.
const STACK: u32 = 64 * 1024;

/// The memory that an instance is born with, in bytes: the stack, the data, a piece of the source of 64 KiB
/// and the marks of it, so that most streams never ask for more.
const MEMORY: u32 = 512 * 1024;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../../wit/index");
    if env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm") {
        println!("cargo::rustc-link-arg-cdylib=-zstack-size={STACK}");
        println!("cargo::rustc-link-arg-cdylib=--initial-memory={MEMORY}");
    }
}
