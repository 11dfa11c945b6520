//! What a guest may import that is not the one that is built in: the empty WASI that a standard library
//! wants to find, and nothing else.
//!
//! Empty: no folders, no sockets, no arguments and no environment; stdin has ended; of what is written to
//! stdout and stderr the beginning is kept for the log, and the rest is left out. Clocks and randomness are there only where the
//! operator grants them, because a session that has neither can be replayed.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use thiserror::Error;
use tokio::io::{self, AsyncWrite};
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::ClosedInputStream;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView, async_trait};

use crate::limits::{GUEST_HANDLES, GUEST_OUTPUT_BYTES, GUEST_RANDOM_BYTES};

/// Something that an operator can grant to a foreign guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grant {
    /// `wasi:clocks`: to read the time, not to wait for it.
    Clocks,
    /// `wasi:random`.
    Random,
}

/// Why a component cannot be a guest.
#[derive(Debug, Error)]
pub enum GuestError {
    /// It is no component that this engine can compile.
    #[error("it is not a component that can be run here: {0}")]
    NotAComponent(wasmtime::Error),
    /// It lacks the contract.
    #[error("it does not export multiclient:session/handler@0.1.0 as the contract has it: {0:#}")]
    NotAGuest(wasmtime::Error),
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
    /// The host failed.
    #[error("{0:#}")]
    Host(wasmtime::Error),
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
pub(crate) fn imports(engine: &Engine, component: &Component) -> Vec<Import> {
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
pub(crate) fn check(imports: &[Import], grants: &BTreeSet<Grant>) -> Result<(), GuestError> {
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

/// Gives a linker what [`check`] lets through, and more that it does not.
pub(crate) fn link<T: WasiView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)
}

/// One client's empty WASI.
pub(crate) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    output: Output,
}

impl Wasi {
    pub(crate) fn new() -> Self {
        let output = Output::default();
        let context = WasiCtx::builder()
            .stdin(ClosedInputStream)
            .stdout(output.clone())
            .stderr(output.clone())
            .max_random_size(GUEST_RANDOM_BYTES)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(GUEST_HANDLES);
        Self { context, table, output }
    }

    pub(crate) fn view(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.context, table: &mut self.table }
    }

    /// The beginning of what the guest has written so far, and how much more there was.
    pub(crate) fn output(&self) -> String {
        let written = self.output.lock();
        let mut text = String::from_utf8_lossy(&written.kept).into_owned();
        if written.left_out > 0 {
            let line_end = if text.ends_with('\n') { "" } else { "\n" };
            text += &format!("{line_end}... and {} bytes more, left out", written.left_out);
        }
        text
    }
}

/// A guest's stdout and stderr. Takes everything, because a standard library whose messages are refused
/// gives up, and keeps the beginning.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    kept: Vec<u8>,
    left_out: u64,
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, bytes: &[u8]) {
        let mut written = self.lock();
        let room = GUEST_OUTPUT_BYTES - written.kept.len();
        let (kept, left_out) = bytes.split_at(bytes.len().min(room));
        written.kept.extend_from_slice(kept);
        written.left_out += left_out.len() as u64;
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    // The most at once, and so what a guest can have the host hold for a moment.
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(GUEST_OUTPUT_BYTES)
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
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
