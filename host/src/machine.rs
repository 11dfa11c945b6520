//! How much memory there is for this process: that of the machine, or of its control group if that is less. And how
//! it is given back.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use rustix::process::{Resource, getrlimit};

/// Bytes of memory for this process, as they were when this was first asked. None: the system does not say.
pub(crate) fn memory() -> Option<u64> {
    static MEMORY: LazyLock<Option<u64>> =
        LazyLock::new(|| memory_of(Path::new("/")).into_iter().chain(resource_limits()).min());
    *MEMORY
}

/// What the limits on this process leave for data. Of its address space most is set aside for guests.
fn resource_limits() -> impl Iterator<Item = u64> {
    let data = getrlimit(Resource::Data).current;
    let address_space = getrlimit(Resource::As).current.map(|bytes| bytes / 4);
    data.into_iter().chain(address_space)
}

/// Has all threads share one heap where the address space is limited. glibc's allocator sets 64 MiB of it aside for
/// each of up to eight heaps for a core, and a program without memory for the next block ends.
pub(crate) fn share_heap() {
    #[cfg(target_env = "gnu")]
    if resource_limits().next().is_some() {
        const ARENA_MAX: i32 = -8;
        #[expect(unsafe_code, reason = "a function of glibc that nobody has wrapped")]
        // SAFETY: it is glibc's, with this type (mallopt(3)), and safe in all threads at any time.
        unsafe extern "C" {
            safe fn mallopt(parameter: i32, value: i32) -> i32;
        }
        // Where it cannot be set, there are as many heaps as before.
        let _ = mallopt(ARENA_MAX, 1);
    }
}

/// Gives the system what the allocator keeps of memory that was freed. glibc's keeps what lies between pieces that are
/// in use until it is told; musl's does not.
pub(crate) fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    {
        #[expect(unsafe_code, reason = "a function of glibc that nobody has wrapped")]
        // SAFETY: it is glibc's, with this type (malloc_trim(3)), and safe in all threads at any time.
        unsafe extern "C" {
            safe fn malloc_trim(kept: usize) -> i32;
        }
        // It says whether there was anything.
        let _ = malloc_trim(0);
    }
}

fn memory_of(root: &Path) -> Option<u64> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| total(&text));
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let bounds = groups.lines().filter_map(|group| bound(root, group));
    bounds.chain(machine).min()
}

/// `MemTotal` of `/proc/meminfo`, which is in KiB.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

/// The bound of one control group (a line of `/proc/self/cgroup`) and of those that it lies in: the least
/// of them holds.
fn bound(root: &Path, group: &str) -> Option<u64> {
    let (_, rest) = group.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let (mount, files): (_, &[_]) = match controllers {
        // The second version has one hierarchy and names no controllers. Beyond `memory.high` it slows the
        // process down so much that nothing is left to be served.
        "" => ("sys/fs/cgroup", &["memory.max", "memory.high"]),
        _ if controllers.split(',').any(|name| name == "memory") => {
            ("sys/fs/cgroup/memory", &["memory.limit_in_bytes"])
        }
        _ => return None,
    };
    let mount = root.join(mount);
    // A container sees its own group at the mount, whatever its path is outside.
    let path = mount.join(path.trim_start_matches('/'));
    let groups = path.ancestors().take_while(|group| group.starts_with(&mount));
    let read = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    groups.flat_map(|group| files.iter().filter_map(move |file| read(&group.join(file)))).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory_with(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        memory_of(root.path())
    }

    #[test]
    fn the_least_of_the_machine_and_its_control_groups_is_what_there_is() {
        let meminfo = ("proc/meminfo", "MemTotal:        2097152 kB\nMemFree:          100000 kB\n");
        assert_eq!(memory_with(&[]), None);
        assert_eq!(memory_with(&[meminfo]), Some(2 << 30));
        let second = ("proc/self/cgroup", "0::/system.slice/multiclient.service\n");
        let own = "sys/fs/cgroup/system.slice/multiclient.service/memory.max";
        assert_eq!(memory_with(&[meminfo, second, (own, "max\n")]), Some(2 << 30));
        assert_eq!(memory_with(&[meminfo, second, (own, "134217728\n")]), Some(128 << 20));
        let slice = ("sys/fs/cgroup/system.slice/memory.high", "67108864\n");
        assert_eq!(memory_with(&[meminfo, second, (own, "134217728\n"), slice]), Some(64 << 20));
        // In a container the path may be that outside, or lead out.
        for path in ["0::/\n", "0::/../../else\n", "0::/docker/4d7a\n"] {
            let group = ("proc/self/cgroup", path);
            let mount = ("sys/fs/cgroup/memory.max", "33554432\n");
            assert_eq!(memory_with(&[meminfo, group, mount]), Some(32 << 20), "{path}");
        }
        let first = ("proc/self/cgroup", "3:cpu,cpuacct:/a\n2:memory:/a\n1:name=systemd:/a\n0::/a\n");
        let limit = ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "1073741824\n");
        let unlimited = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(memory_with(&[meminfo, first, limit, unlimited]), Some(1 << 30));
    }
}
