//! Lists a folder in portions.
//!
//! Rule: a listing holds one portion at most, however many entries the folder has.

use std::collections::BinaryHeap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat};
use rustix::io::Errno;

use super::beneath::{Beneath, READ};
use super::content::modified;
use super::root::Root;
use crate::contract::{Entry, Listing, Portion, Refusal};
use crate::limits::LISTING_ENTRIES;

/// The entries of a portion, and whether nothing comes after them.
pub(super) fn list(root: &Root, portion: &Portion) -> Result<Listing, Refusal> {
    let folder = Beneath::new(&portion.folder).ok_or(Refusal::NotFound)?.open(root, READ | OFlags::DIRECTORY)?;
    let most = usize::try_from(portion.limit).unwrap_or(LISTING_ENTRIES);
    let most = if most == 0 { LISTING_ENTRIES } else { most.min(LISTING_ENTRIES) };
    let mut after = portion.after.clone();
    loop {
        let (names, complete) = names(&folder, &after, most)?;
        let last = names.last().cloned();
        let entries: Vec<_> = names.into_iter().filter_map(|name| entry(root, portion, &folder, name)).collect();
        match last {
            // Nothing of these can be opened by name. The guest is told of something, or of the end.
            Some(last) if entries.is_empty() && !complete => after = last,
            _ => return Ok(Listing { entries, complete }),
        }
    }
}

/// The first names in order after this one, whatever order the file system has.
fn names(folder: &OwnedFd, after: &[u8], most: usize) -> Result<(Vec<Vec<u8>>, bool), Errno> {
    let mut first = BinaryHeap::new();
    let mut complete = true;
    for found in Dir::read_from(folder)? {
        let found = found?;
        let name = found.file_name().to_bytes();
        let can_be_opened = Beneath::new(name).is_some_and(|name| !name.is_root());
        if name <= after || !can_be_opened {
            continue;
        }
        if first.len() < most {
            first.push(name.to_owned());
            continue;
        }
        complete = false;
        if let Some(mut greatest) = first.peek_mut()
            && name < greatest.as_slice()
        {
            *greatest = name.to_owned();
        }
    }
    Ok((first.into_sorted_vec(), complete))
}

fn entry(root: &Root, portion: &Portion, folder: &OwnedFd, name: Vec<u8>) -> Option<Entry> {
    let stat = stat(root, &portion.folder, folder, &name)?;
    let is_folder = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => false,
        FileType::Directory => true,
        _ => return None,
    };
    let size = if is_folder { 0 } else { u64::try_from(stat.st_size).unwrap_or_default() };
    Some(Entry { name, folder: is_folder, size, modified: modified(&stat) })
}

/// What is known of one thing in a folder; none if it could not be opened by name.
fn stat(root: &Root, name: &[u8], folder: &OwnedFd, segment: &[u8]) -> Option<Stat> {
    let stat = rustix::fs::statat(folder.as_fd(), OsStr::from_bytes(segment), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return Some(stat);
    }
    let full = if name.is_empty() { segment.to_owned() } else { [name, b"/", segment].concat() };
    let target = Beneath::new(&full)?.open(root, OFlags::PATH | OFlags::CLOEXEC).ok()?;
    rustix::fs::fstat(target).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sources::root::RootPath;

    #[test]
    fn portions_are_sorted_and_together_they_are_all_there_is() {
        let folder = tempfile::tempdir().expect("a folder");
        for number in 0..50 {
            fs::write(folder.path().join(format!("{:02}", (number * 37) % 50)), "").expect("a file");
        }
        let root = RootPath::new(folder.path()).and_then(|path| Ok(path.now()?)).expect("a folder");
        for limit in [1, 7, 49, 50, 51, 0] {
            let mut portion = Portion { folder: Vec::new(), after: Vec::new(), limit };
            let mut seen = Vec::new();
            loop {
                let Listing { entries, complete } = list(&root, &portion).expect("it can be listed");
                assert!(limit == 0 || entries.len() <= limit as usize);
                seen.extend(entries.into_iter().map(|entry| entry.name));
                if complete {
                    break;
                }
                portion.after = seen.last().expect("never empty unless complete").clone();
            }
            let all: Vec<_> = (0..50).map(|number| format!("{number:02}").into_bytes()).collect();
            assert_eq!(seen, all, "in portions of {limit}");
        }
    }
}
