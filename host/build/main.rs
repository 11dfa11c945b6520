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
    println!("cargo::rerun-if-env-changed={PREBUILD}");
    let component = match component::checkout("..") {
        Some(root) if cfg!(feature = "compile") => component::build(&root, &[]),
        _ => prebuilt("guest.wasm"),
    };
    let machine_code = machine_code(&component);
    if let Some(folder) = env::var_os(PREBUILD) {
        prebuild(Path::new(&folder), &component);
    }
    fs::write(out_dir().join("guest.wasm"), component).expect("OUT_DIR can be written");
    fs::write(out_dir().join("guest.cwasm"), machine_code).expect("OUT_DIR can be written");
}

/// Names a folder to leave the files of `prebuilt/` in: what the script `host/prebuild` does.
const PREBUILD: &str = "MULTICLIENT_PREBUILD";

/// Compiles the component for the machine that the host is built for, which need not be the one that
/// builds it.
#[cfg(feature = "compile")]
fn machine_code(component: &[u8]) -> Vec<u8> {
    compile_for(&env::var("TARGET").expect("cargo sets TARGET"), component)
}

#[cfg(not(feature = "compile"))]
fn machine_code(_component: &[u8]) -> Vec<u8> {
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    prebuilt(&format!("guest.{architecture}.cwasm"))
}

#[cfg(feature = "compile")]
fn compile_for(target: &str, component: &[u8]) -> Vec<u8> {
    let mut config = engine::config(engine::MEMORY_RESERVATION);
    config
        .target(target)
        .and_then(|config| wasmtime::Engine::new(config))
        .and_then(|engine| engine.precompile_component(component))
        .unwrap_or_else(|error| {
            fail(&format!(
                "the guest does not compile for {target}: {error:#}. To build for another architecture than \
                 this machine's, enable the feature `all-arch`"
            ))
        })
}

/// Leaves the component, its machine code for each architecture, and their SHA-256 for the package.
#[cfg(feature = "compile")]
fn prebuild(folder: &Path, component: &[u8]) {
    let mut files = vec![("guest.wasm".to_owned(), component.to_vec())];
    for architecture in ["x86_64", "aarch64"] {
        let code = compile_for(&format!("{architecture}-unknown-linux-gnu"), component);
        files.push((format!("guest.{architecture}.cwasm"), code));
    }
    let mut sums = String::new();
    for (name, bytes) in files {
        sums += &format!("{}  {name}\n", sha256(&bytes));
        fs::write(folder.join(name), bytes).expect("the folder for prebuilt files can be written");
    }
    fs::write(folder.join("SHA256SUMS"), sums).expect("the folder for prebuilt files can be written");
}

#[cfg(not(feature = "compile"))]
fn prebuild(_folder: &Path, _component: &[u8]) {
    fail("prebuilt files are made with the feature `compile`");
}

/// A file of the package, if it is what its SHA-256 says.
fn prebuilt(name: &str) -> Vec<u8> {
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
    let sum = sha256(&bytes);
    if !String::from_utf8_lossy(&sums).lines().any(|line| line == format!("{sum}  {name}")) {
        fail(&format!("prebuilt/{name} is not the file that prebuilt/SHA256SUMS names: its SHA-256 is {sum}"));
    }
    bytes
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
