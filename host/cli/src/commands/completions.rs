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
    if shell == Shell::Fish {
        let commands: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
        script = with_flags_after_a_source(&String::from_utf8_lossy(&script), &commands.join(" ")).into_bytes();
    }
    print(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// The script for fish takes the first argument for a command, and after a source offers no flags any more.
fn with_flags_after_a_source(script: &str, commands: &str) -> String {
    let generated = "-n \"__fish_multiclient_needs_command\"";
    let wanted = format!("-n \"not __fish_seen_subcommand_from {commands}\"");
    let mut result = String::new();
    for line in script.lines() {
        let is_flag = line.contains(" -l ") || line.contains(" -s ");
        result += &if is_flag { line.replace(generated, &wanted) } else { line.to_owned() };
        result.push('\n');
    }
    result
}
