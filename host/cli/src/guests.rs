//! Loads guests: the one of `--guest`, or the built-in one, for as many clients as there is room for; and the
//! index of `--index`.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use multiclient::{Guest, GuestError, Index, Limits};
use rustix::fs::OFlags;
use rustix::process::{Resource, getrlimit};

use crate::args::{GuestFlags, IndexFrom, LiveFlags};
use crate::failure::Failure;
use crate::options;
use crate::signals::Signal;

/// What a guest is called where it has no file.
const BUILT_IN: &str = "built in";

/// What a guest is called at start.
pub(crate) fn name(flags: &GuestFlags) -> String {
    flags.guest.as_ref().map_or(BUILT_IN.to_owned(), |path| path.display().to_string())
}

/// A custom component: where it is from, and its bytes.
pub(crate) struct Component {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Component {
    /// Reads a file, and nothing else: a FIFO in its place would be waited for, with signals unheard.
    fn read(path: &Path) -> Result<Self, Failure> {
        let read = || {
            let nonblock = OFlags::NONBLOCK.bits().cast_signed();
            let mut file = File::options().read(true).custom_flags(nonblock).open(path)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("it is not a file"));
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|error| Failure::unreadable(path, &error))?;
        Ok(Self { path: path.to_owned(), bytes })
    }
}

/// Reads the guest that the flags say. None: it is built in.
pub(crate) fn read(flags: &GuestFlags) -> Result<Option<Component>, Failure> {
    flags.guest.as_deref().map(Component::read).transpose()
}

/// Reads and loads the guest that the flags say.
pub(crate) fn load(flags: &GuestFlags, limits: Limits) -> Result<Guest, Failure> {
    match read(flags)? {
        Some(component) => compile(component, flags, limits),
        None => Guest::built_in(limits).map_err(Failure::host),
    }
}

fn compile(component: Component, flags: &GuestFlags, limits: Limits) -> Result<Guest, Failure> {
    let Component { path, bytes } = component;
    Guest::custom(bytes, limits, &options::grants(flags)).map_err(|error| Failure::guest(&path, &error))
}

/// What is being loaded on a thread of its own: compiling a component may take minutes, and who waits for it has to
/// hear signals meanwhile.
pub(crate) struct Loading<T>(mpsc::Receiver<T>);

/// Tells who waits, however the loading ended.
struct Wake(mpsc::Sender<Signal>);

impl Drop for Wake {
    fn drop(&mut self) {
        // Nobody may be waiting any more.
        let _ = self.0.send(Signal::Loaded);
    }
}

impl<T: Send + 'static> Loading<T> {
    pub(crate) fn start(
        wake: &mpsc::Sender<Signal>,
        load: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Self, Failure> {
        let (sender, loaded) = mpsc::channel();
        let wake = Wake(wake.clone());
        let work = move || {
            let _wake = wake;
            // Nobody may be waiting any more.
            let _ = sender.send(load());
        };
        let thread = thread::Builder::new().name("guest".into()).stack_size(COMPILER_STACK).spawn(work);
        thread.map_err(Failure::host)?;
        Ok(Self(loaded))
    }

    /// What was loaded, once a signal has said so.
    pub(crate) fn get(self) -> Result<T, Failure> {
        self.0.try_recv().map_err(|_| Failure::new("the guest cannot be loaded: the compiler has failed"))
    }
}

/// Bytes of the stack for compiling: what the main thread has.
const COMPILER_STACK: usize = 8 << 20;

/// Clients that a server is started for at least, where the address space is short.
const FEWEST_CLIENTS: u32 = 8;

/// Loads a guest that was read for as many clients as the address space has room for: as many as the limits say, or else
/// half of them, and so on. The guest knows how many.
///
/// Each client has a slot of 16 MiB of addresses, or of the memory that the operator allows a guest.
pub(crate) fn load_fitting(component: Option<Component>, flags: &GuestFlags, limits: Limits) -> Result<Guest, Failure> {
    let asked = limits.max_clients;
    // The built-in guest needs no compiler, and as much address space as any other.
    let fitting = load_built_in_fitting(limits)?;
    let Some(component) = component else { return check_memory(fitting) };
    let mut limits = fitting.limits().clone();
    drop(fitting);
    if limits.max_clients < asked {
        // So that there is as much again for a guest that replaces this one.
        halve(&mut limits);
    }
    compile(component, flags, limits).and_then(check_memory)
}

fn load_built_in_fitting(mut limits: Limits) -> Result<Guest, Failure> {
    let fewest = FEWEST_CLIENTS.min(limits.max_clients);
    loop {
        let error = match Guest::built_in(limits.clone()) {
            Ok(guest) if has_room_beside() => return Ok(guest),
            Ok(_) => GuestError::Host("no 256 MiB of addresses left for threads and files".to_owned()),
            Err(error @ GuestError::Host(_)) => error,
            Err(error) => return Err(Failure::host(error)),
        };
        if limits.max_clients <= fewest {
            return Err(Failure::address_space(&error, fewest));
        }
        halve(&mut limits);
    }
}

/// Halves the number of clients, down to a handful.
fn halve(limits: &mut Limits) {
    let fewest = FEWEST_CLIENTS.min(limits.max_clients);
    limits.max_clients = (limits.max_clients / 2).max(fewest);
    limits.reserve = limits.reserve.min(limits.max_clients / 4);
}

/// Whether there is address space left beside the guest's, for threads and their stacks, and for what is read
/// and sent: 256 MiB. What is written to counts against `RLIMIT_DATA` (`ulimit -d`), too; the guest's does not.
fn has_room_beside() -> bool {
    // In pieces, because the kernel refuses a single one that is larger than the memory of the machine; of a
    // size that leaves glibc's thresholds as they are.
    const PIECES: usize = 4;
    const PIECE_BYTES: usize = 64 << 20;
    let mut room: [Vec<u8>; PIECES] = Default::default();
    let is_there = room.iter_mut().all(|piece| piece.try_reserve_exact(PIECE_BYTES).is_ok());
    // An allocation that nobody looks at might be left out.
    std::hint::black_box(&room);
    is_there
}

/// Whether an operator has set a limit on address space, as a reason for a failure.
pub(crate) fn is_address_space_limited() -> bool {
    [Resource::As, Resource::Data].into_iter().any(|resource| getrlimit(resource).current.is_some())
}

/// Reads the index of live sources that the flags say. None: it is built in, or there is none.
pub(crate) fn read_index(flags: &LiveFlags) -> Result<Option<Component>, Failure> {
    match &flags.index {
        Some(IndexFrom::File(path)) => Component::read(path).map(Some),
        Some(IndexFrom::Off) | None => Ok(None),
    }
}

/// Loads an index that was read.
pub(crate) fn load_index(component: Option<Component>) -> Result<Option<Index>, Failure> {
    let Some(Component { path, bytes }) = component else { return Ok(None) };
    Index::custom(bytes).map(Some).map_err(|error| Failure::index(&path, &error))
}

/// Refuses a guest that could not even start within its limit.
pub(crate) fn check_memory(guest: Guest) -> Result<Guest, Failure> {
    let (needs, allowed) = (guest.initial_memory(), guest.limits().memory);
    // Its tables count, too.
    match needs >= allowed {
        true => Err(Failure::memory(allowed, needs)),
        false => Ok(guest),
    }
}
