//! Behind the walls no door opens, and everything that serving needs still works; without them each does.
//!
//! This test starts itself: what is tried is tried in a process that has raised walls, and may end it.

#![expect(clippy::print_stdout, reason = "a test that says what it tried")]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::{env, thread};

use multiclient_walls::doors::{Door, Outside};
use multiclient_walls::{Mode, Plan, Report, Wall};
use rustix::fs::{CWD, MemfdFlags, memfd_create};
use rustix::process::{Pid, getuid};

/// Something to be read from outside.
static SECRET: [u8; 16] = *b"not for a client";

/// What a probe that finds its door closed exits with.
const CLOSED: u8 = 10;

/// The user that the walls are tried as too, where the test runs as root.
const NOBODY: u32 = 65_534;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    match arguments.next().as_deref() {
        Some("probe") => return probe(&arguments.collect::<Vec<_>>()),
        Some("stand by") => return stand_by(),
        _ => {}
    }
    // The test runner's own questions (`--list`) are answered by nothing.
    if env::args().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    let ground = Ground::new();
    let users: &[Option<u32>] = if getuid().is_root() { &[None, Some(NOBODY)] } else { &[None] };
    for user in users {
        let other = Bystander::start(&ground, *user);
        ground.doors_open_without_walls_and_not_behind_them(&other);
        ground.landlock_alone_keeps_files_ports_and_processes_out_of_reach(&other);
        ground.a_process_that_replaces_its_guest_may_load_code(&other);
        ground.what_serving_needs_works_behind_all_walls(&other);
        ground.nothing_is_left_of_what_the_process_was_allowed(&other);
        ground.strict_does_not_go_on_without_a_wall(&other);
    }
    println!("ok");
    ExitCode::SUCCESS
}

/// How far a probe raises its walls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Raise {
    Nothing,
    Files,
    AllButCode,
    All,
    TooLate,
}

impl Raise {
    const ALL: [Self; 5] = [Self::Nothing, Self::Files, Self::AllButCode, Self::All, Self::TooLate];

    fn name(self) -> String {
        format!("{self:?}")
    }
}

/// A folder with sources and what is beside them, and somebody who listens.
struct Ground {
    root: tempfile::TempDir,
    listener: TcpListener,
    /// This program, where every user can run it.
    program: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let program = root.path().join("probe");
        fs::copy(env::current_exe().expect("a path"), &program).expect("a copy");
        for folder in ["", "sources", "linked", "links", "capsules", "outside"] {
            let folder = root.path().join(folder);
            fs::create_dir_all(&folder).expect("a folder");
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("everybody may");
        }
        fs::write(root.path().join("sources/film"), "film").expect("a file");
        for file in ["first", "second"] {
            fs::write(root.path().join("linked").join(file), file).expect("a file");
        }
        Self { root, listener: TcpListener::bind(("127.0.0.1", 0)).expect("a port"), program }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// This program, as a user.
    fn program(&self, user: Option<u32>) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        command
    }

    fn run(&self, other: &Bystander, raise: Raise, what: &str) -> ExitStatus {
        let link = self.path("links/now");
        let _ = fs::remove_file(&link);
        symlink("../linked/first", &link).expect("a link");
        let port = self.listener.local_addr().expect("an address");
        let mut command = self.program(other.user);
        command.args(["probe", &raise.name(), what, &port.to_string(), &other.process.id().to_string()]);
        command.arg(&other.address).arg(self.root.path());
        command.status().expect("this program starts")
    }

    fn doors_open_without_walls_and_not_behind_them(&self, other: &Bystander) {
        for door in Door::ALL {
            let name = door.name();
            let without = self.run(other, Raise::Nothing, name);
            if !without.success() {
                // Only where the system itself has closed it.
                let closed_anyway = [Door::IoUring, Door::Namespace, Door::ReadMemory, Door::OpenMemory];
                assert!(closed_anyway.contains(&door), "{name}: {without} without walls");
                println!("not tried as {:?}: {name} is not possible here without walls either", other.user);
                continue;
            }
            let behind = self.run(other, Raise::All, name);
            let closed = behind.code() == Some(i32::from(CLOSED)) || behind.signal() == Some(libc::SIGSYS);
            assert!(closed, "{name} as {:?}: {behind} behind the walls", other.user);
        }
    }

    fn landlock_alone_keeps_files_ports_and_processes_out_of_reach(&self, other: &Bystander) {
        for door in [
            Door::ReadFile,
            Door::WriteFile,
            Door::Connect,
            Door::Listen,
            Door::RunProgram,
            Door::Signal,
            Door::OpenMemory,
        ] {
            let behind = self.run(other, Raise::Files, door.name());
            assert_eq!(behind.code(), Some(i32::from(CLOSED)), "{}: {behind}", door.name());
        }
    }

    fn a_process_that_replaces_its_guest_may_load_code(&self, other: &Bystander) {
        let makes_code = self.run(other, Raise::AllButCode, Door::MakeCode.name());
        assert!(makes_code.success(), "{makes_code}");
        let runs = self.run(other, Raise::AllButCode, Door::RunProgram.name());
        assert_eq!(runs.signal(), Some(libc::SIGSYS), "{runs}");
    }

    fn what_serving_needs_works_behind_all_walls(&self, other: &Bystander) {
        let served = self.run(other, Raise::All, "serve");
        assert!(served.success(), "as {:?}: {served}", other.user);
    }

    fn nothing_is_left_of_what_the_process_was_allowed(&self, other: &Bystander) {
        let looked = self.run(other, Raise::All, "look at itself");
        assert!(looked.success(), "as {:?}: {looked}", other.user);
    }

    fn strict_does_not_go_on_without_a_wall(&self, other: &Bystander) {
        let late = self.run(other, Raise::TooLate, "serve");
        assert!(late.success(), "{late}");
    }
}

/// Another process of the same user, which waits for the end of the test.
struct Bystander {
    user: Option<u32>,
    process: Child,
    /// Where the secret is in its memory.
    address: String,
}

impl Bystander {
    fn start(ground: &Ground, user: Option<u32>) -> Self {
        let mut command = ground.program(user);
        command.arg("stand by").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("this program starts");
        let mut address = String::new();
        let said = process.stdout.as_mut().expect("a pipe");
        BufReader::new(said).read_line(&mut address).expect("a line");
        Self { user, process, address: address.trim().to_owned() }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// In the process of the bystander.
fn stand_by() -> ExitCode {
    // Some systems let nobody but its parent read a process' memory.
    let _ = rustix::process::set_ptracer(rustix::process::PTracer::Any);
    println!("{}", SECRET.as_ptr().addr());
    let _ = io::stdin().read_to_end(&mut Vec::new());
    ExitCode::SUCCESS
}

/// In the process of the probe: raises walls, and tries one thing.
fn probe(arguments: &[String]) -> ExitCode {
    let [raise, what, listener, process, address, root] = arguments else { panic!("six words: {arguments:?}") };
    let raise = Raise::ALL.into_iter().find(|known| known.name() == *raise).expect("a known word");
    let root = Path::new(root);
    let outside = Outside {
        process: process.parse().ok().and_then(Pid::from_raw).expect("a process"),
        address: address.parse().expect("a number"),
        listener: listener.parse().expect("an address"),
        folder: root.join("outside"),
    };
    let mut status = File::open("/proc/self/status").expect("the process itself");
    let plan = |mode| {
        let plan = Plan::new(mode).serves(&root.join("sources")).serves(&root.join("links/now"));
        plan.writes_into(&root.join("capsules"))
    };
    match raise {
        Raise::Nothing => {}
        Raise::Files => drop(plan(Mode::Strict).raise_files().expect("this kernel has Landlock 6")),
        Raise::All => {
            let raised = plan(Mode::Strict).raise_files().expect("this kernel has Landlock 6");
            // As a server's: it starts between the two steps, and tries after the second.
            let (go, wait) = mpsc::channel();
            let what = what.clone();
            let root = root.to_owned();
            let served = thread::spawn(move || {
                wait.recv().expect("a word");
                attempt(&what, &root, &outside, &mut status)
            });
            let report = raised.raise_calls().expect("this kernel has all walls");
            assert_eq!(report.walls().len(), 6, "{report}");
            go.send(()).expect("it waits");
            return served.join().unwrap_or(ExitCode::FAILURE);
        }
        Raise::AllButCode => {
            let report: Report = plan(Mode::Auto)
                .loads_code("guests are replaced")
                .raise_files()
                .and_then(|raised| raised.raise_calls())
                .expect("auto");
            assert!(report.stands(Wall::Calls) && !report.stands(Wall::Code), "{report}");
        }
        Raise::TooLate => {
            let (done, wait) = mpsc::channel::<()>();
            let other = thread::spawn(move || wait.recv().is_err());
            let missing = plan(Mode::Strict).raise_files().expect_err("there is another thread");
            assert_eq!(missing.wall, Wall::Privileges, "{missing}");
            drop(done);
            return if other.join().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    }
    attempt(what, root, &outside, &mut status)
}

fn attempt(what: &str, root: &Path, outside: &Outside, status: &mut File) -> ExitCode {
    match what {
        "serve" => serve(root).map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS),
        "look at itself" => {
            look_at_itself(status);
            ExitCode::SUCCESS
        }
        name => {
            let door = Door::ALL.into_iter().find(|door| door.name() == name).expect("a known door");
            door.open(outside).map_or(ExitCode::from(CLOSED), |()| ExitCode::SUCCESS)
        }
    }
}

fn fail(error: &io::Error) -> ExitCode {
    println!("{error}");
    ExitCode::FAILURE
}

/// What a server does, in short.
fn serve(root: &Path) -> io::Result<()> {
    // Sources, as they are and as they are replaced.
    fs::read(root.join("sources/film"))?;
    assert!(fs::read_dir(root.join("sources"))?.count() > 0);
    assert_eq!(fs::read(root.join("links/now"))?, b"first");
    // Somebody else, outside, points the link to another file of the folder. Here a name does as well.
    assert_eq!(fs::read(root.join("linked/second"))?, b"second");
    assert!(fs::read_dir(root.join("linked")).is_err(), "the folder of a single source is not listed");
    // Capsules.
    let unfinished = root.join("capsules/.1.unfinished");
    File::options().write(true).create_new(true).open(&unfinished)?.write_all(b"capsule")?;
    let finished = root.join("capsules/1.capsule");
    rustix::fs::renameat(CWD, &unfinished, CWD, &finished)?;
    fs::remove_file(finished)?;
    // Threads with their stacks, memory and sleep.
    let joined = thread::spawn(|| {
        thread::sleep(std::time::Duration::from_millis(1));
        vec![0_u8; 8 << 20].len()
    });
    assert_eq!(joined.join().ok(), Some(8 << 20));
    // The memory of a live source.
    let mut memory = File::from(memfd_create(c"live", MemfdFlags::CLOEXEC)?);
    memory.write_all(b"live")?;
    memory.rewind()?;
    memory.read_exact(&mut [0; 4])?;
    // A panic is caught, and says what it has to say.
    assert!(thread::spawn(|| panic!("on purpose")).join().is_err());
    Ok(())
}

fn look_at_itself(status: &mut File) {
    let mut text = String::new();
    status.read_to_string(&mut text).expect("it was opened before");
    let line = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("{name} is not in {text}")).trim()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(line(set), "0000000000000000", "{set}");
    }
    assert_eq!((line("NoNewPrivs"), line("Seccomp"), line("Seccomp_filters")), ("1", "2", "2"));
    assert_eq!(rustix::process::getrlimit(rustix::process::Resource::Core).maximum, Some(0));
}
