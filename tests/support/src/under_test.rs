//! The program under test.

use std::env;
use std::ffi::{OsStr, OsString};
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

/// The walls that servers of the tests raise, where the tests do not say it: those of
/// `MULTICLIENT_TESTS_WALLS`, or the default. Only root can look into a process behind walls, which tests do, so
/// for everybody else there are none.
fn walls() -> Option<OsString> {
    let looks_inside = rustix::process::geteuid().is_root();
    env::var_os("MULTICLIENT_TESTS_WALLS").or_else(|| (!looks_inside).then(|| "off".into()))
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
    if let Some(walls) = walls() {
        command.env("MULTICLIENT_WALLS", walls);
    }
    command.stdin(Stdio::null());
    command
}

/// Writes the built-in guest to a file.
pub fn export_guest(path: &Path) {
    run(multiclient().args(["export-guest", "--output"]).arg(path));
}
