//! Provides the built-in components, the guest and the index of live streams: each as a component and as
//! machine code, in `OUT_DIR`, for the library to embed. Of the guest also machine code of its core module alone,
//! as which it runs.
//!
//! In a checkout they are built from source. In the published package they are `prebuilt/NAME.wasm`, with
//! their SHA-256 beside them. With the feature `compile` the machine code is made here; without it, it is
//! `prebuilt/NAME.ARCH.cwasm`, and no compiler is built at all.

#![expect(clippy::print_stdout, reason = "a build script speaks to cargo on stdout")]

use std::path::{Path, PathBuf};
use std::{env, fs};

mod component;
#[cfg(feature = "compile")]
#[path = "../src/sandbox/engine.rs"]
mod engine;
#[cfg(feature = "compile")]
#[path = "../src/sandbox/unbundle.rs"]
mod unbundle;

use component::{Source, fail, out_dir};

/// Names a folder to leave the files of `prebuilt/` in: what the script `host/prebuild` does.
const PREBUILD: &str = "MULTICLIENT_PREBUILD";

/// Machine code that is made.
struct Code {
    name: &'static str,
    /// Of which component.
    of: &'static str,
    #[cfg_attr(not(feature = "compile"), expect(dead_code, reason = "it is made already"))]
    part: Part,
}

/// What of a component is compiled.
#[cfg_attr(not(feature = "compile"), expect(dead_code, reason = "it is made already"))]
enum Part {
    All,
    /// Its only core module.
    CoreModule,
}

const CODES: [Code; 3] = [
    Code { name: "guest", of: "guest", part: Part::All },
    Code { name: "guest-core", of: "guest", part: Part::CoreModule },
    Code { name: "index", of: "index", part: Part::All },
];

fn main() {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=src/sandbox/engine.rs");
    println!("cargo::rerun-if-changed=src/sandbox/unbundle.rs");
    println!("cargo::rerun-if-env-changed={PREBUILD}");
    println!("cargo::rustc-env=WASMTIME_VERSION={}", wasmtime_version());
    let session = Source { package: "multiclient-session", features: &[], inputs: component::SESSION };
    let index = Source { package: "multiclient-index-component", features: &[], inputs: component::INDEX };
    let mut files = Vec::new();
    for (name, source) in [("guest", session), ("index", index)] {
        let component = match component::checkout("..") {
            Some(root) if cfg!(feature = "compile") => component::build(&root, &source),
            _ => prebuilt(&format!("{name}.wasm")),
        };
        let codes = CODES.iter().filter(|code| code.of == name);
        if env::var_os(PREBUILD).is_some() {
            files.extend(for_the_package(name, codes.clone(), &component));
        }
        for code in codes {
            let machine_code = machine_code(code, &component);
            fs::write(out_dir().join(format!("{}.cwasm", code.name)), machine_code).expect("OUT_DIR can be written");
        }
        fs::write(out_dir().join(format!("{name}.wasm")), component).expect("OUT_DIR can be written");
    }
    if let Some(folder) = env::var_os(PREBUILD) {
        let folder = Path::new(&folder);
        let sums: String = files.iter().map(|(name, bytes)| format!("{}  {name}\n", sha256(bytes))).collect();
        fs::write(folder.join("SHA256SUMS"), sums).expect("the folder for prebuilt files can be written");
        for (name, bytes) in files {
            fs::write(folder.join(name), bytes).expect("the folder for prebuilt files can be written");
        }
    }
}

/// The version of wasmtime that is locked, in the workspace that is built: that of the checkout, or that of the
/// program that embeds the host.
fn wasmtime_version() -> String {
    /// What `Cargo.toml` asks for.
    const AT_LEAST: &str = "48.0.8 or later";
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).expect("cargo sets CARGO_MANIFEST_DIR");
    let out_dir = out_dir();
    let folders = manifest.ancestors().chain(out_dir.ancestors());
    let Some(lock) = folders.map(|folder| folder.join("Cargo.lock")).find(|lock| lock.is_file()) else {
        return AT_LEAST.to_owned();
    };
    println!("cargo::rerun-if-changed={}", lock.display());
    let lock = fs::read_to_string(lock).unwrap_or_default();
    let versions =
        lock.split("[[package]]").filter(|package| package.lines().any(|line| line == "name = \"wasmtime\""));
    let versions = versions.filter_map(|package| package.lines().find_map(|line| line.strip_prefix("version = \"")));
    let version = versions.map(|version| version.trim_end_matches('"')).find(|version| version.starts_with("48."));
    version.map_or_else(|| AT_LEAST.to_owned(), str::to_owned)
}

/// Compiles a component for the machine that the host is built for, which need not be the one that
/// builds it.
#[cfg(feature = "compile")]
fn machine_code(code: &Code, component: &[u8]) -> Vec<u8> {
    compile_for(&env::var("TARGET").expect("cargo sets TARGET"), code, component)
}

#[cfg(not(feature = "compile"))]
fn machine_code(code: &Code, _component: &[u8]) -> Vec<u8> {
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    prebuilt(&format!("{}.{architecture}.cwasm", code.name))
}

#[cfg(feature = "compile")]
fn compile_for(target: &str, code: &Code, component: &[u8]) -> Vec<u8> {
    let mut config = engine::config(engine::MEMORY_RESERVATION);
    config
        .target(target)
        .and_then(|config| wasmtime::Engine::new(config))
        .and_then(|engine| match code.part {
            Part::All => engine.precompile_component(component),
            Part::CoreModule => {
                let module = unbundle::core_module(component);
                engine
                    .precompile_module(module.unwrap_or_else(|why| fail(&format!("the guest is not as it was: {why}"))))
            }
        })
        .unwrap_or_else(|error| {
            fail(&format!(
                "a component does not compile for {target}: {error:#}. To build for another architecture than \
                 this machine's, enable the feature `all-arch`"
            ))
        })
}

/// A component and its machine code, as the package brings them along: for this machine's architecture, or
/// with `all-arch` for each that is supported.
#[cfg(feature = "compile")]
fn for_the_package<'a>(
    name: &str,
    codes: impl Iterator<Item = &'a Code> + Clone,
    component: &[u8],
) -> Vec<(String, Vec<u8>)> {
    let mut files = vec![(format!("{name}.wasm"), component.to_vec())];
    let architectures = if cfg!(feature = "all-arch") { &["x86_64", "aarch64"][..] } else { &[env::consts::ARCH] };
    for architecture in architectures {
        for code in codes.clone() {
            let machine_code = compile_for(&format!("{architecture}-unknown-linux-gnu"), code, component);
            files.push((format!("{}.{architecture}.cwasm", code.name), machine_code));
        }
    }
    files
}

#[cfg(not(feature = "compile"))]
fn for_the_package<'a>(
    _name: &str,
    _codes: impl Iterator<Item = &'a Code> + Clone,
    _component: &[u8],
) -> Vec<(String, Vec<u8>)> {
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
