//! The machine: what it is, and what of it this run may have for itself.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Says that the program has been started over in a network of its own.
const OWN_NETWORK: &str = "MULTICLIENT_BENCH_OWN_NETWORK";

/// Starts the program over in a network namespace where that is allowed. No port, no waiting connection
/// and no rule of a firewall is then shared with what else runs here. Says whether it is in one.
pub(crate) fn own_network() -> io::Result<bool> {
    if std::env::var_os(OWN_NETWORK).is_some() {
        for (name, value) in [
            // What most systems have. Others pace, with a timer for what is sent: that would be measured.
            ("tcp_congestion_control", "reno"),
            ("tcp_congestion_control", "cubic"),
            // Nothing is remembered from one connection to the next.
            ("tcp_no_metrics_save", "1"),
            ("ip_local_port_range", "20000 65000"),
        ] {
            // What cannot be set stays as it is for all alike.
            let _ = fs::write(format!("/proc/sys/net/ipv4/{name}"), value);
        }
        return Ok(true);
    }
    let try_out = "ip link set lo up";
    let quiet = |command: &mut Command| {
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !quiet(Command::new("unshare").args(["--net", "sh", "-c", try_out])) {
        return Ok(false);
    }
    let mut again = Command::new("unshare");
    again.args(["--net", "sh", "-c", &format!("{try_out} && exec \"$@\""), "sh"]);
    again.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(OWN_NETWORK, "1");
    Err(again.exec())
}

/// A client is a descriptor here, and in servers that were started here.
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = Rlimit { current: Some(65_536), maximum: Some(65_536) };
    if setrlimit(Resource::Nofile, wanted).is_err() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// How many descriptors a program that starts here may have.
pub(crate) fn descriptor_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Goes before what else runs here, servers and load alike, where that is allowed. Returns the niceness.
pub(crate) fn be_urgent() -> i32 {
    let _ = rustix::process::setpriority_process(None, -10);
    rustix::process::getpriority_process(None).unwrap_or_default()
}

/// The cores that this run has.
pub(crate) struct Cores {
    /// As `taskset` writes them. None: it is missing.
    all: Option<String>,
}

/// Everything that starts now is on one core, until this is gone.
pub(crate) struct Pinned<'a>(&'a Cores);

impl Cores {
    pub(crate) fn new() -> Self {
        let shown = Command::new("taskset").args(["-pc", &std::process::id().to_string()]).output();
        let shown = shown.ok().filter(|output| output.status.success());
        let text = shown.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        Self { all: text.and_then(|text| Some(text.trim().rsplit_once(": ")?.1.to_owned())) }
    }

    pub(crate) fn count(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    pub(crate) fn can_pin(&self) -> bool {
        self.all.is_some()
    }

    /// Client and server on the last core: no wake-up ever crosses to another, maybe sleeping, one.
    pub(crate) fn pin(&self) -> Pinned<'_> {
        if let Some(last) = self.all.as_ref().and_then(|all| all.rsplit([',', '-']).next()) {
            set(last);
        }
        Pinned(self)
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        if let Some(all) = &self.0.all {
            set(all);
        }
    }
}

/// This program has one thread, and what it starts inherits its cores.
fn set(cores: &str) {
    let pid = std::process::id().to_string();
    let _ = Command::new("taskset").args(["-pc", cores, &pid]).stdout(Stdio::null()).status();
}

pub(crate) fn available_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}

pub(crate) fn model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    line.map_or_else(|| "an unknown processor".into(), |(_, model)| model.trim().to_owned())
}

pub(crate) fn kernel() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // The number; what stands behind it is whoever built it.
    text.trim().split('-').next().unwrap_or_default().to_owned()
}

pub(crate) fn congestion_control() -> String {
    let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
    text.map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
}

pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
