//! Builds a guest component from the sources of this checkout. Shared by the build scripts that embed one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, exit};
use std::{env, fs};

const TARGET: &str = "wasm32-wasip2";

/// The root of the checkout that this crate is built in. None: it is built from its package.
pub(crate) fn checkout(path_to_root: &str) -> Option<PathBuf> {
    let root = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR")).join(path_to_root);
    root.join("guest/session/Cargo.toml").is_file().then_some(root)
}

/// A component of this checkout: its package and features, and where its sources are.
pub(crate) struct Source {
    pub(crate) package: &'static str,
    pub(crate) features: &'static [&'static str],
    pub(crate) inputs: &'static [&'static str],
}

/// What a session component is built from.
pub(crate) const SESSION: &[&str] =
    &["guest/src", "guest/Cargo.toml", "guest/session", "guest/shell", "wit/session.wit", "Cargo.lock"];

/// What an index component is built from.
pub(crate) const INDEX: &[&str] = &["guest/index", "guest/shell/src/heap.rs", "wit/index", "Cargo.lock"];

/// Builds a component in a target folder of its own: the one of the build that runs this is locked. All
/// components share it, and with it everything that they are built with.
pub(crate) fn build(root: &Path, source: &Source) -> Vec<u8> {
    for input in source.inputs {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    install_target();
    let out_dir = out_dir();
    // OUT_DIR is `TARGET/PROFILE/build/PACKAGE/out`.
    let target_dir = out_dir.ancestors().nth(4).unwrap_or(&out_dir).join("components");
    fs::create_dir_all(&target_dir).expect("the target folder can be written");
    // Another build script may build the same package with other features: what was built here is read
    // before it begins. Dropping the file gives the lock back.
    let lock = fs::File::create(target_dir.join("lock")).expect("the target folder can be written");
    lock.lock().expect("the target folder can be locked");
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"));
    cargo
        .args(["build", "--release", "--package", source.package, "--target", TARGET])
        .args(source.features.iter().flat_map(|feature| ["--features", feature]))
        .arg("--manifest-path")
        .arg(root.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target_dir);
    // What the outer build set for its own crates is not meant for the guest. The rest of the
    // environment (proxies, registries, offline mode) is.
    for name in ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_TARGET_DIR"] {
        cargo.env_remove(name);
    }
    // The same sources give the same component on every machine: no path of this one is left in it.
    let registry = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let remap = registry.map(|home| format!("--remap-path-prefix={}=cargo", home.display())).unwrap_or_default();
    cargo.env("CARGO_ENCODED_RUSTFLAGS", remap);
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
    let file = format!("release/{}.wasm", source.package.replace('-', "_"));
    fs::read(target_dir.join(TARGET).join(file))
        .unwrap_or_else(|error| fail(&format!("the guest was built, but cannot be read: {error}")))
}

/// Makes sure that the standard library for the guest's target is installed.
fn install_target() {
    let rustc = env::var_os("RUSTC").expect("cargo sets RUSTC");
    let lib = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let is_installed = |lib: &PathBuf| fs::read_dir(lib).is_ok_and(|mut files| files.next().is_some());
    if lib.as_ref().is_some_and(is_installed) {
        return;
    }
    let added = Command::new("rustup").args(["target", "add", TARGET]).stdout(Stdio::null()).status();
    if !added.is_ok_and(|status| status.success()) {
        fail(&format!(
            "the guest needs Rust's standard library for {TARGET}, and rustup could not install it: \
             install it (with rustup: `rustup target add {TARGET}`) and build again"
        ));
    }
}

pub(crate) fn out_dir() -> PathBuf {
    env::var_os("OUT_DIR").expect("cargo sets OUT_DIR").into()
}

pub(crate) fn fail(sentence: &str) -> ! {
    println!("cargo::error={sentence}");
    exit(1)
}
