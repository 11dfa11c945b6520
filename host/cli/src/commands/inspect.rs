//! `multiclient inspect`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use multiclient::journal::Size;
use multiclient::{Engine, Guest, Index, Inspection};

use crate::failure::Failure;
use crate::options::limits_of_one;
use crate::output::print;
use crate::printable::printable;

/// What a component without imports imports.
const NOTHING: &str = "nothing: it can compute, and do nothing else";

/// Prints what a guest imports and exports, and whether it can serve; of what is built in, the index as well.
pub(crate) fn inspect(path: Option<&Path>) -> Result<ExitCode, Failure> {
    let text = match path {
        Some(path) => describe(&read(path)?, &path.display().to_string()),
        None => {
            let guest = Guest::built_in(limits_of_one()).map_err(Failure::host)?;
            let index = Index::built_in().map_err(Failure::host)?;
            let engine = Engine::of_this_program().version;
            format!("engine   {engine}\n\n{}\n{}", describe(&guest.inspect(), "built in"), describe_index(&index))
        }
    };
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints which parts of the engine there are, so that whoever reads an advisory can tell whether it concerns
/// this program.
pub(crate) fn inspect_engine() -> Result<ExitCode, Failure> {
    let Engine { version, compiled_in, left_out, on, off, .. } = Engine::of_this_program();
    let mut text = format!("engine   {version}\n");
    for (what, names) in [("with", compiled_in), ("without", left_out), ("on", on), ("off", off)] {
        for name in names {
            let _ = writeln!(text, "{what:<8} {name}");
        }
    }
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<Inspection, Failure> {
    let component = std::fs::read(path).map_err(|error| Failure::unreadable(path, &error))?;
    Inspection::of(&component).map_err(|error| Failure::guest(path, &error))
}

/// An index that is loaded has the one export of its contract, and no imports: one that has any is refused.
fn describe_index(index: &Index) -> String {
    let size = Size(index.component().len() as u64);
    format!(
        "index    built in, {size}, sha256 {}\n\
         imports  {NOTHING}\n\
         exports  multiclient:index/marks@0.1.0\n",
        index.sha256()
    )
}

fn describe(inspection: &Inspection, name: &str) -> String {
    let Inspection { imports, exports, sha256, bytes, memory, unfit, .. } = inspection;
    let mut text = format!("guest    {name}, {}, sha256 {sha256}\n", Size(*bytes));
    text += &format!("memory   {} at start\n", Size(*memory));
    if imports.is_empty() {
        text += &format!("imports  {NOTHING}\n");
    }
    // Writing into a string cannot fail.
    for import in imports {
        let _ = writeln!(text, "imports  {}   ({})", printable(&import.name), import.verdict);
    }
    for export in exports {
        let _ = writeln!(text, "exports  {}", printable(export));
    }
    let _ = match unfit {
        None => writeln!(text, "serves   yes"),
        Some(why) => writeln!(text, "serves   no: {}", printable(why)),
    };
    text
}
