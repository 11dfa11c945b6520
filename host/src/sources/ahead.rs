//! Names of folders that were read for one portion of a listing, for the portions after it.
//!
//! A folder is read from its beginning for each portion, because file systems know no order. Of one with many
//! names, more are kept than a portion has, as long as the folder does not change and somebody goes on.

use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::time::sleep;

use super::folder::{Names, State};
use crate::limits::{LISTING_AHEAD, LISTING_AHEAD_KEPT};
use crate::sync::lock;

/// What is kept of the folders of a server.
#[derive(Debug, Default)]
pub(super) struct Ahead(Arc<Mutex<Vec<Kept>>>);

#[derive(Debug)]
struct Kept {
    folder: State,
    names: Arc<Names>,
    /// Whether somebody has used it since it was last looked at.
    used: bool,
}

impl Ahead {
    /// Names of this folder among which are those that come after this one.
    pub(super) fn get(&self, folder: State, after: &[u8]) -> Option<Arc<Names>> {
        let mut kept = lock(&self.0);
        let has = |kept: &&mut Kept| kept.folder == folder && kept.names.position(after).is_some();
        let found = kept.iter_mut().find(has)?;
        found.used = true;
        Some(Arc::clone(&found.names))
    }

    /// Keeps names, if there are any after this one, until nobody has used them for a while. Without a loop to
    /// forget them later they are not kept.
    pub(super) fn keep(&self, folder: State, names: &Arc<Names>, after: &[u8], runtime: Option<&Handle>) {
        let Some(runtime) = runtime.filter(|_| names.goes_beyond(after)) else { return };
        let mut kept = lock(&self.0);
        if kept.iter().any(|kept| Arc::ptr_eq(&kept.names, names)) {
            return;
        }
        if kept.is_empty() {
            runtime.spawn(forget(Arc::clone(&self.0)));
        }
        if kept.len() == LISTING_AHEAD {
            kept.remove(0);
        }
        kept.push(Kept { folder, names: Arc::clone(names), used: true });
    }
}

async fn forget(names: Arc<Mutex<Vec<Kept>>>) {
    loop {
        sleep(LISTING_AHEAD_KEPT).await;
        let mut names = lock(&names);
        names.retain_mut(|kept| std::mem::take(&mut kept.used));
        if names.is_empty() {
            return;
        }
    }
}
