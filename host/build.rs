//! Makes the built-in guest, and the faulty one that isolation is tested with: compiles the component,
//! precompiles it to machine code, and leaves both in `OUT_DIR` for `sandbox.rs` to embed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};
use std::{env, fs};

#[path = "src/engine.rs"]
mod engine;

const TARGET: &str = "wasm32-wasip2";

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for input in ["guest/src", "guest/Cargo.toml", "guest/session", "guest/shell", "wit", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    println!("cargo::rerun-if-changed=src/engine.rs");

    have_target();
    embed("guest", &build_guest(&root, &[]));
    embed("faulty", &build_guest(&root, &["--features", "faulty"]));
}

/// Leaves a component and its machine code where the host finds them.
fn embed(name: &str, component: &[u8]) {
    // For the machine the host is built for, which need not be the one that builds it.
    let mut config = engine::config(engine::MEMORY_RESERVATION);
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let precompiled = config
        .target(&target)
        .and_then(|config| wasmtime::Engine::new(config))
        .and_then(|engine| engine.precompile_component(component))
        .unwrap_or_else(|error| fail(&format!("the guest does not compile for {target}: {error:#}")));

    let out = out_dir();
    fs::write(out.join(name).with_extension("wasm"), component).expect("OUT_DIR can be written");
    fs::write(out.join(name).with_extension("cwasm"), precompiled).expect("OUT_DIR can be written");
}

/// Sees to it that the standard library for the guest's target is there.
fn have_target() {
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let lib = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let there = |lib: &PathBuf| fs::read_dir(lib).is_ok_and(|mut files| files.next().is_some());
    if lib.as_ref().is_some_and(there) {
        return;
    }
    println!("cargo::warning=adding the target {TARGET}, which the guest is built for, by rustup");
    let added = Command::new("rustup").args(["target", "add", TARGET]).stdout(Stdio::null()).status();
    if !added.is_ok_and(|status| status.success()) {
        fail(&format!(
            "the guest needs Rust's standard library for {TARGET}, and rustup could not add it: \
             install it (with rustup: `rustup target add {TARGET}`) and build again"
        ));
    }
}

/// Builds the component, in a target folder of its own: the one of the build that runs this is locked.
fn build_guest(root: &Path, features: &[&str]) -> Vec<u8> {
    let target_dir = out_dir().join("guest");
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
    cargo
        .args(["build", "--release", "--package", "multiclient-session", "--target", TARGET])
        .args(features)
        .arg("--manifest-path")
        .arg(root.join("guest/session/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir);
    // What the outer build set for its own crates is not meant for the guest. The rest of the
    // environment (proxies, registries, offline mode) is.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_TARGET_DIR"]
    {
        cargo.env_remove(name);
    }
    // Small and fast, and no unwinding: a panic in the guest is a trap. Function names stay in, for
    // the message of that trap.
    for (setting, value) in [
        ("OPT_LEVEL", "2"),
        ("LTO", "fat"),
        ("CODEGEN_UNITS", "1"),
        ("PANIC", "abort"),
        ("DEBUG", "none"),
        ("STRIP", "debuginfo"),
    ] {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
    }
    if !cargo.status().is_ok_and(|status| status.success()) {
        fail("the guest does not build; the errors are above");
    }
    // Read at once: the next build puts its own there.
    fs::read(target_dir.join(TARGET).join("release/multiclient_session.wasm"))
        .unwrap_or_else(|error| fail(&format!("the guest was built, and cannot be read: {error}")))
}

fn out_dir() -> PathBuf {
    env::var_os("OUT_DIR").expect("cargo sets OUT_DIR").into()
}

fn fail(sentence: &str) -> ! {
    println!("cargo::error={sentence}");
    exit(1)
}
