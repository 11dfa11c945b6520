//! A hook that may reject requests before anything is opened: for authentication, and for other rules of an
//! operator.
//!
//! Rule: the guard sees every well-formed request, and no other, however many arrive on a connection and
//! however they are split into packets. It cannot change them.

use alloc::vec::Vec;

use crate::request::Request;
use crate::response::message::{Response, Site};
use crate::response::page::{self, Format};
use crate::status::Status;

/// Decides about a request. A pure function, like the session around it.
pub type Guard = fn(&Asked<'_>) -> Result<(), Denied>;

/// A well-formed request, before anything is opened for it.
#[derive(Debug)]
pub struct Asked<'a>(&'a Request);

impl<'a> Asked<'a> {
    /// The method, as it was sent.
    #[must_use]
    pub fn method(&self) -> &'a [u8] {
        self.0.line().split(|byte| *byte == b' ').next().unwrap_or_default()
    }

    /// The request target, as it was sent: neither decoded nor resolved. Two different targets may name the
    /// same source.
    #[must_use]
    pub fn target(&self) -> &'a [u8] {
        self.0.target()
    }

    /// The values of a field, in order and trimmed. The name is case-insensitive.
    pub fn fields(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.all_fields().filter_map(move |(said, value)| said.eq_ignore_ascii_case(name.as_bytes()).then_some(value))
    }
}

/// Why a request is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It lacks valid credentials: 401, with this challenge (visible ASCII) in `WWW-Authenticate`.
    Unauthorized(Vec<u8>),
    /// It may not have what it asks for: 403.
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

/// Asks the guard, if there is one.
pub(crate) fn ask(guard: Option<Guard>, request: &Request) -> Result<(), Denied> {
    guard.map_or(Ok(()), |guard| guard(&Asked(request)))
}
