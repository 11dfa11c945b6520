//! `multiclient isolate` of another server.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use multiclient_isolate::{Against, Claim, Comparison, Pace, Step, Target, Triggers, run_against};

use super::report_file::{ReportFile, finish};
use super::targets as file;
use crate::args::{AgainstFlags, Isolate};
use crate::failure::Failure;
use crate::output::{Status, print, report};

/// Whether another server is to be tried than ours.
pub(super) fn is_asked_for(flags: &AgainstFlags) -> bool {
    flags.against.is_some() || flags.start.is_some() || !flags.compare.is_empty() || flags.targets.is_some()
}

/// Tries other servers, from outside.
pub(super) fn against(flags: &Isolate) -> Result<ExitCode, Failure> {
    let plan = plan(flags)?;
    let files = report_files(flags)?;
    let status = Status::new();
    let comparison = run_against(&plan, &mut |step| match step {
        Step::Trying { target, claim, done, of, left } => {
            status.clear();
            status.show(&progress(target, claim, (done + 1, of), left));
        }
        Step::Tried { target, outcome } => {
            status.clear();
            if flags.json {
                let (claim, verdict) = (outcome.claim.name(), outcome.verdict.to_string());
                report(format_args!("{target}: {claim:<10} {verdict:<13} {}", outcome.note.trim_end()));
            }
        }
    });
    let comparison = comparison.map_err(Failure::host)?;
    let answer = if flags.json { comparison.json() } else { comparison.table() };
    print(answer.as_bytes())?;
    Ok(finish(files, &comparison, comparison.exit_code()))
}

/// What is going on. Numbers keep their columns, so that what follows does not jump.
fn progress(target: &str, claim: Claim, (number, of): (usize, usize), left: Duration) -> String {
    let (digits, left) = (of.to_string().len(), left.as_secs());
    format!("claim {number:digits$} of {of}, {left:>4} s left: {target}: {}", claim.sentence())
}

fn plan(flags: &Isolate) -> Result<Against, Failure> {
    let against = &flags.against;
    let triggers = Triggers {
        crash: against.crash.clone(),
        hang: against.hang.clone(),
        leak_memory: against.leak_memory.clone(),
        peek: against.peek.clone(),
    };
    let cgroup = against.cgroup.clone();
    let target = |name: &str, start: Option<&String>, url: Option<&String>| Target {
        name: name.to_owned(),
        start: start.cloned(),
        url: url.cloned().unwrap_or_default(),
        pid: against.pid,
        cgroup: cgroup.clone(),
        triggers: triggers.clone(),
    };
    let mut targets = Vec::new();
    if against.against.is_some() || against.start.is_some() {
        let url = against.against.as_ref().or(against.ready.as_ref());
        targets.push(target("server", against.start.as_ref(), url));
    }
    targets.extend(against.compare.iter().map(|(name, command)| target(name, Some(command), None)));
    if let Some(path) = &against.targets {
        targets.extend(file::read(path)?);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Against {
        targets,
        only: flags.only.clone(),
        pace: if flags.quick { Pace::Quick } else { Pace::Thorough },
        seed: flags.seed.unwrap_or(now.as_secs()),
        mine: against.yes_this_is_mine.clone(),
    })
}

fn report_files(flags: &Isolate) -> Result<Vec<ReportFile<'_, Comparison>>, Failure> {
    let junit = flags.junit.as_deref().map(|path| (path, Comparison::junit as fn(&Comparison) -> String));
    let sarif = flags.sarif.as_deref().map(|path| (path, Comparison::sarif as fn(&Comparison) -> String));
    let html = flags.html.as_deref().map(|path| (path, Comparison::html as fn(&Comparison) -> String));
    junit.into_iter().chain(sarif).chain(html).map(ReportFile::open).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_progress_of_a_long_run_stays_aligned() {
        let of = 17 * 9;
        let line = |number| {
            let left = Duration::from_secs(10 * (of - number) as u64);
            progress("nginx", Claim::ALL[number % Claim::ALL.len()], (number, of), left)
        };
        let columns: Vec<_> = (1..=of).map(|number| line(number).find("nginx")).collect();
        assert!(columns.iter().all(|column| *column == columns[0]), "{columns:?}");
        let line = progress("nginx", Claim::Bytes, (9, of), Duration::from_secs(1_440));
        assert_eq!(line, "claim   9 of 153, 1440 s left: nginx: bad bytes stay in");
    }
}
