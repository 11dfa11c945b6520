//! The program under test.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::programs::run;

/// The program under test: the one that `cargo test` has built, or `MULTICLIENT_UNDER_TEST`, as for a static
/// build or an installed one.
pub fn program_under_test() -> PathBuf {
    let other = env::var_os("MULTICLIENT_UNDER_TEST");
    let path = other.or_else(|| env::var_os("CARGO_BIN_EXE_multiclient"));
    path.expect("`cargo test` runs the tests, or MULTICLIENT_UNDER_TEST names the program").into()
}

/// The program under test, with none of the settings that the environment may have.
pub fn multiclient() -> Command {
    without_settings(program_under_test())
}

/// Another program that runs the one under test, with none of those settings either.
pub fn without_settings(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("MULTICLIENT_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Writes the built-in guest to a file.
pub fn export_guest(path: &Path) {
    run(multiclient().args(["export-guest", "--output"]).arg(path));
}
