//! Builds what fails on demand: the guest and the index that isolation is tried with, and handlers for the hosts of
//! others.

use std::fs;

#[path = "../build/component.rs"]
mod component;

use component::Source;

/// What the handlers for `wasi:http` are built from.
const WASI_HTTP: &[&str] = &[
    "guest/src",
    "guest/Cargo.toml",
    "guest/folder",
    "guest/wasi-http",
    "guest/wasi-http-0.3",
    "guest/session/src/faulty",
    "Cargo.lock",
];

fn main() {
    println!("cargo::rerun-if-changed=../build/component.rs");
    let root =
        component::checkout("../..").unwrap_or_else(|| component::fail("this crate builds in its checkout only"));
    for (name, package, inputs) in [
        ("faulty", "multiclient-session", component::SESSION),
        ("faulty-index", "multiclient-index-component", component::INDEX),
        ("faulty-wasi-http", "multiclient-wasi-http", WASI_HTTP),
        ("faulty-wasi-http-0.3", "multiclient-wasi-http-03", WASI_HTTP),
    ] {
        let component = component::build(&root, &Source { package, features: &["faulty"], inputs });
        fs::write(component::out_dir().join(format!("{name}.wasm")), component).expect("OUT_DIR can be written");
    }
}
