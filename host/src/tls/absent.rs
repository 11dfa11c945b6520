//! In place of TLS where it is not built in: nobody has any of it.

use std::convert::Infallible;

use super::taken::Taken;
use crate::ended::TlsFault;

/// Certificates, of which there are none.
#[derive(Clone, Debug)]
pub(crate) struct Tls(Infallible);

/// TLS with one client, which nobody has.
pub(crate) struct Session(Infallible);

impl Tls {
    pub(crate) fn session(&self) -> Result<Session, TlsFault> {
        match self.0 {}
    }
}

impl Session {
    pub(crate) fn partial(&self) -> &[u8] {
        match self.0 {}
    }

    pub(crate) fn wanted(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn has_decrypted(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn has_finished(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn take_in(&mut self, _: &mut [u8], _: Option<&mut [u8]>) -> Result<Taken, TlsFault> {
        match self.0 {}
    }

    pub(crate) fn encrypt(&mut self, _: &[u8], _: &mut [u8]) -> Result<usize, TlsFault> {
        match self.0 {}
    }

    pub(crate) fn close(&mut self) {
        match self.0 {}
    }

    pub(crate) fn unsent(&self) -> &[u8] {
        match self.0 {}
    }

    pub(crate) fn has_sent(&mut self, _: usize) {
        match self.0 {}
    }

    pub(crate) fn keep_unsent(&mut self, _: &[u8]) {
        match self.0 {}
    }
}
