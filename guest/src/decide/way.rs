//! From a request to its response: what is opened on the way, and what is said in the end.
//!
//! Rule: nothing here knows of connections.

use crate::contract::{Dialect, Event, Found, Name, Refusal};
use crate::decide::folder;
use crate::decide::search::{Place, Search};
use crate::decide::source::Source;
use crate::plan::Wait;
use crate::request::target::parameter;
use crate::request::{Malformed, Method, Request, Target, names_html};
use crate::response::message::{Response, Site};
use crate::response::page::{self, Format};
use crate::response::player::{At, Playable};
use crate::response::{compat, listing};
use crate::status::Status;

/// What a request is on its way to.
#[derive(Debug)]
pub(crate) enum Way {
    /// To a source, by the names that are tried for it.
    Source(Search),
    /// To the page of the only source there is, or to the source itself.
    Home(Name),
    /// To a listing of the folder of this name.
    List(Name),
}

impl Way {
    /// What has to be asked of the host now.
    pub(crate) fn wait(&self) -> Wait {
        match self {
            Self::Source(search) => Wait::Open(search.name()),
            Self::Home(name) => Wait::Open(name.clone()),
            Self::List(folder) => Wait::List(listing::first(folder)),
        }
    }
}

/// Where a request has come to.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// The host has to look first.
    Look(Way),
    /// What to say.
    Response(Response<'a>),
}

/// What a request leads to at first.
pub(crate) fn begin<'a>(site: Site<'a>, request: &Request) -> Result<Step<'a>, Malformed> {
    let compat = site.settings.dialect == Dialect::Compat;
    if site.settings.at_capacity {
        return Ok(Step::Response(page::full(site, request)));
    }
    if compat && matches!(request.method, Method::Get | Method::Head) {
        let search = compat::name(request).map(Search::exact);
        return Ok(search.map_or_else(|| missing(site, request), |search| Step::Look(Way::Source(search))));
    }
    let target = Target::of(request)?;
    Ok(match (request.method, target) {
        (Method::Refused, _) => Step::Response(page::method_refused(site, request)),
        (Method::Unknown, _) => Step::Response(page::error(site, Status::NotImplemented, Format::of(request))),
        (Method::Options, _) => Step::Response(page::options(site, request)),
        (_, Target::Path { name: Some(name), folder: true }) if name.is_empty() => root(site, request),
        (_, Target::Path { name: Some(name), folder: true }) if lists_for_players(site, request) => {
            Step::Look(Way::List(name))
        }
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
        (Way::Home(home), Event::Opened(result)) => Some(Step::Response(at_home(site, request, &home, result))),
        (Way::List(folder), Event::Listed(Ok(listing))) => {
            Some(Step::Response(folder::response(site, folder, listing, request)))
        }
        (Way::List(_), Event::Listed(Err(refusal))) => Some(Step::Response(page::refused(site, refusal, request))),
        _ => None,
    }
}

/// Goes on with what a name turned out to be.
fn opened<'a>(site: Site<'a>, request: &Request, mut search: Search, result: Result<Found, Refusal>) -> Step<'a> {
    if search.goes_on(&result) {
        return Step::Look(Way::Source(search));
    }
    Step::Response(match result {
        Ok(Found::Source(facts)) => {
            let source = Source { name: search.bare(), coding: search.coding(), facts };
            let playable = asks_for_player(site, request).then(|| Playable::of(&source.name, &source.facts)).flatten();
            playable.map_or_else(|| source.response(site, request), |playable| playable.page(site, At::Itself))
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
    Step::Response(page::refused(site, Refusal::NotFound, request))
}

/// What the root stands for.
fn root<'a>(site: Site<'a>, request: &Request) -> Step<'a> {
    match &site.settings.home {
        Some(home) if site.settings.pages && names_html(request) => Step::Look(Way::Home(home.clone())),
        Some(home) => Step::Response(page::to_home(site, home, request)),
        None if lists_for_players(site, request) => Step::Look(Way::List(Name::new())),
        None => Step::Look(Way::Source(Search::new(Name::new(), Place::Index, request))),
    }
}

/// What the root says of the only source there is, to a browser.
fn at_home<'a>(site: Site<'a>, request: &Request, home: &Name, result: Result<Found, Refusal>) -> Response<'a> {
    match result {
        Ok(Found::Source(facts)) => match Playable::of(home, &facts) {
            Some(playable) => playable.page(site, At::Root),
            None => page::to_home(site, home, request),
        },
        Ok(Found::Folder) => page::to_home(site, home, request),
        Err(refusal) => page::refused(site, refusal, request),
    }
}

/// Whether a request is for the page of a source, in place of its content.
fn asks_for_player(site: Site<'_>, request: &Request) -> bool {
    site.settings.pages && parameter(request.target(), b"play").is_some()
}

/// Whether a request is for a folder's playlist, whatever stands for the folder otherwise.
fn lists_for_players(site: Site<'_>, request: &Request) -> bool {
    site.settings.listing && folder::asks_for_playlist(request)
}
