//! Linker settings of the component. Native builds need none.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "wasm") {
        // On this target the compiler expects `memcmp` and its like from a C library, which only `std`
        // would link by itself. Of the archive nothing but these is taken.
        println!("cargo::rustc-link-arg-cdylib=-lc");
    }
}
