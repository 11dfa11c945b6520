//! The page of a source that a browser can play.

use alloc::vec::Vec;

use crate::contract::{Facts, Name};
use crate::date::{self, seconds};
use crate::media_type::{self, Kind};
use crate::response::body::Body;
use crate::response::document::{self, Own, push_ancestors, push_size};
use crate::response::escape::{push_html, push_link};
use crate::response::message::{Response, Site};
use crate::status::Status;

/// A source that has a page.
#[derive(Debug)]
pub(crate) struct Playable<'a> {
    name: &'a [u8],
    element: &'static [u8],
    facts: &'a Facts,
}

impl<'a> Playable<'a> {
    /// The source of this name, if it is video, audio, or a stream in segments, which some browsers play.
    pub(crate) fn of(name: &'a Name, facts: &'a Facts) -> Option<Self> {
        let media_type = facts.media_type.as_deref().unwrap_or_else(|| media_type::of(name));
        let element: &[u8] = match media_type::kind_of(media_type) {
            Kind::Video => b"video",
            Kind::Audio => b"audio",
            _ if media_type::is_hls(media_type) => b"video",
            _ => return None,
        };
        Some(Self { name, element, facts })
    }

    /// Its page. `at_root`: the page of the whole server, from which links lead through all of the name.
    pub(crate) fn page<'s>(&self, site: Site<'s>, at: At) -> Response<'s> {
        let mut response = Response::new(site, Status::Ok);
        document::describe(&mut response);
        // What there is to say about the source changes, and a live one ends.
        response.field("Cache-Control", b"no-cache");
        if at == At::Root {
            response.vary("Accept");
        }
        let split = self.name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let (folder, file) = self.name.split_at(split);
        let mut page = Vec::with_capacity(3 * 1024);
        document::push_start(&mut page, file);
        page.extend_from_slice(b"<h1>");
        if at == At::Itself && site.settings.listing {
            push_ancestors(&mut page, folder, Own::File);
        }
        push_html(&mut page, file);
        page.extend_from_slice(b"</h1>\n");
        self.push_player(&mut page, if at == At::Root { self.name } else { file });
        response.body = Body::Text(page);
        response
    }

    fn push_player(&self, page: &mut Vec<u8>, link: &[u8]) {
        for part in [b"<", self.element, b" src=\""] {
            page.extend_from_slice(part);
        }
        push_link(page, link);
        for part in [b"\" controls autoplay playsinline></", self.element, b">\n<p><a href=\""] {
            page.extend_from_slice(part);
        }
        push_link(page, link);
        if self.facts.window.is_final {
            page.extend_from_slice(b"\" download>Download</a>, ");
            push_size(page, self.facts.window.end - self.facts.window.start);
        } else {
            page.extend_from_slice(b"\">Live stream</a>");
        }
        if let Some(modified) = self.facts.modified {
            page.extend_from_slice(b", ");
            date::push_minute(page, seconds(modified));
            page.extend_from_slice(b" UTC");
        }
        page.push(b'\n');
    }
}

/// Where a player's page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// At the root, of a server that has this one source.
    Root,
    /// At the source's own URL, with a query.
    Itself,
}
