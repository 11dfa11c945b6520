//! `multiclient export-guest`.

use std::path::Path;
use std::process::ExitCode;

use multiclient::Guest;

use crate::args::Faulty;
use crate::failure::Failure;
use crate::options::limits_of_one;
use crate::output::print;

/// Writes the built-in component to a file, for other hosts.
pub(crate) fn export_guest(path: &Path) -> Result<ExitCode, Failure> {
    let guest = Guest::built_in(limits_of_one()).map_err(Failure::host)?;
    write(path, guest.component())
}

/// Writes a component that fails on request, for a server or a host that is to be tried from outside.
pub(crate) fn export_faulty(path: &Path, world: Faulty) -> Result<ExitCode, Failure> {
    let component = match world {
        Faulty::Session => multiclient_isolate::FAULTY,
        Faulty::WasiHttp => multiclient_isolate::FAULTY_WASI_HTTP,
        Faulty::WasiHttp03 => multiclient_isolate::FAULTY_WASI_HTTP_03,
    };
    write(path, component)
}

fn write(path: &Path, component: &[u8]) -> Result<ExitCode, Failure> {
    match path.as_os_str() == "-" {
        true => print(component)?,
        false => std::fs::write(path, component).map_err(|error| Failure::unwritable(path, &error))?,
    }
    Ok(ExitCode::SUCCESS)
}
