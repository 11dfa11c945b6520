//! Files and what they import, and the shortest circle among them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use crate::modules::Import;

/// For each file, the files that it imports from, and by which path.
pub(crate) struct Graph(BTreeMap<String, BTreeMap<String, String>>);

impl Graph {
    pub(crate) fn of(imports: &[Import]) -> Self {
        let mut files: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for Import { from, to, path } in imports {
            files.entry(to.clone()).or_default();
            files.entry(from.clone()).or_default().entry(to.clone()).or_insert_with(|| path.clone());
        }
        Self(files)
    }

    /// How many files take part.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// A circle, one line for each import in it: the shortest there is.
    pub(crate) fn circle(&self) -> Option<String> {
        let circles = self.0.keys().filter_map(|file| self.way_back_to(file));
        let files = circles.min_by_key(Vec::len)?;
        let mut lines = String::new();
        for (from, to) in files.iter().zip(files.iter().cycle().skip(1)) {
            // Writing into a string cannot fail.
            let _ = write!(lines, "\n  {from}  uses {}  of {to}", self.0[*from][*to]);
        }
        Some(lines.trim_start_matches('\n').to_owned())
    }

    /// The shortest way from a file by imports back to itself.
    fn way_back_to(&self, start: &str) -> Option<Vec<&str>> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut next = VecDeque::from([self.0.get_key_value(start)?.0.as_str()]);
        while let Some(file) = next.pop_front() {
            for to in self.0[file].keys() {
                if to == start {
                    let mut way = vec![file];
                    while let Some(before) = came_from.get(way[way.len() - 1]) {
                        way.push(before);
                    }
                    way.reverse();
                    return Some(way);
                }
                if !came_from.contains_key(to.as_str()) {
                    came_from.insert(to, file);
                    next.push_back(to);
                }
            }
        }
        None
    }
}
