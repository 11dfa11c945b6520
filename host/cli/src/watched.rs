//! `--watch`: files that are read again when they change.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use std::os::unix::fs::MetadataExt;

/// Files, and how they were when they were last looked at.
pub(crate) struct Watched {
    paths: Vec<PathBuf>,
    seen: Vec<Option<Fingerprint>>,
}

/// What of a file is different when it has changed. Links are followed: another target is a change.
type Fingerprint = (SystemTime, u64, u64);

impl Watched {
    pub(crate) fn new(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        let seen = paths.iter().map(|path| fingerprint(path)).collect();
        Self { paths, seen }
    }

    /// Whether any is another than when this was last asked.
    pub(crate) fn has_changed(&mut self) -> bool {
        let mut has_changed = false;
        for (path, seen) in self.paths.iter().zip(&mut self.seen) {
            let now = fingerprint(path);
            // A file that is gone is about to come back.
            if now.is_some() && now != *seen {
                (*seen, has_changed) = (now, true);
            }
        }
        has_changed
    }
}

fn fingerprint(path: &Path) -> Option<Fingerprint> {
    let metadata = path.metadata().ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_that_is_pointed_elsewhere_is_a_change_and_one_that_is_gone_is_not() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = |name: &str| folder.path().join(name);
        for version in ["1", "2"] {
            fs::create_dir(path(version)).expect("a folder can be made");
            fs::write(path(version).join("key"), version).expect("a file can be written");
        }
        symlink("1", path("data")).expect("a link can be made");
        let mut watched = Watched::new([path("data").join("key")]);
        assert!(!watched.has_changed());
        fs::remove_file(path("data")).expect("it is there");
        assert!(!watched.has_changed());
        symlink("2", path("data")).expect("a link can be made");
        assert!(watched.has_changed());
        assert!(!watched.has_changed());
    }
}
