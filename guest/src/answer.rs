//! Requests that a host has read itself, and the responses to them.
//!
//! Rule: nothing here knows of connections. [`crate::Session`] puts responses on one; [`Answer`] is for a
//! host that reads requests and writes responses itself, and wants to know only what to response.

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

/// A request as a host has read it, that has settled already for whom it is and where it ends.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// As in `GET`.
    pub method: &'a str,
    /// Path and query, as they were sent; or the whole URL, where the host knows it. Playlists have whole URLs
    /// in them then.
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
    /// List this portion of a folder, then tell [`Answer::advance`] the result.
    List(Portion, Answer),
    /// Say this.
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
    /// What to do about a question that was asked at `now`. Of the settings those are left aside that
    /// concern connections (`max_exchanges`, `reports`, `at_capacity`), and the dialect: responses in that
    /// of FFmpeg's example are made of bytes on a wire.
    #[must_use]
    pub fn to(question: &Question<'_>, settings: Settings, now: Instant) -> Next {
        let settings = Settings { dialect: Dialect::Standard, at_capacity: false, ..settings };
        let site = Site { settings: &settings, now };
        let request = match Request::written(question.method, question.target, question.fields) {
            Ok(request) => request,
            Err(misdeed) => return refuse(site, misdeed, Recipient::of_method(question.method)),
        };
        match way::begin(site, &request) {
            Ok(Step::Look(way)) => Self { settings, request, way }.look(),
            Ok(Step::Response(response)) => Next::Response(response.into_message(request.method)),
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

fn refuse(site: Site<'_>, misdeed: Malformed, recipient: Recipient) -> Next {
    Next::Response(page::error(site, misdeed.status(), Format::Plain).into_message(recipient.method))
}

fn whole(mut event: Event) -> Event {
    if let Event::Opened(Ok(Found::Source(facts))) = &mut event {
        facts.window.is_final = true;
    }
    event
}
