//! Control groups: a server that gets little of the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::programs::skip;
use crate::under_test::without_settings;
use crate::wait::eventually;

/// What a group limits.
#[derive(Clone, Copy, Debug)]
pub enum Limited {
    /// Memory, in bytes: of the processes, of the files that they read, and of what the kernel holds for them.
    Memory(u64),
    /// Threads.
    Threads(u64),
}

impl Limited {
    fn controller(self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::Threads(_) => "pids",
        }
    }

    /// The file of the limit, in the first and in the second version of control groups.
    fn files(self) -> [&'static str; 2] {
        match self {
            Self::Memory(_) => ["memory.limit_in_bytes", "memory.max"],
            Self::Threads(_) => ["pids.max", "pids.max"],
        }
    }

    fn value(self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes,
            Self::Threads(count) => count,
        }
    }
}

/// A control group, removed when it is dropped. Its processes must have ended by then.
pub struct ControlGroup {
    folder: PathBuf,
    /// Where its limit is written.
    limit: PathBuf,
}

impl ControlGroup {
    /// Makes a group with this limit. None: this user may not, or the system has no such groups, and the test is
    /// skipped.
    #[track_caller]
    pub fn new(limited: Limited) -> Option<Self> {
        let made = Self::make(limited);
        if made.is_none() {
            skip("control-groups", "none that limits this can be made here");
        }
        made
    }

    fn make(limited: Limited) -> Option<Self> {
        let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let [first, second] = limited.files();
        let of = |wanted: &str| {
            groups.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                controllers.split(',').any(|name| name == wanted).then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let mount = Path::new("/sys/fs/cgroup");
        match of(limited.controller()) {
            Some(path) => Self::beneath(&mount.join(limited.controller()), &path, first, limited),
            None => Self::beneath(mount, &of("")?, second, limited),
        }
    }

    /// In this process's own group, or in the nearest of those around it that hands the limit down.
    fn beneath(mount: &Path, path: &str, file: &str, limited: Limited) -> Option<Self> {
        let own = mount.join(path);
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("multiclient-test-{}-{number}", std::process::id());
        own.ancestors().take_while(|group| group.starts_with(mount)).find_map(|group| {
            let folder = group.join(&name);
            fs::create_dir(&folder).ok()?;
            let group = Self { limit: folder.join(file), folder };
            (group.limit.exists() && group.set(limited.value()).is_ok()).then_some(group)
        })
    }

    /// Changes the limit.
    pub fn set(&self, value: u64) -> std::io::Result<()> {
        fs::write(&self.limit, value.to_string())
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The same command, in this group. Of its settings only the arguments are kept.
    pub fn around(&self, command: &Command) -> Command {
        let mut shell = without_settings("sh");
        shell.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(&self.folder);
        shell.arg(command.get_program()).args(command.get_args());
        shell
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let removed = || fs::remove_dir(&self.folder).is_ok() || !self.folder.exists();
        // The last process may still be on its way out. Where the test has failed already, one message is enough.
        match std::thread::panicking() {
            true => _ = removed(),
            false => eventually("a control group without processes can be removed", removed),
        }
    }
}
