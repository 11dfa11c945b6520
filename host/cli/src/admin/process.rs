//! What the kernel says of this process: opened before the walls, and read again and again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// `/proc/self/stat`, open.
pub(super) struct Process(File);

/// What is in it.
pub(super) struct Usage {
    pub(super) cpu: Duration,
    pub(super) resident: u64,
    pub(super) threads: u64,
}

impl Process {
    pub(super) fn open() -> io::Result<Self> {
        File::open("/proc/self/stat").map(Self)
    }

    /// None: the kernel does not say it.
    pub(super) fn usage(&self) -> Option<Usage> {
        let mut bytes = [0; 1024];
        let count = self.0.read_at(&mut bytes, 0).ok()?;
        parse(std::str::from_utf8(&bytes[..count]).ok()?)
    }
}

/// Reads the fields that proc_pid_stat(5) counts from 1.
fn parse(stat: &str) -> Option<Usage> {
    // The second is the name of the program in parentheses, which may have blanks and parentheses in it.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = field(14)? + field(15)?;
    let resident = field(24)? * rustix::param::page_size() as u64;
    let cpu = Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
    Some(Usage { cpu, resident, threads: field(20)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_threads_and_memory() {
        let usage = Process::open().expect("/proc is mounted").usage().expect("the kernel says it");
        assert!(usage.threads >= 1 && usage.resident > 100_000);
    }

    #[test]
    fn a_name_with_parentheses_moves_no_field() {
        let numbers = (4..=52).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
        let usage = parse(&format!("1 (a) b) S {numbers}")).expect("it has all fields");
        assert_eq!(usage.threads, 20);
    }
}
