//! Files that reports of `multiclient isolate` are written to.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::failure::Failure;
use crate::output::report;

/// Exit code where nothing was shown, or what was shown could not be told.
const INCONCLUSIVE: u8 = 3;

/// A report that is to be written: where, and how it is made.
pub(super) struct ReportFile<'a, R> {
    path: &'a Path,
    file: File,
    render: fn(&R) -> String,
}

impl<'a, R> ReportFile<'a, R> {
    /// Opens the file. A minute later would be too late to find out that it cannot be written.
    pub(super) fn open((path, render): (&'a Path, fn(&R) -> String)) -> Result<Self, Failure> {
        match File::create(path) {
            Ok(file) => Ok(Self { path, file, render }),
            Err(error) => Err(Failure::unwritable(path, &error)),
        }
    }
}

/// Writes all reports, and says how the program exits that has shown what `exit_code` says.
pub(super) fn finish<R>(files: Vec<ReportFile<'_, R>>, shown: &R, exit_code: u8) -> ExitCode {
    let exit_code = match (write(files, shown), exit_code) {
        (Err(failure), exit_code) => {
            report(format_args!("{failure}"));
            if exit_code == 0 { INCONCLUSIVE } else { exit_code }
        }
        (Ok(()), exit_code) => exit_code,
    };
    ExitCode::from(exit_code)
}

/// Writes all reports; the first failure is told.
fn write<R>(files: Vec<ReportFile<'_, R>>, report: &R) -> Result<(), Failure> {
    let mut result = Ok(());
    for ReportFile { path, mut file, render } in files {
        let written = file.write_all(render(report).as_bytes());
        result = result.and(written.map_err(|error| Failure::unwritable(path, &error)));
    }
    result
}
