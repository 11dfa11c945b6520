//! What the client asks: from bytes to a [`Request`], and what its fields say.

pub(crate) mod range;
pub(crate) mod target;

mod authority;
mod body;
mod field;
mod header_section;
mod line;
mod malformed;
mod negotiate;
mod scan;

pub(crate) use body::Framing;
pub(crate) use field::FieldName;
pub(crate) use header_section::{Expectation, Request, line_for_log};
pub(crate) use line::{Method, Version};
pub use malformed::Malformed;
pub(crate) use negotiate::{Coding, Codings, names_html, prefers};
#[cfg(test)]
pub(crate) use scan::HEADER_SECTION_LIMIT;
pub(crate) use scan::Scanner;
pub(crate) use target::Target;
