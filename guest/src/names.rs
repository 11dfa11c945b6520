//! Names of a folder, for hosts in Rust whose file system lists them in no order.
//!
//! Rule: a folder may have any number of names, and [`Names`] keeps a bounded number of them.

use alloc::collections::BTreeSet;
use core::ops::Bound;

use crate::contract::{Name, Portion, names_something};

/// How many names are kept: enough to read a folder of 100,000 files thirteen times and not two hundred
/// times, and at most 3 MiB of names of the greatest length.
const AHEAD: usize = 8 * 1024;

/// The first names of a folder that come after a cursor.
#[derive(Debug)]
pub struct Names {
    folder: Name,
    after: Name,
    names: BTreeSet<Name>,
    /// Whether none was left out at the end.
    whole: bool,
}

impl Names {
    /// No names yet, for those of the portion's folder that come after its cursor.
    #[must_use]
    pub fn of(portion: &Portion) -> Self {
        let Portion { folder, after, .. } = portion.clone();
        Self { folder, after, names: BTreeSet::new(), whole: true }
    }

    /// Takes a name that the folder has, if it can name anything and comes early enough.
    pub fn add(&mut self, name: Name) {
        if name > self.after && names_something(&name) {
            self.names.insert(name);
            if self.names.len() > AHEAD {
                self.names.pop_last();
                self.whole = false;
            }
        }
    }

    /// Whether the portion can be taken from these names, or the folder has to be read again.
    #[must_use]
    pub fn cover(&self, portion: &Portion) -> bool {
        let is_ahead = self.whole || self.names.last().is_some_and(|last| *last > portion.after);
        self.folder == portion.folder && self.after <= portion.after && is_ahead
    }

    /// The names after `cursor`, in order.
    pub fn after<'a>(&'a self, cursor: &[u8]) -> impl Iterator<Item = &'a Name> + use<'a> {
        self.names.range::<[u8], _>((Bound::Excluded(cursor), Bound::Unbounded))
    }

    /// Whether the folder ends with these names.
    #[must_use]
    pub fn are_last(&self) -> bool {
        self.whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    fn name(number: usize) -> Name {
        format!("{number:0>6}").into_bytes()
    }

    fn portion(after: Name) -> Portion {
        Portion { folder: Name::new(), after, limit: 0 }
    }

    /// Reads a folder of `count` names from a cursor on, in an order that is none.
    fn read(count: usize, after: Name) -> Names {
        let mut names = Names::of(&portion(after));
        (0..count).for_each(|place| names.add(name(place * 7_919 % count)));
        names
    }

    #[test]
    fn every_name_comes_once_and_in_order_however_many_there_are() {
        for count in [1, AHEAD - 1, AHEAD, AHEAD + 1, 3 * AHEAD + 5] {
            let mut listed: Vec<Name> = Vec::new();
            let mut reads = 0;
            loop {
                let cursor = listed.last().cloned().unwrap_or_default();
                let names = read(count, cursor.clone());
                reads += 1;
                listed.extend(names.after(&cursor).cloned());
                if names.are_last() {
                    break;
                }
            }
            assert_eq!(listed, (0..count).map(name).collect::<Vec<_>>());
            assert_eq!(reads, count.div_ceil(AHEAD));
        }
    }

    #[test]
    fn a_portion_that_was_read_ahead_need_not_be_read_again() {
        let names = read(AHEAD + 1, name(3));
        assert!(names.cover(&portion(name(3))) && names.cover(&portion(name(100))));
        assert!(!names.cover(&portion(name(2))), "an earlier one was left out");
        assert!(names.cover(&portion(name(AHEAD + 1))), "the last one is known");
        assert!(!read(AHEAD + 9, name(3)).cover(&portion(name(AHEAD + 5))), "what follows was left out");
        assert!(!names.cover(&Portion { folder: b"other".to_vec(), ..portion(name(3)) }));
    }

    #[test]
    fn what_cannot_be_opened_is_not_a_name() {
        let mut names = Names::of(&portion(Name::new()));
        for name in ["", ".", "..", ".hidden", "a\0", "a"] {
            names.add(name.into());
        }
        assert_eq!(names.after(b"").collect::<Vec<_>>(), [b"a"]);
    }
}
