//! The empty WASI that a custom guest with a standard library wants to find, and nothing else.
//!
//! Empty: no folders, no sockets, no arguments and no environment; stdin has ended; the beginning of what is
//! written to stdout and stderr is kept for the log, and the rest is dropped.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{self, AsyncWrite};
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::pipe::ClosedInputStream;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView, async_trait};

use crate::limits::{GUEST_HANDLES, GUEST_OUTPUT_BYTES, GUEST_RANDOM_BYTES};
use crate::sync::lock;

/// Gives a linker all of WASI 0.2. Which of it a guest may import is judged before.
pub(super) fn link<T: WasiView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)
}

/// One client's empty WASI.
pub(super) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    output: Output,
}

impl Wasi {
    pub(super) fn new() -> Self {
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

    pub(super) fn view(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.context, table: &mut self.table }
    }

    /// The beginning of what the guest has written so far, and how much more there was.
    pub(super) fn output(&self) -> String {
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
        lock(&self.0)
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
