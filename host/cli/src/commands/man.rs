//! `multiclient man [COMMAND]`.

use std::process::ExitCode;

use clap_mangen::Man;

use crate::args::{self, Help};
use crate::failure::Failure;
use crate::output::print;

/// Prints the man page of the program or of one of its commands.
pub(crate) fn man(of: Option<&str>) -> Result<ExitCode, Failure> {
    let mut command = args::command(Help::Long);
    // So that the commands know the name of the program.
    command.build();
    let command = match of {
        None => command,
        Some(name) => {
            let found = command.find_subcommand(name).cloned();
            let found = found.ok_or_else(|| Failure::usage(&format!("there is no command `{name}`")))?;
            let page = format!("multiclient-{name}");
            found.name(page)
        }
    };
    let mut page = Vec::new();
    Man::new(command).render(&mut page).map_err(Failure::host)?;
    print(&page)?;
    Ok(ExitCode::SUCCESS)
}
