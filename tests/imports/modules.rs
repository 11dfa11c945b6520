//! The modules of a crate, each with its file, and the paths that they import.

use std::collections::BTreeMap;

use crate::tokens::tokens;

/// A file imports something that is in another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) from: String,
    pub(crate) to: String,
    /// The path as it is written.
    pub(crate) path: String,
}

/// Reads a crate from its first file on.
pub(crate) fn read_crate(root: &str, read: &dyn Fn(&str) -> Option<String>) -> Vec<Import> {
    let mut modules = Modules { all: Vec::new(), paths: Vec::new(), read };
    let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
    modules.add_file(None, root, folder);
    modules.imports()
}

struct Module {
    file: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
}

struct Modules<'a> {
    all: Vec<Module>,
    /// In which module, and which path.
    paths: Vec<(usize, Vec<String>)>,
    read: &'a dyn Fn(&str) -> Option<String>,
}

impl Modules<'_> {
    fn add_file(&mut self, parent: Option<usize>, file: &str, folder: &str) -> usize {
        let module = self.add(parent, file);
        let source = (self.read)(file).unwrap_or_else(|| panic!("{file} cannot be read"));
        self.scan(module, &tokens(&source), folder);
        module
    }

    fn add(&mut self, parent: Option<usize>, file: &str) -> usize {
        self.all.push(Module { file: file.to_owned(), parent, children: BTreeMap::new() });
        self.all.len() - 1
    }

    /// Looks for modules and paths. The files of child modules are in `folder`.
    fn scan(&mut self, module: usize, tokens: &[&str], folder: &str) {
        let mut at = 0;
        while at < tokens.len() {
            let before = at.checked_sub(1).map(|before| tokens[before]);
            at = match (tokens[at], tokens.get(at + 1).copied()) {
                ("#", Some("[")) => self.attribute(tokens, at),
                ("mod", Some(name)) if tokens.get(at + 2) == Some(&";") => {
                    self.child_file(module, name, folder);
                    at + 3
                }
                ("mod", Some(name)) if tokens.get(at + 2) == Some(&"{") => {
                    let end = closing(tokens, at + 2);
                    let file = self.all[module].file.clone();
                    let child = self.add(Some(module), &file);
                    self.all[module].children.insert(name.to_owned(), child);
                    self.scan(child, &tokens[at + 3..end], &format!("{folder}/{name}"));
                    end + 1
                }
                ("use", Some(next)) if next != "<" => self.tree(module, tokens, at + 1, &[]),
                ("crate" | "super" | "self", Some("::")) if before != Some("in") && before != Some("$") => {
                    self.inline_path(module, tokens, at)
                }
                _ => at + 1,
            };
        }
    }

    /// Skips an attribute, and what it is on where that is only for tests.
    fn attribute(&self, tokens: &[&str], at: usize) -> usize {
        let end = closing(tokens, at + 1);
        let inside = &tokens[at + 2..end];
        if !(inside.first() == Some(&"cfg") && inside.contains(&"test") && !inside.contains(&"not")) {
            return end + 1;
        }
        let ends = |token: &&str| matches!(*token, ";" | "{");
        match tokens[end..].iter().position(ends).map(|offset| end + offset) {
            Some(body) if tokens[body] == "{" && tokens[end + 1..body].contains(&"use") => {
                tokens[body..].iter().position(|token| *token == ";").map_or(tokens.len(), |offset| body + offset + 1)
            }
            Some(body) if tokens[body] == "{" => closing(tokens, body) + 1,
            Some(semicolon) => semicolon + 1,
            None => tokens.len(),
        }
    }

    fn child_file(&mut self, module: usize, name: &str, folder: &str) {
        let (flat, deep) = (format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs"));
        let Some(file) = [flat, deep].into_iter().find(|file| (self.read)(file).is_some()) else {
            // A module whose attribute names its file is another crate's, which is read there.
            return;
        };
        let child = self.add_file(Some(module), &file, &format!("{folder}/{name}"));
        self.all[module].children.insert(name.to_owned(), child);
    }

    /// Reads a tree of `use`, up to its `;`, `,` or `}`, and gives where that is.
    fn tree(&mut self, module: usize, tokens: &[&str], mut at: usize, prefix: &[String]) -> usize {
        let mut path = prefix.to_vec();
        loop {
            match tokens.get(at).copied() {
                Some("::") => at += 1,
                Some("{") => {
                    let end = closing(tokens, at);
                    at += 1;
                    while at < end {
                        at = self.tree(module, tokens, at, &path).max(at + 1);
                    }
                    return end + 1;
                }
                // Another name changes nothing.
                Some("as") => at += 2,
                Some("," | ";" | "}") | None => {
                    self.paths.push((module, path));
                    return at + usize::from(tokens.get(at) == Some(&","));
                }
                Some(word) => {
                    path.push(word.to_owned());
                    at += 1;
                }
            }
        }
    }

    fn inline_path(&mut self, module: usize, tokens: &[&str], mut at: usize) -> usize {
        let mut path = vec![tokens[at].to_owned()];
        while tokens.get(at + 1) == Some(&"::") && at + 2 < tokens.len() {
            path.push(tokens[at + 2].to_owned());
            at += 2;
        }
        self.paths.push((module, path));
        at + 1
    }

    fn imports(&self) -> Vec<Import> {
        let import = |(module, path): &(usize, Vec<String>)| {
            let to = self.resolve(*module, path)?;
            let (from, to) = (&self.all[*module].file, &self.all[to].file);
            (from != to).then(|| Import { from: from.clone(), to: to.clone(), path: written(path) })
        };
        self.paths.iter().filter_map(import).collect()
    }

    /// The deepest module that a path names. None: it is in another crate.
    fn resolve(&self, module: usize, path: &[String]) -> Option<usize> {
        let mut here = match path.first()?.as_str() {
            "crate" => 0,
            "super" | "self" => module,
            child => *self.all[module].children.get(child)?,
        };
        for (index, segment) in path.iter().enumerate() {
            match segment.as_str() {
                "super" => here = self.all[here].parent?,
                "crate" | "self" => {}
                _ if index == 0 => {}
                child => match self.all[here].children.get(child) {
                    Some(child) => here = *child,
                    None => break,
                },
            }
        }
        Some(here)
    }
}

/// A path without the `self` that a tree may end with.
fn written(path: &[String]) -> String {
    let end =
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") { path.len() - 1 } else { path.len() };
    path[..end].join("::")
}

/// Where what opens at `at` is closed.
fn closing(tokens: &[&str], at: usize) -> usize {
    let mut depth = 0;
    for (offset, token) in tokens[at..].iter().enumerate() {
        match *token {
            "{" | "[" | "(" => depth += 1,
            "}" | "]" | ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + offset;
        }
    }
    tokens.len() - 1
}
