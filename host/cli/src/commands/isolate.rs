//! `multiclient isolate`.

use std::process::ExitCode;
use std::time::SystemTime;

use multiclient::{Guest, Sources};
use multiclient_isolate::{Claim, Outcome, Pace, Plan, Progress, Report};

use super::against;
use super::report_file::{ReportFile, finish};
use crate::args::Isolate;
use crate::failure::Failure;
use crate::options::{grants, limits_of_one};
use crate::output::{Status, print, print_line, report};
use crate::startup::raise_descriptor_limit;

/// Runs the trial of isolation on this machine.
pub(crate) fn isolate(flags: &Isolate) -> Result<ExitCode, Failure> {
    raise_descriptor_limit();
    if against::is_asked_for(&flags.against) {
        return against::against(flags);
    }
    let plan = plan(flags)?;
    let files = report_files(flags)?;
    let status = Status::new();
    let (mut number, of) = (0, if plan.only.is_empty() { Claim::ALL.len() } else { plan.only.len() });
    // What cannot be printed stops nothing, but is told at the end.
    let mut printed = Ok(());
    let outcome = multiclient_isolate::run(&plan, &mut |progress| match progress {
        Progress::Trying(claim) => {
            number += 1;
            status.show(&format!("claim {number:2} of {of}: {}: {}", claim.sentence(), claim.attack()));
        }
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

fn report_files(flags: &Isolate) -> Result<Vec<ReportFile<'_, Report>>, Failure> {
    let junit = flags.junit.as_deref().map(|path| (path, Report::junit as fn(&Report) -> String));
    let html = flags.html.as_deref().map(|path| (path, Report::html as fn(&Report) -> String));
    junit.into_iter().chain(html).map(ReportFile::open).collect()
}
