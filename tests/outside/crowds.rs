//! A small machine, and crowds of every kind at once, again and again: clients that mean well are served beside
//! them, and nothing of the crowds is left.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::turn::alone;
use support::{
    Connection, ControlGroup, Folder, Limited, Response, Server, SetOnDrop, eventually, eventually_or, multiclient,
    noise, random,
};

/// All memory of the server: its own, that of the files it reads, and the kernel's for it.
const MACHINE: u64 = 128 << 20;

const ROUNDS: usize = 10;

/// How many of each kind there are in a round.
#[derive(Clone, Copy)]
struct Crowds {
    silent: usize,
    idle: usize,
    slow: usize,
    listing: usize,
    ranges: usize,
    resetting: usize,
    half_closed: usize,
}

/// As many as there is memory for, if those that are in the middle of nothing give way.
const FITTING: Crowds =
    Crowds { silent: 600, idle: 400, slow: 50, listing: 20, ranges: 50, resetting: 100, half_closed: 50 };

/// More than there is memory for, whoever gives way, but places enough. Without a limit the listings alone would take
/// more than the machine has.
const OVERFLOWING: Crowds =
    Crowds { silent: 50, idle: 50, slow: 50, listing: 600, ranges: 50, resetting: 50, half_closed: 50 };

/// The longest that anybody who means well may wait for a response, on a machine with other things to do.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Memory that may stay beside a tenth of the baseline: each place for a client keeps 40 KiB, 32 of them of its guest's
/// memory and the rest of its tables.
const KEPT: u64 = 1_016 * (40 << 10);

#[test]
fn ten_rounds_of_crowds_on_a_small_machine_leave_the_server_as_it_was() {
    let _turn = alone();
    let Some(group) = ControlGroup::new(Limited::Memory(MACHINE)) else { return };
    let content = Content::new();
    let server = content.serve(&group);
    let before = server.descriptors();
    let baseline = server.resident_bytes();
    let healthy = Healthy::default();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = SetOnDrop(&stop);
        scope.spawn(|| healthy.stay(&server, |client| content.ask_for_small(client), &stop));
        scope.spawn(|| healthy.stay(&server, |client| content.ask_for_range(client), &stop));
        scope.spawn(|| healthy.stay(&server, |client| client.get("/few/"), &stop));
        scope.spawn(|| healthy.come_anew(&server, &content, &stop));
        for round in 0..ROUNDS {
            let (crowds, newcomers) = match round % 2 {
                0 => (FITTING, Newcomers::AreServed),
                _ => (OVERFLOWING, Newcomers::MayBeToldToWait),
            };
            healthy.expect(newcomers);
            let crowd = crowds.come(&server);
            healthy.are_served(20);
            drop(crowd);
            eventually("the crowd is gone", || server.descriptors() <= before + HEALTHY_DESCRIPTORS);
            healthy.are_served(1);
        }
    });
    let gone = Instant::now();
    server.wait_for_descriptors(before);
    let most = baseline + baseline / 10 + KEPT;
    let resident = || format!("{} bytes of memory, {baseline} before, at most {most}", server.resident_bytes());
    eventually_or(resident, || server.resident_bytes() <= most);
    assert!(gone.elapsed() < Duration::from_secs(5), "{:?} until it was", gone.elapsed());
    server.get("/small.ts").is(200, &content.small);
    assert_eq!(server.stop().code, Some(0));
}

// ---- the server

/// Half a request of those that send no more.
const HALF: &str = "GET /small.ts HTTP/1.1\r\nHo";

/// Names in the folder that the crowds list.
const NAMES: usize = 4_096;

/// What is served.
struct Content {
    folder: Folder,
    small: Vec<u8>,
    film: Vec<u8>,
}

impl Content {
    fn new() -> Self {
        let content = Self { folder: Folder::new(), small: noise(1, 1_000), film: noise(2, 1 << 20) };
        content.folder.file("small.ts", &content.small);
        content.folder.file("film.mp4", &content.film);
        content.folder.hollow_file("long.mp4", 64 << 20);
        for number in 0..10 {
            content.folder.file(&format!("few/{number}.mp4"), "");
        }
        for number in 0..NAMES {
            content.folder.file(&format!("names/{number:04}-{}", "n".repeat(240)), "");
        }
        content
    }

    fn ask_for_small(&self, client: &mut Connection) -> Response {
        let response = client.get("/small.ts");
        response.is(200, &self.small);
        response
    }

    fn ask_for_range(&self, client: &mut Connection) -> Response {
        let response = client.get_range("/film.mp4", "bytes=1000-30999");
        response.is(206, &self.film[1_000..31_000]);
        response
    }

    fn serve(&self, group: &ControlGroup) -> Server {
        let mut program = multiclient();
        program.arg(self.folder.path()).args(["0", "--list", "--log", "off", "--max-exchanges", "1000000000"]);
        let mut program = group.around(&program);
        program.stdin(Stdio::null()).stdout(Stdio::null());
        Server::run(program)
    }
}

// ---- those that mean harm

#[derive(Clone, Copy)]
enum Kind {
    /// Says nothing.
    Silent,
    /// Says nothing after a response.
    Idle,
    /// Sends half a request.
    Slow,
    /// Asks for a long listing, and reads nothing of it.
    Listing,
    /// Asks for many ranges, and reads nothing of them.
    Ranges,
    /// Asks for a large file, and resets the connection.
    Resetting,
    /// Asks for a large file, sends no more, and reads nothing.
    HalfClosed,
}

impl Crowds {
    /// All of them, one after the other, in no order. Dropped, they are gone at once.
    fn come(self, server: &Server) -> Vec<Connection> {
        let counts = [
            (Kind::Silent, self.silent),
            (Kind::Idle, self.idle),
            (Kind::Slow, self.slow),
            (Kind::Listing, self.listing),
            (Kind::Ranges, self.ranges),
            (Kind::Resetting, self.resetting),
            (Kind::HalfClosed, self.half_closed),
        ];
        let mut kinds: Vec<_> = counts.into_iter().flat_map(|(kind, count)| std::iter::repeat_n(kind, count)).collect();
        let mut random = random();
        kinds.sort_by_cached_key(|_| random(1 << 20));
        kinds.into_iter().filter_map(|kind| kind.comes(server)).collect()
    }
}

impl Kind {
    /// The connection, unless it is gone again. Whether it is rejected, told to wait, or displaced later on is not
    /// what matters here.
    fn comes(self, server: &Server) -> Option<Connection> {
        let ranges = (0..60).map(|number| format!("{0}00000-{0}50000", number)).collect::<Vec<_>>().join(",");
        let request = |target: &str, field: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\n{field}\r\n");
        let says = match self {
            Self::Silent => String::new(),
            Self::Idle => request("/small.ts", ""),
            Self::Slow => HALF.to_owned(),
            Self::Listing => request("/names/", ""),
            Self::Ranges => request("/long.mp4", &format!("Range: bytes={ranges}\r\n")),
            Self::Resetting | Self::HalfClosed => request("/long.mp4", ""),
        };
        let mut connection = Connection::with_small_buffer(server.address());
        let _ = connection.try_send(says);
        match self {
            Self::Resetting => connection.reset(),
            Self::HalfClosed => {
                let _ = connection.try_finish();
                return Some(connection);
            }
            _ => return Some(connection),
        }
        None
    }
}

// ---- those that mean well

/// What a newcomer that means well has to expect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Newcomers {
    AreServed,
    /// With a 503 that says how long.
    MayBeToldToWait,
}

/// The descriptors that they and the files that they ask for take, at most.
const HEALTHY_DESCRIPTORS: usize = 16;

/// Clients that mean well, and how often they were served.
#[derive(Default)]
struct Healthy {
    may_wait: AtomicBool,
    stayed: AtomicUsize,
    came: AtomicUsize,
}

impl Healthy {
    fn expect(&self, newcomers: Newcomers) {
        self.may_wait.store(newcomers == Newcomers::MayBeToldToWait, Ordering::SeqCst);
    }

    /// Waits until clients of both kinds were served so often from now on.
    fn are_served(&self, times: usize) {
        for (served, which) in [(&self.stayed, "a client that stays"), (&self.came, "a newcomer")] {
            let before = served.load(Ordering::SeqCst);
            eventually(&format!("{which} is served"), || served.load(Ordering::SeqCst) >= before + times);
        }
    }

    /// Those that have been there for longer are always served, as long as they are not silent for longer than the
    /// crowd: what they get is small, and compared at once.
    fn stay(&self, server: &Server, ask: impl Fn(&mut Connection) -> Response, stop: &AtomicBool) {
        let mut connection = server.connect();
        let expected = ask(&mut connection);
        while !stop.load(Ordering::Relaxed) {
            in_time(|| ask(&mut connection)).is(expected.status(), &expected.body);
            self.stayed.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn come_anew(&self, server: &Server, content: &Content, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let may_wait = self.may_wait.load(Ordering::SeqCst);
            let response = in_time(|| server.get("/small.ts"));
            if response.status() == 503 {
                assert!(may_wait || self.may_wait.load(Ordering::SeqCst), "there was room: {response:?}");
                response.expect_field("Retry-After");
            } else {
                response.is(200, &content.small);
            }
            self.came.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn in_time(ask: impl FnOnce() -> Response) -> Response {
    let began = Instant::now();
    let response = ask();
    let took = began.elapsed();
    assert!(took < LONGEST_WAIT, "somebody who means well waits for {took:?}");
    response
}
