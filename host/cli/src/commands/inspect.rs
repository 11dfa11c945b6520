//! `multiclient inspect`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use multiclient::journal::Size;
use multiclient::{Guest, Inspection};

use crate::failure::Failure;
use crate::options::limits_of_one;
use crate::output::print;

/// Prints what a guest imports and exports, and whether it can serve.
pub(crate) fn inspect(path: Option<&Path>) -> Result<ExitCode, Failure> {
    let (inspection, name) = match path {
        Some(path) => (read(path)?, path.display().to_string()),
        None => (Guest::built_in(limits_of_one()).map_err(Failure::host)?.inspect(), "built in".to_owned()),
    };
    print(describe(&inspection, &name).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<Inspection, Failure> {
    let component = std::fs::read(path).map_err(|error| Failure::unreadable(path, &error))?;
    Inspection::of(&component).map_err(|error| Failure::guest(path, &error))
}

fn describe(inspection: &Inspection, name: &str) -> String {
    let Inspection { imports, exports, sha256, bytes, memory, unfit, .. } = inspection;
    let mut text = format!("guest    {name}, {}, sha256 {sha256}\n", Size(*bytes));
    text += &format!("memory   {} at start\n", Size(*memory));
    if imports.is_empty() {
        text += "imports  nothing: it can compute, and do nothing else\n";
    }
    // Writing into a string cannot fail.
    for import in imports {
        let _ = writeln!(text, "imports  {}   ({})", import.name, import.verdict);
    }
    for export in exports {
        let _ = writeln!(text, "exports  {export}");
    }
    let _ = match unfit {
        None => writeln!(text, "serves   yes"),
        Some(why) => writeln!(text, "serves   no: {why}"),
    };
    text
}
