//! Writes capsules to a folder and bounds how many there are.
//!
//! Rules: a client never waits for the disk, and what waits for it is bounded. A capsule is in its file
//! whole or not at all, for nobody but the owner to read, and no link leads anywhere else. The journal
//! hears of a client whose capsule is kept when that is there, so that it names none that is not.

use std::collections::{HashSet, VecDeque};
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::fs::{AtFlags, Dir, Mode, OFlags};

use crate::ended::{Closed, Ended};
use crate::journal::Journal;
use crate::limits::{CAPSULE_PATIENCE, CAPSULES, CAPSULES_WAITING};
use crate::record::capsule::{Capsule, Secrets};
use crate::record::recording::Recording;
use crate::sandbox::instance::{Arrival, Terms};
use crate::sync::lock;

/// Where capsules go, and which.
#[derive(Debug)]
pub struct Capsules {
    folder: OwnedFd,
    whose: Whose,
    secrets: Secrets,
    /// The clients whose capsules are there from an earlier run, as far as they count.
    there: HashSet<u64>,
    at_most: usize,
    waiting: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Of clients whose end is [not ordinary](Closed::is_ordinary), and that were not just silent when the
    /// server was full.
    EndedBadly,
    All,
}

impl Capsules {
    /// Into this folder, which is made if it is not there: capsules of the clients that ended badly,
    /// without their secrets. Those of an earlier run count too: there are a thousand at most, and one with
    /// the number of the same client is replaced. Fails where nothing can be written.
    pub fn at(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder, flags, Mode::empty())?;
        // Something of the size of a small capsule, so that a full disk is found out as well.
        write(&folder, ".probe.unfinished", &[0; 4 << 10])?;
        rustix::fs::unlinkat(&folder, ".probe.unfinished", AtFlags::empty())?;
        let names = Dir::read_from(&folder)?.flatten();
        let client = |name: &[u8]| str::from_utf8(name).ok()?.strip_suffix(".capsule")?.parse().ok();
        let there = names.filter_map(|entry| client(entry.file_name().to_bytes())).take(CAPSULES).collect();
        let (whose, secrets) = (Whose::EndedBadly, Secrets::Redacted);
        Ok(Self { folder, whose, secrets, there, at_most: CAPSULES, waiting: CAPSULES_WAITING })
    }

    /// Without a bound on their number. For the trial of isolation, which looks into all of them.
    #[cfg(feature = "isolation-testing")]
    #[doc(hidden)]
    pub fn unbounded(mut self) -> Self {
        (self.at_most, self.waiting) = (usize::MAX, usize::MAX);
        self
    }

    /// Of all clients that said anything.
    pub fn of_all(mut self) -> Self {
        self.whose = Whose::All;
        self
    }

    /// With everything that clients send: passwords, cookies and queries too.
    pub fn with_secrets(mut self) -> Self {
        self.secrets = Secrets::Kept;
        self
    }
}

/// Writes a file that nobody else can read, whole or not at all.
fn write(folder: &OwnedFd, name: &str, bytes: &[u8]) -> io::Result<()> {
    // One may be left of a server that was killed. A link in its place is not followed.
    let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?;
    let written = File::from(file).write_all(bytes);
    if written.is_err() {
        let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
    }
    written
}

/// Writes capsules, on a thread of its own, until it is dropped.
pub(crate) struct Keeper {
    whose: Whose,
    at_most: usize,
    waiting: usize,
    queue: Arc<Queue>,
    journal: Arc<dyn Journal>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<Waiting>,
    added: Condvar,
    written: Condvar,
}

#[derive(Default)]
struct Waiting {
    queue: VecDeque<Kept>,
    /// How many capsules there are in the folder, or will be.
    taken: usize,
    /// Those of an earlier run among them that are not replaced yet.
    there: HashSet<u64>,
    /// Whether it was said that there will be no more.
    said_full: bool,
    /// How many were left out because the disk was slow, since that was last said.
    left_out: u64,
    /// Whether the writer has one in its hands.
    writing: bool,
    ended: bool,
}

/// A session of which a capsule is to be written.
struct Kept {
    recording: Box<Recording>,
    closed: Closed,
    /// Whether there is one of an earlier run in its place.
    replaces: bool,
}

/// What the thread works with.
struct Writer {
    folder: OwnedFd,
    secrets: Secrets,
    journal: Arc<dyn Journal>,
}

impl Keeper {
    pub(crate) fn start(capsules: Capsules, journal: Arc<dyn Journal>) -> io::Result<Self> {
        let Capsules { folder, whose, secrets, there, at_most, waiting } = capsules;
        let taken = there.len();
        if taken >= at_most {
            journal.notice(&format!("there are {taken} capsules of earlier runs, and there will be no more"));
        }
        let writer = Writer { folder, secrets, journal: Arc::clone(&journal) };
        let state = Mutex::new(Waiting { taken, there, said_full: taken >= at_most, ..Waiting::default() });
        let queue = Arc::new(Queue { state, ..Queue::default() });
        let shared = Arc::clone(&queue);
        thread::Builder::new().name("capsules".into()).spawn(move || shared.write_with(&writer))?;
        Ok(Self { whose, at_most, waiting, queue, journal })
    }

    /// Begins to record a client. None: there will be no more capsules anyway.
    pub(crate) fn record(&self, client: u64, arrival: Arrival, terms: &Arc<Terms>) -> Option<Box<Recording>> {
        let waiting = self.queue.lock();
        let has_room = waiting.taken < self.at_most || waiting.there.contains(&client);
        has_room.then(|| Box::new(Recording::new(client, arrival, terms)))
    }

    /// Takes the recording of a session that has ended, if it is one to be kept, and tells the journal when it is
    /// written. Otherwise gives back what the journal is to be told.
    pub(crate) fn take(&self, recording: Box<Recording>, closed: Closed) -> Option<Closed> {
        let ended_well = closed.is_ordinary() || closed.ended == Ended::Displaced;
        if self.whose == Whose::EndedBadly && ended_well {
            return Some(closed);
        }
        let mut waiting = self.queue.lock();
        let replaces = waiting.there.contains(&closed.client);
        if !replaces && waiting.taken >= self.at_most {
            return Some(closed);
        }
        if waiting.queue.len() >= self.waiting {
            waiting.left_out += 1;
            return Some(closed);
        }
        if replaces {
            waiting.there.remove(&closed.client);
        } else {
            waiting.taken += 1;
        }
        waiting.queue.push_back(Kept { recording, closed, replaces });
        if waiting.taken >= self.at_most && !std::mem::replace(&mut waiting.said_full, true) {
            self.journal.notice(&format!("there are {} capsules now, and there will be no more", self.at_most));
        }
        drop(waiting);
        self.queue.added.notify_one();
        None
    }

    /// Waits until all capsules so far are written, but not for ever. What is not written then never will
    /// be, and the journal is told of those clients.
    pub(crate) fn flush(&self) {
        let busy = |waiting: &mut Waiting| waiting.writing || !waiting.queue.is_empty();
        let waited = self.queue.written.wait_timeout_while(self.queue.lock(), CAPSULE_PATIENCE, busy);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let unwritten = std::mem::take(&mut waiting.queue);
        let left_out = std::mem::take(&mut waiting.left_out) + unwritten.len() as u64;
        drop(waiting);
        unwritten.iter().for_each(|kept| self.journal.closed(&kept.closed));
        say_left_out(&*self.journal, left_out);
    }
}

fn say_left_out(journal: &dyn Journal, count: u64) {
    if count > 0 {
        journal.notice(&format!("{count} capsules left out: they are written too slowly"));
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.queue.lock().ended = true;
        self.queue.added.notify_one();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        lock(&self.state)
    }

    fn write_with(&self, writer: &Writer) {
        let mut fails = false;
        loop {
            let idle = |waiting: &mut Waiting| waiting.queue.is_empty() && !waiting.ended;
            let mut waiting = self.added.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
            let Some(Kept { recording, mut closed, replaces }) = waiting.queue.pop_front() else { return };
            waiting.writing = true;
            drop(waiting);
            let written = writer.write(*recording, &closed);
            match &written {
                Ok(()) => closed.capsule = Some(Capsule::file_name(closed.client)),
                // Once, until one can be written again.
                Err(error) if !fails => writer.journal.notice(&format!("capsules cannot be written: {error}")),
                Err(_) => {}
            }
            fails = written.is_err();
            writer.journal.closed(&closed);

            let mut waiting = self.lock();
            if fails && replaces {
                waiting.there.insert(closed.client);
            } else if fails {
                waiting.taken -= 1;
            }
            if waiting.queue.is_empty() {
                say_left_out(&*writer.journal, std::mem::take(&mut waiting.left_out));
            }
            waiting.writing = false;
            drop(waiting);
            self.written.notify_all();
        }
    }
}

impl Writer {
    fn write(&self, recording: Recording, closed: &Closed) -> io::Result<()> {
        let mut capsule = recording.finish(&closed.ended);
        if self.secrets == Secrets::Redacted {
            capsule.redact();
        }
        let name = Capsule::file_name(capsule.client());
        let unfinished = format!(".{name}.unfinished");
        write(&self.folder, &unfinished, capsule.to_text()?.as_bytes())?;
        let named = rustix::fs::renameat(&self.folder, &unfinished, &self.folder, &name);
        if named.is_err() {
            let _ = rustix::fs::unlinkat(&self.folder, &unfinished, AtFlags::empty());
        }
        Ok(named?)
    }
}
