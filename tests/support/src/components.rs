//! Components that tests build from source, with the cargo that runs the tests.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::programs::run_within;

/// How long a component may take to be built, with what it is made of.
pub const BUILDING: Duration = Duration::from_secs(300);

/// What the outer build set for its own crates.
const OUTER: [&str; 5] =
    ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_TARGET_DIR"];

/// A component to build.
pub struct Component<'a> {
    /// The folder of its crate, from the root of the repository.
    pub folder: &'a str,
    /// The file that cargo makes of it.
    pub file: &'a str,
    /// One of its features, or none.
    pub feature: &'a str,
    /// Variables that its build reads.
    pub variables: &'a [(&'a str, &'a str)],
}

impl Component<'_> {
    /// Builds it in a target folder that is kept from one run to the next: the test program's
    /// `CARGO_TARGET_TMPDIR`. Returns a file of its own, which no later build replaces.
    pub fn build(&self, kept: &str) -> PathBuf {
        // Two features of one crate are built to the same file.
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let target = Path::new(kept).join("components");
        let mut cargo = Command::new(env::var_os("CARGO").expect("the tests are run by cargo"));
        cargo.args(["build", "--quiet", "--release", "--target", "wasm32-wasip2", "--features", self.feature]);
        cargo.arg("--manifest-path").arg(repository(self.folder).join("Cargo.toml"));
        cargo.arg("--target-dir").arg(&target).envs(self.variables.iter().copied());
        for name in OUTER {
            cargo.env_remove(name);
        }
        // Names for the message of a trap, and nothing more to compile.
        cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "none").env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
        let built = run_within(BUILDING, &mut cargo);
        let stderr = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{} does not build:\n{stderr}", self.folder);
        let kept = target.join(format!("{}{}", self.feature, self.file));
        fs::copy(target.join("wasm32-wasip2/release").join(self.file), &kept).expect("the component is there");
        kept
    }
}

/// A file or folder of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
