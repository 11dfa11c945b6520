//! Guests that mean harm: each ends in the way that the contract has for it, and the clients beside it
//! notice nothing.
//!
//! The server runs in this process, with a guest that is the built-in one until a request asks it to fail.

mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use multiclient::{
    Breach, Ended, Guest, Journal, Life, Limit, Limits, Phase, Running, Server, Settings, Sources, Summary, listen,
};
use support::{Connection, Folder, PATIENCE, eventually, noise};

/// Remembers how lives ended.
#[derive(Default)]
struct Ends {
    lives: Mutex<Vec<Life>>,
    added: Condvar,
}

impl Journal for Ends {
    fn ended(&self, life: &Life) {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner).push(life.clone());
        self.added.notify_all();
    }
}

impl Ends {
    /// Waits for the life of the client that came from this address to end, and returns what is told of it.
    fn of(&self, client: SocketAddr) -> Life {
        let is_it = |life: &Life| life.peer == Some(client);
        let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut lives, _) = self
            .added
            .wait_timeout_while(lives, PATIENCE, |lives| !lives.iter().any(is_it))
            .unwrap_or_else(PoisonError::into_inner);
        let index = lives.iter().rposition(is_it).expect("every life ends, and the journal is told");
        lives.swap_remove(index)
    }

    /// Whether it has ended.
    fn has(&self, client: SocketAddr) -> bool {
        let lives = self.lives.lock().unwrap_or_else(PoisonError::into_inner);
        lives.iter().any(|life| life.peer == Some(client))
    }
}

/// A server whose guests can be asked to fail.
struct Arena {
    server: Running,
    ends: Arc<Ends>,
    _folder: Folder,
    /// One of these looks at how long things take, so each has the machine to itself.
    _turn: MutexGuard<'static, ()>,
}

impl Arena {
    fn new(limits: Limits, settings: Settings) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = Folder::new();
        folder.file("small.ts", noise(1, 1_000));
        folder.file("large.ts", noise(2, 256 << 10));
        let ends = Arc::new(Ends::default());
        let guest = Arc::new(Guest::faulty(&limits).expect("it is built in"));
        let sources = Sources::at(folder.path()).expect("the folder is there");
        let journal: Arc<dyn Journal> = Arc::<Ends>::clone(&ends);
        let listener = listen::tcp(([127, 0, 0, 1], 0).into()).expect("a port is free");
        let server = Server::new(guest, sources, limits).settings(settings).journal(journal);
        let server = server.start(vec![listener]).expect("a server can be started");
        Self { server, ends, _folder: folder, _turn: turn }
    }

    fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    /// Has a client ask for a fault, and tells how that client ended.
    fn ask_for(&self, fault: &str) -> Life {
        let mut connection = Connection::to(self.address());
        connection.ask_for("GET", &format!("/!{fault}"), &[]);
        connection.until_cut();
        self.ends.of(connection.local_address())
    }

    fn stop(self) -> Summary {
        self.server.stop(PATIENCE)
    }
}

/// Limits under which every fault shows in a moment.
fn limits() -> Limits {
    let head_timeout = Duration::from_millis(500);
    Limits { cpu_without_progress: Duration::from_millis(100), head_timeout, ..Limits::default() }
}

/// How a fault has to end.
type Verdict = fn(&Ended) -> bool;

/// Every fault that ends its client.
const FAULTS: &[(&str, Verdict)] = &[
    ("spin", |ended| matches!(ended, Ended::OverLimit { limit: Limit::Cpu(_), .. })),
    ("grow", |ended| matches!(ended, Ended::OverLimit { limit: Limit::Memory(_), .. })),
    ("recurse", |ended| matches!(ended, Ended::Trapped { .. })),
    ("trap", |ended| matches!(ended, Ended::Trapped { .. })),
    ("read-beyond", |ended| matches!(ended, Ended::Trapped { .. })),
    ("actions", |ended| matches!(ended, Ended::OverLimit { limit: Limit::Actions(_) | Limit::Memory(_), .. })),
    ("few-actions", |ended| *ended == Ended::Breach(Breach::TooManyActions(65))),
    ("send", |ended| *ended == Ended::Breach(Breach::LongSend((1 << 20) + 1))),
    ("sends", |ended| matches!(ended, Ended::OverLimit { limit: Limit::Actions(_), .. })),
    ("beyond", |ended| matches!(ended, Ended::Trapped { .. })),
    ("outside/small.ts", |ended| *ended == Ended::Breach(Breach::OutsideWindow)),
    ("overflow/small.ts", |ended| *ended == Ended::Breach(Breach::OutsideWindow)),
    ("unopened", |ended| *ended == Ended::Breach(Breach::NothingOpen)),
    ("empty", |ended| *ended == Ended::Breach(Breach::NoWait)),
    ("nowait", |ended| *ended == Ended::Breach(Breach::NoWait)),
    ("twowaits", |ended| *ended == Ended::Breach(Breach::ActionAfterWait)),
    ("busy", |ended| matches!(ended, Ended::OverLimit { limit: Limit::Progress(_), .. })),
    ("handles", |ended| matches!(ended, Ended::Trapped { message, .. } if message.contains("handle limit"))),
    ("deaf", |ended| *ended == Ended::TimedOut(Phase::Head)),
];

#[test]
fn each_fault_ends_its_client_and_says_how() {
    let arena = Arena::new(limits(), Settings::default());
    for (fault, verdict) in FAULTS {
        let life = arena.ask_for(fault);
        assert!(verdict(&life.ended), "{fault} ended as {:?}", life.ended);
        assert!(life.memory_peak <= 8 << 20, "{fault} had {} bytes", life.memory_peak);
    }
    let Summary { clients, cut_off, .. } = arena.stop();
    assert_eq!((clients, cut_off), (FAULTS.len() as u64, 0));
}

#[test]
fn a_million_actions_cost_no_more_memory_than_the_limit() {
    let limits = Limits { memory: 256 << 20, cpu_per_event: Duration::from_secs(5), ..limits() };
    let arena = Arena::new(limits, Settings::default());
    let ended = arena.ask_for("actions").ended;
    assert!(matches!(ended, Ended::OverLimit { limit: Limit::Actions(_), .. }), "{ended:?}");
}

#[test]
fn a_larger_limit_on_sends_can_be_reached() {
    let limits = Limits { send_bytes: 32 << 20, ..limits() };
    let arena = Arena::new(limits, Settings::default());
    // 64 sends of a MiB, more than the usual bound on a list, are all taken; that they were never its to give
    // is seen when the guest clears up behind them.
    let ended = arena.ask_for("sends").ended;
    assert!(matches!(ended, Ended::Trapped { .. }), "{ended:?}");
}

#[test]
fn a_trap_names_the_function_in_which_it_was() {
    let arena = Arena::new(limits(), Settings::default());
    match arena.ask_for("trap").ended {
        Ended::Trapped { backtrace, .. } => {
            assert!(backtrace.iter().any(|function| function.contains("faulty::")), "{backtrace:?}");
        }
        ended => panic!("{ended:?}"),
    }
}

#[test]
fn a_limit_names_its_bound_and_the_function_that_ran_into_it() {
    let arena = Arena::new(limits(), Settings::default());
    for (fault, bound) in
        [("spin", "over limit: cpu 50 ms for one event, in "), ("grow", "over limit: memory 8 MiB, in ")]
    {
        let said = arena.ask_for(fault).ended.to_string();
        let function = said.strip_prefix(bound).unwrap_or_else(|| panic!("{fault} ended as {said:?}"));
        assert!(function.starts_with("multiclient_session::faulty::"), "{fault} was in {function:?}");
    }
}

#[test]
fn a_guest_that_leaks_is_ended_at_its_limit_and_takes_nobody_with_it() {
    let arena = Arena::new(limits(), Settings::default());
    let mut connection = Connection::to(arena.address());
    let mut exchanges = 0;
    // 8 MiB, 256 KiB at a time.
    while connection.try_send("GET /!leak HTTP/1.1\r\nHost: a\r\n\r\n").is_ok() && !connection.ends_within(PATIENCE) {
        exchanges += 1;
        assert!(exchanges < 100, "there is no limit to what a guest can leak");
    }
    let life = arena.ends.of(connection.local_address());
    assert!(matches!(life.ended, Ended::OverLimit { limit: Limit::Memory(_), .. }), "{:?}", life.ended);
    Connection::to(arena.address()).get("/small.ts").is(200, &noise(1, 1_000));
}

#[test]
fn faults_in_the_constructor_are_ended_the_same_way() {
    for (fault, verdict) in &FAULTS[..4] {
        let headers = vec![("X-Fault".to_owned(), (*fault).to_owned())];
        let arena = Arena::new(limits(), Settings { headers, ..Settings::default() });
        let mut connection = Connection::to(arena.address());
        connection.ask_for("GET", "/small.ts", &[]);
        assert_eq!(connection.until_cut(), b"");
        let life = arena.ends.of(connection.local_address());
        assert!(verdict(&life.ended), "{fault} ended as {:?}", life.ended);
        // What it took until then is told of too.
        assert!(life.memory_peak > 64 << 10, "{fault} had {} bytes", life.memory_peak);
        match *fault {
            "spin" => assert!(life.cpu >= limits().cpu_per_event, "{:?} of CPU time", life.cpu),
            "grow" => assert!(life.memory_peak > 6 << 20, "{} bytes", life.memory_peak),
            _ => assert!(life.cpu > Duration::ZERO),
        }
    }
}

#[test]
fn no_name_leads_out_of_what_is_published() {
    let arena = Arena::new(limits(), Settings::default());
    let answer = |target: &str| {
        let mut connection = Connection::to(arena.address());
        connection.ask_for("GET", target, &[]);
        String::from_utf8_lossy(&connection.until_cut()).into_owned()
    };
    for name in ["../../etc/passwd", "/etc/passwd", "x/../../etc/passwd", "..", ".", "small.ts/", "%2e%2e/x", "//"] {
        for way in ["escape", "list"] {
            let answer = answer(&format!("/!{way}/{name}"));
            assert!(answer.ends_with("\r\n\r\nrefused"), "{way} {name}: {answer}");
        }
    }
    assert!(answer("/!escape/small.ts").contains("\r\n\r\nopened: "));
    assert!(answer("/!list/").ends_with("\r\n\r\nopened: a folder"));
}

#[test]
fn a_fresh_memory_holds_nothing_of_the_clients_before() {
    // One slot, so that everybody gets the memory of the one before.
    let arena = Arena::new(Limits { clients: 1, reserve: 0, ..limits() }, Settings::default());
    for number in 0..200 {
        arena.server.wait(PATIENCE);
        let canary = format!("canary-{number:032x}");
        let mut connection = Connection::to(arena.address());
        let ending = if number % 3 == 0 { "trap" } else { "peek" };
        connection.ask_for("GET", &format!("/!{ending}"), &[&format!("X-Canary: {canary}")]);
        let seen = String::from_utf8_lossy(&connection.until_cut()).into_owned();
        if ending == "peek" {
            let life = arena.ends.of(connection.local_address());
            assert_eq!(life.ended, Ended::Finished, "after {number} others, with {:?} of CPU time", life.cpu);
            let (_, found) = seen.split_once("\r\n\r\n").expect("a reply has a head");
            assert_eq!(found, canary, "its own, and no other");
        }
    }
}

// ---- those beside it

/// Well-behaved clients, how long each of them waited for its replies, and when.
struct Victims {
    samples: Mutex<Vec<Duration>>,
    over: AtomicBool,
}

const VICTIMS: usize = 50;

impl Victims {
    /// One client that checks every byte, on one connection and on new ones.
    fn live(&self, address: SocketAddr, number: usize) {
        let (small, large) = (noise(1, 1_000), noise(2, 256 << 10));
        let mut connection = Connection::to(address);
        let mut round = number;
        while !self.over.load(Ordering::Relaxed) {
            round += 1;
            if round.is_multiple_of(4) {
                connection = Connection::to(address);
            }
            let (target, promised) =
                if round.is_multiple_of(8) { ("/large.ts", &large) } else { ("/small.ts", &small) };
            let asked = Instant::now();
            connection.ask_for("GET", target, &[]);
            let head = connection.head();
            let waited = asked.elapsed();
            assert_eq!(head.status, 200);
            assert!(connection.exactly(promised.len()) == *promised, "{target} has other bytes");
            self.samples.lock().unwrap_or_else(PoisonError::into_inner).push(waited);
            // The pace of a player, so that they are many and the machine is not busy with them alone.
            thread::sleep(Duration::from_millis(20 + (number as u64 % 10)));
        }
    }

    /// What 99 of 100 replies take at most, among at least so many from now on.
    fn p99_while(&self, mut act: impl FnMut()) -> Duration {
        const ENOUGH: usize = 400;
        self.take();
        eventually("the victims are served", || {
            act();
            self.samples.lock().unwrap_or_else(PoisonError::into_inner).len() >= ENOUGH
        });
        let mut samples = self.take();
        samples.sort_unstable();
        samples[samples.len() * 99 / 100]
    }

    fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.samples.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[test]
fn clients_beside_every_fault_get_their_bytes_in_time() {
    // What anybody may have to wait on a machine that does other things too; and where wasmtime was built
    // without much optimisation, for a list of actions that it reads byte by byte up to its bound.
    const FLOOR: Duration = Duration::from_millis(if cfg!(debug_assertions) { 60 } else { 20 });
    let arena = Arena::new(limits(), Settings::default());
    let victims = Victims { samples: Mutex::default(), over: AtomicBool::new(false) };
    thread::scope(|scope| {
        for number in 0..VICTIMS {
            let (victims, address) = (&victims, arena.address());
            let small = thread::Builder::new().stack_size(256 << 10);
            small.spawn_scoped(scope, move || victims.live(address, number)).expect("a thread can be started");
        }
        // Should something below fail, the victims must end before the scope does.
        let over = Over(&victims.over);
        let in_peace = || thread::sleep(Duration::from_millis(5));
        // They all connect at once, and spread out after that.
        victims.p99_while(in_peace);
        let undisturbed = victims.p99_while(in_peace);
        for (fault, verdict) in FAULTS {
            let strike = || {
                let life = arena.ask_for(fault);
                assert!(verdict(&life.ended), "{fault} ended as {:?}", life.ended);
            };
            // Of a machine that was busy for a moment, the next attempts know nothing.
            let bound = FLOOR.max(undisturbed * 3);
            let p99: Vec<_> = (0..3).map(|_| victims.p99_while(strike)).take_while(|p99| *p99 > bound).collect();
            assert!(p99.len() < 3, "beside {fault} the victims wait for {p99:?}, undisturbed for {undisturbed:?}");
        }
        drop(over);
    });
}

#[test]
fn a_crowd_of_guests_that_spin_shares_its_time_with_others() {
    const CROWD: usize = 128;
    // All of them together take more than six seconds of one core. Each may hold its loop for two ticks, and
    // until another thread runs it, which is what takes time on a busy machine.
    const PATIENT: Duration = Duration::from_secs(4);
    let arena = Arena::new(limits(), Settings::default());
    let mut crowd: Vec<_> = (0..CROWD).map(|_| Connection::to(arena.address())).collect();
    for spinning in &mut crowd {
        spinning.ask_for("GET", "/!spin", &[]);
    }
    let mut longest = Duration::ZERO;
    let ended = |connection: &Connection| arena.ends.has(connection.local_address());
    eventually("the crowd is ended", || {
        let asked = Instant::now();
        Connection::to(arena.address()).get("/small.ts").is(200, &noise(1, 1_000));
        longest = longest.max(asked.elapsed());
        crowd.iter().all(ended)
    });
    assert!(longest < PATIENT, "somebody waited for {longest:?}");
    for spinning in &crowd {
        let ended = arena.ends.of(spinning.local_address()).ended;
        assert!(matches!(ended, Ended::OverLimit { limit: Limit::Cpu(_), .. }), "{ended:?}");
    }
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
