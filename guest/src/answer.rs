//! Responses for hosts that read requests and write responses themselves.
//!
//! Rule: nothing here knows of connections. For those there is [`crate::Session`].

use alloc::string::String;
use alloc::vec::Vec;

use crate::contract::{Dialect, Event, Found, Instant, Name, Portion, Refusal, Settings};
use crate::decide::way::{self, Step, Way};
use crate::request::{Malformed, Request};
use crate::response::listing;
use crate::response::message::{Recipient, Site};
use crate::response::page::{self, Format};

pub use crate::response::body::Piece;
pub use crate::response::message::{Message, More, Rest};

/// A request that a host has read. Whom it is for and where it ends are settled.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The method, such as `GET`.
    pub method: &'a str,
    /// Path and query as they were sent, or the whole URL if the host knows it: playlists contain whole URLs
    /// then.
    pub target: &'a str,
    /// Names and values, in order. Fields of the connection (`Host`, `Connection`, those that frame the body)
    /// are ignored.
    pub fields: &'a [(String, Vec<u8>)],
}

/// What to do about a [`Question`].
#[derive(Debug)]
pub enum Next {
    /// Open this name, then pass the result to [`Answer::advance`].
    Open(Name, Answer),
    /// List this portion of a folder, then pass the result to [`Answer::advance`].
    List(Portion, Answer),
    /// Send this.
    Response(Message),
}

/// A request on its way to its response.
#[derive(Debug)]
pub struct Answer {
    settings: Settings,
    request: Request,
    way: Way,
}

impl Answer {
    /// What to do about a question asked at `now`. Ignores the settings that concern connections
    /// (`max_exchanges`, `reports`, `at_capacity`), and the dialect: FFmpeg's responses are bytes on a wire.
    #[must_use]
    pub fn to(question: &Question<'_>, settings: Settings, now: Instant) -> Next {
        let settings = Settings { dialect: Dialect::Standard, at_capacity: false, ..settings };
        let site = Site { settings: &settings, now };
        let request = match Request::written(question.method, question.target, question.fields) {
            Ok(request) => request,
            Err(malformed) => return refuse(site, malformed, Recipient::of_method(question.method)),
        };
        match way::begin(site, &request) {
            Ok(Step::Look(way)) => Self { settings, request, way }.look(),
            Ok(Step::Response(response)) => Next::Response(response.into_message(request.method)),
            Err(malformed) => refuse(site, malformed, Recipient::of(&request)),
        }
    }

    /// What to do now that `event` (`Opened` or `Listed`, as asked) has happened at `now`. A source counts as
    /// complete whatever its window says, because a message has one length. Any other event is a mistake of
    /// the host, and the response is 500.
    #[must_use]
    pub fn advance(self, now: Instant, event: Event) -> Next {
        let Self { settings, request, way } = self;
        let site = Site { settings: &settings, now };
        match way::proceed(site, &request, way, whole(event)) {
            Some(Step::Look(way)) => Self { settings, request, way }.look(),
            Some(Step::Response(response)) => Next::Response(response.into_message(request.method)),
            None => Next::Response(page::refused(site, Refusal::Failed, &request).into_message(request.method)),
        }
    }

    fn look(self) -> Next {
        match &self.way {
            Way::Source(search) => Next::Open(search.name(), self),
            Way::Home(name) => Next::Open(name.clone(), self),
            Way::List(folder) => Next::List(listing::first(folder), self),
        }
    }
}

fn refuse(site: Site<'_>, malformed: Malformed, recipient: Recipient) -> Next {
    Next::Response(page::error(site, malformed.status(), Format::Plain).into_message(recipient.method))
}

fn whole(mut event: Event) -> Event {
    if let Event::Opened(Ok(Found::Source(facts))) = &mut event {
        facts.window.is_final = true;
    }
    event
}
