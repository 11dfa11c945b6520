//! How the guest answers where there is a choice: the operator's part of the contract's `settings`.

use serde::{Deserialize, Serialize};

/// How the guest answers where there is a choice: the same for every client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// Whether exchanges are reported to the journal. Off saves a little for each exchange.
    pub reports: bool,
    /// Whether folders without an index are listed.
    pub listing: bool,
    /// Whether there are pages for people: a player beside a source.
    pub pages: bool,
    /// Whether to answer as FFmpeg's example does.
    pub compat: bool,
    /// Header fields for every response: name and value.
    pub headers: Vec<(String, String)>,
    /// The origin whose scripts may read responses; `*` for any.
    pub cors: Option<String>,
}
