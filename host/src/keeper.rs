//! Keeps capsules: of whose lives, in which folder, and how many.
//!
//! Rules: a client never waits for the disk, and what waits for it is bounded. A capsule is in its file
//! whole or not at all, for nobody but the owner to read, and no link leads anywhere else.

use std::collections::VecDeque;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::fs::{AtFlags, Mode, OFlags};

use crate::capsule::{Capsule, Recording, Secrets};
use crate::ended::{Ended, Life};
use crate::journal::Journal;
use crate::limits::{CAPSULE_PATIENCE, CAPSULES, CAPSULES_WAITING, Limits};
use crate::sandbox::Guest;
use crate::server::Settings;

/// Where capsules go, and which.
#[derive(Debug)]
pub struct Capsules {
    folder: OwnedFd,
    whose: Whose,
    secrets: Secrets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Of clients whose life is [not ordinary](Life::is_ordinary).
    EndedBadly,
    All,
}

impl Capsules {
    /// Into this folder, which is made if it is not there: capsules of the clients that ended badly,
    /// without their secrets. A capsule there with the number of the same client is replaced.
    pub fn at(folder: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(folder, flags, Mode::empty())?;
        Ok(Self { folder, whose: Whose::EndedBadly, secrets: Secrets::Hidden })
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

/// Writes capsules, on a thread of its own, until it is dropped.
pub(crate) struct Keeper {
    whose: Whose,
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<Waiting>,
    added: Condvar,
    written: Condvar,
}

#[derive(Default)]
struct Waiting {
    lives: VecDeque<(Box<Recording>, Ended)>,
    /// How many there were so far.
    taken: usize,
    /// Whether it was said that some are left out.
    said_slow: bool,
    /// Whether the writer has one in its hands.
    writing: bool,
    ended: bool,
}

/// What the thread works with.
struct Writer {
    folder: OwnedFd,
    secrets: Secrets,
    settings: Settings,
    home: Option<Vec<u8>>,
    journal: Arc<dyn Journal>,
}

impl Keeper {
    /// `settings` and `home` are those of all sessions.
    pub(crate) fn start(
        capsules: Capsules,
        settings: Settings,
        home: Option<&[u8]>,
        journal: Arc<dyn Journal>,
    ) -> io::Result<Self> {
        let Capsules { folder, whose, secrets } = capsules;
        let writer = Writer { folder, secrets, settings, home: home.map(<[u8]>::to_vec), journal };
        let queue = Arc::new(Queue::default());
        let shared = Arc::clone(&queue);
        thread::Builder::new().name("capsules".into()).spawn(move || shared.write_with(&writer))?;
        Ok(Self { whose, queue })
    }

    /// Begins to record a client. None: there will be no more capsules anyway.
    pub(crate) fn record(
        &self,
        client: u64,
        at_capacity: bool,
        guest: &Arc<Guest>,
        limits: &Arc<Limits>,
    ) -> Option<Box<Recording>> {
        (self.queue.lock().taken < CAPSULES).then(|| Box::new(Recording::new(client, at_capacity, guest, limits)))
    }

    /// Takes the recording of a life that is over, if it is one to be kept, and says what its capsule will
    /// be called.
    pub(crate) fn take(&self, recording: Box<Recording>, life: &Life, journal: &dyn Journal) -> Option<String> {
        if self.whose == Whose::EndedBadly && life.is_ordinary() {
            return None;
        }
        let mut waiting = self.queue.lock();
        if waiting.taken >= CAPSULES {
            return None;
        }
        if waiting.lives.len() >= CAPSULES_WAITING {
            if !std::mem::replace(&mut waiting.said_slow, true) {
                journal.notice("some capsules are left out: they are written too slowly");
            }
            return None;
        }
        waiting.taken += 1;
        waiting.lives.push_back((recording, life.ended.clone()));
        if waiting.taken == CAPSULES {
            journal.notice(&format!("there are {CAPSULES} capsules now, and there will be no more"));
        }
        drop(waiting);
        self.queue.added.notify_one();
        Some(Capsule::file_name(life.client))
    }

    /// Waits until all capsules so far are written, but not for ever.
    pub(crate) fn flush(&self) {
        let busy = |waiting: &mut Waiting| waiting.writing || !waiting.lives.is_empty();
        drop(self.queue.written.wait_timeout_while(self.queue.lock(), CAPSULE_PATIENCE, busy));
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
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_with(&self, writer: &Writer) {
        let mut said_failed = false;
        loop {
            let idle = |waiting: &mut Waiting| waiting.lives.is_empty() && !waiting.ended;
            let mut waiting = self.added.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner);
            let Some((recording, ended)) = waiting.lives.pop_front() else { return };
            waiting.writing = true;
            drop(waiting);
            if let Err(error) = writer.write(*recording, &ended)
                && !std::mem::replace(&mut said_failed, true)
            {
                writer.journal.notice(&format!("capsules cannot be written: {error}"));
            }
            self.lock().writing = false;
            self.written.notify_all();
        }
    }
}

impl Writer {
    fn write(&self, recording: Recording, ended: &Ended) -> io::Result<()> {
        let mut capsule = recording.finish(ended, &self.settings, self.home.as_deref());
        if self.secrets == Secrets::Hidden {
            capsule.hide_secrets();
        }
        let name = Capsule::file_name(capsule.client());
        let unfinished = format!(".{name}.unfinished");
        // One may be left of a server that was killed. A link in its place is not followed.
        let _ = rustix::fs::unlinkat(&self.folder, &unfinished, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, &unfinished, flags, Mode::RUSR | Mode::WUSR)?;
        let written = File::from(file)
            .write_all(capsule.to_text()?.as_bytes())
            .and_then(|()| Ok(rustix::fs::renameat(&self.folder, &unfinished, &self.folder, &name)?));
        if written.is_err() {
            let _ = rustix::fs::unlinkat(&self.folder, &unfinished, AtFlags::empty());
        }
        written
    }
}
