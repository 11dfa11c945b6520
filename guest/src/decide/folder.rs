//! A folder that was listed, and the response that has the listing.

use alloc::string::String;

use crate::contract::{Entry, Instant, Listing, Name};
use crate::decide::conditional::{self, Validators, Verdict};
use crate::request::target::{origin, parameter};
use crate::request::{Request, Version, prefers};
use crate::response::body::Body;
use crate::response::document;
use crate::response::listing::{Form, Html, ListingBody, ListingStream, Needs, Order, Playlist};
use crate::response::message::{Response, Site};
use crate::response::page::{self, Format};
use crate::response::stream::Delimiter;
use crate::status::Status;
use crate::text::Hash;

/// The media types of M3U playlists. The first is the one that is sent; by the second players know the
/// playlists of HLS, too.
const M3U: [&str; 4] = ["audio/x-mpegurl", "application/vnd.apple.mpegurl", "audio/mpegurl", "application/x-mpegurl"];

/// In which form a client wants a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Html,
    Json,
    Playlist,
}

impl Wanted {
    fn of(request: &Request) -> Self {
        if asks_for_playlist(request) || M3U.iter().any(|m3u| prefers(request, m3u, "text/html")) {
            Self::Playlist
        } else if prefers(request, "application/json", "text/html") {
            Self::Json
        } else {
            Self::Html
        }
    }
}

/// Whether the target itself asks for a playlist, whatever else there is in the folder.
pub(crate) fn asks_for_playlist(request: &Request) -> bool {
    parameter(request.target(), b"m3u").is_some()
}

/// The response that lists a folder of which this is the first portion.
///
/// Where that is the whole folder, it comes in the order that was asked for and has a validator; a page has
/// folders first in any case. A larger folder comes by name, as the host lists it, because the rest of it has
/// not been read when the response begins.
pub(crate) fn response<'a>(site: Site<'a>, folder: Name, mut listing: Listing, request: &Request) -> Response<'a> {
    let wanted = Wanted::of(request);
    let order = sort(wanted, &mut listing, request);
    let tag = listing.complete.then(|| tag(wanted, &listing.entries));
    if let Some(tag) = &tag {
        match conditional::judge(request, &Validators::of_listing(tag, site.now)) {
            Verdict::Proceed => {}
            Verdict::NotModified => {
                let mut response = Response::new(site, Status::NotModified);
                describe(&mut response, Some(tag), site.now);
                return response;
            }
            Verdict::Failed => return page::error(site, Status::PreconditionFailed, Format::of(request)),
        }
    }
    let mut response = Response::new(site, Status::Ok);
    let form = match wanted {
        Wanted::Html => {
            document::describe(&mut response);
            Form::Html(Html::new(order, site.settings.pages, &listing.entries))
        }
        Wanted::Json => {
            response.field("Content-Type", b"application/json");
            Form::Json
        }
        Wanted::Playlist => {
            response.field("Content-Type", M3U[0].as_bytes());
            Form::Playlist(Playlist::new(origin(request), &folder))
        }
    };
    describe(&mut response, tag.as_deref(), site.now);
    response.body = body(ListingBody::new(form, folder, listing), request.version);
    response
}

/// Sorts a folder that fits one portion. None: it does not, or nobody wants another order than by name.
fn sort(wanted: Wanted, listing: &mut Listing, request: &Request) -> Option<Order> {
    let usual = (wanted == Wanted::Html).then_some(Order::USUAL);
    let order = Order::asked(request.target()).or(usual).filter(|_| listing.complete)?;
    order.sort(&mut listing.entries);
    Some(order)
}

/// The body of a listing: a text where it fits one piece, which is written to see that.
fn body(mut listing: ListingBody, version: Version) -> Body {
    let piece = listing.piece();
    if matches!(listing.needs(), Needs::Nothing) {
        return Body::Text(piece);
    }
    let delimiter = match version {
        Version::Http11 => Delimiter::Chunks(Delimiter::CHUNK),
        Version::Http10 => Delimiter::Close,
    };
    Body::Listing(ListingStream { body: listing, delimiter }, piece)
}

/// Writes the fields that are the same whether the listing follows or not.
fn describe(response: &mut Response<'_>, tag: Option<&str>, now: Instant) {
    if let Some(tag) = tag.and_then(|tag| Validators::of_listing(tag, now).entity_tag()) {
        response.field("ETag", &tag);
    }
    response.field("Cache-Control", b"no-cache");
    response.vary("Accept");
}

/// Differs whenever a listing in this form shows something else.
fn tag(wanted: Wanted, entries: &[Entry]) -> String {
    let hash = entries.iter().fold(Hash::new().add(&[wanted as u8]), |hash, entry| {
        // A slash ends the name, because none has one in it.
        let hash = hash.add(&entry.name).add(if entry.folder { b"/d" } else { b"/f" });
        hash.add(&entry.size.to_le_bytes()).add(&entry.modified.unwrap_or(Instant::MAX).to_le_bytes())
    });
    hash.digits().into_iter().map(char::from).collect()
}
