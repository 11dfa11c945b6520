//! `--log-file`: a log that can be moved away and opened anew.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::OFlags;

use crate::failure::Failure;
use crate::privileges::Account;

/// A file that lines are appended to. Clones are the same file.
#[derive(Clone)]
pub(crate) struct LogFile {
    path: Arc<Path>,
    file: Arc<Mutex<File>>,
}

impl LogFile {
    /// Opens the file, which is made if it is not there. `owner` is who will open it again.
    pub(crate) fn open(path: &Path, owner: Option<&Account>) -> Result<Self, Failure> {
        let file = append_to(path).and_then(|file| {
            if let Some(owner) = owner {
                fchown(&file, Some(owner.user().as_raw()), Some(owner.group().as_raw()))?;
            }
            Ok(file)
        });
        let file = file.map_err(|error| Failure::unwritable(path, &error))?;
        // The folder that the program is in may be another one by then.
        let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
        Ok(Self { path: path.into(), file: Arc::new(Mutex::new(file)) })
    }

    /// Opens what has the file's name now. If that fails, the log goes on in the old file.
    pub(crate) fn reopen(&self) -> Result<(), Failure> {
        let file = append_to(&self.path).map_err(|error| Failure::unwritable(&self.path, &error))?;
        *self.file() = file;
        Ok(())
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a file for appending, readable by its group as other logs are.
fn append_to(path: &Path) -> io::Result<File> {
    // Opening a FIFO would wait for a reader; one that nobody reads is an error instead.
    let nonblock = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().append(true).create(true).mode(0o640).custom_flags(nonblock).open(path)?;
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
    Ok(file)
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_was_moved_away_goes_on_in_a_new_file_once_it_is_opened_again() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (path, old) = (folder.path().join("log"), folder.path().join("log.1"));
        let mut log = LogFile::open(&path, None).expect("it can be made");
        log.write_all(b"one\n").expect("there is room");
        std::fs::rename(&path, &old).expect("it is there");
        log.write_all(b"two\n").expect("there is room");
        log.reopen().expect("it can be made");
        log.write_all(b"three\n").expect("there is room");
        let read = |path| std::fs::read_to_string(path).expect("it is there");
        assert_eq!((read(&old).as_str(), read(&path).as_str()), ("one\ntwo\n", "three\n"));
    }

    #[test]
    fn a_log_that_cannot_be_opened_again_goes_on_in_the_old_file() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("log");
        let mut log = LogFile::open(&path, None).expect("it can be made");
        std::fs::remove_file(&path).and_then(|()| std::fs::create_dir(&path)).expect("it is there");
        assert!(log.reopen().is_err());
        log.write_all(b"on\n").expect("the old file is still open");
    }
}
