//! The host's words for what passes between it and a guest: those of `wit/session.wit`, which explains them.
//!
//! Rules: the same names and the same cases as there. `sources` produces these values, `record` writes them
//! down, `serve` acts on them, and only `sandbox::wire` and `sandbox::canonical` convert them: to and from generated
//! bindings, and to and from the memory of a core module.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The package and version that these words are of.
pub(crate) const PACKAGE: &str = "multiclient:session@0.1.0";

/// The part of an open source that can be read now: `start` up to, but not including, `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Window {
    pub(crate) start: u64,
    pub(crate) end: u64,
    #[serde(rename = "final")]
    pub(crate) is_final: bool,
}

/// A part of a source: `count` bytes from `offset` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Span {
    pub(crate) offset: u64,
    pub(crate) count: u64,
}

/// What is known of a source when it is opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Facts<'a> {
    pub(crate) window: Window,
    pub(crate) modified: Option<u64>,
    pub(crate) version: Cow<'a, str>,
    pub(crate) media_type: Option<Cow<'a, str>>,
}

/// What a name turned out to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Found<'a> {
    Source(Facts<'a>),
    Folder,
}

/// Why a name was not opened or listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Refusal {
    /// Nothing of that name is published.
    NotFound,
    /// It exists, and the server may not read it.
    Forbidden,
    /// Not now: the server is short of something.
    Unavailable,
    /// It could not be read.
    Failed,
}

/// Which part of a folder's content to list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Portion {
    #[serde(with = "text")]
    pub(crate) folder: Vec<u8>,
    #[serde(with = "text")]
    pub(crate) after: Vec<u8>,
    pub(crate) limit: u32,
}

/// One thing in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct Entry {
    /// Its name within the folder: one segment.
    #[serde(with = "text")]
    pub name: Vec<u8>,
    /// Whether it is itself a folder.
    pub folder: bool,
    /// In bytes; 0 for a folder.
    pub size: u64,
    /// When it last changed, in milliseconds since 1970. None: not known.
    pub modified: Option<u64>,
}

impl Entry {
    /// A source of this name and size; nothing is known of when it changed.
    pub fn source(name: impl Into<Vec<u8>>, size: u64) -> Self {
        Self { name: name.into(), folder: false, size, modified: None }
    }

    /// A folder of this name.
    pub fn folder(name: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), folder: true, size: 0, modified: None }
    }
}

/// A portion of what is in a folder, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<Entry>,
    pub(crate) complete: bool,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event<'a> {
    #[serde(with = "text")]
    Received(Cow<'a, [u8]>),
    Finished,
    Opened(Result<Found<'a>, Refusal>),
    Listed(Result<Listing, Refusal>),
    Available(Window),
    Proceeded,
    Stopping,
}

/// Where a session stands while it waits for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    Idle,
    Partial,
}

/// What a guest says that it did for the client: the contract's `exchange`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Report {
    pub(crate) request: String,
    pub(crate) status: u16,
    pub(crate) referrer: String,
    pub(crate) agent: String,
}

/// What may still come from a client whose session closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Remainder {
    Nothing,
    Unread,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    Receive(Phase),
    #[serde(with = "text")]
    Open(Vec<u8>),
    List(Portion),
    #[serde(with = "text")]
    Send(Vec<u8>),
    Pass(Span),
    Wait(u64),
    Proceed,
    Report(Report),
    Close(Remainder),
}

impl Event<'_> {
    /// The same, borrowing nothing.
    pub(crate) fn into_owned(self) -> Event<'static> {
        match self {
            Self::Received(bytes) => Event::Received(Cow::Owned(bytes.into_owned())),
            Self::Finished => Event::Finished,
            Self::Opened(opened) => Event::Opened(opened.map(Found::into_owned)),
            Self::Listed(listed) => Event::Listed(listed),
            Self::Available(window) => Event::Available(window),
            Self::Proceeded => Event::Proceeded,
            Self::Stopping => Event::Stopping,
        }
    }
}

impl Found<'_> {
    fn into_owned(self) -> Found<'static> {
        match self {
            Self::Source(Facts { window, modified, version, media_type }) => Found::Source(Facts {
                window,
                modified,
                version: Cow::Owned(version.into_owned()),
                media_type: media_type.map(|media_type| Cow::Owned(media_type.into_owned())),
            }),
            Self::Folder => Found::Folder,
        }
    }
}

impl Report {
    /// The bytes of its texts.
    pub(crate) fn bytes(&self) -> usize {
        self.request.len() + self.referrer.len() + self.agent.len()
    }
}

impl Action {
    /// The bytes that the guest hands over with it.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Open(bytes) | Self::Send(bytes) => bytes.len(),
            Self::List(portion) => portion.folder.len() + portion.after.len(),
            Self::Report(report) => report.bytes(),
            Self::Receive(_) | Self::Pass(_) | Self::Wait(_) | Self::Proceed | Self::Close(_) => 0,
        }
    }
}

/// What an index of a live source says: the words of `wit/index/index.wit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) marks: Vec<Mark>,
    pub(crate) settled: u64,
}

/// Something that an index knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Header(Header),
    Join(Join),
    End(u64),
    Patch(Patch),
    Lost(Loss),
}

/// What every viewer needs before it can begin at a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) bytes: Vec<u8>,
    pub(crate) format: String,
    pub(crate) media_type: String,
}

/// A place where a viewer may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Join {
    pub(crate) offset: u64,
    pub(crate) preface: Vec<u8>,
}

/// Bytes that replace those from an offset on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Why there are no joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Unrecognized,
    Oversized,
    Unjoinable,
    Malformed,
}

/// Bytes that stand in a capsule as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Text(#[serde(with = "text")] pub(crate) Vec<u8>);

mod text {
    //! Bytes in a capsule: a text of which each character is one byte, U+0000 to U+00FF.

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&bytes.iter().copied().map(char::from).collect::<String>())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, T: From<Vec<u8>>>(deserializer: D) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes: Result<Vec<u8>, _> = text.chars().map(|character| u8::try_from(u32::from(character))).collect();
        bytes.map(T::from).map_err(|_| D::Error::custom("bytes have no characters beyond U+00FF"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_from_each_other_in_a_capsule() {
        for (bytes, text) in [
            (&b"GET / HTTP/1.1\r\n"[..], r#"{"send":"GET / HTTP/1.1\r\n"}"#),
            (b"\\r\"", r#"{"send":"\\r\""}"#),
            (b"\xe4\x00", "{\"send\":\"\u{e4}\\u0000\"}"),
        ] {
            let action = Action::Send(bytes.to_vec());
            assert_eq!(serde_json::to_string(&action).expect("it is a text"), text);
            assert_eq!(serde_json::from_str::<Action>(text).expect("it is an action"), action);
        }
        assert!(serde_json::from_str::<Action>("{\"send\":\"\u{100}\"}").is_err());
    }
}
