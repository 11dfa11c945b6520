//! Lists folders for clients: each portion once for all who ask for it at the same time.
//!
//! Rule: a folder is read only as long as somebody waits for it, within a time and a number of entries.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::ahead::Ahead;
use super::folder::{self, Effort, Folder, State};
use super::pool::{Owner, Pool, Waiting};
use super::root::Root;
use super::view::{Looked, View};
use crate::contract::{Listing, Portion, Refusal};
use crate::limits::LISTINGS;
use crate::sync::lock;

/// The folders of a server that are being read.
pub(super) struct Listings {
    pool: Pool,
    reading: Mutex<HashMap<Key, Vec<Waiter>>>,
    ahead: Ahead,
    care: Care,
}

/// Whether anybody cares who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    Taken,
    /// Each portion is read for itself and to its end, for one after the other. For the trial of isolation.
    NotTaken,
}

/// A portion of a folder, by whatever name it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    /// Device and inode of the folder that is published, and of the one that is listed.
    root: (u64, u64),
    folder: (u64, u64),
    after: Vec<u8>,
    most: usize,
}

/// Somebody who waits for a portion.
pub(super) struct Waiter {
    pub(super) view: View,
    pub(super) answer: oneshot::Sender<Looked<Arc<Listing>>>,
}

impl Waiter {
    pub(super) fn answer(self, found: Result<Arc<Listing>, Refusal>) {
        // Nobody may be waiting any more.
        let _ = self.answer.send(Looked { view: self.view, found });
    }
}

impl Listings {
    pub(super) fn new() -> Self {
        Self {
            pool: Pool::new("listing", LISTINGS),
            reading: Mutex::default(),
            ahead: Ahead::default(),
            care: Care::Taken,
        }
    }

    /// Takes no care from now on of who waits for what.
    pub(super) fn take_no_care(&mut self) {
        self.care = Care::NotTaken;
    }

    /// Has a thread do it.
    pub(super) fn spawn(
        &self,
        owner: Owner,
        work: impl FnOnce(oneshot::Sender<Looked<Arc<Listing>>>, Option<Handle>) + Send + 'static,
    ) -> Waiting<Looked<Arc<Listing>>> {
        let runtime = Handle::try_current().ok();
        match self.care {
            Care::Taken => self.pool.spawn(owner, |answer| work(answer, runtime)),
            Care::NotTaken => self.pool.spawn(None, |answer| work(answer, runtime)).even_if_left(),
        }
    }

    /// Reads a portion for somebody, and for all who ask for the same meanwhile. If it is being read already,
    /// returns at once.
    pub(super) fn read(&self, root: &Root, portion: &Portion, waiter: Waiter, runtime: Option<&Handle>) {
        let after = folder::start(&portion.after);
        let folder = match Folder::open(root, &portion.folder) {
            Ok(folder) => folder,
            Err(refusal) => return waiter.answer(Err(refusal)),
        };
        let state = folder.state();
        if self.care == Care::NotTaken {
            let found = folder.list(after, folder::most(portion), None, Effort::new(|| true));
            return waiter.answer(found.map(|(listing, _)| Arc::new(listing)));
        }
        let Some(key) = self.join(root, state, portion, waiter) else { return };
        let reads = Reads::new(self, key);
        let known = self.ahead.get(state, after);
        let effort = Effort::new(|| reads.is_wanted());
        let found = folder.list(after, reads.key.most, known, effort).map(|(listing, names)| {
            if let Some(last) = listing.entries.last().filter(|_| !listing.complete) {
                self.ahead.keep(state, &names, &last.name, runtime);
            }
            Arc::new(listing)
        });
        for waiter in reads.finish() {
            waiter.answer(found.clone());
        }
    }

    /// Adds somebody to those who wait for a portion. None: another thread is reading it.
    fn join(&self, root: &Root, state: State, portion: &Portion, waiter: Waiter) -> Option<Key> {
        let most = folder::most(portion);
        let key =
            Key { root: root.identity(), folder: state.identity, after: folder::start(&portion.after).to_vec(), most };
        let mut reading = lock(&self.reading);
        if let Some(waiters) = reading.get_mut(&key) {
            waiters.push(waiter);
            return None;
        }
        reading.insert(key.clone(), vec![waiter]);
        Some(key)
    }
}

/// A portion that is being read.
struct Reads<'a> {
    listings: &'a Listings,
    key: Key,
    /// Whether nobody waits for it any more: what is kept under the key by now is somebody else's.
    given_up: Cell<bool>,
}

impl<'a> Reads<'a> {
    fn new(listings: &'a Listings, key: Key) -> Self {
        Self { listings, key, given_up: Cell::new(false) }
    }

    /// Whether anybody still waits for it. If not, whoever comes now begins anew.
    fn is_wanted(&self) -> bool {
        let mut reading = lock(&self.listings.reading);
        let waiters = reading.get(&self.key).filter(|_| !self.given_up.get());
        let wanted = waiters.is_some_and(|waiters| waiters.iter().any(|waiter| !waiter.answer.is_closed()));
        if !wanted && !self.given_up.replace(true) {
            reading.remove(&self.key);
        }
        wanted
    }

    /// Those who wait for it. Nobody does afterwards.
    fn finish(&self) -> Vec<Waiter> {
        let mut reading = lock(&self.listings.reading);
        if self.given_up.replace(true) { Vec::new() } else { reading.remove(&self.key).unwrap_or_default() }
    }
}

impl Drop for Reads<'_> {
    fn drop(&mut self) {
        // Only after a panic is anybody still there: they see that there is no answer.
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sources::medium::Look;
    use crate::sources::root::RootPath;

    type Answer = oneshot::Receiver<Looked<Arc<Listing>>>;

    fn waiter() -> (Waiter, Answer) {
        let (answer, answered) = oneshot::channel();
        (Waiter { view: View::default(), answer }, answered)
    }

    #[test]
    fn what_several_ask_for_is_read_once_and_what_nobody_waits_for_is_not() {
        let published = tempfile::tempdir().expect("a folder");
        fs::create_dir(published.path().join("sub")).expect("a folder");
        fs::write(published.path().join("sub/a"), "").expect("a file");
        std::os::unix::fs::symlink("sub", published.path().join("link")).expect("a link");
        let root = RootPath::new(published.path()).and_then(|path| Ok(path.now(Look::Disk)?)).expect("a folder");
        let listings = Listings::new();
        let portion = |name: &str, after: &str| Portion { folder: name.into(), after: after.into(), limit: 0 };
        let join = |portion: &Portion| {
            let (waiter, answer) = waiter();
            let folder = Folder::open(&root, &portion.folder).expect("it is there");
            (listings.join(&root, folder.state(), portion, waiter), answer)
        };

        let (first, first_answer) = join(&portion("sub", ""));
        let reads = Reads::new(&listings, first.expect("somebody has to read it"));
        // Whatever it is called; but another portion is another one.
        let (second, mut second_answer) = join(&portion("link", ""));
        assert_eq!(second, None);
        assert!(join(&portion("sub", "a")).0.is_some());
        drop(first_answer);
        assert!(reads.is_wanted());
        // An answer to one is an answer to all who still wait.
        reads.finish().into_iter().for_each(|waiter| waiter.answer(Err(Refusal::Failed)));
        assert_eq!(second_answer.try_recv().expect("it was answered").found, Err(Refusal::Failed));

        let (key, answer) = join(&portion("sub", ""));
        let reads = Reads::new(&listings, key.expect("nobody reads it any more"));
        drop(answer);
        assert!(!reads.is_wanted());
        // Whoever comes after that gets nothing of what was given up, and keeps its own.
        let (next, _answer) = join(&portion("sub", ""));
        let next = Reads::new(&listings, next.expect("somebody has to read it"));
        assert!(reads.finish().is_empty());
        drop(reads);
        assert!(next.is_wanted());
        drop(next);
        let (waiter, answered) = waiter();
        listings.read(&root, &portion("link", ""), waiter, None);
        let listing = answered.blocking_recv().expect("it was answered").found.expect("it can be listed");
        assert_eq!(listing.entries.len(), 1);
    }
}
