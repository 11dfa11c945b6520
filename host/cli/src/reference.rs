//! `docs/flags.md`, generated from the declaration of the command line.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, Command};

use crate::args::{self, EXIT_CODES, Help, paragraph};

const INTRODUCTION: &str = "\
# Commands and flags

Generated from the program's declaration of its command line: `UPDATE_DOCS=1 cargo test -p multiclient-cli reference`.

Each flag has an environment variable: `MULTICLIENT_` and its name in capitals, as in `MULTICLIENT_MAX_CLIENTS=50` for
`--max-clients 50`. Flags win over variables. An empty variable counts as not set.

Bytes are written `65536`, `512K`, `8M` or `1G`; times `50ms`, `10s`, `2m` or `1h`.
";

/// The text of `docs/flags.md`.
fn reference() -> String {
    let command = args::command(Help::Long);
    let mut text = format!("{INTRODUCTION}\n| exit code | meaning |\n| --- | --- |\n");
    for (code, meaning) in EXIT_CODES {
        let _ = writeln!(text, "| {code} | {meaning} |");
    }
    section(&mut text, "multiclient SOURCE [URL]", &command);
    let listed = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    for command in command.get_subcommands().filter(listed) {
        section(&mut text, &format!("multiclient {}", command.get_name()), command);
    }
    text
}

fn section(text: &mut String, title: &str, command: &Command) {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = write!(text, "\n## `{title}`\n\n{about}.\n");
    let mut heading = None;
    let positionals = command.get_arguments().filter(|arg| arg.is_positional());
    let flags = command.get_arguments().filter(|arg| !arg.is_positional());
    table(text, "argument", positionals);
    let mut flags: Vec<&Arg> = flags.collect();
    // Flags of one heading need not be declared together.
    let headings: Vec<_> = flags.iter().map(|arg| arg.get_help_heading()).collect();
    flags.sort_by_key(|arg| headings.iter().position(|heading| *heading == arg.get_help_heading()));
    while !flags.is_empty() {
        let next = flags[0].get_help_heading();
        let rest = flags.iter().position(|arg| arg.get_help_heading() != next).unwrap_or(flags.len());
        if let (Some(name), true) = (next, heading != next) {
            let _ = write!(text, "\n### {name}\n");
        }
        heading = next;
        table(text, "flag", flags.drain(..rest));
    }
}

fn table<'a>(text: &mut String, what: &str, args: impl Iterator<Item = &'a Arg>) {
    let mut args = args.peekable();
    if args.peek().is_none() {
        return;
    }
    let _ = write!(text, "\n| {what} | default | meaning |\n| --- | --- | --- |\n");
    for arg in args {
        let (name, default, meaning) = (name(arg), default(arg), meaning(arg));
        let _ = writeln!(text, "| `{name}` | {default} | {meaning} |");
    }
}

fn name(arg: &Arg) -> String {
    let values: Vec<_> = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let takes_value = arg.get_action().takes_values();
    let long = arg.get_long().map(|long| format!("--{long}"));
    let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    match long {
        None => values.join(" "),
        Some(long) if !takes_value => format!("{short}{long}"),
        Some(long) if arg.is_require_equals_set() => format!("{short}{long}[={}]", values.join(" ")),
        Some(long) => format!("{short}{long} {}", values.join(" ")),
    }
}

fn default(arg: &Arg) -> String {
    let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    match (arg.get_action().takes_values(), values.is_empty()) {
        (false, _) => "off".to_owned(),
        (true, false) => format!("`{}`", values.join(" ")),
        (true, true) => in_words(arg).1.unwrap_or_default(),
    }
}

/// What is said of an argument, and its default where that is said in words: `[default: the time]`.
fn in_words(arg: &Arg) -> (String, Option<String>) {
    let text = paragraph(arg).unwrap_or_default();
    match text.split_once(" [default: ").and_then(|(before, rest)| Some((before, rest.split_once(']')?))) {
        Some((before, (default, after))) => (format!("{before}{after}"), Some(default.to_owned())),
        None => (text, None),
    }
}

fn meaning(arg: &Arg) -> String {
    let mut meaning = in_words(arg).0;
    if !meaning.ends_with('.') {
        meaning.push('.');
    }
    let takes_value = arg.get_action().takes_values();
    let values = arg.get_possible_values();
    let values = values.iter().filter(|value| takes_value && !value.is_hide_set());
    let described: Vec<_> = values
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({})", value.get_name(), lower_case(&help.to_string())),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if !described.is_empty() {
        let _ = write!(meaning, " One of {}.", described.join(", "));
    }
    meaning.replace('|', "\\|")
}

fn lower_case(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        // `JSON` stays as it is.
        Some(first) if text.chars().nth(1).is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(characters).collect()
        }
        _ => text.to_owned(),
    }
}

/// Generates the page, or holds it against the one that is there.
#[test]
fn the_reference_is_that_of_this_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/flags.md");
    let text = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &text).expect("the folder is there");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "docs/flags.md is stale: UPDATE_DOCS=1 cargo test -p multiclient-cli reference");
}
