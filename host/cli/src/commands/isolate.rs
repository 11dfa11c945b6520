//! `multiclient isolate`.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use multiclient::{Guest, Sources};
use multiclient_isolate::{Outcome, Pace, Plan, Progress, Report};

use super::against;
use crate::args::Isolate;
use crate::failure::Failure;
use crate::options::{grants, limits_of_one};
use crate::output::{Status, print, print_line, report};
use crate::startup::raise_descriptor_limit;

/// Exit code where nothing was shown, or what was shown could not be told.
const INCONCLUSIVE: u8 = 3;

/// Runs the trial of isolation on this machine.
pub(crate) fn isolate(flags: &Isolate) -> Result<ExitCode, Failure> {
    raise_descriptor_limit();
    if against::is_asked_for(&flags.against) {
        return against::against(flags);
    }
    let plan = plan(flags)?;
    let files = report_files(flags)?;
    let status = Status::new();
    // What cannot be printed stops nothing, but is told at the end.
    let mut printed = Ok(());
    let outcome = multiclient_isolate::run(&plan, &mut |progress| match progress {
        Progress::Trying(claim) => status.show(format_args!("{}: {}", claim.sentence(), claim.attack())),
        Progress::Tried(outcome) => {
            status.clear();
            let told = tell(flags, outcome);
            printed = std::mem::replace(&mut printed, Ok(())).and(told);
        }
    });
    let report = outcome.map_err(Failure::host)?;
    printed?;
    match flags.json {
        true => print(format!("{}\n", report.json().trim_end()).as_bytes())?,
        false => print_line(format_args!("{}", report.line()))?,
    }
    Ok(finish(files, &report, report.exit_code()))
}

/// With `--json`, standard output has the report and nothing else.
fn tell(flags: &Isolate, outcome: &Outcome) -> Result<(), Failure> {
    if flags.json {
        report(format_args!("{}", outcome.line()));
        return Ok(());
    }
    print_line(format_args!("{}", outcome.line()))
}

fn plan(flags: &Isolate) -> Result<Plan, Failure> {
    if let Some(source) = &flags.source {
        Sources::at(source).map_err(|error| Failure::source(&error))?;
    }
    let guest = match &flags.guest.guest {
        Some(path) => {
            let component = std::fs::read(path).map_err(|error| Failure::unreadable(path, &error))?;
            let grants = grants(&flags.guest);
            // What is wrong with it is said here; for the trial it is compiled again.
            let compiled = Guest::custom(component.clone(), limits_of_one(), &grants);
            compiled.map_err(|error| Failure::guest(path, &error))?;
            Some((component, grants))
        }
        None => None,
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Plan {
        source: flags.source.clone(),
        guest,
        only: flags.only.clone(),
        pace: if flags.quick { Pace::Quick } else { Pace::Thorough },
        seed: flags.seed.unwrap_or(now.as_secs()),
        // Also where its file was replaced meanwhile.
        probe: Some("/proc/self/exe".into()),
        ..Plan::default()
    })
}

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

fn report_files(flags: &Isolate) -> Result<Vec<ReportFile<'_, Report>>, Failure> {
    let junit = flags.junit.as_deref().map(|path| (path, Report::junit as fn(&Report) -> String));
    let html = flags.html.as_deref().map(|path| (path, Report::html as fn(&Report) -> String));
    junit.into_iter().chain(html).map(ReportFile::open).collect()
}

/// Writes all reports, and says how the program exits that has shown what `exit_code` says.
pub(super) fn finish<R>(files: Vec<ReportFile<'_, R>>, report: &R, exit_code: u8) -> ExitCode {
    let exit_code = match (write(files, report), exit_code) {
        (Err(failure), exit_code) => {
            self::report(format_args!("{failure}"));
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
