//! The contract's words and the generated bindings, converted into each other. Nothing else does that.
//!
//! Rule: what goes in is borrowed and what comes out is moved, so that no payload is copied here.

use crate::contract::{Action, Entry, Event, Facts, Found, Phase, Portion, Refusal, Remainder, Report, Span, Window};
use crate::settings::Settings;

mod bindings {
    //! The contract in Rust, made from `wit/session.wit`.

    #![allow(unreachable_pub, missing_docs, reason = "generated; the documentation is in the WIT")]

    wasmtime::component::bindgen!({
        path: "wit",
        world: "guest",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

pub(super) use bindings::GuestPre;
pub(super) use bindings::exports::multiclient::session::handler as wit;

/// Calls `with` with what the bindings call this event.
pub(super) fn with_event<T>(event: &Event<'_>, with: impl FnOnce(wit::Event<'_>) -> T) -> T {
    let entries: Vec<_>;
    with(match event {
        Event::Received(bytes) => wit::Event::Received(bytes),
        Event::Finished => wit::Event::Finished,
        Event::Opened(Ok(Found::Source(facts))) => wit::Event::Opened(Ok(wit::Found::Source(facts.into()))),
        Event::Opened(Ok(Found::Folder)) => wit::Event::Opened(Ok(wit::Found::Folder)),
        Event::Opened(Err(refusal)) => wit::Event::Opened(Err((*refusal).into())),
        Event::Listed(Ok(listing)) => {
            entries = listing.entries.iter().map(wit::Entry::from).collect();
            wit::Event::Listed(Ok(wit::Listing { entries: &entries, complete: listing.complete }))
        }
        Event::Listed(Err(refusal)) => wit::Event::Listed(Err((*refusal).into())),
        Event::Available(window) => wit::Event::Available((*window).into()),
        Event::Proceeded => wit::Event::Proceeded,
        Event::Stopping => wit::Event::Stopping,
    })
}

/// What a session is made with, besides the settings of the server.
pub(super) struct Circumstances<'a> {
    pub(super) home: Option<&'a [u8]>,
    pub(super) max_exchanges: u32,
    pub(super) secure: bool,
    pub(super) at_capacity: bool,
}

/// Calls `with` with what the bindings call these settings.
pub(super) fn with_settings<T>(
    settings: &Settings,
    circumstances: &Circumstances<'_>,
    with: impl FnOnce(wit::Settings<'_>) -> T,
) -> T {
    let headers: Vec<_> = settings.headers.iter().map(|(name, value)| wit::Field { name, value }).collect();
    with(wit::Settings {
        dialect: if settings.compat { wit::Dialect::Compat } else { wit::Dialect::Standard },
        home: circumstances.home,
        listing: settings.listing,
        pages: settings.pages,
        headers: &headers,
        cors: settings.cors.as_deref(),
        max_exchanges: circumstances.max_exchanges,
        reports: settings.reports,
        secure: circumstances.secure,
        at_capacity: circumstances.at_capacity,
    })
}

impl From<Window> for wit::Window {
    fn from(Window { start, end, is_final }: Window) -> Self {
        Self { start, end, final_: is_final }
    }
}

impl<'a> From<&'a Facts<'_>> for wit::Facts<'a> {
    fn from(facts: &'a Facts<'_>) -> Self {
        Self {
            window: facts.window.into(),
            modified: facts.modified,
            version: &facts.version,
            media_type: facts.media_type.as_deref(),
        }
    }
}

impl From<Refusal> for wit::Refusal {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::NotFound,
            Refusal::Forbidden => Self::Forbidden,
            Refusal::Unavailable => Self::Unavailable,
            Refusal::Failed => Self::Failed,
        }
    }
}

impl<'a> From<&'a Entry> for wit::Entry<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self { name: &entry.name, folder: entry.folder, size: entry.size, modified: entry.modified }
    }
}

impl From<wit::Action> for Action {
    fn from(action: wit::Action) -> Self {
        match action {
            wit::Action::Receive(wit::Phase::Idle) => Self::Receive(Phase::Idle),
            wit::Action::Receive(wit::Phase::Partial) => Self::Receive(Phase::Partial),
            wit::Action::Open(name) => Self::Open(name),
            wit::Action::List(wit::Portion { folder, after, limit }) => Self::List(Portion { folder, after, limit }),
            wit::Action::Send(bytes) => Self::Send(bytes),
            wit::Action::Pass(wit::Span { offset, count }) => Self::Pass(Span { offset, count }),
            wit::Action::Wait(offset) => Self::Wait(offset),
            wit::Action::Proceed => Self::Proceed,
            wit::Action::Report(wit::Exchange { request, status, referrer, agent }) => {
                Self::Report(Report { request, status, referrer, agent })
            }
            wit::Action::Close(wit::Remainder::Nothing) => Self::Close(Remainder::Nothing),
            wit::Action::Close(wit::Remainder::Unread) => Self::Close(Remainder::Unread),
        }
    }
}
