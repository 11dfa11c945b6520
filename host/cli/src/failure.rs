//! Why the program ends, and what the user can do about it.
//!
//! Rule: the first line says what is wrong, the second what to do next.

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use multiclient::journal::Size;
use multiclient::{CapsuleError, GuestError, SourceError};
use multiclient_walls::Missing;

use crate::address::Address;
use crate::printable::printable;

/// Why the program ends, and what the user can do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    next: Option<String>,
    pub(crate) exit_code: u8,
    /// Whether there is somebody to tell. A reader of standard output that has gone away, as `head` does,
    /// has seen what it wanted.
    pub(crate) is_silent: bool,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), next: None, exit_code: 1, is_silent: false }
    }

    pub(crate) fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }

    /// Something that is not the user's doing, with its chain of reasons.
    pub(crate) fn host(error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        // What the kernel says where a thread cannot be started. Nothing else that happens at start may have to wait.
        let is_short = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::WouldBlock)
        };
        match error.chain().any(is_short) {
            true => Self::new(format!("cannot start a thread: {error:#}"))
                .next("allow the process more threads: `ulimit -u`, `TasksMax=`, `pids.max`"),
            false => Self::new(format!("{error:#}")),
        }
    }

    /// Flags that do not go together.
    pub(crate) fn usage(what: &str) -> Self {
        Self { exit_code: 2, ..Self::new(what).next("see `multiclient --help`") }
    }

    pub(crate) fn memory(allowed: u64, needs: u64) -> Self {
        let what = format!("--memory {} is too small: this guest starts with {}", Size(allowed), Size(needs));
        let next = format!("try `--memory {}K`", (2 * needs).div_ceil(1 << 10));
        Self { exit_code: 2, ..Self::new(what).next(next) }
    }

    /// The sandbox does not start, even for a handful of clients.
    pub(crate) fn address_space(error: &GuestError, clients: u32) -> Self {
        Self::new(format!("cannot start the sandbox, even for {clients} clients: {error}"))
            .next("raise what limits memory or threads: `ulimit -v`, `ulimit -d`, `LimitAS=`, `LimitDATA=`, `TasksMax=`, or strict overcommit (`sysctl vm.overcommit_memory`)")
    }

    pub(crate) fn source(error: &SourceError) -> Self {
        let failure = Self::new(error.to_string());
        match error {
            SourceError::Missing(path) => match similar(path) {
                Some(name) => failure.next(format!("did you mean {name}?")),
                None => failure,
            },
            SourceError::NotAFile(_) => failure.next("serve a file, a folder or a FIFO"),
            SourceError::Protocol(scheme) => {
                failure.next(format!("to serve a file of that name, write `./{scheme}:...`"))
            }
            _ => failure,
        }
    }

    /// An answer that cannot be written.
    pub(crate) fn output(error: &io::Error) -> Self {
        let is_silent = error.kind() == io::ErrorKind::BrokenPipe;
        Self { is_silent, ..Self::new(format!("cannot write to standard output: {error}")) }
    }

    /// A file that cannot be written.
    pub(crate) fn unwritable(path: &Path, error: &io::Error) -> Self {
        Self::new(format!("cannot write {}: {error}", path.display()))
    }

    /// A file that cannot be read.
    pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Self {
        if error.kind() != io::ErrorKind::NotFound {
            return Self::new(format!("cannot read {}: {error}", path.display()));
        }
        let failure = Self::new(format!("{} does not exist", path.display()));
        match similar(path) {
            Some(name) => failure.next(format!("did you mean {name}?")),
            None => failure,
        }
    }

    pub(crate) fn capsules(folder: &Path, error: &io::Error) -> Self {
        Self::new(format!("cannot keep capsules in {}: {error}", folder.display()))
    }

    pub(crate) fn capsule(path: &Path, error: &CapsuleError) -> Self {
        match error {
            CapsuleError::Unreadable(error) => Self::unreadable(path, error),
            _ => Self::new(format!("{}: {error}", path.display())),
        }
    }

    pub(crate) fn guest(path: &Path, error: &GuestError) -> Self {
        let failure = Self::new(format!("{} cannot be a guest: {}", path.display(), printable(&error.to_string())));
        match error {
            GuestError::NotGranted { grant, .. } => failure.next(format!("grant it with `--allow {grant}`")),
            GuestError::NeverGranted(_) => failure.next(format!("see `multiclient inspect {}`", path.display())),
            GuestError::NotAComponent(_) => {
                failure.next("a guest is a component, not a core module: build it for `wasm32-wasip2`")
            }
            GuestError::NotAGuest(_) => failure.next("`wit/session.wit` says what a guest exports"),
            GuestError::Host(_) => Self::new(error.to_string()),
            _ => failure,
        }
    }

    /// A component that cannot be the index of live sources.
    pub(crate) fn index(path: &Path, error: &GuestError) -> Self {
        let failure = Self::new(format!("{} cannot be an index: {}", path.display(), printable(&error.to_string())));
        match error {
            GuestError::NotAnIndex(_) => failure.next("`wit/index/index.wit` says what an index exports"),
            GuestError::NotAComponent(_) => {
                failure.next("an index is a component, not a core module: build it for `wasm32-wasip2`")
            }
            GuestError::Host(_) => Self::new(error.to_string()),
            _ => failure,
        }
    }

    /// A wall that is asked for and cannot be raised.
    pub(crate) fn wall(missing: &Missing) -> Self {
        Self::new(format!("--walls strict: the wall {missing}"))
            .next("`--walls auto` serves behind those that can be raised, and says which are missing")
    }

    /// Nobody has passed a socket.
    pub(crate) fn nothing_passed() -> Self {
        Self::new("systemd has passed no sockets")
            .next("start the socket unit of this service, or name an address to listen on")
    }

    pub(crate) fn bind(address: &Address, error: &io::Error, source: &Path) -> Self {
        let source = source.display();
        match (error.kind(), address) {
            (io::ErrorKind::AddrInUse, Address::Tcp(tcp)) => {
                let port = tcp.sockets.first().map_or(8080, |socket| socket.port());
                let next = port.checked_add(1).unwrap_or(8080);
                Self::new(format!("{address} is in use"))
                    .next(format!("try `multiclient {source} {next}`, or port 0 for any free port"))
            }
            (io::ErrorKind::AddrInUse, Address::Unix(_)) => Self::new(format!("{address} is in use"))
                .next("stop the program that listens there, or use another path"),
            (io::ErrorKind::PermissionDenied, Address::Tcp(_)) => {
                Self::new(format!("{address} is not open to this user: ports below 1024 belong to root"))
                    .next(format!("try `multiclient {source} 8080`"))
            }
            (io::ErrorKind::AddrNotAvailable, _) => Self::new(format!("{address} is not an address of this machine"))
                .next(format!("try `multiclient {source} :8080` for all of its addresses")),
            _ => Self::new(format!("cannot listen on {address}: {error}")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.next {
            Some(next) => write!(f, "\n  {next}"),
            None => Ok(()),
        }
    }
}

/// Names looked at in a folder for one that may be meant. A person who has mistyped a name is waiting.
const CANDIDATES: usize = 10_000;

/// The name in the same folder that is most like one that is not there.
fn similar(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_string_lossy().into_owned();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = folder.read_dir().ok()?.take(CANDIDATES).filter_map(|entry| Some(entry.ok()?.file_name()));
    names
        .filter(|name| !name.as_bytes().starts_with(b"."))
        .map(|name| name.to_string_lossy().into_owned())
        .map(|name| (strsim::jaro_winkler(&wanted, &name), name))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| folder.join(name).display().to_string().trim_start_matches("./").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_told_with_the_one_that_may_be_meant() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        std::fs::write(folder.path().join("movie.mp4"), "movie").expect("a file can be made");
        let missing = |name: &str| {
            let path = folder.path().join(name);
            let failure = Failure::unreadable(&path, &io::ErrorKind::NotFound.into());
            failure.to_string().replace(&format!("{}/", folder.path().display()), "")
        };
        assert_eq!(missing("movie.mpv"), "error: movie.mpv does not exist\n  did you mean movie.mp4?");
        assert_eq!(missing("something else"), "error: something else does not exist");
    }

    #[test]
    fn an_address_in_use_comes_with_a_way_out() {
        let bind = |address: &str, kind: io::ErrorKind| {
            let address = Address::parse(address).expect("it is an address");
            Failure::bind(&address, &kind.into(), Path::new("film.mp4")).to_string()
        };
        assert_eq!(
            bind("http://127.0.0.1:8080", io::ErrorKind::AddrInUse),
            "error: 127.0.0.1:8080 is in use\n  try `multiclient film.mp4 8081`, or port 0 for any free port"
        );
        assert!(bind("65535", io::ErrorKind::AddrInUse).contains("`multiclient film.mp4 8080`"));
        assert!(bind("80", io::ErrorKind::PermissionDenied).ends_with("try `multiclient film.mp4 8080`"));
        assert!(bind("192.0.2.1:80", io::ErrorKind::AddrNotAvailable).contains("192.0.2.1:80 is not an address of"));
    }
}
