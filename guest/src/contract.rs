//! The words of `wit/session.wit`, in plain Rust: what happens to a client and what is to be done about it.
//!
//! Rule: the same names, the same cases, the same meaning as there, and nothing else. The contract's own
//! page explains them; here are only the shapes, so that the core can be built, tested and fuzzed without
//! WebAssembly.

use alloc::string::String;
use alloc::vec::Vec;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
pub type Instant = u64;

/// The name of a source or folder: segments separated by `/`, none at either end. Empty: the root.
pub type Name = Vec<u8>;

/// Whether a name can name anything: no segment of it is empty, begins with a dot or contains NUL. For
/// hosts, which answer `NotFound` to any other. The root can.
#[must_use]
pub fn names_something(name: &[u8]) -> bool {
    let proper = |segment: &[u8]| !segment.is_empty() && segment[0] != b'.' && !segment.contains(&0);
    name.is_empty() || name.split(|byte| *byte == b'/').all(proper)
}

/// A line that the operator wants on every response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Visible ASCII without blanks or colons; never empty.
    pub name: String,
    /// Without control characters; may be empty.
    pub value: String,
}

/// How the guest answers where there is a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// As the RFCs have it.
    #[default]
    Standard,
    /// As FFmpeg's example server answers, wherever its answer is sane.
    Compat,
}

/// What the operator chose: the same for every client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How to answer where there is a choice.
    pub dialect: Dialect,
    /// The one source that a client asking for the root is sent to. None: the root is a folder.
    pub home: Option<Name>,
    /// Whether a folder without an index is answered with a list of what is in it.
    pub listing: bool,
    /// Lines that go on every response, in this order.
    pub headers: Vec<Field>,
    /// The origin that scripts of other sites may come from (`*`: any).
    pub cors: Option<String>,
    /// How many exchanges a client may have before it has to connect anew.
    pub max_exchanges: u32,
    /// Whether the host wants `Report` actions.
    pub reports: bool,
    /// Whether the server is full and this session is only there to say so.
    pub at_capacity: bool,
}

impl Default for Settings {
    /// A folder, without frills, for clients that may ask as often as they like.
    fn default() -> Self {
        Self {
            dialect: Dialect::Standard,
            home: None,
            listing: false,
            headers: Vec::new(),
            cors: None,
            max_exchanges: u32::MAX,
            reports: false,
            at_capacity: false,
        }
    }
}

/// The part of an open source that can be had now: `start` to `end`, `end` not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Offset of the first byte that can be had.
    pub start: u64,
    /// Offset past the last byte that can be had.
    pub end: u64,
    /// Whether `end` is the end of the source for good.
    pub is_final: bool,
}

/// A part of a source: `count` bytes from `offset` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub offset: u64,
    /// How many bytes.
    pub count: u64,
}

impl Span {
    /// Offset past the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + self.count
    }
}

/// What is known of a source when it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What of it can be had now.
    pub window: Window,
    /// When its content last changed.
    pub modified: Option<Instant>,
    /// Differs whenever the content does. Empty: nothing is known of versions.
    pub version: String,
    /// The media type that the operator set.
    pub media_type: Option<String>,
}

/// What a name turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A source, now the open one.
    Source(Facts),
    /// A folder.
    Folder,
}

/// Why a name was not opened or listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing of that name is published.
    NotFound,
    /// It is there, and the server may not read it.
    Forbidden,
    /// Not now; later it may be.
    Unavailable,
    /// It could not be read.
    Failed,
}

/// One thing in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name within the folder.
    pub name: Name,
    /// Whether it is itself a folder.
    pub folder: bool,
    /// In bytes; 0 for a folder.
    pub size: u64,
    /// When it last changed.
    pub modified: Option<Instant>,
}

/// What is in a folder, in no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// At most 4,096 entries.
    pub entries: Vec<Entry>,
    /// Whether these are all.
    pub complete: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes from the client. The session takes them over instead of copying them.
    Received(Vec<u8>),
    /// The client will send no more.
    Finished,
    /// What `Open` led to.
    Opened(Result<Found, Refusal>),
    /// What `List` led to.
    Listed(Result<Listing, Refusal>),
    /// What `Wait` led to.
    Available(Window),
    /// The server wants to stop.
    Stopping,
}

/// What the session says that it did for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The request line. Empty: it made no sense.
    pub request: String,
    /// The status code.
    pub status: u16,
    /// `Referer`. Empty: not said.
    pub referrer: String,
    /// `User-Agent`. Empty: not said.
    pub agent: String,
}

/// What is still coming from a client whose session closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remainder {
    /// Nothing that the session knows of.
    Nothing,
    /// Perhaps bytes that nobody will read.
    Unread,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Waits for more from the client.
    Receive,
    /// Opens a source by its name.
    Open(Name),
    /// Reads what is in a folder.
    List(Name),
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends a span of the open source.
    Pass(Span),
    /// Waits until the open source has bytes past this offset.
    Wait(u64),
    /// Tells that an exchange is over.
    Report(Exchange),
    /// Ends the client.
    Close(Remainder),
}
