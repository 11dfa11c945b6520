//! A process of its own for code that has escaped: it raises the walls of a server, serves, and tries a door.
//!
//! Rule: nothing here runs in a process that was started to serve. The program comes here by a word that
//! nobody says by accident, and only from the trial.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use multiclient::{Capsules, Guest, Limits, Running, Server, Sources, listen};
use multiclient_walls::doors::{Door, Outside};
use multiclient_walls::{Mode, Plan};
use rustix::process::Pid;

/// The word by which a program is a probe.
pub(crate) const WORD: &str = "isolate: probe";

/// What a process that stands by is asked to do.
pub(crate) const STAND_BY: &str = "stand by";

/// What a probe exits with that finds its door closed. Behind an open one it exits with 0.
pub(crate) const CLOSED: u8 = 10;

/// What it exits with where it could not even try.
const FAILED: u8 = 11;

/// Folders of the ground that a probe stands on: what is served, where capsules go, and what is beside them.
pub(crate) const PUBLISHED: &str = "published";
pub(crate) const CAPSULES: &str = "capsules";
pub(crate) const BESIDE: &str = "beside";

/// Something in memory, to be read from outside.
static SECRET: [u8; 16] = *b"not for a client";

/// Runs a probe if that is what these arguments of a program ask for. The trial starts the program again with
/// them, for the claim `walls`.
pub fn probe(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(WORD)) {
        return None;
    }
    let arguments: Vec<_> = arguments.filter_map(|argument| argument.into_string().ok()).collect();
    let done = match &arguments[..] {
        [what] if what == STAND_BY => stand_by(),
        arguments => Order::parse(arguments).ok_or_else(|| "not the words of a probe".to_owned()).and_then(Order::run),
    };
    Some(done.unwrap_or_else(|why| {
        let _ = say(&format!("failed {why}"));
        ExitCode::from(FAILED)
    }))
}

/// What a probe is to do.
struct Order {
    mode: Mode,
    door: Door,
    ground: PathBuf,
    outside: Outside,
}

impl Order {
    fn parse(arguments: &[String]) -> Option<Self> {
        let [mode, door, ground, process, address, listener] = arguments else { return None };
        let ground = PathBuf::from(ground);
        Some(Self {
            mode: mode.parse().ok()?,
            door: Door::ALL.into_iter().find(|known| known.name() == door)?,
            outside: Outside {
                process: Pid::from_raw(process.parse().ok()?)?,
                address: address.parse().ok()?,
                listener: listener.parse().ok()?,
                folder: ground.join(BESIDE),
            },
            ground,
        })
    }

    /// In the order in which a server starts, and then what no server does.
    fn run(self) -> Result<ExitCode, String> {
        let Self { mode, door, ground, outside } = self;
        let text = |error: io::Error| error.to_string();
        let listener = listen::tcp((Ipv4Addr::LOCALHOST, 0).into()).map_err(text)?;
        let (published, kept) = (ground.join(PUBLISHED), ground.join(CAPSULES));
        let sources = Sources::at(&published).map_err(|error| error.to_string())?;
        let capsules = Capsules::at(&kept).map_err(text)?;
        let plan = Plan::new(mode).serves(&published).writes_into(&kept);
        let walls = plan.raise_files().map_err(|missing| missing.to_string())?;
        // On a thread as those that serve are: started between the two steps.
        let (go, wait) = mpsc::channel();
        let prober = thread::spawn(move || wait.recv().is_ok_and(|()| door.open(&outside).is_ok()));
        let server = serve(sources, capsules, listener).map_err(text)?;
        let address = server.addresses().first().copied().ok_or("it does not listen")?;
        walls.raise_calls().map_err(|missing| missing.to_string())?;
        tell_and_wait(address).map_err(text)?;
        let _ = go.send(());
        let opened = prober.join().unwrap_or(false);
        Ok(if opened { ExitCode::SUCCESS } else { ExitCode::from(CLOSED) })
    }
}

fn serve(sources: Sources, capsules: Capsules, listener: std::os::fd::OwnedFd) -> io::Result<Running> {
    let mut limits = Limits::default();
    (limits.max_clients, limits.reserve) = (8, 0);
    let guest = Guest::built_in(limits).map_err(io::Error::other)?;
    Server::new(guest, sources).capsules(capsules).loops(1).start(vec![listener])
}

/// Says where the server listens, and waits until the trial was served.
fn tell_and_wait(address: SocketAddr) -> io::Result<()> {
    say(&format!("serves {address}"))?;
    io::stdin().lock().read_line(&mut String::new()).map(drop)
}

/// In a process that is to be reached: says where in its memory something lies, and waits for the end.
fn stand_by() -> Result<ExitCode, String> {
    // Some systems let nobody but its parent read a process' memory.
    let _ = rustix::process::set_ptracer(rustix::process::PTracer::Any);
    say(&SECRET.as_ptr().addr().to_string()).map_err(|error| error.to_string())?;
    let _ = io::stdin().read_to_end(&mut Vec::new());
    Ok(ExitCode::SUCCESS)
}

fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// Makes the ground that probes stand on.
pub(crate) fn make_ground(ground: &Path) -> io::Result<()> {
    for folder in [PUBLISHED, CAPSULES, BESIDE] {
        std::fs::create_dir(ground.join(folder))?;
    }
    std::fs::write(ground.join(PUBLISHED).join("film.mp4"), "film")
}
