//! What of the file system, the network and other processes stays within reach (Landlock).

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    RestrictSelfAttr, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope, make_bitflags,
};

/// The newest set of rights that this crate was tried with. What later kernels add stays allowed.
const TRIED: ABI = ABI::V6;

/// What stays possible beneath a folder, or with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Its files are opened and its folders listed.
    Read,
    /// Its files are opened by those who know their names.
    ReadFiles,
    /// Files are created, and written.
    Append,
    /// Files are created, written, renamed and removed.
    Write,
    /// Files are removed.
    Remove,
}

impl Reach {
    fn rights(self) -> BitFlags<AccessFs> {
        match self {
            Self::Read => make_bitflags!(AccessFs::{ReadFile | ReadDir}),
            Self::ReadFiles => AccessFs::ReadFile.into(),
            Self::Append => make_bitflags!(AccessFs::{WriteFile | MakeReg}),
            Self::Write => make_bitflags!(AccessFs::{WriteFile | MakeReg | RemoveFile}),
            Self::Remove => AccessFs::RemoveFile.into(),
        }
    }

    /// What can be granted for a file itself; the rest are rights over entries of folders.
    fn rights_over(self, path: &Path) -> BitFlags<AccessFs> {
        if path.is_dir() { self.rights() } else { self.rights() & AccessFs::from_file(TRIED) }
    }
}

/// How far the kernel goes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Level(i32);

impl Level {
    /// Landlock as it first was: which files can be opened, made and removed.
    pub(crate) const FILES: Self = Self(ABI::V1 as i32);
    /// With TCP ports.
    pub(crate) const NETWORK: Self = Self(ABI::V4 as i32);
    /// With signals and abstract unix sockets.
    pub(crate) const SCOPES: Self = Self(ABI::V6 as i32);

    pub(crate) fn number(self) -> i32 {
        self.0
    }
}

/// Forbids the calling thread, and those that it starts, everything that `reaches` does not name.
pub(crate) fn restrict(reaches: &[(PathBuf, Reach)]) -> Result<Level, String> {
    let failed = |error: RulesetError| format!("the kernel refuses the rules: {error}");
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(TRIED))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(TRIED)))
        .and_then(|rules| rules.scope(Scope::from_all(TRIED)))
        .and_then(Ruleset::create)
        .map_err(failed)?;
    for (path, reach) in reaches {
        // Whatever cannot be found now is not within reach anyway.
        let Ok(opened) = PathFd::new(path) else { continue };
        rules = rules.add_rule(PathBeneath::new(opened, reach.rights_over(path))).map_err(failed)?;
    }
    // For kernels that can (Linux 7.0): threads that are there already.
    let status = rules.all_threads(true).and_then(landlock::RulesetCreated::restrict_self).map_err(failed)?;
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => Ok(Level(effective_abi as i32)),
        LandlockStatus::NotEnabled => Err("Landlock is not enabled: add it to the kernel's `lsm=` parameter".into()),
        LandlockStatus::NotImplemented => Err("the kernel has no Landlock, or a container's filter hides it".into()),
    }
}
