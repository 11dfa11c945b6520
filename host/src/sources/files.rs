//! Opens files: those that were opened a moment ago, and others anew.
//!
//! Rule: with [`Look::Memory`] nothing here waits for a disk.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::beneath::{Beneath, READ, refusal};
use super::cache::{Cache, Identity, Opened};
use super::content::{Content, Range, is_made_up};
use super::follow::Source;
use super::growing::Growing;
use super::medium::{Glance, Look, Media, Medium, open_at};
use super::root::Root;
use super::syntax::Part;
use crate::contract::Refusal;

/// The files of a server.
#[derive(Debug, Default)]
pub(super) struct Files {
    cache: Cache,
    /// Where files are followed that are being written.
    growing: Option<Growing>,
    media: Media,
}

/// What a name turned out to be.
#[derive(Debug)]
pub(crate) enum Resolved {
    Source(Source),
    Folder,
}

/// Why nothing was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    Refused(Refusal),
    /// To find out, somebody has to look at a disk.
    Disk,
}

impl From<Refusal> for Miss {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Errno> for Miss {
    fn from(error: Errno) -> Self {
        match error {
            Errno::AGAIN => Self::Disk,
            error => Self::Refused(refusal(error)),
        }
    }
}

/// Where a file is looked for.
pub(super) enum Spot<'a> {
    /// Where the operator said.
    At(&'a Path),
    /// Where a client said, beneath what the operator did.
    Beneath(&'a Root, Beneath<'a>),
}

impl Spot<'_> {
    fn open(&self, flags: OFlags, look: Look) -> Result<OwnedFd, Errno> {
        match self {
            Self::At(path) => open_at(CWD, path.as_os_str().as_bytes(), flags, ResolveFlags::empty(), look),
            Self::Beneath(root, name) => name.open(root, flags, look),
        }
    }

    /// What is there now. It may lie outside of what is published: good enough to recognize something
    /// that does not.
    fn stat(&self) -> Result<Stat, Errno> {
        match self {
            Self::At(path) => rustix::fs::statat(CWD, *path, AtFlags::empty()),
            Self::Beneath(root, name) => name.stat(root),
        }
    }
}

impl Files {
    /// Follows files that were written within this time.
    pub(super) fn follow(&mut self, idle: Duration) {
        self.growing = Some(Growing::new(idle));
    }

    /// Ends the files that grow where they are now.
    pub(super) fn end_growing(&self) {
        if let Some(growing) = &self.growing {
            growing.end();
        }
    }

    /// What is there under this name.
    pub(super) fn open(&self, name: &[u8], spot: &Spot<'_>, look: Look) -> Result<Resolved, Miss> {
        if let Some(content) = self.kept(name, spot, look)? {
            return Ok(Resolved::Source(Source::still(content)));
        }
        let medium = match look {
            Look::Memory => match self.glance(spot)? {
                (FileType::Directory, _) => return Ok(Resolved::Folder),
                (_, medium) => Some(medium),
            },
            // Not opened to find out: somebody who waits to write to a FIFO would find a reader, and lose it.
            Look::Disk if spot.stat().is_ok_and(|stat| !has_bytes_or_names(&stat)) => {
                return Err(Refusal::NotFound.into());
            }
            Look::Disk => None,
        };
        let file = Arc::new(spot.open(READ, look)?);
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Ok(Resolved::Folder),
            _ => return Err(Refusal::NotFound.into()),
        }
        let medium = match medium {
            // Whether it has the size that it claims is found out by reading.
            Some(_) if stat.st_blocks == 0 => return Err(Miss::Disk),
            Some(medium) => medium,
            None => self.media.find(stat.st_dev, &file)?,
        };
        let resolved = self.resolved(file, &stat, medium)?;
        // What grows is another one by the time of the next client, and so may be what has no version.
        if let Resolved::Source(source) = &resolved
            && source.is_still()
            && !source.content.version.is_empty()
        {
            self.cache.keep(name, &source.content, Identity::from(&stat));
        }
        Ok(resolved)
    }

    /// What was opened by this name, if it still is what the name stands for.
    fn kept(&self, name: &[u8], spot: &Spot<'_>, look: Look) -> Result<Option<Arc<Content>>, Miss> {
        let Some(opened) = self.cache.get(name) else { return Ok(None) };
        let (content, identity) = match opened {
            Opened::Fresh(content) => return Ok(Some(content)),
            Opened::Stale(content, identity) => (content, identity),
        };
        if look == Look::Memory && content.is_remote() {
            return Err(Miss::Disk);
        }
        // Of a disk, not even this waits: as long as the file is open, all that its name leads through is in
        // memory, and so is whatever has just taken its place.
        let now = spot.stat().ok().as_ref().map(Identity::from);
        if now != Some(identity) {
            return Ok(None);
        }
        self.cache.checked(name, identity);
        Ok(Some(content))
    }

    /// What kind of thing it is and what it is on, if that can be told from memory, and so can the rest.
    fn glance(&self, spot: &Spot<'_>) -> Result<(FileType, Medium), Miss> {
        let glance = Glance::at(spot.open(OFlags::PATH | OFlags::CLOEXEC, Look::Memory)?).map_err(|_| Miss::Disk)?;
        match (glance.kind, self.media.get(glance.device)) {
            (_, None | Some(Medium::Remote)) => Err(Miss::Disk),
            (kind @ (FileType::RegularFile | FileType::Directory), Some(medium)) => Ok((kind, medium)),
            _ => Err(Refusal::NotFound.into()),
        }
    }

    fn resolved(&self, file: Arc<OwnedFd>, stat: &Stat, medium: Medium) -> Result<Resolved, Miss> {
        let growing = self.growing.as_ref().filter(|growing| growing.may_grow(stat));
        if let Some(source) = growing.and_then(|growing| growing.follow(&file, stat, medium)) {
            return Ok(Resolved::Source(source));
        }
        let content = Content::opened(file, stat, medium).map_err(unread)?;
        Ok(Resolved::Source(Source::still(Arc::new(content))))
    }

    /// A file that somebody has opened.
    pub(super) fn open_given(&self, file: Arc<OwnedFd>, look: Look) -> Result<Resolved, Miss> {
        let device = Glance::at(&file)?.device;
        let medium = match (look, self.media.get(device)) {
            (Look::Memory, None | Some(Medium::Remote)) => return Err(Miss::Disk),
            (_, Some(medium)) => medium,
            (Look::Disk, None) => self.media.find(device, &file)?,
        };
        let stat = rustix::fs::fstat(&file)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if look == Look::Memory && stat.st_blocks == 0 => Err(Miss::Disk),
            FileType::RegularFile => self.resolved(file, &stat, medium),
            _ => Err(Refusal::Failed.into()),
        }
    }

    /// Opens parts of files as one. What the kernel makes up has no parts.
    pub(super) fn open_parts(&self, parts: &[Part], look: Look) -> Result<Content, Miss> {
        let mut content = Content::empty();
        for Part { path, from, to } in parts {
            let spot = Spot::At(path);
            if look == Look::Memory {
                self.glance(&spot)?;
            }
            let file = Arc::new(spot.open(READ, look)?);
            let stat = rustix::fs::fstat(&file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(Refusal::NotFound.into());
            }
            let medium = match self.media.get(stat.st_dev) {
                Some(medium) if stat.st_blocks > 0 => medium,
                _ if look == Look::Memory => return Err(Miss::Disk),
                _ if is_made_up(&file, &stat).map_err(unread)? => return Err(Refusal::Failed.into()),
                _ => self.media.find(stat.st_dev, &file)?,
            };
            content.append(file, &stat, medium, Range { from: *from, to: *to });
        }
        Ok(content)
    }
}

/// Whether it is a file or a folder.
fn has_bytes_or_names(stat: &Stat) -> bool {
    matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory)
}

/// What it means when something that was found cannot be read.
fn unread(error: Errno) -> Refusal {
    match refusal(error) {
        Refusal::NotFound => Refusal::Failed,
        other => other,
    }
}
