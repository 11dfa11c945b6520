//! What is shown of the server that clients use.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use multiclient::{Limits, Observer};

use super::counts::Counts;
use super::process::Process;

/// What is shown of the server that clients use.
pub(super) struct Watched {
    pub(super) observer: Observer,
    pub(super) limits: Limits,
    pub(super) counts: Arc<Counts>,
    pub(super) process: Process,
    pub(super) began: SystemTime,
    pub(super) is_ready: AtomicBool,
}
