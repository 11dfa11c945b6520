//! `--user`: gives up root after the addresses are bound.

use std::ffi::CString;
use std::fmt;

use nix::unistd::{Gid, Group, Uid, User};

use crate::failure::Failure;

/// A user to run as, and its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    written: String,
    user: Uid,
    group: Gid,
    groups: Groups,
}

/// Which other groups the process is in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Groups {
    /// Those of this user.
    Of(CString),
    /// None: a group was named, or nobody knows the user.
    None,
}

impl Account {
    /// `NAME` or `NAME:GROUP`; numbers are taken for both, and a number alone needs an entry or a group.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, group) = text.split_once(':').map_or((text, None), |(name, group)| (name, Some(group)));
        let number = name.parse().ok().map(Uid::from_raw);
        let known = match number {
            Some(uid) => User::from_uid(uid),
            None => User::from_name(name),
        };
        let known = known.map_err(|error| format!("cannot look up the user {name}: {error}"))?;
        let user = known.as_ref().map(|user| user.uid).or(number);
        let user = user.ok_or_else(|| format!("this machine has no user {name}"))?;
        let written = text.to_owned();
        if let Some(group) = group {
            return Ok(Self { written, user, group: parse_group(group)?, groups: Groups::None });
        }
        let known =
            known.ok_or_else(|| format!("user {name} has no entry on this machine; add a group: {name}:GROUP"))?;
        let groups = CString::new(known.name).map_err(|_| format!("{name} is not the name of a user"))?;
        Ok(Self { written, user, group: known.gid, groups: Groups::Of(groups) })
    }

    pub(crate) fn user(&self) -> Uid {
        self.user
    }

    pub(crate) fn group(&self) -> Gid {
        self.group
    }

    /// Makes the process this user's, for good.
    pub(crate) fn assume(&self) -> Result<(), Failure> {
        if Uid::effective() == self.user && Uid::current() == self.user && !Uid::effective().is_root() {
            return Ok(());
        }
        self.switch().map_err(|error| {
            Failure::new(format!("cannot run as {self}: {error}"))
                .next("start as root, or with CAP_SETUID and CAP_SETGID, or leave out `--user`")
        })?;
        if !self.user.is_root() && nix::unistd::setuid(Uid::from_raw(0)).is_ok() {
            return Err(Failure::new(format!("cannot run as {self}: the process can become root again")));
        }
        Ok(())
    }

    fn switch(&self) -> nix::Result<()> {
        // Groups first: the user that comes after may not change them.
        match &self.groups {
            Groups::Of(name) => nix::unistd::initgroups(name, self.group)?,
            Groups::None => nix::unistd::setgroups(&[self.group])?,
        }
        nix::unistd::setgid(self.group)?;
        nix::unistd::setuid(self.user)
    }
}

fn parse_group(group: &str) -> Result<Gid, String> {
    let known = Group::from_name(group).ok().flatten().map(|group| group.gid);
    let number = || group.parse().ok().map(Gid::from_raw);
    known.or_else(number).ok_or_else(|| format!("this machine has no group {group}"))
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_a_user_and_its_group() {
        let root = Account::parse("root").expect("every machine has root");
        assert_eq!((root.user().as_raw(), root.group().as_raw()), (0, 0));
        assert_eq!(root.groups, Groups::Of(c"root".into()));
        let numbers = Account::parse("12345:23456").expect("numbers need no entry");
        assert_eq!((numbers.user().as_raw(), numbers.group().as_raw(), numbers.groups), (12_345, 23_456, Groups::None));
        assert_eq!(Account::parse("0").expect("root has an entry").groups, Groups::Of(c"root".into()));
        for text in ["", "no such user", "root:no such group", "root:", ":root", "4123456789", "-1"] {
            assert!(Account::parse(text).is_err(), "{text}");
        }
    }
}
