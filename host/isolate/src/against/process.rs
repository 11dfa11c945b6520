//! What the processes of a server hold, seen from outside: descriptors, threads and memory.

use std::fs;
use std::path::{Path, PathBuf};

/// Which processes are a server's.
#[derive(Clone, Debug)]
pub(crate) enum Watched {
    /// This one and all that it started, and they.
    Tree(u32),
    /// All of a process group.
    Group(u32),
    /// All of a control group, and of those in it.
    ControlGroup(PathBuf),
}

/// The sum over all processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) processes: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
    /// In bytes; pages that processes share are counted once.
    pub(crate) memory: u64,
}

/// What stands in `/proc/PID/stat`.
struct Stat {
    id: u32,
    parent: u32,
    group: u32,
    threads: u64,
}

impl Watched {
    /// What they hold now. An error: which process cannot be looked into, or that there is none.
    pub(crate) fn holding(&self) -> Result<Holding, String> {
        let mut sum = Holding::default();
        for process in self.processes() {
            let folder = PathBuf::from(format!("/proc/{}", process.id));
            let descriptors = match fs::read_dir(folder.join("fd")) {
                Ok(entries) => entries.count() as u64,
                // It ended since it was found.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(format!("process {} cannot be looked into: {error}", process.id)),
            };
            sum.processes += 1;
            sum.descriptors += descriptors;
            sum.threads += process.threads;
            sum.memory += memory(&folder);
        }
        match sum.processes {
            0 => Err(match self {
                Self::ControlGroup(folder) => format!("there is no process in {}", folder.display()),
                Self::Tree(_) | Self::Group(_) => "the server has no process".to_owned(),
            }),
            _ => Ok(sum),
        }
    }

    fn processes(&self) -> Vec<Stat> {
        let all = stats();
        match self {
            Self::Tree(root) => tree(*root, all),
            Self::Group(group) => all.into_iter().filter(|process| process.group == *group).collect(),
            Self::ControlGroup(folder) => {
                let members = members(folder);
                all.into_iter().filter(|process| members.contains(&process.id)).collect()
            }
        }
    }
}

/// Takes the folder of a control group, in either version of them.
pub(crate) fn check_control_group(folder: &Path) -> Result<(), String> {
    if folder.join("cgroup.procs").is_file() {
        return Ok(());
    }
    let folder = folder.display();
    Err(format!("{folder} is not a control group: name a folder beneath /sys/fs/cgroup that has a file `cgroup.procs`"))
}

fn stats() -> Vec<Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter_map(|id| stat(id, &fs::read_to_string(format!("/proc/{id}/stat")).ok()?)).collect()
}

/// The name of a program may have blanks and parentheses in it.
fn stat(id: u32, text: &str) -> Option<Stat> {
    let words: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    // Of one that has ended and waits to be collected, nothing is left.
    if *words.first()? == "Z" {
        return None;
    }
    let parent = words.get(1)?.parse().ok()?;
    Some(Stat { id, parent, group: words.get(2)?.parse().ok()?, threads: words.get(17)?.parse().ok()? })
}

fn tree(root: u32, all: Vec<Stat>) -> Vec<Stat> {
    let mut known = vec![root];
    loop {
        let new = all.iter().filter(|process| known.contains(&process.parent) && !known.contains(&process.id));
        let new: Vec<_> = new.map(|process| process.id).collect();
        if new.is_empty() {
            break;
        }
        known.extend(new);
    }
    all.into_iter().filter(|process| known.contains(&process.id)).collect()
}

/// The processes of a control group, and of those in it.
pub(crate) fn members(folder: &Path) -> Vec<u32> {
    let own = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let mut members: Vec<u32> = own.lines().filter_map(|line| line.parse().ok()).collect();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            members.extend(self::members(&entry.path()));
        }
    }
    members
}

fn memory(folder: &Path) -> u64 {
    let rollup = fs::read_to_string(folder.join("smaps_rollup")).unwrap_or_default();
    let kib = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or_default() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let line = "7 (a ) b) S 3 5 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 9 0 1";
        let process = stat(7, line).expect("it is whole");
        assert_eq!((process.parent, process.group, process.threads), (3, 5, 9));
        assert!(stat(7, "7 (a) Z 3 5 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 9 0 1").is_none());
    }

    #[test]
    fn what_this_process_opens_is_seen() {
        let watched = Watched::Tree(std::process::id());
        let before = watched.holding().expect("it is this process");
        let opened: Vec<_> = (0..100).map(|_| fs::File::open("/dev/null").expect("it is there")).collect();
        let after = watched.holding().expect("it is this process");
        // Other tests run beside this one.
        assert!(after.descriptors > before.descriptors + 50, "{before:?} {after:?}");
        assert!(after.threads > 0 && after.memory > 0);
        drop(opened);
        assert!(Watched::ControlGroup("/nowhere".into()).holding().is_err());
    }
}
