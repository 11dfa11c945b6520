//! `--pid-file`: who is running.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A file with the process ID in it, removed when it is dropped.
pub(crate) struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    pub(crate) fn write(path: &Path) -> Result<Self, Failure> {
        let written = File::create(path).and_then(|mut file| {
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
        let is_ours = std::fs::read_to_string(&self.path).is_ok_and(|text| text == ours);
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
}
