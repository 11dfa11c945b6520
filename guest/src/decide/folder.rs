//! The response for a folder that was listed.

use alloc::boxed::Box;
use alloc::string::String;

use crate::contract::{Entry, Instant, Listing, Name};
use crate::decide::conditional::{self, Validators, Verdict};
use crate::request::target::{origin, parameter};
use crate::request::{Request, Version, prefers};
use crate::response::body::Body;
use crate::response::listing::{Form, Html, ListingBody, ListingStream, Needs, Order, Playlist};
use crate::response::message::{Response, Site};
use crate::response::page::{self, Format};
use crate::response::stream::Delimiter;
use crate::status::Status;
use crate::text::Hash;

/// The media types of M3U playlists. Responses have the first; players that know HLS ask for the second.
const M3U: [&str; 4] = ["audio/x-mpegurl", "application/vnd.apple.mpegurl", "audio/mpegurl", "application/x-mpegurl"];

/// The form in which a client wants a listing.
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

/// Whether the target asks for a playlist by its query.
pub(crate) fn asks_for_playlist(request: &Request) -> bool {
    parameter(request.target(), b"m3u").is_some()
}

/// The response for a folder of which this is the first portion.
///
/// If that is the whole folder, it is sorted as the client asked, pages always with folders first, and has an
/// entity tag. A larger folder stays sorted by name, as the host lists it, because the rest of it has not
/// been read when the response begins.
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
            page::describe(&mut response);
            Form::Html(Html::new(order, site.settings.pages))
        }
        Wanted::Json => {
            response.field("Content-Type", b"application/json");
            Form::Json
        }
        Wanted::Playlist => {
            response.field("Content-Type", M3U[0].as_bytes());
            Form::Playlist(Playlist::new(origin(request, site.settings.secure), &folder))
        }
    };
    describe(&mut response, tag.as_deref(), site.now);
    response.body = body(ListingBody::new(form, folder, listing), request.version);
    response
}

/// Sorts a folder that fits one portion. None if it does not, or if the client wants it by name.
fn sort(wanted: Wanted, listing: &mut Listing, request: &Request) -> Option<Order> {
    let usual = (wanted == Wanted::Html).then_some(Order::USUAL);
    let order = Order::asked(request.target()).or(usual).filter(|_| listing.complete)?;
    order.sort(&mut listing.entries);
    Some(order)
}

/// The body of a listing. Whether the listing fits one piece is known when that has been written.
fn body(mut listing: ListingBody, version: Version) -> Body {
    let piece = listing.piece();
    if matches!(listing.needs(), Needs::Nothing) {
        return Body::Text(piece);
    }
    let delimiter = match version {
        Version::Http11 => Delimiter::Chunks(Delimiter::CHUNK),
        Version::Http10 => Delimiter::Close,
    };
    Body::Listing(Box::new(ListingStream { body: listing, delimiter }), piece)
}

/// Writes the fields that 200 and 304 have in common.
fn describe(response: &mut Response<'_>, tag: Option<&str>, now: Instant) {
    if let Some(tag) = tag.and_then(|tag| Validators::of_listing(tag, now).entity_tag()) {
        response.field("ETag", &tag);
    }
    response.field("Cache-Control", b"no-cache");
    response.vary("Accept");
}

/// A tag that differs whenever a listing in this form shows something else.
fn tag(wanted: Wanted, entries: &[Entry]) -> String {
    let hash = entries.iter().fold(Hash::new().add(&[wanted as u8]), |hash, entry| {
        // A slash ends the name, because names of entries contain none.
        let hash = hash.add(&entry.name).add(if entry.folder { b"/d" } else { b"/f" });
        hash.add(&entry.size.to_le_bytes()).add(&entry.modified.unwrap_or(Instant::MAX).to_le_bytes())
    });
    hash.digits().into_iter().map(char::from).collect()
}
