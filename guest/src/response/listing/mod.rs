//! What is in a folder: as a page, as JSON, or as a playlist.
//!
//! Rule: a folder of any size is listed completely, in portions and pieces. A session never holds more than
//! one portion of the folder and one piece of the text.

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
