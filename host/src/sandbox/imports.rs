//! What a guest may import, name by name.
//!
//! The built-in guest imports nothing. A custom one may import the empty WASI that a standard library wants
//! to find; clocks and randomness only where the operator grants them, because a session that has neither
//! can be replayed.

#[cfg(feature = "compile")]
use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;
use wasmtime::Engine;
use wasmtime::component::Component;
#[cfg(feature = "compile")]
use wasmtime::component::Linker;
use wasmtime::component::types::ComponentItem;

#[cfg(feature = "compile")]
use crate::sandbox::meter::Bounds;

/// Something that an operator can grant to a custom guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Grant {
    /// `wasi:clocks`: to read the time, not to wait for it.
    Clocks,
    /// `wasi:random`.
    Random,
}

/// Why a component cannot be a guest.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GuestError {
    /// It is not a component that this engine can compile.
    #[error("it is not a component that can run here: {0}")]
    NotAComponent(String),
    /// It lacks the contract.
    #[error("it does not export multiclient:session/handler@0.1.0 as the contract defines it: {0}")]
    NotAGuest(String),
    /// It is not an index of live streams, or it imports something.
    #[error(
        "it does not export multiclient:index/marks@0.1.0 as the contract defines it, or it imports something: {0}"
    )]
    NotAnIndex(String),
    /// It imports what no guest gets.
    #[error("it imports {0}, which is never granted")]
    NeverGranted(String),
    /// It imports what a guest gets only where the operator says so.
    #[error("it imports {import}, which is not granted")]
    NotGranted {
        /// What it imports.
        import: String,
        /// What would have to be granted.
        grant: Grant,
    },
    /// Nobody could be served within its limits.
    #[error("`{limit}` must be at least {least}")]
    Limit {
        /// Which of them is too small.
        limit: &'static str,
        /// What it has to be at least.
        least: u64,
    },
    /// The host failed.
    #[error("{0}")]
    Host(String),
}

impl GuestError {
    pub(super) fn host(error: impl Into<wasmtime::Error>) -> Self {
        Self::Host(format!("{:#}", error.into()))
    }

    #[cfg(feature = "compile")]
    pub(super) fn not_a_component(error: wasmtime::Error) -> Self {
        Self::NotAComponent(error.to_string())
    }

    #[cfg(feature = "compile")]
    pub(super) fn not_a_guest(error: wasmtime::Error) -> Self {
        Self::NotAGuest(format!("{error:#}"))
    }
}

/// What the interfaces of the empty WASI are called, without versions.
const EMPTY: [&str; 15] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:filesystem/types",
    "wasi:filesystem/preopens",
];

/// The functions of `wasi:clocks` that read the time. The others wait for it, and a guest that waits would
/// wait on the thread of other clients.
const READS_TIME: [&str; 2] = ["now", "resolution"];

/// Something that a component imports, and whether a guest gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its full name.
    pub name: String,
    /// Whether a guest gets it.
    pub verdict: Verdict,
}

/// Whether a guest gets what it imports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Only the names of types are imported, which can do nothing.
    TypesOnly,
    /// It is part of the empty WASI.
    Empty,
    /// Where the operator says so.
    Grant(Grant),
    /// Not for anybody. The text says which part of it, where it is not all.
    Never(String),
}

/// Judges what a component imports, name by name.
pub(super) fn imports(engine: &Engine, component: &Component) -> Vec<Import> {
    let kind = component.component_type();
    let judged = |(name, item): (&str, _)| Import { name: name.to_owned(), verdict: judge(engine, name, &item) };
    kind.imports(engine).map(|(name, item)| judged((name, item.ty))).collect()
}

fn judge(engine: &Engine, name: &str, item: &ComponentItem) -> Verdict {
    let functions = functions(engine, item);
    if functions.is_empty() {
        return Verdict::TypesOnly;
    }
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    match interface {
        _ if !version.starts_with("0.2.") => Verdict::Never(name.to_owned()),
        "wasi:clocks/wall-clock" | "wasi:clocks/monotonic-clock" => {
            match functions.iter().find(|function| !READS_TIME.contains(&function.as_str())) {
                Some(waits) => Verdict::Never(format!("{name} {waits}")),
                None => Verdict::Grant(Grant::Clocks),
            }
        }
        "wasi:random/random" | "wasi:random/insecure" | "wasi:random/insecure-seed" => Verdict::Grant(Grant::Random),
        _ if EMPTY.contains(&interface) => Verdict::Empty,
        _ => Verdict::Never(name.to_owned()),
    }
}

/// Refuses a component that imports what it does not get.
#[cfg(feature = "compile")]
pub(super) fn check(imports: &[Import], grants: &BTreeSet<Grant>) -> Result<(), GuestError> {
    imports.iter().try_for_each(|import| match &import.verdict {
        Verdict::TypesOnly | Verdict::Empty => Ok(()),
        Verdict::Grant(grant) if grants.contains(grant) => Ok(()),
        Verdict::Grant(grant) => Err(GuestError::NotGranted { import: import.name.clone(), grant: *grant }),
        Verdict::Never(what) => Err(GuestError::NeverGranted(what.clone())),
    })
}

fn functions(engine: &Engine, item: &ComponentItem) -> Vec<String> {
    match item {
        ComponentItem::ComponentInstance(instance) => instance
            .exports(engine)
            .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)))
            .map(|(name, _)| name.to_owned())
            .collect(),
        ComponentItem::Type(_) | ComponentItem::Resource(_) => Vec::new(),
        // Neither the contract nor WASI imports functions or modules by themselves.
        _ => vec![String::new()],
    }
}

/// A linker with what [`check`] lets through, and more that it does not.
#[cfg(all(feature = "compile", feature = "wasi"))]
pub(super) fn linker(engine: &Engine) -> Result<Linker<Bounds>, GuestError> {
    let mut linker = Linker::new(engine);
    crate::sandbox::wasi::link(&mut linker).map_err(GuestError::host)?;
    Ok(linker)
}

/// A linker with nothing in it: a guest that imports anything fails to link.
#[cfg(all(feature = "compile", not(feature = "wasi")))]
pub(super) fn linker(engine: &Engine) -> Result<Linker<Bounds>, GuestError> {
    Ok(Linker::new(engine))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TypesOnly => f.write_str("types only, which can do nothing"),
            Self::Empty => f.write_str("given, and empty"),
            Self::Grant(grant) => write!(f, "only with --allow {grant}"),
            Self::Never(_) => f.write_str("never granted"),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clocks => "clocks",
            Self::Random => "random",
        })
    }
}
