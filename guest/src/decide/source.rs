//! The response for a source that was found.

use alloc::vec::Vec;

use crate::contract::{Dialect, Facts, Span, Window};
use crate::decide::conditional::{self, Validators, Verdict};
use crate::media_type;
use crate::request::range::{self, Wanted};
use crate::request::{Coding, FieldName, Method, Request, Version};
use crate::response::body::Body;
use crate::response::compat;
use crate::response::message::{Response, Site};
use crate::response::multipart::{self, Multipart, push_content_range};
use crate::response::page::{self, Format};
use crate::response::stream::{Delimiter, Stream};
use crate::status::Status;

/// The source that was found for a request.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its name, without the ending of a coding.
    pub(crate) name: Vec<u8>,
    /// How it is compressed.
    coding: Option<Coding>,
    pub(crate) facts: Facts,
    /// The media type that goes with the name. Looked up once.
    type_by_name: &'static str,
}

impl Source {
    pub(crate) fn new(name: Vec<u8>, coding: Option<Coding>, facts: Facts) -> Self {
        let type_by_name = media_type::of(&name);
        Self { name, coding, facts, type_by_name }
    }

    fn media_type(&self) -> &str {
        match &self.facts.media_type {
            Some(media_type) if self.coding.is_none() => media_type,
            _ => self.type_by_name,
        }
    }

    /// The response: the source, a part of it, or 304.
    pub(crate) fn response<'a>(&self, site: Site<'a>, request: &Request) -> Response<'a> {
        if site.settings.dialect == Dialect::Compat && compat::answers(request) {
            let stream = self.stream(Delimiter::Chunks(compat::CHUNK));
            return Response::verbatim(site, Status::Ok, compat::OK, stream);
        }
        let validators = Validators::of(&self.facts, site.now);
        match conditional::judge(request, &validators) {
            Verdict::Proceed => self.content(site, request, &validators),
            Verdict::NotModified => {
                let mut response = Response::new(site, Status::NotModified);
                self.describe(&mut response, &validators);
                response
            }
            Verdict::Failed => page::error(site, Status::PreconditionFailed, Format::of(request)),
        }
    }

    fn content<'a>(&self, site: Site<'a>, request: &Request, validators: &Validators<'_>) -> Response<'a> {
        let wanted = self.wanted(request, validators);
        let mut response = match wanted {
            Wanted::Unsatisfiable => {
                return page::unsatisfiable(site, self.facts.window.end, request);
            }
            Wanted::Whole => Response::new(site, Status::Ok),
            Wanted::Part(_) | Wanted::Parts(_) => Response::new(site, Status::PartialContent),
        };
        if let Wanted::Parts(spans) = &wanted {
            let boundary = multipart::boundary(&self.facts.version, self.facts.window.end, site.now);
            let parts = Multipart::new(spans, self.facts.window.end, self.media_type(), boundary);
            response.own("Content-Type", &parts.content_type());
            response.body = Body::Parts(parts);
        } else {
            response.field("Content-Type", self.media_type().as_bytes());
            response.body = self.body(&wanted, request);
        }
        if let Wanted::Part(span) = wanted {
            let mut range = Vec::with_capacity(64);
            let size = self.facts.window.is_final.then_some(self.facts.window.end);
            push_content_range(&mut range, span, size);
            response.own("Content-Range", &range);
        }
        if let Some(coding) = self.coding {
            response.own("Content-Encoding", coding.token().as_bytes());
        }
        self.describe(&mut response, validators);
        response
    }

    /// The part of the source that the request asks for. Ranges are defined for `GET` alone (RFC 9110 section
    /// 14.2), and count the bytes of the source itself.
    fn wanted(&self, request: &Request, validators: &Validators<'_>) -> Wanted {
        let Some(value) = request.field(FieldName::Range) else {
            return Wanted::Whole;
        };
        if request.method != Method::Get || !conditional::range_applies(request, validators) {
            return Wanted::Whole;
        }
        if self.is_whole() {
            return range::wanted(value, self.facts.window.end);
        }
        if self.is_live() {
            return Wanted::Whole;
        }
        range::within_window(value, self.facts.window).map_or(Wanted::Whole, Wanted::Part)
    }

    fn body(&self, wanted: &Wanted, request: &Request) -> Body {
        let Window { start, end, is_final } = self.facts.window;
        match (wanted, request.version) {
            (Wanted::Part(span), _) => Body::Part(*span),
            _ if is_final => Body::Part(Span { offset: start, count: end - start }),
            (_, Version::Http11) => self.stream(Delimiter::Chunks(Delimiter::CHUNK)),
            (_, Version::Http10) => self.stream(Delimiter::Close),
        }
    }

    fn stream(&self, delimiter: Delimiter) -> Body {
        let window = self.facts.window;
        Body::Stream(Stream { offset: window.start, delimiter }, window)
    }

    /// Whether all of the source can be read, from its first byte to its last. Otherwise it is live, or the
    /// last part of a live source that has ended.
    fn is_whole(&self) -> bool {
        self.facts.window.is_final && self.facts.window.start == 0
    }

    /// Whether it is live input: nothing identifies it or its time. Each client's stream begins elsewhere and
    /// may begin with a header of its own, so that an offset means something different to each.
    fn is_live(&self) -> bool {
        self.facts.version.is_empty() && self.facts.modified.is_none()
    }

    /// Writes the fields that 200 and 304 have in common (RFC 9110 section 15.4.5).
    fn describe(&self, response: &mut Response<'_>, validators: &Validators<'_>) {
        let tag = validators.entity_tag();
        if let Some(modified) = validators.modified
            && (tag.is_none() || response.status != Status::NotModified)
        {
            response.time("Last-Modified", modified);
        }
        if let Some(tag) = tag {
            response.field("ETag", &tag);
        }
        if !self.is_whole() {
            response.field("Cache-Control", b"no-store");
        } else if media_type::is_playlist(self.media_type()) {
            response.field("Cache-Control", b"no-cache");
        }
        if self.is_whole() && response.status != Status::NotModified && self.coding.is_none() {
            response.field("Accept-Ranges", b"bytes");
        }
        if media_type::is_compressible(self.type_by_name) {
            response.vary("Accept-Encoding");
        }
    }
}
