//! Builds the faulty guest, which fails on demand: what isolation is tried with.

use std::fs;

#[path = "../build/component.rs"]
mod component;

fn main() {
    println!("cargo::rerun-if-changed=../build/component.rs");
    let root =
        component::checkout("../..").unwrap_or_else(|| component::fail("this crate builds in its checkout only"));
    let faulty =
        component::Source { package: "multiclient-session", features: &["faulty"], inputs: component::SESSION };
    let faulty = component::build(&root, &faulty);
    fs::write(component::out_dir().join("faulty.wasm"), faulty).expect("OUT_DIR can be written");
}
