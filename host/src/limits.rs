//! Every bound that the host puts on a client, with its unit, its default and its reason.
//!
//! What they cost a client is in ARCHITECTURE.md: less than a microsecond, for all of them together.
//!
//! Rule: a wait, a queue or a count anywhere in the host that can be moved from outside has its bound here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one client, and all of them together, may take. `Limits::default()` is what the program uses.
///
/// Each field is a flag of the program of the same name, and the word in the log when it is reached.
/// `None` means unlimited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Clients at once. A thousand viewers fill a gigabit link at a megabit each; operators with faster
    /// links usually have more memory and can raise it.
    pub max_clients: u32,

    /// Clients at once from one address (IPv6: from one /64, which is what one customer gets). A browser
    /// opens six connections, a download manager sixteen, a household behind one address some of each.
    /// `127.0.0.1` and `::1` are not counted: that is this machine, and often a proxy with everybody's
    /// clients.
    pub per_address: Option<u32>,

    /// Clients beyond `max_clients` that still get an instance, only to be told that the server is full.
    /// Each has a second to ask; further clients are rejected at once.
    pub reserve: u32,

    /// Blocks an address for 10 s once this many of its connections have failed their guest, each within
    /// 10 s of the last. An attacker who can crash guests crashes a few and then waits; a player that
    /// stumbles over a bug tries again and is served. This machine's own addresses are never blocked.
    pub faults: Option<u32>,

    /// Bytes of all memories and tables of one guest instance. The built-in guest starts with 2 pages of
    /// 64 KiB.
    pub memory: u64,

    /// CPU time for one event. A header section is parsed in about 10 µs, so this is thousands of times
    /// what is needed, and still short enough that a guest in an endless loop is soon gone.
    #[serde(rename = "cpu-us", with = "micros")]
    pub cpu: Duration,

    /// CPU time in a row without a byte moved to or from the client. Stops a guest that keeps the host
    /// busy with `open` or `wait` for ever.
    #[serde(rename = "idle-cpu-us", with = "micros")]
    pub idle_cpu: Duration,

    /// How long a client may take from its connection, or from the first byte of a later request, until
    /// the guest has received enough to act. Long enough for a phone on a train, short enough that a
    /// thousand such clients cost nothing but sockets.
    #[serde(rename = "header-timeout-us", with = "micros")]
    pub header_timeout: Duration,

    /// How long a client may be silent between two requests. A player that has filled its buffer comes
    /// back within a minute.
    #[serde(rename = "idle-timeout-us", with = "micros")]
    pub idle_timeout: Duration,

    /// How long a client may accept none of the data that is being sent to it. A viewer who has paused
    /// longer than this connects anew, which every player does by itself.
    #[serde(rename = "stall-timeout-us", with = "micros")]
    pub stall_timeout: Duration,

    /// How long a source that is live or growing may produce nothing before clients that wait for it are
    /// disconnected. A writer that is restarted is back within it.
    #[serde(rename = "source-timeout-us", with = "micros")]
    pub source_timeout: Duration,

    /// Exchanges on one connection. A player that asks for a two-hour film in small ranges stays below;
    /// a client that never leaves connects anew now and then.
    pub max_exchanges: u32,

    /// Actions in one list. A guest may use the 64 that the contract allows; a response with many ranges
    /// has about 35.
    pub max_actions: u32,

    /// Bytes in one `send`.
    pub max_send: u64,

    /// Bytes sent to a client that the kernel may hold before they are on the wire. Small, because it is
    /// what a client that has stopped reading costs in the kernel; large enough to keep a fast network
    /// busy while the server turns to other clients.
    pub unsent: u64,

    /// Bytes per second for one client; 0 counts as 1. A film needs one or two million.
    pub rate: Option<u64>,

    /// How long clients get to finish when the server stops.
    #[serde(rename = "drain-us", with = "micros")]
    pub drain: Duration,
}

mod micros {
    //! Durations in a capsule: microseconds.

    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_clients: 1_000,
            per_address: Some(128),
            reserve: 16,
            faults: Some(8),
            memory: 8 << 20,
            cpu: Duration::from_millis(50),
            idle_cpu: Duration::from_secs(1),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(30),
            source_timeout: Duration::from_secs(60),
            max_exchanges: 10_000,
            max_actions: 64,
            max_send: 1 << 20,
            unsent: 256 << 10,
            rate: None,
            drain: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// Bytes that the host allocates for one list of actions before it has looked at it: two full sends,
    /// what the actions themselves take, and half a MiB for the rest. Follows the limits that the operator
    /// sets, or those could not be reached.
    pub(crate) fn action_bytes(&self) -> u64 {
        const ACTION_BYTES: u64 = 256;
        const REST: u64 = 512 << 10;
        let actions = u64::from(self.max_actions).saturating_mul(ACTION_BYTES);
        self.max_send.saturating_mul(2).saturating_add(actions).saturating_add(REST)
    }
}

/// How long a client that is only to be told that the server is full may take to ask for something. One
/// that means to ask has asked by then, and the next one wants its place.
pub(crate) const RESERVE_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes in one `received` event: part of the contract, and more than nearly every head.
pub(crate) const RECEIVED_BYTES: usize = 16 << 10;

/// Entries in one portion of a listing: part of the contract. With names of usual length it takes less than
/// 100 KiB in the host and in the guest.
pub(crate) const LISTING_ENTRIES: usize = 1_024;

/// Names of a folder that are held at once while the first of them in order are looked for: enough that a folder
/// with a hundred thousand names is read ten times to be listed, and not a hundred times. Some half a MiB.
pub(crate) const LISTING_NAMES: usize = 8 * LISTING_ENTRIES;

/// Folders of which such names are kept for the next portion.
pub(crate) const LISTING_AHEAD: usize = 8;

/// How long nobody may use them before they are forgotten; it may take twice as long. A client that takes longer
/// to read a portion has the folder read again.
pub(crate) const LISTING_AHEAD_KEPT: Duration = Duration::from_secs(1);

/// Entries that are looked at for one portion of a listing. A folder of so many takes about a second to read.
pub(crate) const LISTING_LOOKED: usize = 4 << 20;

/// Entries after which a listing looks whether it is still wanted, and at the clock: a few hundred microseconds.
pub(crate) const LISTING_PAUSE: usize = 256;

/// How long one portion of a listing may take. A disk on which each look takes so long that little comes
/// together is told of after an eighth of it, with what there is.
pub(crate) const LISTING_TIME: Duration = Duration::from_secs(30);

/// How often a name is looked up again when the kernel says that a folder was renamed meanwhile. At full load
/// of renames, one look-up in fifteen is told so; eight times in a row is one in two billion.
pub(crate) const LOOKUP_ATTEMPTS: usize = 8;

/// Bytes of a file that the kernel makes up while it is read, and that does not say how many it has (beneath
/// `/proc` and `/sys`). It is held in memory for each client that asks for it; most have less than a page.
pub(crate) const KERNEL_FILE_BYTES: usize = 256 << 10;

/// Links and segments that are looked at to find out where a name with absolute links leads. The kernel follows
/// 40 links; each of the others is a folder that somebody has made.
pub(crate) const LINK_STEPS: usize = 256;

/// How long the published folder is taken for the one that its path leads to. A re-pointed link is to be seen
/// within a second; looking four times in a second costs nothing that could be measured.
pub(crate) const ROOT_KEPT_MS: u64 = 250;

/// Bytes passed before others get their turn: two milliseconds of copying on a slow machine, which only a
/// client that reads as fast as they come can take at once. With a quarter of it, eight downloads at once
/// cost a third more.
pub(crate) const PASS_BYTES: u64 = 2 << 20;

/// A pass of at most this many bytes is copied behind the head that goes before it and leaves with it:
/// reading so little is cheaper than handing the kernel a file.
pub(crate) const SMALL_PASS_BYTES: usize = 8 << 10;

/// Bytes of each text in a report. A request line has at most 16 KiB; nobody reads so much of it.
pub(crate) const REPORT_BYTES: usize = 2 << 10;

/// How long, and for how many bytes, the host listens on after a session that closed before the client
/// was done sending, so that the reply is not destroyed by a reset. Two round trips on a bad line.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// See [`LINGER`].
pub(crate) const LINGER_BYTES: usize = 1 << 20;

/// The clock by which guests are interrupted. A guest that computes for longer than one to two of these
/// gives its thread to the other clients and goes on beside them.
pub(crate) const TICK: Duration = Duration::from_millis(2);

/// Ticks without a call before that clock stops, a tenth of a second. Starting it again costs a system call,
/// which a steady trickle of clients should not pay each time; ticking on costs the downloads that go on.
pub(crate) const QUIET_TICKS: u32 = 50;

/// Guests of one loop that may compute for long at once, taking turns on one core. Each is a thread that
/// mostly waits. Who wants to be one more is ended: it would have to keep its loop from all others.
pub(crate) const SLOW_LANE: usize = 256;

/// How long a guest that hands its loop to another thread waits to see that it runs there.
pub(crate) const HAND_OVER: Duration = Duration::from_millis(100);

/// Folders that are read at once, each on a thread. A disk that is slow for one is not faster for more.
pub(crate) const LISTINGS: usize = 8;

/// Files that are opened or read at once by those that wait for a disk, each on a thread. One that hangs (a
/// file server that is gone) holds its thread; the others go on beside it.
pub(crate) const DISK_WAITS: usize = 64;

/// Devices of which is remembered what they are.
pub(crate) const MEDIA: usize = 64;

/// How long that is remembered. The number of a device that is unmounted may be given to another one.
pub(crate) const MEDIUM_KEPT: Duration = Duration::from_secs(10);

/// How far apart the bytes are that are looked at to see whether a file is in memory: what the kernel reads ahead
/// at once by default. Each look costs a third of a microsecond, passing so much thirty times that.
pub(crate) const PROBE_BYTES: u64 = 128 << 10;

/// Chunks of so many bytes of each open file of which is remembered that they were seen to be in memory; those of
/// larger files share their places. 8 KiB of memory.
pub(crate) const CHUNKS: u64 = 1_024;

/// How long what was seen to be in memory is taken to be there. Short of memory, the kernel forgets first what
/// was not used for longer.
pub(crate) const SEEN_KEPT_MS: u64 = 500;

/// Bytes that a thread which waits for a disk passes at once. What it reads ahead is passed by the loop.
pub(crate) const DISK_PASS_BYTES: usize = 1 << 20;

/// How long a thread that waits for disks is kept without anything to do.
pub(crate) const POOL_IDLE: Duration = Duration::from_secs(10);

/// Bytes of the stack of such a thread: it looks names up and copies nothing.
pub(crate) const POOL_STACK: usize = 256 << 10;

/// New clients taken from one listener before others get their turn.
pub(crate) const ACCEPTS_IN_A_ROW: usize = 64;

/// Clients taken from one listener when the server is asked to stop: those that were waiting by then, and
/// not the ones that go on coming.
pub(crate) const ACCEPTS_AT_STOP: usize = BACKLOG as usize;

/// Clients whose connection is made and not yet accepted, for each listener. A dropped SYN is sent again
/// after a second, so a short queue is seen as a slow server.
pub(crate) const BACKLOG: i32 = 4_096;

/// How long accepting rests when the process or the system is short of descriptors or memory. Each
/// client that ends in the meantime gives one back.
pub(crate) const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Bytes of log lines that wait to be written. When whoever reads them is slower than that, lines are
/// left out and counted; clients never wait for the log.
pub(crate) const JOURNAL_BYTES: usize = 1 << 20;

/// How long the program waits, when it stops, for whoever reads its log to take the last lines.
pub(crate) const JOURNAL_PATIENCE: Duration = Duration::from_secs(1);

/// How long the log rests after each writing, so that a busy server wakes its writer a hundred times a
/// second and not for each line.
pub(crate) const JOURNAL_REST: Duration = Duration::from_millis(10);

/// Bytes of events and actions in one capsule, and so also what the host holds of each client while it
/// records: a hundred ordinary exchanges, or a head of the largest size and everything that is said to it.
/// What comes behind is not recorded, and the capsule says so.
pub(crate) const CAPSULE_BYTES: usize = 128 << 10;

/// Bytes of the largest file that is read as a capsule. In a text a byte may take six, and what is around
/// it takes as much as it does in memory.
pub(crate) const CAPSULE_FILE_BYTES: u64 = 2 << 20;

/// Capsules in a folder, those of earlier runs among them. Whoever looks at a thousand of them wants a program to, and a client that fails
/// again and again should not fill the disk: all of them together stay below a gigabyte, and mostly
/// below ten megabytes.
pub(crate) const CAPSULES: usize = 1_000;

/// Capsules that wait to be written. When the disk is slower than that, some are left out.
pub(crate) const CAPSULES_WAITING: usize = 64;

/// Bytes that are kept of what a foreign guest writes to stdout and stderr in one client's life: enough for
/// a message or two about what is wrong with it. It may write more, which is left out and counted.
pub(crate) const GUEST_OUTPUT_BYTES: usize = 4 << 10;

/// Handles (streams, descriptors) that a foreign guest may hold at once. Its standard library holds three.
pub(crate) const GUEST_HANDLES: usize = 64;

/// Random bytes that a foreign guest may ask for at once. A key has 64.
pub(crate) const GUEST_RANDOM_BYTES: u64 = 4 << 10;

/// What a client with a limited rate may get at once after a pause, as time at that rate. Short, so that
/// the rate is seen as steady; long enough to sleep and wake ten times a second and not a thousand.
pub(crate) const BURST: Duration = Duration::from_millis(100);

/// How long an address has to stay away whose clients have ended by their guests' fault too often, and how
/// long faults are remembered. Crashing guests for a living is then no faster than one in a second.
pub(crate) const PENALTY: Duration = Duration::from_secs(10);

/// Addresses whose faults are remembered at once. Beyond, new ones are not remembered until old ones are past.
pub(crate) const SUSPECTS: usize = 4_096;

/// How long the program waits, when it stops, for the last capsules to be written. A disk that takes
/// longer is not waited for.
pub(crate) const CAPSULE_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes read at once from a pipe, and the size that is asked of the kernel for it: what an unprivileged
/// process may have. The writer can go on while what it wrote is told of.
pub(crate) const LIVE_READ_BYTES: usize = 1 << 20;

/// How long a live source rests between telling its viewers of something new, unless there is much of it.
/// Five hundred viewers are then woken forty times a second and not for each write of an encoder.
pub(crate) const LIVE_REST: Duration = Duration::from_millis(25);

/// Bytes of a live source that viewers are told of at once, without a rest.
pub(crate) const LIVE_UNSEEN: u64 = 1 << 20;

/// The most that viewers are told of at once: what was just too little to be told, and one more read.
pub(crate) const LIVE_STEP: u64 = LIVE_UNSEEN + LIVE_READ_BYTES as u64;

/// What of a live source is given up at once: the largest page that the kernel could have used for it. So
/// much more than its buffer a live source may take.
pub(crate) const LIVE_BLOCK: u64 = 2 << 20;

/// Lives of a FIFO that are over and still watched to their end by somebody slow. Each is a buffer.
pub(crate) const LIVE_LIVES: usize = 4;

/// How long a FIFO rests at least between two writers: each is a life of its own, with memory and a line in the
/// log. What the next one writes waits in the pipe meanwhile.
pub(crate) const FIFO_REST: Duration = Duration::from_millis(100);

/// How often a FIFO without a writer is looked for at its path: another one may have taken its place, and the
/// next writer will go there.
pub(crate) const FIFO_LOOK: Duration = Duration::from_secs(1);

/// How long looking for what has been written to growing files rests, at least.
pub(crate) const FOLLOW_REST: Duration = Duration::from_millis(25);

/// How long it rests at most, where the kernel does not tell of changes.
pub(crate) const FOLLOW_LOOK: Duration = Duration::from_millis(500);

/// Files that are kept open for whoever asks for them next: more than are asked for at once by most.
/// Others are opened for each client.
pub(crate) const OPEN_FILES: usize = 256;

/// How long nobody may ask for such a file before it is closed; it may take twice as long. Short, because
/// a file that was deleted takes its space until then.
pub(crate) const OPEN_FILES_KEPT: Duration = Duration::from_millis(100);

/// How long clients that are cut off may take to notice. Only a guest that is computing takes any time.
pub(crate) const CUT: Duration = Duration::from_secs(2);
