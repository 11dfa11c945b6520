//! `multiclient export-guest`.

use std::path::Path;
use std::process::ExitCode;

use multiclient::Guest;

use crate::failure::Failure;
use crate::options::limits_of_one;
use crate::output::print;

/// Writes the built-in component to a file, for other hosts.
pub(crate) fn export_guest(path: &Path) -> Result<ExitCode, Failure> {
    let guest = Guest::built_in(limits_of_one()).map_err(Failure::host)?;
    match path.as_os_str() == "-" {
        true => print(guest.component())?,
        false => std::fs::write(path, guest.component()).map_err(|error| Failure::unwritable(path, &error))?,
    }
    Ok(ExitCode::SUCCESS)
}
