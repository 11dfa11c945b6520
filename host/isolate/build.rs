//! Builds what fails on demand: the guest and the index that isolation is tried with.

use std::fs;

#[path = "../build/component.rs"]
mod component;

use component::Source;

fn main() {
    println!("cargo::rerun-if-changed=../build/component.rs");
    let root =
        component::checkout("../..").unwrap_or_else(|| component::fail("this crate builds in its checkout only"));
    let guest = Source { package: "multiclient-session", features: &["faulty"], inputs: component::SESSION };
    let index = Source { package: "multiclient-index-component", features: &["faulty"], inputs: component::INDEX };
    for (name, source) in [("faulty.wasm", guest), ("faulty-index.wasm", index)] {
        let component = component::build(&root, &source);
        fs::write(component::out_dir().join(name), component).expect("OUT_DIR can be written");
    }
}
