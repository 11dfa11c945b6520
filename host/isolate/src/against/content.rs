//! What the victims ask for: fetched twice in peace, so that every byte is known.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::fetch::fetch;
use super::place::Place;
use super::response::{Response, field};
use crate::noise::Noise;

/// What a server answers with when nobody attacks it.
pub(crate) struct Content {
    pub(crate) bytes: Vec<u8>,
    pub(crate) sha256: String,
    pub(crate) ranges: Ranges,
    /// What the server says that it is.
    pub(crate) server: String,
    /// How long one of it took.
    pub(crate) took: Duration,
}

/// Whether parts can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ranges {
    Served,
    Ignored,
}

/// Less than this is in the kernel's buffers before anybody could stall.
const SHORTEST: usize = 1 << 20;

/// How long one download may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The part that one victim asks for at a time.
const PART: usize = 64 << 10;

impl Content {
    /// Fetches it twice, and tries whether a part can be asked for. An error is one sentence that says what is needed.
    pub(crate) fn check(place: &Place) -> Result<Self, String> {
        let what = format!("http://{}{}", place.host, place.target);
        let needs = "name something that is served to everybody, always the same, of at least 1 MiB";
        let get = || match fetch(place, None, PATIENCE) {
            Ok(Response { status: 200, head, body, .. }) => Ok((head, body)),
            Ok(Response { status, .. }) => Err(format!("{what} answers {status}: {needs}")),
            Err(complaint) => Err(format!("{what} cannot be fetched ({}): {needs}", complaint.what)),
        };
        let began = Instant::now();
        let (head, bytes) = get()?;
        let took = began.elapsed();
        if bytes.len() < SHORTEST {
            return Err(format!("{what} has {} bytes: {needs}", bytes.len()));
        }
        if get()?.1 != bytes {
            return Err(format!("{what} is not the same twice: {needs}"));
        }
        let served = match fetch(place, Some((1_000, 1_999)), PATIENCE) {
            Ok(response) => response.status == 206 && response.body == bytes[1_000..2_000],
            Err(_) => false,
        };
        let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let ranges = if served { Ranges::Served } else { Ranges::Ignored };
        Ok(Self { bytes, sha256, ranges, server: field(&head, "server").unwrap_or_default().to_owned(), took })
    }

    /// What somebody asks for next. None: all of it.
    pub(crate) fn part(&self, noise: &mut Noise) -> Option<(usize, usize)> {
        let first = noise.below(self.bytes.len() - PART);
        (self.ranges == Ranges::Served).then_some((first, first + PART - 1))
    }

    /// The bytes of a part.
    pub(crate) fn of(&self, part: Option<(usize, usize)>) -> &[u8] {
        part.map_or(&self.bytes, |(first, last)| &self.bytes[first..=last])
    }
}
