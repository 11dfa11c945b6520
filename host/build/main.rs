//! Provides the built-in guest: its component and its machine code, in `OUT_DIR`, for the library to embed.
//!
//! In a checkout the component is built from source. In the published package it is `prebuilt/guest.wasm`,
//! with its SHA-256 beside it. With the feature `compile` the machine code is made here; without it, it is
//! `prebuilt/guest.ARCH.cwasm`, and no compiler is built at all.

use std::path::Path;
use std::{env, fs};

mod component;
#[cfg(feature = "compile")]
#[path = "../src/sandbox/engine.rs"]
mod engine;

use component::{fail, out_dir};

fn main() {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=src/sandbox/engine.rs");
    let component = match component::checkout("..") {
        Some(root) if cfg!(feature = "compile") => component::build(&root, &[]),
        _ => prebuilt("guest.wasm"),
    };
    let machine_code = machine_code(&component);
    fs::write(out_dir().join("guest.wasm"), component).expect("OUT_DIR can be written");
    fs::write(out_dir().join("guest.cwasm"), machine_code).expect("OUT_DIR can be written");
}

/// Compiles the component for the machine that the host is built for, which need not be the one that
/// builds it.
#[cfg(feature = "compile")]
fn machine_code(component: &[u8]) -> Vec<u8> {
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let mut config = engine::config(engine::MEMORY_RESERVATION);
    config
        .target(&target)
        .and_then(|config| wasmtime::Engine::new(config))
        .and_then(|engine| engine.precompile_component(component))
        .unwrap_or_else(|error| fail(&format!("the guest does not compile for {target}: {error:#}")))
}

#[cfg(not(feature = "compile"))]
fn machine_code(_component: &[u8]) -> Vec<u8> {
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    prebuilt(&format!("guest.{architecture}.cwasm"))
}

/// A file of the package, if it is what its SHA-256 says.
fn prebuilt(name: &str) -> Vec<u8> {
    use sha2::Digest;
    let folder = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR")).join("prebuilt");
    println!("cargo::rerun-if-changed={}", folder.display());
    let read = |name: &str| {
        fs::read(folder.join(name)).unwrap_or_else(|error| {
            fail(&format!(
                "prebuilt/{name} cannot be read: {error}. The published package has it; in a checkout, run \
                 `host/prebuild` or enable the feature `compile`"
            ))
        })
    };
    let bytes = read(name);
    let sums = read("SHA256SUMS");
    let sum: String = sha2::Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if !String::from_utf8_lossy(&sums).lines().any(|line| line == format!("{sum}  {name}")) {
        fail(&format!("prebuilt/{name} is not the file that prebuilt/SHA256SUMS names: its SHA-256 is {sum}"));
    }
    bytes
}
