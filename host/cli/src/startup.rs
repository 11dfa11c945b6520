//! What the server may have of the machine, and what it says when it has started.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

use multiclient::journal::Size;
use multiclient::{Guest, Limits, Running, Sources, Tls};
use multiclient_walls::Report;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::address::Address;
use crate::args::Serve;
use crate::certificates;
use crate::guests;
use crate::listening::{Encryption, Listening, Manner, Origin};
use crate::output::report;
use crate::reach::{self, Colours};

/// Raises the limit on open descriptors as far as it goes, and says what it is now. Each client has one, and the
/// usual limit of 1,024 is there for programs that use `select`.
pub(crate) fn raise_descriptor_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let allowed = if raised { maximum } else { current };
    allowed.map_or(usize::MAX, |allowed| usize::try_from(allowed).unwrap_or(usize::MAX))
}

/// How many clients this many descriptors suffice for. Some are kept for files, or everybody could connect and
/// nobody be served.
pub(crate) fn room_for_clients(descriptors: usize, reserve: u32) -> u32 {
    const FOR_FILES: usize = 320;
    let left = descriptors.saturating_sub(FOR_FILES).saturating_sub(reserve as usize);
    u32::try_from(left.max(descriptors / 3).max(1)).unwrap_or(u32::MAX)
}

/// What made the number of clients smaller than it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    Descriptors,
    AddressSpace,
}

impl Shortage {
    pub(crate) fn note(self, clients: u32, asked: u32) -> String {
        let (what, next) = match self {
            Self::Descriptors => ("descriptors", "raise `ulimit -n` or `LimitNOFILE=`"),
            Self::AddressSpace if guests::is_address_space_limited() => {
                ("address space", "raise `ulimit -v`, `ulimit -d`, `LimitAS=` or `LimitDATA=`")
            }
            Self::AddressSpace => ("address space", "see `sysctl vm.overcommit_memory`"),
        };
        format!("note     {clients} clients at once instead of {asked}: the process may not have more {what}\n  {next}")
    }
}

/// What the server says when it has started.
pub(crate) struct Introduction {
    source: String,
    /// The same for a service manager.
    status: String,
    guest: String,
    limits: String,
    /// What a URL ends with.
    path: String,
    /// Where it listens, a line for each.
    open: Vec<String>,
    qr: Option<String>,
    tls: Option<String>,
}

impl Introduction {
    pub(crate) fn new(serve: &Serve, sources: &Sources, guest: String, limits: &Limits) -> Self {
        let shown = serve.source().display();
        let (source, path) = match sources.only() {
            Some(name) => {
                let size = match sources.size() {
                    Some(size) => format!("   {}", Size(size)),
                    None if sources.is_live() => "   live".to_owned(),
                    None => String::new(),
                };
                (format!("{shown}{size}"), path_of_single(serve, name))
            }
            None => (format!("{shown}   a folder"), example(serve)),
        };
        let per_address = limits.per_address.map_or("unlimited".to_owned(), |count| count.to_string());
        let total_memory = limits.total_memory.map_or("unlimited".to_owned(), |bytes| Size(bytes).to_string());
        let limits = format!(
            "{}, {} ms cpu, {} clients, {per_address} per address, {total_memory} for all",
            Size(limits.memory),
            limits.cpu.as_millis(),
            limits.max_clients
        );
        let status = format!("serving {shown}");
        Self { source, status, guest, limits, path, open: Vec::new(), qr: None, tls: None }
    }

    /// With the addresses under which others reach the server. Finding them takes sockets, so this comes before
    /// the last wall.
    ///
    /// `manners`: how clients come and speak on each TCP listener.
    pub(crate) fn reached_at(mut self, server: &Running, serve: &Serve, manners: &[Manner]) -> Self {
        let mut shared = None;
        for (&address, Manner { encryption, origin }) in server.addresses().iter().zip(manners) {
            for (address, who) in opened(address, *encryption) {
                let url = self.url(address, *encryption);
                let who = if *origin == Origin::Proxy { "a proxy that sends PROXY headers".to_owned() } else { who };
                self.open.push(format!("open     {url}     {who}"));
                if !address.ip().is_loopback() {
                    shared.get_or_insert(url);
                }
            }
        }
        for Listening { address, manner } in serve.listening() {
            let words = manner.words();
            match address {
                Address::Unix(_) => self.open.push(format!("open     {address}{words}")),
                Address::Passed => {
                    self.open.push(format!("open     {address}{words}     the sockets of its socket unit"))
                }
                Address::Tcp(_) => {}
            }
        }
        self.qr = serve.operation.qr.then(|| self.qr_code(shared));
        self
    }

    pub(crate) fn with_tls(mut self, serve: &Serve, tls: Option<&Tls>) -> Self {
        self.tls = tls.map(|tls| certificates::line(serve, tls));
        self
    }

    /// What the server does, in a line.
    pub(crate) fn status(&self) -> &str {
        &self.status
    }

    /// With the places of `--admin`.
    pub(crate) fn shown_at(mut self, places: Vec<String>) -> Self {
        self.open.extend(places.iter().map(|place| format!("admin    {place}")));
        self
    }

    pub(crate) fn print(&self, walls: &Report, began: Instant) {
        report(format_args!("multiclient {}", env!("CARGO_PKG_VERSION")));
        report(format_args!("source   {}", self.source));
        for open in &self.open {
            report(format_args!("{open}"));
        }
        if let Some(tls) = &self.tls {
            report(format_args!("{tls}"));
        }
        report(format_args!("guest    {}", self.guest));
        report(format_args!("limits   {}", self.limits));
        report(format_args!("walls    {}", walls.to_string().replace('\n', "\n  ")));
        if let Some(qr) = &self.qr {
            report(format_args!("{qr}"));
        }
        report(format_args!("ready    in {} ms   Ctrl-C drains", began.elapsed().as_millis()));
    }

    fn url(&self, address: SocketAddr, encryption: Encryption) -> String {
        format!("{}://{address}/{}", encryption.scheme(), self.path)
    }

    fn qr_code(&self, shared: Option<String>) -> String {
        let Some(url) = shared else {
            return "note     no QR code: only this machine can connect\n  listen on `:PORT`".to_owned();
        };
        let colours = if io::stderr().is_terminal() { Colours::Terminal } else { Colours::Text };
        match reach::qr_code(&url, colours) {
            Some(code) => format!("\n{code}\n{url}\n"),
            None => "note     no QR code: the URL is too long for one".to_owned(),
        }
    }
}

/// The addresses that a listener is open under, and to whom.
fn opened(listener: SocketAddr, encryption: Encryption) -> Vec<(SocketAddr, String)> {
    if listener.ip().is_unspecified() {
        let who = |address: &SocketAddr| match address.ip().is_loopback() {
            true => "this machine".to_owned(),
            false => "everybody who can reach this machine".to_owned(),
        };
        return reach::addresses(listener).into_iter().map(|address| (address, who(&address))).collect();
    }
    let who = match listener.ip().is_loopback() {
        true => format!("this machine only; share with {}:{}", encryption.prefix(), listener.port()),
        false => "everybody who can reach this address".to_owned(),
    };
    vec![(listener, who)]
}

/// Describes a guest: its name, which one it is, and what it may do.
pub(crate) fn guest_line(name: &str, guest: &Guest) -> String {
    let imports = match guest.imports().len() {
        0 => "nothing".to_owned(),
        count => format!("{count} interfaces of an empty WASI"),
    };
    let sha256 = guest.sha256();
    format!("{name} {}...{}   imports: {imports}", &sha256[..4], &sha256[sha256.len() - 2..])
}

/// The URL path of a single source. With pages a browser is at home at the root, and players are sent on.
fn path_of_single(serve: &Serve, name: &[u8]) -> String {
    match serve.content.page {
        true => String::new(),
        false => url_path(name),
    }
}

/// Files looked at for an example. The server is waiting to start.
const CANDIDATES: usize = 1_000;

/// What to request from a folder: the folder, where there is a response to that, or else one of its files.
fn example(serve: &Serve) -> String {
    let folder = serve.source();
    if serve.content.list || folder.join("index.html").is_file() {
        return String::new();
    }
    let entries = folder.read_dir().into_iter().flatten().flatten().take(CANDIDATES);
    let names = entries.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name());
    let visible = names.filter(|name| !name.as_bytes().starts_with(b"."));
    visible.min().map_or_else(String::new, |name| url_path(name.as_bytes()))
}

/// A name as it is written in a URL.
fn url_path(name: &[u8]) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encode(name, KEPT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_kept_for_files() {
        assert_eq!(room_for_clients(4_096, 16), 3_760);
        assert_eq!(room_for_clients(256, 16), 85);
        assert_eq!(room_for_clients(0, 16), 1);
        assert_eq!(room_for_clients(usize::MAX, 16), u32::MAX);
    }

    #[test]
    fn names_are_written_as_a_url_has_them() {
        assert_eq!(url_path("a b/\u{fc}.mp4".as_bytes()), "a%20b/%C3%BC.mp4");
    }
}
