//! Import lines run in one direction: in no crate of the workspace do two files need each other.
//!
//! A file is a node. `use` lines and paths that begin with `crate`, `super` or `self` are edges, to the file of
//! the deepest module that they name. `mod x;` alone is not an edge, and modules for tests are left out.

mod graph;
mod modules;
mod tokens;

use std::fs;
use std::path::Path;

use graph::Graph;
use modules::read_crate;
use multiclient_tests_support::components::repository;

#[test]
fn no_crate_has_a_circle_of_imports() {
    let mut found = Vec::new();
    let mut files = 0;
    for root in roots() {
        let read = |path: &str| fs::read_to_string(repository(path)).ok();
        let graph = Graph::of(&read_crate(&root, &read));
        files += graph.len();
        found.extend(graph.circle().map(|circle| format!("{root} has a circle:\n{circle}")));
    }
    assert!(files > 100, "the workspace was read: {files} files");
    let advice = "A circle means that something lives in the wrong file. Move it to a file that both can import.";
    assert!(found.is_empty(), "{}\n{advice}", found.join("\n"));
}

/// The first files of all crates that the workspace names.
fn roots() -> Vec<String> {
    let manifest = fs::read_to_string(repository("Cargo.toml")).expect("the workspace has a manifest");
    let members = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("it has members");
    let members = members.split('"').skip(1).step_by(2);
    let roots = members.flat_map(|member| ["lib.rs", "main.rs"].map(|file| format!("{member}/src/{file}")));
    roots.filter(|root| Path::new(&repository(root)).is_file()).collect()
}

// ---- crates that are made up

/// The circle in a crate of these files, the first of which is its root.
fn circle(files: &[(&str, &str)]) -> Option<String> {
    let read = |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned());
    Graph::of(&read_crate(files[0].0, &read)).circle()
}

#[test]
fn a_planted_circle_is_found_and_shown() {
    let found = circle(&[
        ("src/lib.rs", "mod a;\nmod b;\nmod c;\npub use a::A;"),
        ("src/a.rs", "use crate::b::{self, B};\npub struct A(B);"),
        ("src/b.rs", "use std::fmt;\nuse super::c;\npub struct B;"),
        ("src/c.rs", "use crate::a::A as Other;"),
    ]);
    let expected = "  src/a.rs  uses crate::b  of src/b.rs\n  \
                    src/b.rs  uses super::c  of src/c.rs\n  \
                    src/c.rs  uses crate::a::A  of src/a.rs";
    assert_eq!(found.as_deref(), Some(expected));
}

#[test]
fn a_circle_through_a_folder_is_found() {
    let found = circle(&[
        ("src/main.rs", "mod folder;"),
        ("src/folder/mod.rs", "mod one;\nmod two;\npub(crate) use one::One;"),
        ("src/folder/one.rs", "use super::two::Two;"),
        ("src/folder/two.rs", "use super::One;"),
    ]);
    let expected = "  src/folder/mod.rs  uses one::One  of src/folder/one.rs\n  \
                    src/folder/one.rs  uses super::two::Two  of src/folder/two.rs\n  \
                    src/folder/two.rs  uses super::One  of src/folder/mod.rs";
    assert_eq!(found.as_deref(), Some(expected));
}

#[test]
fn a_path_within_the_code_is_an_import_too() {
    let files = |body| [("src/lib.rs", "mod a;\nmod b;"), ("src/a.rs", "use crate::b::B;"), ("src/b.rs", body)];
    assert!(circle(&files("fn b() -> usize { 1 + super::a::COUNT }")).is_some());
    assert!(circle(&files("pub(in crate::a) struct B; // crate::a::A\nconst C: &str = \"crate::a::A\";")).is_none());
}

#[test]
fn imports_in_one_direction_are_not_a_circle() {
    let found = circle(&[
        ("src/lib.rs", "mod a;\nmod b;\nmod words { pub(super) use crate::a::A; }\npub use b::*;"),
        ("src/a.rs", "mod inner;\npub struct A;\n#[cfg(test)]\nmod tests { use crate::b::B; use super::A; }"),
        ("src/a/inner.rs", "fn f<'a>(x: &'a str) -> char { '\"' }\nuse std::a::B;"),
        ("src/b.rs", "use crate::a::A;\nuse a::C;\n#[cfg(test)]\nuse crate::words;\n/* use super::*; */"),
    ]);
    assert_eq!(found, None);
}
