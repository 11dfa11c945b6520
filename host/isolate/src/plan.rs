//! What to try, for how long, and why it could not be tried.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use multiclient::Grant;

use crate::claim::Claim;

/// The component that fails on demand: the built-in guest with faults that its clients can ask for.
pub const FAULTY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/faulty.wasm"));

/// The handler for `wasi:http` 0.2 with faults that its clients can ask for: for trying the hosts of others.
pub const FAULTY_WASI_HTTP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/faulty-wasi-http.wasm"));

/// The same for `wasi:http` 0.3.
pub const FAULTY_WASI_HTTP_03: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/faulty-wasi-http-0.3.wasm"));

/// The built-in index with faults that its stream can ask for.
pub(crate) const FAULTY_INDEX: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/faulty-index.wasm"));

/// What to try, and how.
#[derive(Debug, Default)]
pub struct Plan {
    /// What the clients ask for; without one, files that are made for it.
    pub source: Option<PathBuf>,
    /// The component to be tried, and what it is granted; without one, the guest that is built in.
    /// Somebody else's cannot be asked to fail, so claims that need that are not tried.
    pub guest: Option<(Vec<u8>, BTreeSet<Grant>)>,
    /// The claims to try, in this order. Empty: all.
    pub only: Vec<Claim>,
    /// How long to look.
    pub pace: Pace,
    /// What all random choices are made from.
    pub seed: u64,
    /// A program that calls [`probe`](crate::probe()) with its arguments before it does anything else: this one,
    /// mostly. Without one, the claim `walls` is not tried.
    pub probe: Option<PathBuf>,
    /// What is wrong with the server that is tried.
    #[doc(hidden)]
    pub weakness: Option<Weakness>,
}

/// How long to look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// A minute at most.
    #[default]
    Thorough,
    /// A quarter of that.
    Quick,
}

/// Something that must not be found to hold. No server that serves can have it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// All clients share an instance.
    SharedInstance,
    /// Memory and CPU time are not limited.
    NoLimits,
    /// No walls are raised.
    NoWalls,
}

/// Why nothing could be tried.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct Failure {
    pub(crate) doing: &'static str,
    pub(crate) why: String,
}

impl Failure {
    pub(crate) fn of<E: std::fmt::Display>(doing: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self { doing, why: format!("{error:#}") }
    }
}

/// The times and counts of a pace.
pub(crate) struct Measures {
    /// Until all victims are connected and warm.
    pub(crate) warm: Duration,
    /// How long the victims are watched baseline.
    pub(crate) baseline: Duration,
    /// How long they are watched beside attackers.
    pub(crate) attacked: Duration,
    pub(crate) victims: usize,
    pub(crate) sessions: usize,
    /// How often attackers look into memory before they give up.
    pub(crate) probes: u64,
}

impl Pace {
    pub(crate) fn measures(self) -> Measures {
        let ms = Duration::from_millis;
        match self {
            Self::Thorough => Measures {
                warm: ms(300),
                baseline: ms(800),
                attacked: ms(1_400),
                victims: 50,
                sessions: 10_000,
                probes: 100,
            },
            Self::Quick => Measures {
                warm: ms(100),
                baseline: ms(200),
                attacked: ms(350),
                victims: 30,
                sessions: 1_000,
                probes: 20,
            },
        }
    }
}
