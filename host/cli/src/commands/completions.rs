//! `multiclient completions SHELL`.

use std::process::ExitCode;

use clap_complete::Shell;

use crate::args::{self, Help};
use crate::failure::Failure;
use crate::output::print;

/// Prints a script that completes commands and flags.
pub(crate) fn completions(shell: Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    let mut command = args::command(Help::Long);
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print(&script)?;
    Ok(ExitCode::SUCCESS)
}
