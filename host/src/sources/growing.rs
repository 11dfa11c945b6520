//! Files that are still being written, for clients that want what comes.
//!
//! Rule: whether a file has ended nobody says. It has when it has not grown for a while, or has lost its
//! last name (somebody put another in its place).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::Stat;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::sync::watch;

use super::content::Content;
use super::follow::{Progress, Source, Viewer};
use super::medium::Medium;
use crate::contract::Window;
use crate::limits::{FOLLOW_LOOK, FOLLOW_REST};
use crate::sync::lock;

/// The files of a server that are being written.
#[derive(Debug)]
pub(crate) struct Growing {
    /// How long a file may stay as it is before that is its end.
    idle: Duration,
    files: Arc<Mutex<Files>>,
    /// Whether what there is of a file is all of it, written or not.
    ended: AtomicBool,
}

/// A file, whatever it is called: device and inode.
type Key = (u64, u64);

type Files = HashMap<Key, Weak<File>>;

/// One such file. Watched as long as a client holds it.
#[derive(Debug)]
struct File {
    file: Arc<OwnedFd>,
    content: Arc<Content>,
    progress: watch::Sender<Progress>,
    grown: Mutex<Instant>,
}

impl Growing {
    pub(crate) fn new(idle: Duration) -> Self {
        Self { idle, files: Arc::default(), ended: AtomicBool::new(false) }
    }

    /// Whether a file was written so lately that there may be more. A time in the future says nothing of
    /// that, unless the clock of a file server is a little ahead.
    pub(crate) fn may_grow(&self, stat: &Stat) -> bool {
        !self.ended.load(Ordering::Relaxed) && stat.st_nlink > 0 && age(stat).unwrap_or_else(|ahead| ahead) < self.idle
    }

    /// Ends all files where they are now, for those who follow them and for those who come.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        let followed: Vec<_> = lock(&self.files).values().filter_map(Weak::upgrade).collect();
        followed.iter().filter(|file| !file.has_ended()).for_each(|file| file.look(Duration::ZERO));
    }

    /// Follows this file. None: it cannot be watched, and is what it is now.
    pub(crate) fn follow(&self, file: &Arc<OwnedFd>, stat: &Stat, medium: Medium) -> Option<Source> {
        let mut files = lock(&self.files);
        let key = (stat.st_dev, stat.st_ino);
        let known = files.get(&key).and_then(Weak::upgrade).filter(|file| !file.has_ended());
        let followed = known.unwrap_or_else(|| Arc::new(File::new(file, stat, medium)));
        if files.is_empty() {
            let (files, idle) = (Arc::clone(&self.files), self.idle);
            // Where the kernel tells nothing (some network file systems, too many watches), looking now
            // and then has to do.
            let news = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
            thread::Builder::new().name("follow".into()).spawn(move || watch(&files, idle, news.as_ref())).ok()?;
        }
        files.insert(key, Arc::downgrade(&followed));
        let progress = followed.progress.subscribe();
        Some(Source::growing(Arc::clone(&followed.content), progress, followed))
    }
}

impl Viewer for File {}

impl File {
    fn new(file: &Arc<OwnedFd>, stat: &Stat, medium: Medium) -> Self {
        let end = u64::try_from(stat.st_size).unwrap_or_default();
        let window = Window { start: 0, end, is_final: false };
        let grown = Instant::now().checked_sub(age(stat).unwrap_or_default()).unwrap_or_else(Instant::now);
        Self {
            file: Arc::clone(file),
            content: Arc::new(Content::boundless(Arc::clone(file), medium).modified_as(stat)),
            progress: watch::Sender::new(Progress { window, failed: None }),
            grown: Mutex::new(grown),
        }
    }

    fn has_ended(&self) -> bool {
        let now = self.progress.borrow();
        now.window.is_final || now.failed.is_some()
    }

    /// Looks how far the file goes by now.
    fn look(&self, idle: Duration) {
        let Ok(stat) = rustix::fs::fstat(&self.file) else { return };
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let mut grown = lock(&self.grown);
        self.progress.send_if_modified(|now| {
            if size < now.window.end {
                now.failed = Some("the file has become shorter".into());
                return true;
            }
            let more = size > now.window.end;
            if more {
                *grown = Instant::now();
            }
            now.window.end = size;
            now.window.is_final = stat.st_nlink == 0 || grown.elapsed() >= idle;
            more || now.window.is_final
        });
    }
}

/// Looks at all files whenever one of them may have changed, until there are none.
fn watch(files: &Mutex<Files>, idle: Duration, news: Option<&OwnedFd>) {
    let mut watches = HashMap::new();
    loop {
        let followed: Vec<(Key, Arc<File>)> = {
            let mut files = lock(files);
            files.retain(|_, file| file.upgrade().is_some_and(|file| !file.has_ended()));
            if files.is_empty() {
                return;
            }
            files.iter().filter_map(|(key, file)| Some((*key, file.upgrade()?))).collect()
        };
        if let Some(news) = news {
            let gone = watches.extract_if(|key, _| followed.iter().all(|(kept, _)| kept != key));
            for (_, gone) in gone {
                // The kernel may have done so itself, when the file was deleted.
                let _ = inotify::remove_watch(news, gone);
            }
            for (key, file) in &followed {
                if let Entry::Vacant(new) = watches.entry(*key) {
                    let path = format!("/proc/self/fd/{}", file.file.as_raw_fd());
                    if let Ok(added) = inotify::add_watch(news, path, WatchFlags::MODIFY | WatchFlags::ATTRIB) {
                        new.insert(added);
                    }
                }
            }
        }
        for (_, file) in &followed {
            file.look(idle);
        }
        drop(followed);
        thread::sleep(FOLLOW_REST);
        wait(news);
    }
}

/// Waits until a file may have changed.
fn wait(news: Option<&OwnedFd>) {
    let Some(news) = news else { return thread::sleep(FOLLOW_LOOK) };
    let patience = Timespec { tv_sec: 0, tv_nsec: i64::from(FOLLOW_LOOK.subsec_nanos()) };
    // Whatever comes of it, looking is all that there is to do.
    let _ = poll(&mut [PollFd::from_borrowed_fd(news.as_fd(), PollFlags::IN)], Some(&patience));
    let mut told = [0; 4 << 10];
    while rustix::io::read(news, &mut told).is_ok_and(|count| count > 0) {}
}

/// How long ago a file was written, or how far in the future that is.
fn age(stat: &Stat) -> Result<Duration, Duration> {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
    let written =
        SystemTime::UNIX_EPOCH + Duration::new(seconds, u32::try_from(stat.st_mtime_nsec).unwrap_or_default());
    written.elapsed().map_err(|ahead| ahead.duration())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Waits until the file is seen to go so far, or to have ended.
    fn sees(file: &File, is_it: impl Fn(&Progress) -> bool) {
        let began = Instant::now();
        while !is_it(&file.progress.borrow()) {
            assert!(began.elapsed() < Duration::from_secs(20), "{:?}", *file.progress.borrow());
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_file_is_followed_by_looking_where_the_kernel_tells_nothing() {
        for tells in [false, true] {
            let mut written = tempfile::NamedTempFile::new().expect("a file");
            let opened = Arc::new(OwnedFd::from(written.reopen().expect("the same file")));
            let stat = rustix::fs::fstat(&opened).expect("it is there");
            let file = Arc::new(File::new(&opened, &stat, Medium::Disk));
            let files = Mutex::new(Files::from([((stat.st_dev, stat.st_ino), Arc::downgrade(&file))]));
            let news = tells.then(|| inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).expect("news"));
            thread::scope(|scope| {
                scope.spawn(|| watch(&files, Duration::from_secs(3_600), news.as_ref()));
                for count in 1..=2 {
                    written.write_all(b"more").expect("there is room");
                    sees(&file, |now| now.window.end == 4 * count && !now.window.is_final);
                }
                written.close().expect("a file can be removed");
                sees(&file, |now| now.window.is_final);
                // The last of it is gone, and so is whoever looks.
            });
        }
    }
}
