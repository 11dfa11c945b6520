//! Whether code that has taken over the process gets out of it.
//!
//! A probe is a server with the walls of a server, in a process of its own, that tries one way out when it has
//! served a client. Each way is tried once without walls, where it must lead out, or nothing is shown of it.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use multiclient_walls::Mode;
use multiclient_walls::doors::Door;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::arena::Ground;
use crate::attack;
use crate::claim::Claim;
use crate::plan::{Failure, Weakness};
use crate::probe;
use crate::report::{Control, Measure, Outcome, Timeline, Unit, Verdict};

/// How long a probe may take for each of its steps, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Doors that open without walls on every machine of which anything is shown: more than half of them.
const FEWEST: usize = 8;

/// SIGSYS: the kernel has ended a process because of a call.
const ENDED_BY_A_CALL: i32 = 31;

/// What a probe found.
enum Found {
    Open,
    Closed,
    /// The server before it served nobody.
    NotServed,
}

/// What is seen of all doors.
#[derive(Default)]
struct Seen {
    open: Vec<&'static str>,
    closed: Vec<&'static str>,
    unserved: Vec<&'static str>,
}

/// Tries the claim. A probe that cannot be run shows nothing, and takes nothing from the other claims.
pub(crate) fn walls(ground: &Ground<'_>) -> Outcome {
    let unshown = |failure: Failure| Outcome::untried(Claim::Walls, Verdict::Inconclusive, failure.to_string());
    doors(ground).unwrap_or_else(unshown)
}

fn doors(ground: &Ground<'_>) -> Result<Outcome, Failure> {
    let untried = |why: String| Ok(Outcome::untried(Claim::Walls, Verdict::NotApplicable, why));
    let Some(program) = &ground.plan.probe else {
        return untried("this program cannot be started as a probe".to_owned());
    };
    let site = Site::new(program)?;
    let without = match site.all(Mode::Off, &Door::ALL)? {
        Ok(seen) => seen,
        Err(why) => return Err(Failure { doing: "a probe cannot be started", why }),
    };
    let possible: Vec<_> = Door::ALL.into_iter().filter(|door| without.open.contains(&door.name())).collect();
    let mode = if ground.plan.weakness == Some(Weakness::NoWalls) { Mode::Off } else { Mode::Strict };
    match site.all(mode, &possible)? {
        Ok(behind) => Ok(judge(&behind, &without)),
        Err(why) => untried(format!("this machine cannot raise all walls: {why}")),
    }
}

fn judge(behind: &Seen, without: &Seen) -> Outcome {
    let measures = measures(behind);
    let note = match () {
        () if !behind.open.is_empty() => format!("open: {}", behind.open.join(", ")),
        () if !behind.unserved.is_empty() => "a server behind the walls does not serve".to_owned(),
        () if without.closed.is_empty() => String::new(),
        () => format!("not tried, because it fails without walls, too: {}", without.closed.join(", ")),
    };
    let verdict = match () {
        () if !behind.open.is_empty() => Verdict::Broken,
        () if !measures.iter().all(Measure::holds) || !behind.unserved.is_empty() => Verdict::Inconclusive,
        () => Verdict::Held,
    };
    let timeline = Timeline { attack: (Duration::ZERO, Duration::ZERO), attempts: Vec::new(), responses: Vec::new() };
    let control = Control { broken: !without.open.is_empty(), measures: self::measures(without), timeline };
    Outcome { claim: Claim::Walls, verdict, measures, control: Some(control), timeline: None, effort: None, note }
}

fn measures(seen: &Seen) -> Vec<Measure> {
    let tried = seen.open.len() + seen.closed.len();
    vec![
        Measure::at_most("doors open", seen.open.len() as f64, 0.0, Unit::Count),
        Measure::at_least("doors tried", tried as f64, FEWEST as f64, Unit::Count),
    ]
}

/// Where probes stand, and what is outside of them.
struct Site<'a> {
    program: &'a Path,
    ground: tempfile::TempDir,
    listener: SocketAddr,
    /// Held until the end: whoever connects need not be accepted.
    _listens: TcpListener,
    bystander: Process,
    /// Where in the bystander's memory something lies.
    address: String,
}

impl<'a> Site<'a> {
    fn new(program: &'a Path) -> Result<Self, Failure> {
        Self::prepare(program).map_err(Failure::of("the ground for a probe cannot be prepared"))
    }

    fn prepare(program: &'a Path) -> io::Result<Self> {
        let ground = tempfile::tempdir()?;
        probe::make_ground(ground.path())?;
        let listens = TcpListener::bind(("127.0.0.1", 0))?;
        let mut bystander = Process::start(program, &[OsStr::new(probe::STAND_BY)])?;
        let address = bystander.line()?;
        Ok(Self { program, ground, listener: listens.local_addr()?, _listens: listens, bystander, address })
    }

    /// Tries doors one after the other. The inner error: walls that this machine cannot raise.
    fn all(&self, mode: Mode, doors: &[Door]) -> Result<Result<Seen, String>, Failure> {
        let mut seen = Seen::default();
        for door in doors {
            let found = self.one(mode, *door).map_err(Failure::of("a probe cannot be tried"))?;
            match found {
                Ok(Found::Open) => seen.open.push(door.name()),
                Ok(Found::Closed) => seen.closed.push(door.name()),
                Ok(Found::NotServed) => seen.unserved.push(door.name()),
                Err(why) => return Ok(Err(why)),
            }
        }
        Ok(Ok(seen))
    }

    fn one(&self, mode: Mode, door: Door) -> io::Result<Result<Found, String>> {
        let words = [
            mode.to_string(),
            door.name().to_owned(),
            self.ground.path().to_string_lossy().into_owned(),
            self.bystander.0.id().to_string(),
            self.address.clone(),
            self.listener.to_string(),
        ];
        let mut process = Process::start(self.program, &words)?;
        let said = process.line()?;
        let Some(address) = said.strip_prefix("serves ").and_then(|address| address.parse().ok()) else {
            return Ok(Err(said.strip_prefix("failed ").unwrap_or("the probe says nothing").to_owned()));
        };
        let response = attack::exchange(address, "GET /film.mp4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        if !response.starts_with(b"HTTP/1.1 200 ") || !response.ends_with(b"\r\n\r\nfilm") {
            return Ok(Ok(Found::NotServed));
        }
        process.go()?;
        let status = process.end()?;
        Ok(match (status.code(), status.signal()) {
            (Some(0), _) => Ok(Found::Open),
            (Some(code), _) if code == i32::from(probe::CLOSED) => Ok(Found::Closed),
            (_, Some(ENDED_BY_A_CALL)) => Ok(Found::Closed),
            _ => Err(format!("the probe ends with {status}")),
        })
    }
}

/// This program, started again as a probe. Killed when it is dropped.
struct Process(Child);

impl Process {
    fn start(program: &Path, words: &[impl AsRef<OsStr>]) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.arg(probe::WORD).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map(Self)
    }

    /// The next line that it says. Empty: it has ended.
    fn line(&mut self) -> io::Result<String> {
        let stdout: &mut ChildStdout = self.0.stdout.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let patience = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
        if poll(&mut [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::IN)], Some(&patience))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Lets it go on.
    fn go(&mut self) -> io::Result<()> {
        self.0.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(b"\n")
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.0.try_wait()? {
                Some(status) => return Ok(status),
                None if Instant::now() >= deadline => return Err(io::ErrorKind::TimedOut.into()),
                None => thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_open_door_breaks_the_claim_and_too_few_show_nothing() {
        let without = Seen { open: vec!["a"; FEWEST], ..Seen::default() };
        let verdict = |behind: &Seen| judge(behind, &without).verdict;
        assert_eq!(verdict(&Seen { closed: vec!["a"; FEWEST], ..Seen::default() }), Verdict::Held);
        assert_eq!(verdict(&Seen { closed: vec!["a"; FEWEST], open: vec!["b"], ..Seen::default() }), Verdict::Broken);
        assert_eq!(verdict(&Seen { closed: vec!["a"; FEWEST - 1], ..Seen::default() }), Verdict::Inconclusive);
        let unserved = Seen { closed: vec!["a"; FEWEST], unserved: vec!["b"], ..Seen::default() };
        assert_eq!(verdict(&unserved), Verdict::Inconclusive);
    }
}
