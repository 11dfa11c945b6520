//! What a server will need, and the order in which it gives up the rest.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::calls::Passing;
use crate::files::{Level, Reach};
use crate::report::{Missing, Report, State, Wall};
use crate::{calls, code, files, privileges};

/// Which walls are raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// As many as the system has.
    #[default]
    Auto,
    /// All, or the process does not go on.
    Strict,
    /// None.
    Off,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Strict => "strict",
            Self::Off => "off",
        })
    }
}

/// A word that is not a [`Mode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownMode;

impl fmt::Display for UnknownMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not one of `auto`, `strict`, `off`")
    }
}

impl std::error::Error for UnknownMode {}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(word: &str) -> Result<Self, UnknownMode> {
        [Self::Auto, Self::Strict, Self::Off].into_iter().find(|mode| mode.to_string() == word).ok_or(UnknownMode)
    }
}

/// What a server will need while it serves.
#[derive(Clone, Debug)]
pub struct Plan {
    mode: Mode,
    reaches: Vec<(PathBuf, Reach)>,
    loads_code: Option<String>,
    largest_file: Option<u64>,
    passing: Passing,
}

/// The first walls stand: privileges, files, network, scopes.
#[derive(Debug)]
pub struct Raised {
    mode: Mode,
    loads_code: Option<String>,
    passing: Passing,
    report: Report,
}

impl Plan {
    /// For a server that needs nothing but its sockets.
    pub fn new(mode: Mode) -> Self {
        Self { mode, reaches: Vec::new(), loads_code: None, largest_file: None, passing: Passing::Nothing }
    }

    /// Keeps a source within reach. A folder: everything beneath it. A file or a FIFO: as [`reads`](Self::reads).
    ///
    /// Where a link leads to the folder, it may be pointed elsewhere later: everything beneath the folder that
    /// the link lies in, and beneath the one that its target lies in, stays within reach. Links in the root of
    /// the file system belong to the system, and are taken to stay as they are.
    pub fn serves(mut self, path: &Path) -> Self {
        if !path.is_dir() {
            return self.reads(path);
        }
        for link in links_on_the_way(path) {
            let target = fs::canonicalize(&link).ok();
            for spelling in [Some(link), target].into_iter().flatten() {
                self = match folder_of(&spelling) {
                    Some(folder) => self.reaches(folder, Reach::Read),
                    None => self,
                };
            }
        }
        self.reaches(path, Reach::Read)
    }

    /// Keeps a file within reach that is opened again and again, and may have been replaced by then: all
    /// files beneath its folder can be opened. If it is a link, that holds for the folder of the link and
    /// that of the file which it leads to now.
    ///
    /// A file that lies in the root of the file system cannot be replaced: nothing else is kept in reach. The
    /// same holds for devices. What has no name, as a pipe behind `/dev/stdin`, the kernel keeps in reach.
    pub fn reads(self, file: &Path) -> Self {
        self.reaches_file(file, Reach::ReadFiles)
    }

    /// Keeps it possible to append to this file, and to make it anew after it was moved away. The same holds
    /// for all files beneath its folder.
    pub fn appends_to(self, file: &Path) -> Self {
        self.reaches_file(file, Reach::Append)
    }

    /// Keeps it possible to create, write, rename and remove files in this folder.
    pub fn writes_into(self, folder: &Path) -> Self {
        self.reaches(folder, Reach::Write)
    }

    /// Keeps it possible to read this file, as long as nobody replaces it, and to remove it: a unix socket, or
    /// a file that says who is running. The same holds for the removal of all files beneath its folder.
    pub fn removes(self, file: &Path) -> Self {
        match std::path::absolute(file).ok().as_deref().and_then(folder_of) {
            Some(folder) => self.reaches(file, Reach::ReadFiles).reaches(folder, Reach::Remove),
            None => self.reaches(file, Reach::ReadFiles),
        }
    }

    /// Leaves out [`Wall::Code`], because machine code will be loaded later. The report says `why`.
    pub fn loads_code(mut self, why: &str) -> Self {
        self.loads_code = Some(why.to_owned());
        self
    }

    /// Keeps it possible to pass descriptors to another process that has connected to this one.
    pub fn passes_sockets(mut self) -> Self {
        self.passing = Passing::Descriptors;
        self
    }

    /// Bounds the size of files that the process writes, in bytes. It holds for all of them: logs that are
    /// written to a file, and the memory of live sources, which is a file that only grows.
    pub fn largest_file(mut self, bytes: u64) -> Self {
        self.largest_file = Some(bytes);
        self
    }

    fn reaches_file(mut self, file: &Path, reach: Reach) -> Self {
        // There may be no file yet, where it is made.
        let real = fs::canonicalize(file).or_else(|_| canonical_folder(file));
        let Ok(real) = real else { return self };
        if real.metadata().is_ok_and(|metadata| is_device(&metadata)) {
            return self.reaches(real, reach);
        }
        for spelling in std::path::absolute(file).into_iter().chain([real]) {
            self = match folder_of(&spelling) {
                Some(folder) => self.reaches(folder, reach),
                None => self.reaches(spelling, reach),
            };
        }
        self
    }

    fn reaches(mut self, path: impl AsRef<Path>, reach: Reach) -> Self {
        let reach = (path.as_ref().to_owned(), reach);
        if !self.reaches.contains(&reach) {
            self.reaches.push(reach);
        }
        self
    }

    /// Raises the walls that hold for the calling thread and those that it starts. The process must have no
    /// other thread yet: it would be left outside.
    ///
    /// # Errors
    ///
    /// With [`Mode::Strict`], the first wall that is missing. The process should end then: others may
    /// stand already, and none comes down again.
    pub fn raise_files(self) -> Result<Raised, Missing> {
        let Self { mode, reaches, loads_code, largest_file, passing } = self;
        let mut raised = Raised { mode, loads_code, passing, report: Report::default() };
        if mode == Mode::Off {
            return Ok(raised);
        }
        let alone = alone();
        let privileges = privileges::drop_all(largest_file).map_err(|error| error.to_string());
        raised.add(Wall::Privileges, privileges.and(alone.clone()))?;
        let level = files::restrict(&reaches);
        for (wall, needed, since) in [
            (Wall::Files, Level::FILES, "5.13"),
            (Wall::Network, Level::NETWORK, "6.7"),
            (Wall::Scopes, Level::SCOPES, "6.12"),
        ] {
            let enough = level.clone().and_then(|level| level.reaches(needed, since));
            raised.add(wall, enough.and(alone.clone()))?;
        }
        Ok(raised)
    }
}

impl Level {
    fn reaches(self, needed: Self, since: &str) -> Result<(), String> {
        let (has, needs) = (self.number(), needed.number());
        let older = || format!("the kernel has Landlock {has}, and this needs {needs} (Linux {since})");
        (self >= needed).then_some(()).ok_or_else(older)
    }
}

impl Raised {
    /// Raises the walls that hold for all threads: no new machine code, and no system call that serving
    /// does not need. Call it when the guest is loaded and the event loops have started.
    ///
    /// # Errors
    ///
    /// With [`Mode::Strict`], the first wall that is missing.
    pub fn raise_calls(mut self) -> Result<Report, Missing> {
        if self.mode == Mode::Off {
            return Ok(self.report);
        }
        match self.loads_code.take() {
            Some(why) if self.mode == Mode::Strict => return Err(Missing { wall: Wall::Code, why }),
            Some(why) => {
                self.report.add(Wall::Code, State::Omitted(why));
                self.add(Wall::Calls, calls::restrict(calls::Code::Loaded, self.passing))?;
            }
            None => {
                let forbidden = code::forbid().map_err(|error| format!("{error} (it needs Linux 6.3)"));
                self.add(Wall::Code, forbidden)?;
                self.add(Wall::Calls, calls::restrict(calls::Code::Fixed, self.passing))?;
            }
        }
        Ok(self.report)
    }

    fn add(&mut self, wall: Wall, raised: Result<(), String>) -> Result<(), Missing> {
        match raised {
            Ok(()) => self.report.add(wall, State::Stands),
            Err(why) if self.mode == Mode::Strict => return Err(Missing { wall, why }),
            Err(why) => self.report.add(wall, State::Missing(why)),
        }
        Ok(())
    }
}

/// The folder that something lies in, if that may stay within reach as a whole: not the root of the file
/// system, nor folders in which the kernel and the system keep what is not files.
fn folder_of(path: &Path) -> Option<&Path> {
    let folder = path.parent()?;
    let kept = [Path::new("/"), Path::new("/dev")].contains(&folder) || folder.starts_with("/proc");
    (!kept).then_some(folder)
}

/// A path whose file may not be there, with a folder without links.
fn canonical_folder(file: &Path) -> io::Result<PathBuf> {
    let file = std::path::absolute(file)?;
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return Ok(file) };
    match file.symlink_metadata() {
        // A link that leads to nothing with a name.
        Ok(_) => Err(io::ErrorKind::NotFound.into()),
        Err(_) => Ok(fs::canonicalize(folder)?.join(name)),
    }
}

fn is_device(metadata: &fs::Metadata) -> bool {
    metadata.file_type().is_char_device() || metadata.file_type().is_block_device()
}

/// The links among the folders that a path goes through, and the path itself if it is one.
fn links_on_the_way(path: &Path) -> Vec<PathBuf> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let in_root = |folder: &Path| folder.parent().is_none_or(|folder| folder.parent().is_none());
    let is_link = |folder: &&Path| !in_root(folder) && folder.is_symlink();
    path.ancestors().filter(is_link).map(Path::to_owned).collect()
}

/// Whether the calling thread is the only one.
fn alone() -> Result<(), String> {
    let count = |tasks: io::Result<fs::ReadDir>| tasks.map_or(0, Iterator::count);
    match count(fs::read_dir("/proc/self/task")) {
        1 => Ok(()),
        0 => Err("/proc is not mounted: it cannot be seen whether there are other threads".into()),
        others => Err(format!("{} threads were started before, and are outside", others - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;

    #[test]
    fn modes_are_written_as_they_are_read() {
        for mode in [Mode::Auto, Mode::Strict, Mode::Off] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!("on".parse::<Mode>(), Err(UnknownMode));
    }

    #[test]
    fn of_a_linked_file_the_folders_of_both_stay_in_reach_and_never_the_root() {
        let outside = tempfile::tempdir().expect("a folder");
        let folder = outside.path().canonicalize().expect("it is there");
        for name in ["links", "files"] {
            fs::create_dir(folder.join(name)).expect("a folder");
        }
        fs::write(folder.join("files/film"), "").expect("a file");
        symlink("../files/film", folder.join("links/now")).expect("a link");
        let plan = Plan::new(Mode::Auto).serves(&folder.join("links/now")).reads(&folder.join("links/now"));
        let folders = [(folder.join("links"), Reach::ReadFiles), (folder.join("files"), Reach::ReadFiles)];
        assert_eq!(plan.reaches, folders);

        let plan = Plan::new(Mode::Auto).serves(&folder).reads(Path::new("/film"));
        assert_eq!(plan.reaches, [(folder, Reach::Read), ("/film".into(), Reach::ReadFiles)]);
    }

    #[test]
    fn what_is_no_file_is_kept_in_reach_without_the_folder_that_it_is_in() {
        let plan = Plan::new(Mode::Auto).appends_to(Path::new("/dev/null"));
        assert_eq!(plan.reaches, [("/dev/null".into(), Reach::Append)]);
        let (_reader, pipe) = io::pipe().expect("a pipe");
        let plan = Plan::new(Mode::Auto).reads(Path::new(&format!("/dev/fd/{}", pipe.as_raw_fd())));
        assert_eq!(plan.reaches, [], "the kernel checks no rules for what has no name");
    }

    #[test]
    fn a_link_to_a_folder_keeps_what_it_may_lead_to_later_in_reach_and_a_folder_nothing_else() {
        let outside = tempfile::tempdir().expect("a folder");
        let folder = outside.path().canonicalize().expect("it is there");
        for name in ["releases/one/public", "sites"] {
            fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        symlink("../releases/one", folder.join("sites/now")).expect("a link");
        let served = folder.join("sites/now/public");
        let plan = Plan::new(Mode::Auto).serves(&served);
        let folders = [folder.join("sites"), folder.join("releases"), served];
        assert_eq!(plan.reaches, folders.map(|folder| (folder, Reach::Read)));
        let served = folder.join("releases/one");
        assert_eq!(Plan::new(Mode::Auto).serves(&served).reaches, [(served, Reach::Read)]);
    }

    #[test]
    fn a_file_that_is_removed_is_read_itself_and_its_folder_loses_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("socket");
        let plan = Plan::new(Mode::Auto).removes(&socket);
        assert_eq!(plan.reaches, [(socket, Reach::ReadFiles), (folder.path().to_owned(), Reach::Remove)]);
    }
}
