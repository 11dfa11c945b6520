//! What is in a folder: as a page, as JSON, or as a playlist.
//!
//! Rule: a folder of any size is listed whole, in portions and in pieces. Neither more than a portion of
//! it nor more than a piece of its text is ever held.

mod body;
mod html;
mod json;
mod order;
mod playlist;
mod stream;

pub(crate) use body::{Form, ListingBody, Needs, first};
pub(crate) use html::Html;
pub(crate) use order::Order;
pub(crate) use playlist::Playlist;
pub(crate) use stream::ListingStream;
