//! Documents name only what exists: tests, claims, files and flags. Every promise names what enforces it.
//!
//! A missing name means that something was renamed: change the document with it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use multiclient_tests_support::components::repository;

/// Documents that promise, and say what enforces each promise.
const PROMISES: [&str; 2] = ["SPECIFICATION.md", "SECURITY.md"];

/// Documents that say how to use the program. Old flags are named only in the notes on upgrading.
const GUIDES: [&str; 12] = [
    "README.md",
    "ARCHITECTURE.md",
    "BENCHMARKS.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "SPECIFICATION.md",
    "docs/share-a-folder.md",
    "docs/live-stream.md",
    "docs/behind-a-proxy.md",
    "docs/tls.md",
    "docs/as-a-service.md",
    "docs/isolation-in-ci.md",
];

/// Flags of other programs that guides name.
const OTHER_FLAGS: [&str; 6] = ["--tls-verify", "--from", "--also", "--write", "--quick", "--help"];

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands between backticks, on one line.
fn code(text: &str) -> Vec<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// `path/to/file.rs::name`, as documents name a test.
fn named_test(code: &str) -> Option<(&str, &str)> {
    code.split_once("::").filter(|(path, name)| path.ends_with(".rs") && !name.is_empty())
}

/// Whether a file has a test of this name.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim_start).collect();
    let found = lines.iter().position(|line| line.trim_start_matches("async ").starts_with(&format!("fn {name}(")));
    // An attribute or two stand between.
    found.is_some_and(|at| {
        lines[at.saturating_sub(3)..at].iter().any(|line| line.starts_with("#[") && line.contains("test"))
    })
}

/// The claims that the isolation test knows.
fn claims() -> BTreeSet<String> {
    let source = read("host/isolate/src/claim.rs");
    let names = source.split("fn name(self)").nth(1).and_then(|rest| rest.split("    }\n").next());
    names.expect("claims have names").split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The claims that a document names: what follows the word, separated by commas, `and`, or nothing but blanks.
fn named_claims(text: &str) -> BTreeSet<String> {
    let words = text.replace('\n', " ");
    let after = words.split("claim `").skip(1).chain(words.split("claims `").skip(1));
    let mut named = BTreeSet::new();
    for rest in after {
        let mut parts = rest.split('`');
        named.extend(parts.next().map(str::to_owned));
        while let (Some(", " | " and " | ", and "), Some(name)) = (parts.next(), parts.next()) {
            named.insert(name.to_owned());
        }
    }
    named
}

/// The cells of the rows of a document's tables that have this header.
fn rows<'a>(text: &'a str, header: &str) -> Vec<Vec<&'a str>> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        inside = line == header || (inside && line.starts_with('|'));
        if inside && line != header && !line.starts_with("| ---") {
            let cells = line.strip_prefix('|').and_then(|line| line.trim_end().strip_suffix('|'));
            rows.push(cells.unwrap_or_default().split('|').map(str::trim).collect());
        }
    }
    rows
}

/// All documents of the repository.
fn documents() -> Vec<PathBuf> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let is_ours = !["target", "node_modules", "venv"].iter().any(|other| name == *other);
            let is_hidden = name.to_string_lossy().starts_with('.');
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_ours && !is_hidden {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    collect(&repository(""), &mut found);
    found
}

/// Where the links of a document lead, without those to other sites and those within the document.
fn links(text: &str) -> Vec<&str> {
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let definitions = text.lines().filter(|line| line.starts_with('[')).filter_map(|line| line.split("]: ").nth(1));
    let paths = inline.chain(definitions).filter_map(|link| link.split('#').next());
    paths.filter(|path| !path.is_empty() && !path.contains("://")).collect()
}

#[test]
fn every_test_that_a_document_names_exists() {
    let mut missing = Vec::new();
    let mut count = 0;
    for document in PROMISES {
        let text = read(document);
        for (path, name) in code(&text).into_iter().filter_map(named_test) {
            count += 1;
            let source = fs::read_to_string(repository(path)).unwrap_or_default();
            if !has_test(&source, name) {
                missing.push(format!("{document}: {path}::{name}"));
            }
        }
    }
    assert!(count > 60, "the documents were read: {count} names");
    assert!(missing.is_empty(), "there are no such tests:\n{}", missing.join("\n"));
}

#[test]
fn every_promise_names_what_enforces_it() {
    let specification = read("SPECIFICATION.md");
    let rows = rows(&specification, "| promise | number | flag | test or claim |");
    assert!(rows.len() > 40, "the specification was read: {} promises", rows.len());
    for row in rows {
        let [promise, _, _, enforced] = row[..] else { panic!("not four columns: {row:?}") };
        let by_test = code(enforced).into_iter().any(|code| named_test(code).is_some());
        assert!(by_test || enforced.contains("claim `") || enforced == "no test", "nothing enforces: {promise}");
    }
}

#[test]
fn the_specification_names_all_claims_and_no_other() {
    let specification = named_claims(&read("SPECIFICATION.md"));
    assert_eq!(specification, claims());
    for document in ["SECURITY.md", "ARCHITECTURE.md"] {
        let unknown: Vec<_> = named_claims(&read(document)).difference(&claims()).cloned().collect();
        assert!(unknown.is_empty(), "{document}: {unknown:?}");
    }
    let guide = read("docs/isolation-in-ci.md");
    let listed: BTreeSet<_> =
        rows(&guide, "| claim | attack |").into_iter().map(|row| row[0].replace('`', "")).collect();
    assert_eq!(listed, claims(), "docs/isolation-in-ci.md");
}

#[test]
fn every_link_leads_to_a_file() {
    let documents = documents();
    assert!(documents.len() > 15, "the documents were found: {documents:?}");
    let mut broken = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).expect("a document");
        let folder = document.parent().expect("it is in a folder");
        let lost = links(&text).into_iter().filter(|link| !folder.join(link).exists());
        broken.extend(lost.map(|link| format!("{}: {link}", document.display())));
    }
    assert!(broken.is_empty(), "there are no such files:\n{}", broken.join("\n"));
}

#[test]
fn every_flag_that_a_guide_names_exists() {
    let reference = read("docs/flags.md");
    let is_known = |flag: &str| {
        let bounded = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '-');
        OTHER_FLAGS.contains(&flag) || reference.split(flag).skip(1).any(bounded)
    };
    let mut unknown = BTreeSet::new();
    for guide in GUIDES {
        let text = read(guide);
        let flags = code(&text).into_iter().filter(|code| code.starts_with("--") && code.len() > 2);
        let names = flags.filter_map(|code| code.split([' ', '=', '[']).next());
        unknown.extend(names.filter(|flag| !is_known(flag)).map(|flag| format!("{guide}: {flag}")));
    }
    assert!(unknown.is_empty(), "docs/flags.md does not have: {unknown:?}");
}

#[test]
fn the_program_in_the_readme_is_that_of_the_crate() {
    let program = |document| {
        let text = read(document);
        let code = text.split("```rust,no_run\n").nth(1).and_then(|rest| rest.split("```").next()).map(str::to_owned);
        code.unwrap_or_else(|| panic!("{document} has no program"))
    };
    assert_eq!(program("README.md"), program("host/README.md"));
}

// ---- documents that are made up

#[test]
fn names_are_found_where_they_stand() {
    assert_eq!(named_test("tests/a/b.rs::c_d"), Some(("tests/a/b.rs", "c_d")));
    assert_eq!(named_test("Session::guarded"), None);
    assert!(has_test("    #[test]\n    fn a() {\n", "a") && !has_test("fn a() {}\nfn ab() {}", "a"));
    assert!(!has_test("#[test]\nfn ab() {}", "a"));
    let claims: Vec<_> = named_claims("the claim `a`; claims `b`, `c` and `d`, or `e`").into_iter().collect();
    assert_eq!(claims, ["a", "b", "c", "d"]);
    assert_eq!(links("[a](b/c.md#d) [e](#f) [g](https://h)\n[i]: j.md"), ["b/c.md", "j.md"]);
    assert_eq!(rows("| a | b |\n| --- | --- |\n| c | d |\n\n| e | f |", "| a | b |"), [["c", "d"]]);
}
