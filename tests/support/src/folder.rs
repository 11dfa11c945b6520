//! Folders to serve, and what is in them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode};

/// When the files of a [`Folder`] were last modified: Tue, 02 Jan 2024 03:04:05 GMT. Long ago, so that their
/// entity tags are strong.
pub const LONG_AGO: Duration = Duration::from_secs(1_704_164_645);

/// A folder that vanishes with the test.
pub struct Folder(tempfile::TempDir);

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Folder {
    /// An empty folder.
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("there is room for temporary files"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where something in it is.
    pub fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file, and the folders on the way to it.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        self.folder(Path::new(name).parent().and_then(Path::to_str).unwrap_or_default());
        fs::write(&path, bytes).expect("a file can be written");
        age(&path);
        path
    }

    /// Makes a file of this size that is one hole: zeros, and nothing on the disk.
    pub fn hollow_file(&self, name: &str, size: u64) -> PathBuf {
        let path = self.file(name, "");
        File::options().write(true).open(&path).and_then(|file| file.set_len(size)).expect("a file can have holes");
        age(&path);
        path
    }

    /// Makes a folder, and those on the way to it.
    pub fn folder(&self, name: &str) {
        fs::create_dir_all(self.at(name)).expect("a folder can be made");
    }
}

/// Sets a file's time of modification to [`LONG_AGO`].
pub fn age(path: &Path) {
    let file = File::options().write(true).open(path).expect("it is there");
    file.set_modified(SystemTime::UNIX_EPOCH + LONG_AGO).expect("its time can be set");
}

/// Makes a FIFO.
pub fn make_fifo(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a FIFO can be made");
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary files have plain names")
}

/// Bytes that look random and are always the same for the same seed.
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    // SplitMix64.
    let mut state = seed;
    let mut word = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    };
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        bytes.extend_from_slice(&word().to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// Numbers below a bound that look random, always the same sequence.
pub fn random() -> impl FnMut(usize) -> usize {
    // Marsaglia's xorshift: any sequence will do that is the same every time.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).expect("31 bits") % below
    }
}

/// Compares bytes that are too many to be shown.
#[track_caller]
pub fn same(got: &[u8], expected: &[u8]) {
    let until = got.iter().zip(expected).take_while(|(a, b)| a == b).count();
    assert!(got == expected, "{} bytes, not the {} expected; the same up to {until}", got.len(), expected.len());
}
