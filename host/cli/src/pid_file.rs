//! `--pid-file`: who is running.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::failure::Failure;

/// A file with the process ID in it, removed when it is dropped.
pub(crate) struct PidFile {
    path: PathBuf,
    file: File,
}

/// Bytes that are read of such a file: more than a number has.
const LONGEST: u64 = 32;

/// Opens without waiting for the other end of a FIFO, which would keep the server from starting or from stopping.
fn at_once() -> OpenOptions {
    let mut options = File::options();
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    options
}

impl PidFile {
    pub(crate) fn write(path: &Path) -> Result<Self, Failure> {
        let written = at_once().write(true).create(true).truncate(true).open(path).and_then(|mut file| {
            writeln!(file, "{}", std::process::id())?;
            Ok(file)
        });
        let file = written.map_err(|error| Failure::unwritable(path, &error))?;
        Ok(Self { path: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()), file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another server may have written its own meanwhile.
        let ours = format!("{}\n", std::process::id());
        let mut text = String::new();
        let read = at_once().read(true).open(&self.path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
        let is_ours = read.is_ok() && text == ours;
        if is_ours && std::fs::remove_file(&self.path).is_err() {
            // A user who may not remove it, after `--user`, can still empty it: nobody is to be signalled.
            let _ = self.file.set_len(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_has_the_process_id_and_goes_with_the_server_unless_it_is_another_ones() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("pid");
        let file = PidFile::write(&path).expect("it can be made");
        let text = std::fs::read_to_string(&path).expect("it is there");
        assert_eq!(text, format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
        let file = PidFile::write(&path).expect("it can be made");
        std::fs::write(&path, "1\n").expect("it can be written");
        drop(file);
        assert!(path.exists());
    }

    #[test]
    fn a_fifo_in_its_place_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (path, fifo) = (folder.path().join("pid"), folder.path().join("fifo"));
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).expect("a FIFO can be made");
        assert!(PidFile::write(&fifo).is_err());
        let file = PidFile::write(&path).expect("it can be made");
        std::fs::rename(&fifo, &path).expect("it is there");
        drop(file);
        assert!(path.exists());
    }
}
