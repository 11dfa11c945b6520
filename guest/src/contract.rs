//! The types of `wit/session.wit` in plain Rust: what happens to a client and what is to be done about it.
//!
//! Rule: the same names, cases and meanings as there, and nothing else. That file explains them; these are
//! only the shapes, so that the core can be built, tested and fuzzed without WebAssembly.

use alloc::string::String;
use alloc::vec::Vec;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
pub type Instant = u64;

/// The name of a source or folder: segments separated by `/`, none at either end. Empty: the root.
pub type Name = Vec<u8>;

/// Whether a name can name anything: no segment is empty, begins with a dot or contains NUL. True for the
/// root. Hosts answer `NotFound` to any other name.
#[must_use]
pub fn names_something(name: &[u8]) -> bool {
    let proper = |segment: &[u8]| !segment.is_empty() && segment[0] != b'.' && !segment.contains(&0);
    name.is_empty() || name.split(|byte| *byte == b'/').all(proper)
}

/// A header field that the operator adds to every response.
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

/// What the operator chose, the same for every client, and how this client came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How to answer where there is a choice.
    pub dialect: Dialect,
    /// Where there is only one source, its name: a client that asks for the root is sent to it. None: the
    /// root is a folder.
    pub home: Option<Name>,
    /// Whether a folder without an index is answered with a listing.
    pub listing: bool,
    /// Whether pages for people may be made: a player beside a source, a listing with one.
    pub pages: bool,
    /// Header fields for every response, in this order.
    pub headers: Vec<Field>,
    /// The origin whose scripts may read responses (`*`: any).
    pub cors: Option<String>,
    /// Exchanges after which a client has to connect anew.
    pub max_exchanges: u32,
    /// Whether the host wants `Report` actions.
    pub reports: bool,
    /// Whether the client reached the server over TLS.
    pub secure: bool,
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
            pages: false,
            headers: Vec::new(),
            cors: None,
            max_exchanges: u32::MAX,
            reports: false,
            secure: false,
            at_capacity: false,
        }
    }
}

/// The part of an open source that can be read now: from `start` up to, but not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Offset of the first byte that can be read.
    pub start: u64,
    /// Offset past the last byte that can be read.
    pub end: u64,
    /// Whether `end` is the end of the source for good.
    pub is_final: bool,
}

/// A part of a source: `count` bytes from `offset` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub offset: u64,
    /// Number of bytes.
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
    /// What can be read of it now.
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
    /// It exists, and the server may not read it.
    Forbidden,
    /// Not now; later it may work.
    Unavailable,
    /// It could not be read.
    Failed,
}

/// Which part of a folder's content to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portion {
    /// The folder.
    pub folder: Name,
    /// Only entries whose name is greater than this one, compared byte by byte. Empty: from the beginning.
    pub after: Name,
    /// The number of entries wanted. The host may return fewer, never more. 0: as many as it returns at once.
    pub limit: u32,
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

/// A portion of what is in a folder, sorted by name byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Never empty unless `complete`.
    pub entries: Vec<Entry>,
    /// Whether nothing comes after these.
    pub complete: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes from the client. The session takes them over instead of copying them.
    Received(Vec<u8>),
    /// The client will send no more.
    Finished,
    /// The result of `Open`.
    Opened(Result<Found, Refusal>),
    /// The result of `List`.
    Listed(Result<Listing, Refusal>),
    /// The result of `Wait`.
    Available(Window),
    /// The answer to `Proceed`: other clients have had their turn.
    Proceeded,
    /// The server wants to stop.
    Stopping,
}

/// Where a session stands while it waits for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Between two exchanges, and nothing of the next one has come.
    Idle,
    /// In the middle of something, as after half a header section, or before the first exchange.
    Partial,
}

/// What the session says that it did for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The request line. Empty: it was not understood.
    pub request: String,
    /// The status code.
    pub status: u16,
    /// `Referer`. Empty: not said.
    pub referrer: String,
    /// `User-Agent`. Empty: not said.
    pub agent: String,
}

/// What may still come from a client whose session closes.
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
    Receive(Phase),
    /// Opens a source by its name.
    Open(Name),
    /// Reads a portion of what is in a folder.
    List(Portion),
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends a span of the open source.
    Pass(Span),
    /// Waits until the open source has bytes past this offset.
    Wait(u64),
    /// Gives other clients their turn and asks to be called again.
    Proceed,
    /// Tells that an exchange is over.
    Report(Exchange),
    /// Disconnects the client.
    Close(Remainder),
}
