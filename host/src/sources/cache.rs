//! Files that were opened a moment ago, for whoever wants them next.
//!
//! A file is opened once for all clients that ask for it at about the same time. Before it is given out
//! again its name is looked up, unless that was done a few milliseconds ago: a client never gets what the
//! name has not stood for since then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::fs::Stat;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::content::Content;
use crate::limits::{OPEN_FILE_CHECK, OPEN_FILES, OPEN_FILES_KEPT};
use crate::sync::lock;

/// The open files of a server.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    files: Arc<Mutex<HashMap<Vec<u8>, Kept>>>,
}

#[derive(Debug)]
struct Kept {
    content: Arc<Content>,
    identity: Identity,
    /// When its name was last looked up.
    checked: Instant,
    /// Whether somebody has asked for it since it was last looked at.
    wanted: bool,
}

/// What was opened by a name.
pub(crate) enum Opened {
    /// The name stood for it a moment ago.
    Fresh(Arc<Content>),
    /// The name has to be looked up. Whoever finds that it still stands for this says so to
    /// [`checked`](Cache::checked).
    Stale(Arc<Content>, Identity),
}

/// What is different when a name leads to another file, or the same one has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, u64),
    /// Changes too when only the rights do.
    changed: (i64, u64),
}

impl From<&Stat> for Identity {
    fn from(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

impl Cache {
    /// What was opened by this name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Opened> {
        let mut files = lock(&self.files);
        let kept = files.get_mut(name)?;
        kept.wanted = true;
        let content = Arc::clone(&kept.content);
        Some(match kept.checked.elapsed() < OPEN_FILE_CHECK {
            true => Opened::Fresh(content),
            false => Opened::Stale(content, kept.identity),
        })
    }

    /// Notes that a name still stands for the file with this identity.
    pub(crate) fn checked(&self, name: &[u8], identity: Identity) {
        if let Some(kept) = lock(&self.files).get_mut(name).filter(|kept| kept.identity == identity) {
            kept.checked = Instant::now();
        }
    }

    /// Keeps a file for those who want it next. Without a loop to forget it later it is not kept.
    pub(crate) fn keep(&self, name: &[u8], content: &Arc<Content>, identity: Identity) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut files = lock(&self.files);
        if files.len() >= OPEN_FILES && !files.contains_key(name) {
            return;
        }
        if files.is_empty() {
            runtime.spawn(forget(Arc::clone(&self.files)));
        }
        let kept = Kept { content: Arc::clone(content), identity, checked: Instant::now(), wanted: true };
        files.insert(name.to_owned(), kept);
    }
}

/// Forgets what nobody has asked for lately: a file that was deleted takes its space on the disk as long
/// as it is open.
async fn forget(files: Arc<Mutex<HashMap<Vec<u8>, Kept>>>) {
    loop {
        sleep(OPEN_FILES_KEPT).await;
        let mut files = lock(&files);
        files.retain(|_, kept| std::mem::take(&mut kept.wanted));
        if files.is_empty() {
            return;
        }
    }
}
