//! What somebody else has to say about a request before it is answered: the door for authentication, and
//! for whatever other rules an operator has.
//!
//! Rule: a guard is told of requests that are in order, and of each of them, however many came on a
//! connection and however they were cut into packets. It cannot change what is asked for.

use alloc::vec::Vec;

use crate::request::Request;
use crate::response::message::{Response, Site};
use crate::response::page::{self, Format};
use crate::status::Status;

/// Judges a request. A pure function, like the session around it.
pub type Guard = fn(&Asked<'_>) -> Result<(), Denied>;

/// A request that is in order, before anything is opened for it.
#[derive(Debug)]
pub struct Asked<'a>(&'a Request);

impl<'a> Asked<'a> {
    /// The method, as it was sent.
    #[must_use]
    pub fn method(&self) -> &'a [u8] {
        self.0.line().split(|byte| *byte == b' ').next().unwrap_or_default()
    }

    /// The request target, as it was sent: neither decoded nor resolved, so that two of them may well
    /// name the same source.
    #[must_use]
    pub fn target(&self) -> &'a [u8] {
        self.0.target()
    }

    /// The values of a field, in order and without blanks around them. Upper and lower case are the same
    /// in its name.
    pub fn fields(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.all_fields().filter_map(move |(said, value)| said.eq_ignore_ascii_case(name.as_bytes()).then_some(value))
    }
}

/// Why a request is not answered with what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It does not say who asks, or not so that it is believed: 401, with this challenge in
    /// `WWW-Authenticate`, which is visible ASCII.
    Unauthorized(Vec<u8>),
    /// Whoever asks may not have it: 403.
    Forbidden,
}

impl Denied {
    pub(crate) fn response<'a>(&self, site: Site<'a>, request: &Request) -> Response<'a> {
        let format = Format::of(request);
        match self {
            Self::Unauthorized(challenge) => {
                let mut response = page::error(site, Status::Unauthorized, format);
                response.own("WWW-Authenticate", challenge);
                response
            }
            Self::Forbidden => page::error(site, Status::Forbidden, format),
        }
    }
}

/// What the guard says, if there is one.
pub(crate) fn ask(guard: Option<Guard>, request: &Request) -> Result<(), Denied> {
    guard.map_or(Ok(()), |guard| guard(&Asked(request)))
}
