//! Where claims are tried: what is published, the servers that publish it, and what this process holds.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use tempfile::TempDir;

use crate::noise::{CANARY, CANARY_DIGITS, Noise};
use crate::plan::{FAULTY, FAULTY_INDEX, Failure, Plan, Weakness};
use multiclient::isolation_testing::{Protection, SharedInstance, Sharing};
use multiclient::{
    Capsules, Closed, Ended, Exchange, Guest, Index, Journal, Limit, Limits, Live, Running, Server, Settings, Sources,
    listen,
};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// As it serves.
    Fresh,
    /// The control: one instance for all, and no limits.
    Shared,
    /// As it serves, with places for so many clients.
    Small(u32),
    /// With one place, and slots that are cleared by the page map: the control for memory pressure.
    Scanned,
    /// As it serves, but for one protection: the control of what that protects.
    Lacking(Protection),
    /// With little patience for guests that have the host work for them, which lacks that limit as a control.
    Impatient(Option<Protection>),
}

/// What all trials have in common.
pub(crate) struct Ground<'a> {
    pub(crate) plan: &'a Plan,
    /// Of what is made for the trials.
    _folder: TempDir,
    made: PathBuf,
    published: PathBuf,
    /// What the victims ask for.
    pub(crate) pieces: Vec<Piece>,
    /// The target of the longest thing there is, and its size.
    pub(crate) longest: String,
    pub(crate) longest_bytes: u64,
    limited: Arc<Guest>,
    /// Compiled when it is first wanted.
    unlimited: Mutex<Option<Arc<Guest>>>,
    impatient: Mutex<Option<Arc<Guest>>>,
    index: Mutex<Option<Arc<Index>>>,
}

/// Something that a victim asks for, and what it must get.
pub(crate) struct Piece {
    pub(crate) target: String,
    /// Where it is in the file; none: it is the whole file.
    pub(crate) range: Option<(u64, u64)>,
    pub(crate) bytes: Vec<u8>,
}

/// A server, and what is heard of its clients.
pub(crate) struct Arena {
    server: Running,
    pub(crate) ends: Arc<Ends>,
    /// Where the sessions of its clients are recorded.
    capsules: Option<TempDir>,
}

/// Counts what must not happen to anybody.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    host_faults: AtomicU64,
    lagged: AtomicU64,
    first_fault: Mutex<Option<String>>,
    /// Bytes that each guest has reported by itself, by its client.
    reported: Mutex<HashMap<u64, u64>>,
}

impl Journal for Ends {
    fn exchange(&self, exchange: &Exchange<'_>) {
        // What the faulty guest makes up begins like this, and no request does.
        if exchange.request.starts_with("report ") {
            let bytes = [exchange.request, exchange.referrer, exchange.agent].map(|text| text.len() as u64);
            let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
            *reported.entry(exchange.client).or_default() += bytes.iter().sum::<u64>();
        }
    }

    fn closed(&self, closed: &Closed) {
        if let Ended::OverLimit { limit: Limit::Lag, .. } = closed.ended {
            self.lagged.fetch_add(1, Ordering::Relaxed);
        }
        if let Ended::HostFault(what) = &closed.ended {
            self.host_faults.fetch_add(1, Ordering::Relaxed);
            self.first_fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| what.clone());
        }
    }
}

impl Ends {
    /// Clients that fell too far behind a live source.
    pub(crate) fn lagged(&self) -> u64 {
        self.lagged.load(Ordering::Relaxed)
    }

    /// How many guests have reported by themselves, and the most bytes that one of them has.
    pub(crate) fn reported(&self) -> (u64, u64) {
        let reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        (reported.len() as u64, reported.values().copied().max().unwrap_or_default())
    }

    pub(crate) fn host_faults(&self) -> u64 {
        self.host_faults.load(Ordering::Relaxed)
    }
}

/// Bytes that look for a secret outside of what is published find this.
pub(crate) const SECRET: &str = "this file is not published";

/// The bytes of a file that a victim asks for whole; of longer ones, it asks for parts of a quarter of that.
const WHOLE: u64 = 256 << 10;

/// Names that lead out of what is published, or to what is hidden in it.
pub(crate) const NAMES_ELSEWHERE: [&str; 12] = [
    "../secret.txt",
    "../../etc/passwd",
    "/etc/passwd",
    "films/../../secret.txt",
    "link-to-secret.txt",
    "link-to-root/etc/passwd",
    "link-to-root",
    ".hidden",
    "films/.",
    "..",
    "small.ts/",
    "/proc/self/environ",
];

/// Under which every server but the weakened serves.
pub(crate) fn limits() -> Limits {
    Limits::default()
}

/// The control has no limits but those that keep it from taking the machine down.
fn no_limits() -> Limits {
    let mut limits = limits();
    limits.memory = 64 << 20;
    limits.cpu = Duration::from_millis(600);
    limits.idle_cpu = Duration::from_millis(600);
    limits
}

/// What a guest may have the host do for it without moving a byte, in the trial of just that.
pub(crate) const IDLE_CPU: Duration = Duration::from_millis(30);

fn impatient() -> Limits {
    let mut limits = limits();
    limits.idle_cpu = IDLE_CPU;
    limits
}

/// With places for so many clients, and none beyond them.
fn small(places: u32) -> Limits {
    let mut limits = limits();
    (limits.max_clients, limits.reserve) = (places, 0);
    limits
}

fn scanned() -> Result<Guest, Failure> {
    let guest = Guest::cleared_by_page_map(FAULTY.to_vec(), small(1));
    guest.map_err(Failure::of("the guest cannot be prepared"))
}

impl<'a> Ground<'a> {
    pub(crate) fn prepare(plan: &'a Plan) -> Result<Self, Failure> {
        let failed = || Failure::of::<io::Error>("the trial cannot be prepared");
        let folder = tempfile::tempdir().map_err(failed())?;
        let made = folder.path().join("published");
        make(&made, &mut Noise(plan.seed)).map_err(failed())?;
        let published = plan.source.clone().unwrap_or_else(|| made.clone());
        let files = files(&published).map_err(failed())?;
        let longest = files.iter().max_by_key(|(_, _, size)| *size);
        let longest = longest.map(|(_, target, size)| (target.clone(), *size));
        let (longest, longest_bytes) = longest.ok_or_else(|| Failure {
            doing: "the trial cannot be prepared",
            why: format!("there is no file in {}", published.display()),
        })?;
        let pieces = pieces(&files, &mut Noise(plan.seed)).map_err(failed())?;
        let limited = Arc::new(compile(plan, limits())?);
        let (unlimited, impatient, index) = Default::default();
        Ok(Self {
            plan,
            _folder: folder,
            made,
            published,
            pieces,
            longest,
            longest_bytes,
            limited,
            unlimited,
            impatient,
            index,
        })
    }

    pub(crate) fn sha256(&self) -> String {
        self.limited.sha256()
    }

    /// A server of what is published.
    pub(crate) fn arena(&self, role: Role) -> Result<Arena, Failure> {
        self.serve(self.sources(&self.published)?, role, None)
    }

    /// A server of this folder.
    pub(crate) fn arena_of(&self, folder: &Path, role: Role) -> Result<Arena, Failure> {
        self.serve(self.sources(folder)?, role, None)
    }

    /// A server of what comes from this pipe, as `/live`.
    pub(crate) fn live_arena(&self, input: OwnedFd) -> Result<Arena, Failure> {
        let live = Live { lag: 1 << 20, burst: 0, ..Live::default() };
        let sources = Sources::stream("live", input, live).map_err(Failure::of("there is nothing to serve"))?;
        self.serve(sources, Role::Fresh, None)
    }

    /// The same, with an index that fails when the stream asks for it, for viewers that are never late.
    pub(crate) fn media_arena(&self, input: OwnedFd, role: Role) -> Result<Arena, Failure> {
        let sources =
            Sources::stream("live", input, Live::default()).map_err(Failure::of("there is nothing to serve"))?;
        let index = self.faulty_index()?;
        self.start(role, None, |guest| Server::new(guest, sources).index(index))
    }

    fn faulty_index(&self) -> Result<Arc<Index>, Failure> {
        once(&self.index, || Index::custom(FAULTY_INDEX.to_vec()).map_err(Failure::of("the index cannot be prepared")))
    }

    fn sources(&self, published: &Path) -> Result<Sources, Failure> {
        Sources::at(published).map_err(Failure::of("there is nothing to serve"))
    }

    /// The same, and the sessions of all its clients are recorded.
    pub(crate) fn recorded_arena(&self, role: Role) -> Result<Arena, Failure> {
        let capsules = tempfile::tempdir().map_err(Failure::of("capsules cannot be kept"))?;
        self.serve(self.sources(&self.published)?, role, Some(capsules))
    }

    /// A server of the files that were made for the trials, whatever else is published.
    pub(crate) fn arena_of_made(&self, role: Role) -> Result<Arena, Failure> {
        self.serve(self.sources(&self.made)?, role, None)
    }

    fn serve(&self, sources: Sources, role: Role, capsules: Option<TempDir>) -> Result<Arena, Failure> {
        self.start(role, capsules, |guest| Server::new(guest, sources))
    }

    fn start(
        &self,
        role: Role,
        capsules: Option<TempDir>,
        server: impl FnOnce(Arc<Guest>) -> Server,
    ) -> Result<Arena, Failure> {
        let weakness = self.plan.weakness;
        let shares = role == Role::Shared || weakness == Some(Weakness::SharedInstance);
        let sharing = if shares { Sharing::Instance(SharedInstance::default()) } else { Sharing::Nothing };
        let is_unlimited = role == Role::Shared || weakness == Some(Weakness::NoLimits);
        let guest = match role {
            Role::Small(places) => Arc::new(compile(self.plan, small(places))?),
            Role::Scanned => Arc::new(scanned()?),
            Role::Impatient(_) => once(&self.impatient, || compile(self.plan, impatient()))?,
            _ if is_unlimited => once(&self.unlimited, || compile(self.plan, no_limits()))?,
            _ => Arc::clone(&self.limited),
        };
        let ends = Arc::new(Ends::default());
        let journal: Arc<dyn Journal> = Arc::<Ends>::clone(&ends);
        let failed = || Failure::of::<io::Error>("a server cannot be started");
        let listener = listen::tcp((Ipv4Addr::LOCALHOST, 0).into()).map_err(failed())?;
        let mut settings = Settings::default();
        settings.listing = true;
        let mut server = server(guest).settings(settings).sharing(sharing).journal(journal);
        if let Role::Lacking(protection) | Role::Impatient(Some(protection)) = role {
            server = server.without(protection);
        }
        if let Some(folder) = &capsules {
            let kept = Capsules::at(folder.path()).map_err(Failure::of("capsules cannot be kept"))?;
            server = server.capsules(kept.of_all().unbounded());
        }
        let server = server.start(vec![listener]).map_err(failed())?;
        Ok(Arena { server, ends, capsules })
    }
}

/// What is made when it is first wanted.
fn once<T>(made: &Mutex<Option<Arc<T>>>, make: impl FnOnce() -> Result<T, Failure>) -> Result<Arc<T>, Failure> {
    let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(made) = &*made {
        return Ok(Arc::clone(made));
    }
    let new = Arc::new(make()?);
    Ok(Arc::clone(made.insert(new)))
}

fn compile(plan: &Plan, limits: Limits) -> Result<Guest, Failure> {
    let failed = "the guest cannot be prepared";
    match &plan.guest {
        Some((component, grants)) => Guest::custom(component.clone(), limits, grants).map_err(Failure::of(failed)),
        // Run as the built-in guest is.
        None => Guest::as_core_module(FAULTY.to_vec(), limits).map_err(Failure::of(failed)),
    }
}

impl Arena {
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    /// Waits until all clients are gone, and says whether they are.
    pub(crate) fn wait(&self) -> bool {
        self.server.wait(Duration::from_secs(3))
    }

    /// How many sessions were recorded, and how many canaries are in the records of two clients. Each is sent
    /// once, by one client.
    pub(crate) fn canaries_in_capsules(&self) -> io::Result<(u64, u64)> {
        let Some(folder) = &self.capsules else { return Ok((0, 0)) };
        self.server.flush_capsules();
        let (mut sessions, mut in_two) = (0, 0);
        let mut seen_in = HashMap::new();
        for capsule in fs::read_dir(folder.path())? {
            let text = fs::read(capsule?.path())?;
            let text = String::from_utf8_lossy(&text);
            sessions += 1;
            for (at, _) in text.match_indices(CANARY) {
                let canary = text.get(at..at + CANARY.len() + CANARY_DIGITS).unwrap_or_default().to_owned();
                if *seen_in.entry(canary).or_insert(sessions) != sessions {
                    in_two += 1;
                }
            }
        }
        Ok((sessions, in_two))
    }
}

/// Makes what is published where nobody says what to publish, and a secret beside it.
fn make(published: &Path, noise: &mut Noise) -> io::Result<()> {
    fs::create_dir_all(published.join("films"))?;
    fs::write(published.join("small.ts"), noise.bytes(1_000))?;
    fs::write(published.join("large.ts"), noise.bytes(200_000))?;
    // Without content: it is there to be longer than every buffer.
    File::create(published.join("long.mp4"))?.set_len(64 << 20)?;
    let secret = published.with_file_name("secret.txt");
    fs::write(&secret, SECRET)?;
    fs::write(published.join(".hidden"), SECRET)?;
    symlink(&secret, published.join("link-to-secret.txt"))?;
    symlink("/", published.join("link-to-root"))
}

/// The files that are published, each with its target and its size.
fn files(published: &Path) -> io::Result<Vec<(PathBuf, String, u64)>> {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    const ENOUGH: usize = 64;
    let mut paths = if published.is_dir() {
        fs::read_dir(published)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?
    } else {
        vec![std::path::absolute(published)?]
    };
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let Some(name) = path.file_name().map(OsStrExt::as_bytes) else { continue };
        let metadata = path.symlink_metadata()?;
        if name.starts_with(b".") || (!metadata.is_file() && published.is_dir()) || metadata.len() == 0 {
            continue;
        }
        let target = format!("/{}", percent_encode(name, KEPT));
        files.push((path.clone(), target, path.metadata()?.len()));
        if files.len() == ENOUGH {
            break;
        }
    }
    Ok(files)
}

/// What victims ask for of these files.
fn pieces(files: &[(PathBuf, String, u64)], noise: &mut Noise) -> io::Result<Vec<Piece>> {
    const PARTS: usize = 2;
    let mut pieces = Vec::new();
    for (path, target, size) in files {
        if *size <= WHOLE {
            pieces.push(Piece { target: target.clone(), range: None, bytes: fs::read(path)? });
            continue;
        }
        for _ in 0..PARTS {
            let count = WHOLE / 4;
            let offset = noise.next() % (size - count);
            let mut bytes = vec![0; usize::try_from(count).expect("it is small")];
            File::open(path)?.read_exact_at(&mut bytes, offset)?;
            pieces.push(Piece { target: target.clone(), range: Some((offset, offset + count - 1)), bytes });
        }
    }
    Ok(pieces)
}

/// What this process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footprint {
    pub(crate) memory: u64,
    pub(crate) descriptors: usize,
}

impl Footprint {
    pub(crate) fn now() -> Self {
        let descriptors = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Self { memory: resident_bytes(), descriptors }
    }
}

/// How many more descriptors this process may open.
pub(crate) fn descriptors_left() -> u64 {
    use rustix::process::{Resource, getrlimit};
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    limit.saturating_sub(Footprint::now().descriptors as u64)
}

/// The memory that this process has in RAM. Exact: what `statm` says may be some pages behind.
pub(crate) fn resident_bytes() -> u64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let kib = rollup.lines().find_map(|line| line.strip_prefix("Rss:")?.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or_default() * 1024
}
