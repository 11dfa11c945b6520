//! Every bound that the host puts on a client, with its unit, its default and its reason.
//!
//! What they cost a client is in ARCHITECTURE.md: less than a microsecond, for all of them together.
//!
//! Long, because each bound has its reason beside it.
//!
//! Rule: a wait, a queue or a count anywhere in the host that can be moved from outside has its bound here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machine;

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

    /// Bytes of the memory of all clients together: of their guests, and what the host holds for each beyond
    /// a little. Whoever would exceed it is told that the server is full, or is disconnected if that is too
    /// late; nobody else notices. The default is half of what the machine has, or its control group if that is
    /// less: the rest is for the program itself, for what the kernel holds of each connection, and for the
    /// files that are served. At least 2 MiB.
    pub total_memory: Option<u64>,

    /// CPU time for one event. A header section is parsed in about 10 µs, so this is thousands of times
    /// what is needed, and still short enough that a guest in an endless loop is soon gone.
    #[serde(rename = "cpu-us", with = "micros")]
    pub cpu: Duration,

    /// CPU time in a row without a byte moved to or from the client: the guest's, and what the host does for
    /// it. Stops a guest that keeps the host busy with `open` or `wait` for ever.
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
    /// has up to 52.
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
            total_memory: machine::memory().map(|bytes| bytes / 2),
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
    /// Fails with the limit that nobody could be served within, and the least that it has to be.
    pub(crate) fn check(&self) -> Result<(), (&'static str, u64)> {
        let total_memory = self.total_memory.unwrap_or(u64::MAX);
        let least = [
            ("max-clients", u64::from(self.max_clients), 1),
            ("per-address", self.per_address.map_or(u64::MAX, u64::from), 1),
            // One page.
            ("memory", self.memory, 64 << 10),
            ("total-memory", total_memory, LEAST_TOTAL_MEMORY),
            // What the contract promises to guests.
            ("max-actions", u64::from(self.max_actions), 64),
            ("max-exchanges", u64::from(self.max_exchanges), 1),
            // A header section and the error page after it.
            ("max-send", self.max_send, 64 << 10),
            // The kernel takes 0 for no bound at all.
            ("unsent", self.unsent, 1),
        ];
        least.iter().try_for_each(|&(name, value, least)| if value < least { Err((name, least)) } else { Ok(()) })
    }

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

/// The unit of the memory of all clients. Less is not counted, so that the ordinary exchange, which holds a
/// few KiB for a moment, does not touch a number that all loops share.
pub(crate) const CHARGE_STEP: u64 = 64 << 10;

/// What an instance is charged beyond its own memory: its store, its tables and its connection take about
/// half of it.
pub(crate) const INSTANCE_BYTES: u64 = CHARGE_STEP;

/// The largest charge that may still be made when little is left of the memory of all clients: an instance
/// of the built-in guest takes 192 KiB, and should be able to answer an ordinary request, or to say that
/// the server is full.
pub(crate) const SMALL_CHARGE: u64 = 4 * CHARGE_STEP;

/// The least that all clients may be given: the last eighth of it is one instance, which says that there is no
/// more.
pub(crate) const LEAST_TOTAL_MEMORY: u64 = 2 << 20;

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

/// Bytes of a page of memory, of which a file in memory is made: that of most machines.
pub(crate) const PAGE_BYTES: u64 = 4 << 10;

/// Bytes of each text in a report. A request line has at most 16 KiB; nobody reads so much of it.
pub(crate) const REPORT_BYTES: usize = 2 << 10;

/// Bytes of reports that a client's guest may send to the log before its client has sent as many: a buffer full of
/// requests, as many as fit one event, is answered and reported at once.
pub(crate) const REPORT_CREDIT: u64 = RECEIVED_BYTES as u64;

/// What a report costs of that at least. The shortest request of HTTP/1 has 18 bytes.
pub(crate) const REPORT_COST: u64 = 16;

/// Bytes of reports per second that go to the log for one client, which may help its guest: five times what
/// one does that asks for the next file as soon as it has the last.
pub(crate) const REPORTED_BYTES: u64 = 16 << 20;

/// How long the host goes on discarding what a client sends after its session has closed, so that the response
/// is not destroyed by a reset. Many clients send all of a large request before they read. The time and the
/// pause are those of nginx; such a client has no instance, and gives way like a silent one.
pub(crate) const LINGER: Duration = Duration::from_secs(30);

/// How long such a client may send nothing.
pub(crate) const LINGER_PAUSE: Duration = Duration::from_secs(5);

/// Bytes per second that are discarded of one such client: a gigabyte within its time, which is the largest
/// upload that somebody waits for, at one hundredth of a core.
pub(crate) const LINGER_RATE: u64 = 32 << 20;

/// What the host takes for each list of actions without bytes to move, beside what the actions take themselves.
pub(crate) const TURN_TIME: Duration = Duration::from_micros(3);

/// The most that opening a source counts for as CPU time. Mostly it takes a few microseconds, and is counted as it
/// is; but a disk may be slow, and waiting for it is not computing.
pub(crate) const OPEN_TIME: Duration = Duration::from_millis(1);

/// The most that listing a portion of a folder counts for, which is read on a thread of its own.
pub(crate) const LIST_TIME: Duration = Duration::from_millis(50);

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

/// How long no guest may compute for long on a loop that there was no other thread for. Each attempt keeps the
/// loop from its clients for as long as it waits.
pub(crate) const HAND_OVER_REST: Duration = Duration::from_secs(1);

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

/// How long a newcomer waits for the place of a client that was asked to give way. It leaves at its next turn,
/// unless bytes of it have come by then; a turn is two milliseconds at most.
pub(crate) const GIVE_WAY: Duration = Duration::from_millis(20);

/// How many silent clients are asked to give way to one newcomer. Whoever stays is in the middle of
/// something by then; that several in a row are is a server that is busy with all of them.
pub(crate) const GIVE_WAY_ATTEMPTS: usize = 3;

/// How long a client waits for those that were asked to give back their memory, before it is told that there is none.
/// On a busy machine, each of them takes some milliseconds to notice.
pub(crate) const MEMORY_PATIENCE: Duration = Duration::from_millis(200);

/// Clients that have to have gone for the memory that they had to be worth a look: the allocator keeps some MiB of so
/// many.
pub(crate) const CROWD: u32 = 64;

/// How long after most of a crowd has gone the memory that it had is given back, and so also how often at most. It
/// takes some milliseconds of CPU time.
pub(crate) const CROWD_REST: Duration = Duration::from_secs(1);

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

/// Capsules in a folder, those of earlier runs among them. Whoever looks at a thousand of them wants a program
/// to, and a client that fails again and again should not fill the disk: all of them together stay below a
/// gigabyte, and mostly below ten megabytes.
pub(crate) const CAPSULES: usize = 1_000;

/// Capsules that wait to be written. When the disk is slower than that, some are left out.
pub(crate) const CAPSULES_WAITING: usize = 64;

/// Bytes that are kept of what a foreign guest writes to stdout and stderr in one client's life: enough for
/// a message or two about what is wrong with it. It may write more, which is left out and counted.
pub(crate) const GUEST_OUTPUT_BYTES: usize = 4 << 10;

/// Handles (streams, descriptors) that a foreign guest may hold at once. Its standard library holds three.
pub(crate) const GUEST_HANDLES: usize = 64;

/// Handles (resources of its own, and of WASI) that one instance may hold at once: memory of the host, some 20
/// bytes each. The built-in guest holds one, that of its session.
pub(crate) const COMPONENT_HANDLES: usize = 1_024;

/// Bytes of the longest name of a function that is taken from a guest. Those of generic Rust functions have some
/// hundreds, seldom thousands. With longer ones in a module, its functions are told by number.
pub(crate) const FUNCTION_NAME_BYTES: usize = 16 << 10;

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
/// A viewer is then woken ten times a second and not for each write of an encoder: waking one costs as much as
/// sending it 64 KiB. What comes after a longer silence is told at once.
pub(crate) const LIVE_REST: Duration = Duration::from_millis(100);

/// Bytes of a live source that viewers are told of at once, without a rest: sending so much costs several times
/// what waking a viewer does.
pub(crate) const LIVE_UNSEEN: u64 = 256 << 10;

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

/// How long the name of an open file is not looked up again: a busy file costs a hundred looks a second
/// instead of one for each request, which is a tenth of what a request on an open connection costs. A client
/// may get what was there this long ago.
pub(crate) const OPEN_FILE_CHECK: Duration = Duration::from_millis(10);

/// Bytes in one TLS record: what the protocol allows (RFC 8446, section 5.1), as all servers use for large responses.
pub(crate) const TLS_RECORD_BYTES: usize = 16 << 10;

/// Bytes of such a record on the wire at most: its header, and what encryption may add in TLS 1.2. A message of the
/// handshake that needs more is refused; the largest that clients send has 2 KiB.
pub(crate) const TLS_WIRE_BYTES: usize = 5 + TLS_RECORD_BYTES + 2_048;

/// Records that are made and handed to the kernel at once. What it does not take stays with the client until it does:
/// at most so many of them, for each client that reads more slowly than it is sent to.
pub(crate) const TLS_RECORDS: usize = 4;

/// What encryption adds to a record at most, with a little for messages that go before it.
pub(crate) const TLS_OVERHEAD: usize = 256;

/// TLS handshakes that are under way on one loop at once. Each holds some KiB. For one more, the one that has taken
/// longest is given up: an honest one takes two round trips, so this is enough for a thousand in a second.
pub(crate) const HANDSHAKES: usize = 256;

/// How long a client that has said nothing yet when a drain begins may take to ask for something. Its connection is
/// there, so it would take a close for a failure.
pub(crate) const FIRST_WORDS: Duration = Duration::from_secs(1);

/// Certificates of a server. Each new connection looks through them for the name that it asks for.
#[cfg(feature = "tls")]
pub(crate) const CERTIFICATES: usize = 64;

/// Bytes of a file with certificates or with a key. A chain has some KiB.
#[cfg(feature = "tls")]
pub(crate) const PEM_BYTES: u64 = 1 << 20;

/// How long clients that are cut off may take to notice. Only a guest that is computing takes any time.
pub(crate) const CUT: Duration = Duration::from_secs(2);

/// How long before the end of a drain streams end that still go on, but not more than a quarter of it: viewers
/// take what has come, and the end, in a fraction of that.
pub(crate) const STREAM_END: Duration = Duration::from_secs(1);

/// How long a client whose response breaks off may take to get what was sent of it, before the connection is
/// reset. Most have it within a round trip.
pub(crate) const BREAK_OFF: Duration = Duration::from_millis(500);

/// Events that a session gets once its client has left, to report what was under way. The built-in guest needs one
/// for each 32 KiB that it has yet to write of a portion, some 30 with the longest names.
pub(crate) const LAST_EVENTS: usize = 64;

/// How often that is looked at: the kernel tells nobody.
pub(crate) const BREAK_OFF_LOOK: Duration = Duration::from_millis(10);

/// Bytes that an index of a live source is passed at once: part of its contract.
pub(crate) const INDEX_PIECE: usize = 64 << 10;

/// The longest header of a live stream, in bytes. Track headers and codec data take some KiB; the index leaves
/// out cover art. It is in memory once for all viewers.
pub(crate) const INDEX_HEADER: u32 = 1 << 20;

/// Marks that an index returns at once: part of its contract.
pub(crate) const INDEX_MARKS: usize = 16_384;

/// Bytes between a header and a join: part of the index's contract.
pub(crate) const INDEX_PREFACE: usize = 2_048;

/// Bytes of headers and prefaces beyond as many as the source has had: part of the index's contract.
pub(crate) const INDEX_CREDIT: u64 = 64 << 10;

/// Bytes of a format's name and of a media type: part of the index's contract.
pub(crate) const INDEX_FORMAT_BYTES: usize = 32;
/// See [`INDEX_FORMAT_BYTES`].
pub(crate) const INDEX_TYPE_BYTES: usize = 256;

/// Memory of an index's instance, in bytes: five times the header and 1 MiB, as its contract has it.
pub(crate) const INDEX_MEMORY: u64 = 5 * INDEX_HEADER as u64 + (1 << 20);

/// CPU time of an index for one piece. A piece takes well under a millisecond; a stream of 100 Mbit/s has two
/// hundred of them in a second.
pub(crate) const INDEX_CPU: Duration = Duration::from_millis(100);

/// Places to join that are kept of a live source. More than one in 4 KiB of the default buffer are thinned out.
pub(crate) const LIVE_JOINS: usize = 4_096;

/// What is said of a live source in a minute: what it is, where it starts over, why it cannot be joined. A station
/// that chains its songs says that once for each.
pub(crate) const LIVE_NOTICES: u32 = 8;

/// How long a viewer waits for the next join before it begins at the live edge without a header. Longer than
/// nearly every distance of key frames.
pub(crate) const LIVE_JOIN_PATIENCE: Duration = Duration::from_secs(12);

/// Ends of streams within a live source that are remembered: each is a producer that was replaced.
pub(crate) const LIVE_ENDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_nobody_could_be_served_within_are_refused_by_name() {
        let good = Limits::default;
        assert_eq!(good().check(), Ok(()));
        for (limits, wrong) in [
            (Limits { max_clients: 0, ..good() }, ("max-clients", 1)),
            (Limits { per_address: Some(0), ..good() }, ("per-address", 1)),
            (Limits { memory: 0, ..good() }, ("memory", 65_536)),
            (Limits { total_memory: Some(1 << 20), ..good() }, ("total-memory", 2 << 20)),
            (Limits { max_actions: 63, ..good() }, ("max-actions", 64)),
            (Limits { max_exchanges: 0, ..good() }, ("max-exchanges", 1)),
            (Limits { max_send: 0, ..good() }, ("max-send", 65_536)),
            (Limits { unsent: 0, ..good() }, ("unsent", 1)),
        ] {
            assert_eq!(limits.check(), Err(wrong));
        }
        let unlimited = Limits { per_address: None, faults: None, rate: None, total_memory: None, ..good() };
        assert_eq!(unlimited.check(), Ok(()));
    }
}
