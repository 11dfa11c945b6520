//! From a request to its reply: what is opened on the way, and what is said in the end.
//!
//! Rule: nothing here knows of connections. [`crate::Session`] puts replies on one; [`Answer`] is for a
//! host that reads requests and writes replies itself, and wants to know only what to reply.

use alloc::string::String;
use alloc::vec::Vec;

use crate::compat;
use crate::contract::{Dialect, Event, Found, Instant, Name, Refusal, Settings, Span};
use crate::listing;
use crate::page::{self, Format};
use crate::reply::{Recipient, Reply, Site, Source, Status};
use crate::request::{Malformed, Method, Request};
use crate::search::{Place, Search};
use crate::target::Target;

/// What a request is on its way to.
#[derive(Debug)]
pub(crate) enum Way {
    /// To a source, by the names that are tried for it.
    Source(Search),
    /// To a list of what is in the folder of this name.
    List(Name),
}

/// Where a request has come to.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// The host has to look first.
    Look(Way),
    /// What to say.
    Reply(Reply<'a>),
}

/// What a request leads to at first.
pub(crate) fn begin<'a>(site: Site<'a>, request: &Request) -> Result<Step<'a>, Malformed> {
    let compat = site.settings.dialect == Dialect::Compat;
    if site.settings.at_capacity {
        return Ok(Step::Reply(page::full(site, request)));
    }
    if compat && matches!(request.method, Method::Get | Method::Head) {
        let search = compat::name(request).map(Search::exact);
        return Ok(search.map_or_else(|| missing(site, request), |search| Step::Look(Way::Source(search))));
    }
    let target = Target::of(request)?;
    Ok(match (request.method, target) {
        (Method::Refused, _) => Step::Reply(page::method_refused(site, request)),
        (Method::Unknown, _) => Step::Reply(page::error(site, Status::NotImplemented, Format::of(request))),
        (Method::Options, _) => Step::Reply(page::options(site, request)),
        (_, Target::Path { name: Some(name), folder: true }) if name.is_empty() => root(site, request),
        (_, Target::Path { name: Some(name), folder: true }) => {
            Step::Look(Way::Source(Search::new(name, Place::Index, request)))
        }
        (_, Target::Path { name: Some(name), folder: false }) => {
            Step::Look(Way::Source(Search::new(name, Place::Itself, request)))
        }
        (_, Target::Path { name: None, .. } | Target::Server) => missing(site, request),
    })
}

/// What the host's answer leads to. None: it does not answer what was asked.
pub(crate) fn proceed<'a>(site: Site<'a>, request: &Request, way: Way, event: Event) -> Option<Step<'a>> {
    match (way, event) {
        (Way::Source(search), Event::Opened(result)) => Some(opened(site, request, search, result)),
        (Way::List(folder), Event::Listed(Ok(listing))) => {
            Some(Step::Reply(listing::reply(site, &folder, listing, request)))
        }
        (Way::List(_), Event::Listed(Err(refusal))) => Some(Step::Reply(page::refused(site, refusal, request))),
        _ => None,
    }
}

/// Goes on with what a name turned out to be.
fn opened<'a>(site: Site<'a>, request: &Request, mut search: Search, result: Result<Found, Refusal>) -> Step<'a> {
    Step::Reply(match result {
        Ok(Found::Source(facts)) => {
            let source = Source { name: search.bare(), coding: search.coding, facts };
            source.reply(site, request)
        }
        // Whatever keeps a compressed sibling from being sent, the bare one will do.
        _ if search.coding.is_some() => {
            search.advance();
            return Step::Look(Way::Source(search));
        }
        Ok(Found::Folder) | Err(Refusal::NotFound) if search.place == Place::Index => {
            if site.settings.listing {
                return Step::Look(Way::List(search.target));
            }
            page::refused(site, Refusal::NotFound, request)
        }
        Ok(Found::Folder) if site.settings.dialect == Dialect::Standard => {
            page::to_folder(site, &search.target, request)
        }
        Ok(Found::Folder) => page::refused(site, Refusal::NotFound, request),
        Err(refusal) => page::refused(site, refusal, request),
    })
}

fn missing<'a>(site: Site<'a>, request: &Request) -> Step<'a> {
    Step::Reply(page::refused(site, Refusal::NotFound, request))
}

/// What the root stands for.
fn root<'a>(site: Site<'a>, request: &Request) -> Step<'a> {
    match &site.settings.home {
        Some(home) => Step::Reply(page::to_home(site, home, request)),
        None => Step::Look(Way::Source(Search::new(Name::new(), Place::Index, request))),
    }
}

/// A request as a host has read it, that has settled already for whom it is and where it ends.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// As in `GET`.
    pub method: &'a str,
    /// Path and query, as they were sent.
    pub target: &'a str,
    /// Names and values, in order. Those that belong to the connection (`Host`, `Connection`, what
    /// delimits the body) mean nothing here.
    pub fields: &'a [(String, Vec<u8>)],
}

/// What to do about a [`Question`].
#[derive(Debug)]
pub enum Next {
    /// Open this name, then tell [`Answer::advance`] what came of it.
    Open(Name, Answer),
    /// Read what is in this folder, then tell [`Answer::advance`] what came of it.
    List(Name, Answer),
    /// Say this.
    Reply(Message),
}

/// A reply, for a host that writes it in its own way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The status code.
    pub status: u16,
    /// Names and values, in order. `Content-Length` is among them where there is a body, and for `HEAD`
    /// where there would be one; what concerns the connection is not.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body, piece by piece. For `HEAD` there is none.
    pub body: Vec<Piece>,
}

/// A piece of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A span of the source that was opened last.
    Span(Span),
}

/// A request on its way to its reply.
#[derive(Debug)]
pub struct Answer {
    settings: Settings,
    request: Request,
    way: Way,
}

impl Answer {
    /// What to do about a question that was asked at `now`. Of the settings those are left aside that
    /// concern connections (`max_exchanges`, `reports`, `at_capacity`), and the dialect: replies in that
    /// of FFmpeg's example are made of bytes on a wire.
    #[must_use]
    pub fn to(question: &Question<'_>, settings: Settings, now: Instant) -> Next {
        let settings = Settings { dialect: Dialect::Standard, at_capacity: false, ..settings };
        let site = Site { settings: &settings, now };
        let request = match Request::asked(question) {
            Ok(request) => request,
            Err(misdeed) => return refuse(site, misdeed, Recipient::of_method(question.method)),
        };
        match begin(site, &request) {
            Ok(Step::Look(way)) => Self { settings, request, way }.look(),
            Ok(Step::Reply(reply)) => Next::Reply(reply.into_message(request.method)),
            Err(misdeed) => refuse(site, misdeed, Recipient::of(&request)),
        }
    }

    /// What to do now that `event` has happened, at `now`: `Opened` or `Listed`, as it was asked for. A
    /// source is taken for whole, whatever its window says: what grows cannot be told in one message.
    /// Any other event is a mistake of the host, and answered as a failure of the server.
    #[must_use]
    pub fn advance(self, now: Instant, event: Event) -> Next {
        let Self { settings, request, way } = self;
        let site = Site { settings: &settings, now };
        match proceed(site, &request, way, whole(event)) {
            Some(Step::Look(way)) => Self { settings, request, way }.look(),
            Some(Step::Reply(reply)) => Next::Reply(reply.into_message(request.method)),
            None => Next::Reply(page::refused(site, Refusal::Failed, &request).into_message(request.method)),
        }
    }

    fn look(self) -> Next {
        match &self.way {
            Way::Source(search) => Next::Open(search.name(), self),
            Way::List(name) => Next::List(name.clone(), self),
        }
    }
}

fn refuse(site: Site<'_>, misdeed: Malformed, recipient: Recipient) -> Next {
    Next::Reply(page::error(site, misdeed.status(), Format::Plain).into_message(recipient.method))
}

fn whole(mut event: Event) -> Event {
    if let Event::Opened(Ok(Found::Source(facts))) = &mut event {
        facts.window.is_final = true;
    }
    event
}
