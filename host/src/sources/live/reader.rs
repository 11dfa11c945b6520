//! Reads a live source, on a thread of its own.
//!
//! Rule: nothing here waits for a viewer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::fifo::Fifo;
use super::indexed::{Indexes, MakeIndex};
use super::life::{Life, Shared};
use super::notices::{Notices, Say};
use crate::contract::{Loss, Mark, Marks};
use crate::journal::{Journal, Size};
use crate::limits::{FIFO_LOOK, INDEX_PIECE, LIVE_BLOCK, LIVE_LIVES, LIVE_READ_BYTES, LIVE_REST, LIVE_UNSEEN};
use crate::sources::content;
use crate::sync::lock;

/// Where it comes from.
#[derive(Debug)]
pub(crate) enum Input {
    /// A pipe, a socket, a device: it ends once.
    Stream(OwnedFd),
    /// A FIFO: it comes back with its next writer.
    Fifo(PathBuf),
}

/// The one that reads.
pub(super) struct Reader {
    shared: Arc<Shared>,
    journal: Arc<dyn Journal>,
    input: OwnedFd,
    /// Where the input is found again when its writer is gone.
    fifo: Option<Fifo>,
    life: Arc<Life>,
    buffer: Vec<u8>,
    make_index: Option<MakeIndex>,
    /// Of this life, as long as it is of use.
    index: Option<Box<dyn Indexes>>,
    notices: Notices,
    /// How much of this life has been written to its memory, how much of that will not change any more, and
    /// how much viewers were told of.
    written: u64,
    settled: u64,
    said: u64,
    said_at: Instant,
    began: Instant,
}

/// Why reading has come to a stop.
enum Stop {
    /// The writer is gone.
    WriterGone,
    /// The server stops.
    Told,
}

impl Reader {
    pub(super) fn new(
        shared: Arc<Shared>,
        input: Input,
        journal: Arc<dyn Journal>,
        make_index: Option<MakeIndex>,
    ) -> io::Result<Self> {
        let (input, fifo) = match input {
            Input::Stream(stream) => {
                // A larger pipe lets the writer go on while what it wrote is told of. Not everything is a pipe.
                let _ = rustix::pipe::fcntl_setpipe_size(&stream, LIVE_READ_BYTES);
                (stream, None)
            }
            Input::Fifo(path) => {
                let (fifo, input) = Fifo::open(path)?;
                (input, Some(fifo))
            }
        };
        let life = Arc::clone(&shared.lives().now);
        let now = Instant::now();
        Ok(Self {
            shared,
            journal,
            input,
            fifo,
            life,
            buffer: vec![0; LIVE_READ_BYTES],
            make_index,
            index: None,
            notices: Notices::new(now),
            written: 0,
            settled: 0,
            said: 0,
            said_at: now,
            began: now,
        })
    }

    pub(super) fn run(mut self) {
        loop {
            match self.read_to_the_end() {
                Ok(Stop::Told) => return self.end(),
                Ok(Stop::WriterGone) if self.fifo.is_none() || self.drains() => {
                    self.end();
                    return self.journal.notice(&format!("source ended   {}", self.so_far()));
                }
                Ok(Stop::WriterGone) => {
                    if let Err(error) = self.next_life() {
                        // The last writer was in order, and its viewers get to its end.
                        self.end();
                        return self
                            .journal
                            .notice(&format!("source ended   {}   and has no next writer: {error}", self.so_far()));
                    }
                }
                Err(why) => return self.fail(&why),
            }
        }
    }

    fn read_to_the_end(&mut self) -> Result<Stop, String> {
        loop {
            let nobody_writes = self.fifo.is_some() && self.written == 0;
            if self.shared.stopped.load(Ordering::Relaxed) || nobody_writes && self.drains() {
                return Ok(Stop::Told);
            }
            let due = LIVE_REST.saturating_sub(self.said_at.elapsed());
            let unsaid = self.settled - self.said;
            if unsaid > 0 && (due.is_zero() || unsaid >= most_unsaid(self.shared.settings.buffer)) {
                self.say().map_err(|error| format!("it cannot be kept: {error}"))?;
            }
            let patience = (self.settled > self.said).then_some(due);
            if !self.wait(patience).map_err(|error| format!("it cannot be waited for: {error}"))? {
                self.follow_fifo().map_err(|error| format!("it has no next writer: {error}"))?;
                continue;
            }
            match rustix::io::read(&self.input, &mut self.buffer[..]) {
                Ok(0) => return Ok(Stop::WriterGone),
                Ok(count) => {
                    if self.written == 0 {
                        self.began = Instant::now();
                        self.journal.notice("source begins");
                        self.start_index();
                    }
                    self.keep(count).map_err(cannot_be_kept)?;
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(format!("it cannot be read: {error}")),
            }
        }
    }

    fn drains(&self) -> bool {
        self.shared.drains.load(Ordering::Relaxed)
    }

    /// Waits for the input, and says whether there may be something.
    fn wait(&self, mut patience: Option<Duration>) -> io::Result<bool> {
        let settings = &self.shared.settings;
        let mut held = settings.hold && self.written >= settings.reach() && !self.shared.is_watched();
        if let Some(fifo) = self.fifo.as_ref().filter(|_| self.written == 0) {
            let rest = fifo.rest();
            held |= !rest.is_zero();
            patience = Some(if rest.is_zero() { FIFO_LOOK } else { rest });
        }
        let wake = self.shared.wake.as_fd();
        let mut waited = vec![PollFd::from_borrowed_fd(wake, PollFlags::IN)];
        if !held {
            waited.push(PollFd::from_borrowed_fd(self.input.as_fd(), PollFlags::IN));
        }
        let patience = patience.map(|patience| Timespec {
            tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(patience.subsec_nanos()),
        });
        match poll(&mut waited, patience.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        if !waited[0].revents().is_empty() {
            clear(wake);
        }
        Ok(waited.get(1).is_some_and(|input| !input.revents().is_empty()))
    }

    /// While no writer is there: goes where the next one will come.
    fn follow_fifo(&mut self) -> io::Result<()> {
        if let Some(fifo) = self.fifo.as_mut().filter(|_| self.written == 0)
            && fifo.was_replaced()?
        {
            self.input = fifo.reopen()?;
        }
        Ok(())
    }

    fn keep(&mut self, count: usize) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        let kept = buffer[..count].chunks(INDEX_PIECE).try_for_each(|piece| self.keep_piece(piece));
        self.buffer = buffer;
        kept
    }

    /// Writes what came to the memory, and lets the index see it.
    fn keep_piece(&mut self, piece: &[u8]) -> io::Result<()> {
        content::write_all(&self.life.memory, piece, self.written)?;
        self.written += piece.len() as u64;
        match self.index.as_mut().map(|index| index.advance(piece)) {
            None => self.settled = self.written,
            Some(Ok(marks)) => self.apply(marks)?,
            Some(Err(why)) => self.drop_index(&why),
        }
        Ok(())
    }

    fn start_index(&mut self) {
        match self.make_index.as_ref().map(|make| make()) {
            None => self.index = None,
            Some(Ok(index)) => self.index = Some(index),
            Some(Err(why)) => self.drop_index(&why),
        }
    }

    /// Goes on without the index: viewers begin wherever they come.
    fn drop_index(&mut self, why: &str) {
        self.index = None;
        self.settled = self.written;
        lock(&self.life.joins).lose();
        self.notice(&format!("index dropped: {why}; viewers that join late may have to wait for a key frame"));
    }

    /// Says what was found in the stream, unless there is too much of it.
    fn notice(&mut self, text: &str) {
        match self.notices.next(Instant::now()) {
            Say::Yes => self.journal.notice(text),
            Say::Enough => self.journal.notice("source changes often: more of that is not told for up to a minute"),
            Say::Nothing => {}
        }
    }

    fn apply(&mut self, marks: Marks) -> io::Result<()> {
        for mark in marks.marks {
            match mark {
                Mark::Patch(patch) => content::write_all(&self.life.memory, &patch.bytes, patch.offset)?,
                Mark::Header(header) => {
                    lock(&self.life.joins).header(&header)?;
                    let (format, bytes) = (&header.format, Size(header.bytes.len() as u64));
                    self.notice(&format!("source is {format}   header {bytes}"));
                }
                Mark::Join(join) => lock(&self.life.joins).join(join, self.shared.settings.buffer),
                Mark::End(offset) => lock(&self.life.joins).end(offset),
                Mark::Lost(loss) => self.lose(loss),
            }
        }
        self.settled = if self.index.is_some() { marks.settled } else { self.written };
        Ok(())
    }

    fn lose(&mut self, loss: Loss) {
        lock(&self.life.joins).lose();
        if matches!(loss, Loss::Unrecognized) {
            // It stays so for the rest of this life.
            self.index = None;
        }
        let why = match loss {
            Loss::Unrecognized => "the format is not one that the index knows",
            Loss::Oversized => "its header is too long",
            Loss::Unjoinable => "this form of it cannot be joined late",
            Loss::Malformed => "it does not follow its format any more",
        };
        self.notice(&format!("source without places to join: {why}"));
    }

    /// Tells everybody how far it has come, and gives up what is too old.
    fn say(&mut self) -> io::Result<()> {
        // Whole blocks, so that the kernel takes pages away and never clears a part of one that is still
        // on its way to somebody.
        let start = self.settled.saturating_sub(self.shared.settings.buffer) / LIVE_BLOCK * LIVE_BLOCK;
        let mut before = 0;
        self.life.progress.send_modify(|now| {
            before = now.window.start;
            (now.window.start, now.window.end) = (start, self.settled);
        });
        lock(&self.life.joins).forget(start);
        self.life.give_back(before, start)?;
        (self.said, self.said_at) = (self.settled, Instant::now());
        Ok(())
    }

    /// Tells everybody that this is all.
    fn end(&mut self) {
        if let Some(Ok(marks)) = self.index.take().map(|mut index| index.finish()) {
            // Patches that cannot be written any more are of no use to anybody.
            let _ = self.apply(marks);
        }
        self.life.progress.send_modify(|now| (now.window.end, now.window.is_final) = (self.written, true));
    }

    fn fail(&self, why: &str) {
        self.life.progress.send_modify(|now| {
            now.window.end = self.written;
            now.failed = Some(why.to_owned());
        });
        self.journal.notice(&format!("source failed: {why}"));
    }

    /// Waits for the next writer of a FIFO.
    fn next_life(&mut self) -> io::Result<()> {
        if let Some(fifo) = &mut self.fifo {
            // Before the old one is closed: somebody who writes already must not find nobody listening.
            self.input = fifo.reopen()?;
        }
        if self.written == 0 {
            // A writer that wrote nothing was none.
            return Ok(());
        }
        let next = Arc::new(Life::new(&self.shared.settings)?);
        {
            let mut lives = self.shared.lives();
            let before = std::mem::replace(&mut lives.now, Arc::clone(&next));
            lives.before.retain(|life| life.strong_count() > 0);
            lives.before.push(Arc::downgrade(&before));
            if lives.before.len() > LIVE_LIVES {
                // Somebody is slow to watch the end of it, and writers come and go: it is memory.
                if let Some(oldest) = lives.before.remove(0).upgrade() {
                    oldest.forget()?;
                }
            }
        }
        self.end();
        self.journal.notice(&format!("source ended, and waits for its next writer   {}", self.so_far()));
        (self.life, self.written, self.settled, self.said) = (next, 0, 0, 0);
        Ok(())
    }

    fn so_far(&self) -> String {
        format!("{} in {} s", Size(self.written), self.began.elapsed().as_secs())
    }
}

/// Bytes that are told of without a rest. A part of the buffer at most: what has left it before a viewer is told of it
/// is lost to everybody.
fn most_unsaid(buffer: u64) -> u64 {
    LIVE_UNSEEN.min(buffer / 4)
}

/// What a live source has in memory counts as a file, and may be limited like one.
fn cannot_be_kept(error: io::Error) -> String {
    match Errno::from_io_error(&error) {
        Some(Errno::FBIG) => {
            "it is larger than a file may be here (raise `ulimit -f`, or LimitFSIZE= of the service)".into()
        }
        _ => format!("it cannot be kept: {error}"),
    }
}

fn clear(eventfd: BorrowedFd<'_>) {
    // There is nothing in it, or there is: both are fine.
    let _ = rustix::io::read(eventfd, &mut [0; 8]);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::OpenOptionsExt;
    use std::path::Path;
    use std::process::Command;
    use std::sync::Mutex;
    use std::{env, thread};

    use rustix::fs::{CWD, FileType, Mode, OFlags};

    use super::super::options::Live;
    use super::super::source::LiveSource;
    use super::*;
    use crate::limits::FIFO_REST;

    #[derive(Default)]
    struct Notices(Mutex<Vec<String>>);

    impl Journal for Notices {
        fn notice(&self, text: &str) {
            lock(&self.0).push(text.to_owned());
        }
    }

    impl Notices {
        fn count(&self, text: &str) -> usize {
            lock(&self.0).iter().filter(|notice| notice.contains(text)).count()
        }
    }

    fn eventually(what: &str, mut is_it: impl FnMut() -> bool) {
        let began = Instant::now();
        while !is_it() {
            assert!(began.elapsed() < Duration::from_secs(20), "not seen: {what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn make_fifo(path: &Path) {
        rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a FIFO can be made");
    }

    /// Opens a FIFO as a writer, when somebody reads it.
    fn writer(path: &Path) -> fs::File {
        let mut writer = None;
        eventually("somebody reads the FIFO", || {
            let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag");
            writer = fs::File::options().write(true).custom_flags(flags).open(path).ok();
            writer.is_some()
        });
        writer.expect("it was opened")
    }

    fn reads(path: &Path) -> (LiveSource, Arc<Notices>) {
        let notices = Arc::new(Notices::default());
        let live = LiveSource::new(Input::Fifo(path.to_owned()), Live::default()).expect("there is memory");
        live.start(&(Arc::clone(&notices) as Arc<dyn Journal>), None).expect("it can be read");
        (live, notices)
    }

    #[test]
    fn viewers_are_told_long_before_a_small_buffer_is_full() {
        for buffer in [0, 64 << 10, 128 << 10, 1 << 20, 16 << 20] {
            assert!(4 * most_unsaid(buffer) <= buffer && most_unsaid(buffer) <= LIVE_UNSEEN, "{buffer}");
        }
    }

    #[test]
    fn a_fifo_that_a_file_replaces_ends_with_its_last_writer() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fifo");
        make_fifo(&path);
        let (_live, notices) = reads(&path);
        let mut writer = writer(&path);
        io::Write::write_all(&mut writer, b"the last").expect("somebody reads");
        fs::write(folder.path().join("file"), "not a stream").expect("a file");
        fs::rename(folder.path().join("file"), &path).expect("a rename");
        drop(writer);
        eventually("the end", || notices.count("has no next writer: what is there now is not a FIFO") == 1);
        assert_eq!(notices.count(""), 2, "its beginning and its end: {:?}", notices.0);
    }

    #[test]
    fn a_fifo_that_is_replaced_while_nobody_writes_is_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fifo");
        make_fifo(&path);
        let (live, notices) = reads(&path);
        make_fifo(&folder.path().join("next"));
        fs::rename(folder.path().join("next"), &path).expect("a rename");
        io::Write::write_all(&mut writer(&path), b"hello").expect("somebody reads");
        eventually("what was written", || notices.count("source ended, and waits") == 1);
        fs::remove_file(&path).expect("it can be removed");
        fs::write(&path, "not a stream").expect("a file");
        eventually("the end", || notices.count("source failed: it has no next writer: what is there now is not") == 1);
        assert_eq!(live.open().map(|_| ()), Err(crate::contract::Refusal::NotFound));
    }

    #[test]
    fn writers_that_come_and_go_in_a_circle_are_not_hurried_after() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fifo");
        make_fifo(&path);
        let (_live, notices) = reads(&path);
        let began = Instant::now();
        while began.elapsed() < 5 * FIFO_REST {
            // Nobody may be reading just now.
            let _ = io::Write::write_all(&mut writer(&path), b".");
        }
        let lives = notices.count("source ended");
        assert!((1..=7).contains(&lives), "{lives} lives");
    }

    /// Runs this test again, alone in a process that may make no file larger than a few hundred KiB.
    #[test]
    fn a_stream_that_is_larger_than_a_file_may_be_ends_with_a_reason() {
        const ALONE: &str = "MULTICLIENT_TEST_ALONE";
        if env::var_os(ALONE).is_none() {
            let name = "sources::live::reader::tests::a_stream_that_is_larger_than_a_file_may_be_ends_with_a_reason";
            let script = format!("trap '' XFSZ; ulimit -f 256; exec \"$0\" --exact {name}");
            let program = env::current_exe().expect("this test");
            let output = Command::new("sh").arg("-c").arg(script).arg(program).env(ALONE, "1").output();
            let output = output.expect("there is a shell");
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let notices = Arc::new(Notices::default());
        let live = LiveSource::new(Input::Stream(reader.into()), Live::default()).expect("there is memory");
        live.start(&(Arc::clone(&notices) as Arc<dyn Journal>), None).expect("it can be read");
        // Until nobody reads any more.
        while io::Write::write_all(&mut writer, &[7; 64 << 10]).is_ok() {}
        eventually("the reason", || notices.count("source failed: it is larger than a file may be here") == 1);
    }
}
