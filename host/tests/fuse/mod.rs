//! A file system that takes its time: FUSE, without a library.
//!
//! It has files `a`, `b` and `c` of one size in one folder. Looking a name up and reading take as long as it is
//! told to; everything else is done at once. Requests are answered each on a thread, as those of several
//! programs would be.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// Bytes of each file.
pub(crate) const SIZE: u64 = 1 << 20;

/// What every file is full of.
pub(crate) const CONTENT: u8 = b'x';

const NAMES: [&[u8]; 3] = [b"a", b"b", b"c"];
const ROOT: u64 = 1;

/// A mounted file system. Unmounted when it is dropped.
pub(crate) struct SlowFiles {
    folder: PathBuf,
}

impl SlowFiles {
    /// Mounts it at a folder. None: this machine lets nobody do that, or not us.
    pub(crate) fn mount(folder: &Path, delay: Duration) -> Option<Self> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").ok()?;
        let mut mount = Command::new("mount");
        mount.args(["-i", "-t", "fuse", "-o", "fd=0,rootmode=40000,user_id=0,group_id=0,allow_other", "slow"]);
        // The device is told to the kernel by its number: it is the standard input of `mount`.
        mount.arg(folder).stdin(Stdio::from(device.try_clone().ok()?)).stderr(Stdio::null());
        mount.status().ok().filter(std::process::ExitStatus::success)?;
        thread::spawn(move || serve(&device, delay));
        Some(Self { folder: folder.to_owned() })
    }
}

impl Drop for SlowFiles {
    fn drop(&mut self) {
        // Lazily: somebody may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}

/// A request: what is wanted, its number, the node it is about, and the rest.
struct Request {
    operation: u32,
    unique: u64,
    node: u64,
    body: Vec<u8>,
}

fn serve(mut device: &File, delay: Duration) {
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = match device.read(&mut buffer) {
            Ok(count) if count >= 40 => count,
            // A request that was interrupted.
            Err(error) if error.raw_os_error() == Some(2) => continue,
            _ => return,
        };
        let at = |at: usize| u64::from_le_bytes(buffer[at..at + 8].try_into().expect("eight bytes"));
        let operation = u32::from_le_bytes(buffer[4..8].try_into().expect("four bytes"));
        let request = Request { operation, unique: at(8), node: at(16), body: buffer[40..count].to_vec() };
        let Ok(mut device) = device.try_clone() else { return };
        thread::spawn(move || {
            let Some(answer) = answer(&request, delay) else { return };
            let (error, body) = answer.map_or_else(|errno| (-errno, Vec::new()), |body| (0, body));
            let length = u32::try_from(16 + body.len()).expect("it is small");
            let head = [&length.to_le_bytes()[..], &error.to_le_bytes(), &request.unique.to_le_bytes()].concat();
            // Whoever asked may be gone.
            let _ = device.write(&[head, body].concat());
        });
    }
}

/// What is answered: bytes, or an error number. None: nothing is.
fn answer(request: &Request, delay: Duration) -> Option<Result<Vec<u8>, i32>> {
    const NOT_FOUND: i32 = 2;
    const NOT_KNOWN: i32 = 38;
    let body = &request.body;
    Some(match request.operation {
        // LOOKUP
        1 => {
            thread::sleep(delay);
            let name = body.strip_suffix(b"\0").unwrap_or(body);
            match NAMES.iter().position(|known| *known == name) {
                Some(number) => Ok(entry(number as u64 + 2)),
                None => Err(NOT_FOUND),
            }
        }
        // FORGET, BATCH_FORGET
        2 | 42 => return None,
        // GETATTR: valid for no time at all.
        3 => Ok([vec![0; 16], attributes(request.node)].concat()),
        // OPEN, OPENDIR
        14 | 27 => Ok(vec![0; 16]),
        // READ
        15 => {
            thread::sleep(delay);
            let offset = u64::from_le_bytes(body[8..16].try_into().expect("eight bytes"));
            let count = u32::from_le_bytes(body[16..20].try_into().expect("four bytes"));
            let count = u64::from(count).min(SIZE.saturating_sub(offset));
            Ok(vec![CONTENT; usize::try_from(count).expect("it is small")])
        }
        // STATFS
        17 => Ok(vec![0; 80]),
        // RELEASE, FLUSH, RELEASEDIR
        18 | 25 | 29 => Ok(Vec::new()),
        // INIT: version 7.31, reads ahead 128 KiB.
        26 => {
            let version = [7_u32, 31, 128 << 10, 0].map(u32::to_le_bytes).concat();
            Ok([version, vec![12, 0, 10, 0], (128_u32 << 10).to_le_bytes().to_vec(), vec![0; 36]].concat())
        }
        // READDIR
        28 if body[8..16] == [0; 8] => {
            Ok((2..).zip(NAMES).flat_map(|(node, name)| name_in_folder(node, name)).collect())
        }
        28 => Ok(Vec::new()),
        _ => Err(NOT_KNOWN),
    })
}

/// A node that was looked up; to be looked up again the next time.
fn entry(node: u64) -> Vec<u8> {
    [node.to_le_bytes().to_vec(), vec![0; 32], attributes(node)].concat()
}

fn attributes(node: u64) -> Vec<u8> {
    let (size, mode) = if node == ROOT { (0, 0o040_755_u32) } else { (SIZE, 0o100_644) };
    let numbers = [node, size, size / 512, 1, 1, 1].map(u64::to_le_bytes).concat();
    let rest = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0].map(u32::to_le_bytes).concat();
    [numbers, rest].concat()
}

fn name_in_folder(node: u64, name: &[u8]) -> Vec<u8> {
    let length = u32::try_from(name.len()).expect("it is short");
    let numbers = [node.to_le_bytes(), (node - 1).to_le_bytes()].concat();
    let mut entry = [&numbers[..], &length.to_le_bytes(), &8_u32.to_le_bytes(), name].concat();
    entry.resize(entry.len().next_multiple_of(8), 0);
    entry
}
