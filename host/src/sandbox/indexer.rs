//! The index of a live source: an instance of its own for each life of the source.
//!
//! Rule: media is untrusted, and so is what the index says of it. Everything that comes out is held against
//! the rules of `wit/index/index.wit`; an index that breaks one, traps or exceeds a limit is dropped, and the
//! source goes on without it.

use std::borrow::Cow;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Component, Linker, ResourceAny};
use wasmtime::{Engine, ResourceLimiter, Store, UpdateDeadline};

use crate::contract::{Header, Join, Loss, Mark, Marks, Patch};
use crate::limits::{
    INDEX_CPU, INDEX_CREDIT, INDEX_FORMAT_BYTES, INDEX_HEADER, INDEX_MARKS, INDEX_MEMORY, INDEX_PIECE, INDEX_PREFACE,
    INDEX_TYPE_BYTES,
};
use crate::sandbox::engine::{self, MEMORY_RESERVATION};
use crate::sandbox::imports::GuestError;
use crate::sandbox::inspect::sha256;
use crate::sandbox::meter::thread_cpu_time;
#[cfg(feature = "compile")]
use crate::sandbox::names;
use crate::sandbox::precompiled;
use crate::sandbox::ticker::Ticker;
use crate::sources::Indexes;

mod bindings {
    //! The contract in Rust, made from `wit/index/index.wit`.

    #![allow(unreachable_pub, missing_docs, reason = "generated; the documentation is in the WIT")]

    wasmtime::component::bindgen!({ path: "wit/index", world: "index" });
}

use bindings::exports::multiclient::index::marks as wit;

/// The component that is built in, and its machine code.
const BUILT_IN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/index.wasm"));
const BUILT_IN_PRECOMPILED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/index.cwasm"));

/// A compiled index of live streams: it finds where viewers may join.
pub struct Index {
    engine: Engine,
    pre: bindings::IndexPre<Bounds>,
    ticker: Ticker,
    bytes: Cow<'static, [u8]>,
}

impl Index {
    /// The built-in index: MPEG-TS, fragmented MP4, Matroska and WebM, Ogg, FLV, FLAC, ADTS, MP3, WAVE,
    /// multipart JPEG and lines of text.
    ///
    /// # Errors
    ///
    /// Fails where the system is short of address space or threads.
    pub fn built_in() -> Result<Self, GuestError> {
        let engine = Engine::new(&engine::config(MEMORY_RESERVATION)).map_err(GuestError::host)?;
        let component = precompiled::load(&engine, BUILT_IN_PRECOMPILED).map_err(GuestError::host)?;
        Self::new(engine, &component, BUILT_IN.into())
    }

    /// A custom index: any component that exports `multiclient:index/marks@0.1.0` and imports nothing.
    ///
    /// # Errors
    ///
    /// Fails where this is not such a component.
    #[cfg(feature = "compile")]
    pub fn custom(component: Vec<u8>) -> Result<Self, GuestError> {
        let engine = Engine::new(&engine::config(MEMORY_RESERVATION)).map_err(GuestError::host)?;
        let compiled =
            Component::from_binary(&engine, &names::without_long(&component)).map_err(GuestError::not_a_component)?;
        Self::new(engine, &compiled, component.into())
    }

    fn new(engine: Engine, component: &Component, bytes: Cow<'static, [u8]>) -> Result<Self, GuestError> {
        let pre = Linker::new(&engine).instantiate_pre(component).and_then(bindings::IndexPre::new);
        let pre = pre.map_err(|error| GuestError::NotAnIndex(format!("{error:#}")))?;
        let ticker = Ticker::start(&engine).map_err(GuestError::host)?;
        Ok(Self { engine, pre, ticker, bytes })
    }

    /// The component that it was made of.
    pub fn component(&self) -> &[u8] {
        &self.bytes
    }

    /// The SHA-256 of that component, in hexadecimal.
    pub fn sha256(&self) -> String {
        sha256(&self.bytes)
    }

    /// An index of one life of a source.
    pub(crate) fn start(self: &Arc<Self>) -> Result<Indexer, String> {
        let mut store = Store::new(&self.engine, Bounds::new());
        store.limiter(|bounds| bounds);
        store.set_max_component_handles(HANDLES);
        // Lists of one call: a header, and what the marks of one piece take.
        store.set_hostcall_fuel(INDEX_HEADER as usize * 2 + INDEX_MARKS * 256);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().tick()));
        let instance = timed(&self.ticker, &mut store, |store| self.pre.instantiate(store))?;
        let guest = instance.multiclient_index_marks().clone();
        let limits = wit::Limits { max_header: INDEX_HEADER };
        let indexer = timed(&self.ticker, &mut store, |store| guest.indexer().call_constructor(store, limits))?;
        let index = Arc::clone(self);
        Ok(Indexer { index, store, guest, indexer, rules: Rules::default() })
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("sha256", &self.sha256()).finish_non_exhaustive()
    }
}

/// Core instances and tables of one index, and handles that it may hold. The built-in one has one memory, and one
/// handle.
const CORE_INSTANCES: usize = 8;
const TABLES: usize = 4;
const HANDLES: usize = 16;

/// What one instance may take, and has taken.
struct Bounds {
    /// What is left for all its memories and tables.
    memory: u64,
    /// When the call under way began, by the clock of its thread.
    began: Duration,
    exceeded: Option<&'static str>,
}

impl Bounds {
    fn new() -> Self {
        Self { memory: INDEX_MEMORY, began: Duration::ZERO, exceeded: None }
    }

    fn grow(&mut self, bytes: usize) -> bool {
        match self.memory.checked_sub(bytes as u64) {
            Some(left) => self.memory = left,
            None => self.exceeded = Some("memory"),
        }
        self.exceeded.is_none()
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(size_of::<usize>())))
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        1
    }
}

impl Bounds {
    fn tick(&mut self) -> UpdateDeadline {
        if thread_cpu_time().saturating_sub(self.began) < INDEX_CPU {
            return UpdateDeadline::Continue(1);
        }
        self.exceeded = Some("CPU time");
        UpdateDeadline::Interrupt
    }
}

fn timed<T>(
    ticker: &Ticker,
    store: &mut Store<Bounds>,
    call: impl FnOnce(&mut Store<Bounds>) -> wasmtime::Result<T>,
) -> Result<T, String> {
    store.data_mut().began = thread_cpu_time();
    let _ticking = ticker.run();
    store.set_epoch_deadline(2);
    call(store).map_err(|error| match store.data().exceeded {
        Some(limit) => format!("it exceeds its {limit}"),
        None => format!("it failed: {}", error.root_cause()),
    })
}

/// The index of one life of a source.
pub(crate) struct Indexer {
    index: Arc<Index>,
    store: Store<Bounds>,
    guest: wit::Guest,
    indexer: ResourceAny,
    rules: Rules,
}

impl Indexes for Indexer {
    fn advance(&mut self, bytes: &[u8]) -> Result<Marks, String> {
        debug_assert!(bytes.len() <= INDEX_PIECE);
        let (guest, indexer) = (&self.guest, self.indexer);
        let call = |store: &mut Store<Bounds>| guest.indexer().call_advance(store, indexer, bytes);
        let progress = timed(&self.index.ticker, &mut self.store, call)?;
        self.rules.check(progress, bytes.len())
    }

    fn finish(&mut self) -> Result<Marks, String> {
        let (guest, indexer) = (&self.guest, self.indexer);
        let marks = timed(&self.index.ticker, &mut self.store, |store| guest.indexer().call_finish(store, indexer))?;
        let settled = self.rules.passed;
        self.rules.check(wit::Progress { marks, settled }, 0)
    }
}

/// An index whose failure takes down who reads the source, as a parser in the host would. For the trial of
/// isolation.
pub(crate) struct Unwalled(pub(crate) Indexer);

impl Indexes for Unwalled {
    fn advance(&mut self, bytes: &[u8]) -> Result<Marks, String> {
        self.0.advance(bytes).or_else(|why| resume_unwind(Box::new(why)))
    }

    fn finish(&mut self) -> Result<Marks, String> {
        self.0.finish().or_else(|why| resume_unwind(Box::new(why)))
    }
}

/// What an index has said so far, as far as its rules are about it.
#[derive(Debug, Default)]
struct Rules {
    passed: u64,
    settled: u64,
    /// The newest offset of a join or an end.
    newest: u64,
    joined: Option<u64>,
    has_header: bool,
    /// Bytes of all headers and prefaces, and the number of all marks.
    headers: u64,
    marks: u64,
}

impl Rules {
    fn check(&mut self, progress: wit::Progress, count: usize) -> Result<Marks, String> {
        let before = self.passed;
        self.passed += count as u64;
        let wit::Progress { marks, settled } = progress;
        self.marks += marks.len() as u64;
        if marks.len() > INDEX_MARKS || self.marks > self.passed / 8 + 16 {
            return Err(format!("it breaks its contract: {} marks for {} bytes", self.marks, self.passed));
        }
        let marks: Vec<_> = marks.into_iter().map(|mark| self.mark(mark)).collect::<Result<_, _>>()?;
        let lag = u64::from(INDEX_HEADER) + INDEX_PIECE as u64;
        if settled < self.settled || settled > self.passed || self.passed - settled > lag {
            return Err(format!("it breaks its contract: settled up to {settled} of {before}+{count}"));
        }
        self.settled = settled;
        Ok(Marks { marks, settled })
    }

    fn mark(&mut self, mark: wit::Mark) -> Result<Mark, String> {
        let broken = |what: &str| Err(format!("it breaks its contract: {what}"));
        match mark {
            wit::Mark::Header(wit::Header { bytes, format, media_type }) => {
                self.headers += bytes.len() as u64;
                let visible = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
                let texts = (1..=INDEX_FORMAT_BYTES).contains(&format.len())
                    && (1..=INDEX_TYPE_BYTES).contains(&media_type.len())
                    && visible(&format)
                    && visible(&media_type);
                if bytes.len() > INDEX_HEADER as usize || !texts || self.headers > self.passed + INDEX_CREDIT {
                    return broken("a header beyond its bounds");
                }
                (self.has_header, self.joined) = (true, None);
                Ok(Mark::Header(Header { bytes, format, media_type }))
            }
            wit::Mark::Join(wit::Join { offset, preface }) => {
                let rises = self.joined.is_none_or(|joined| offset > joined) && offset >= self.newest;
                self.headers += preface.len() as u64;
                let is_bounded = preface.len() <= INDEX_PREFACE && self.headers <= self.passed + INDEX_CREDIT;
                if !self.has_header || !rises || offset > self.passed || !is_bounded {
                    return broken("a join where none can be");
                }
                (self.newest, self.joined) = (offset, Some(offset));
                Ok(Mark::Join(Join { offset, preface }))
            }
            wit::Mark::End(offset) => {
                if offset < self.newest || offset > self.passed {
                    return broken("an end where none can be");
                }
                (self.newest, self.has_header) = (offset, false);
                Ok(Mark::End(offset))
            }
            wit::Mark::Patch(wit::Patch { offset, bytes }) => {
                let end = offset.checked_add(bytes.len() as u64);
                if bytes.is_empty() || offset < self.settled || end.is_none_or(|end| end > self.passed) {
                    return broken("a patch of bytes that are settled or have not come");
                }
                Ok(Mark::Patch(Patch { offset, bytes }))
            }
            wit::Mark::Lost(loss) => {
                self.has_header = false;
                Ok(Mark::Lost(match loss {
                    wit::Loss::Unrecognized => Loss::Unrecognized,
                    wit::Loss::Oversized => Loss::Oversized,
                    wit::Loss::Unjoinable => Loss::Unjoinable,
                    wit::Loss::Malformed => Loss::Malformed,
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(marks: Vec<wit::Mark>, settled: u64) -> Result<Marks, String> {
        let mut rules =
            Rules { passed: 1_000, settled: 500, has_header: true, newest: 400, marks: 120, ..Rules::default() };
        rules.check(wit::Progress { marks, settled }, 100)
    }

    #[test]
    fn what_an_index_says_is_held_against_its_rules() {
        let join = |offset| wit::Mark::Join(wit::Join { offset, preface: Vec::new() });
        let preface = |offset, count| wit::Mark::Join(wit::Join { offset, preface: vec![0; count] });
        let patch = |offset, count| wit::Mark::Patch(wit::Patch { offset, bytes: vec![0; count] });
        let header = |bytes| {
            let (format, media_type) = ("ogg".to_owned(), "audio/ogg".to_owned());
            wit::Mark::Header(wit::Header { bytes: vec![0; bytes], format, media_type })
        };
        assert!(checked(vec![join(400), join(1_100)], 1_100).is_ok());
        assert!(checked(vec![patch(500, 600), header(10), join(900)], 1_100).is_ok());
        for (marks, settled, why) in [
            (vec![], 499, "settled falls"),
            (vec![], 1_101, "settled beyond what was passed"),
            (vec![join(1_101)], 500, "a join beyond what was passed"),
            (vec![join(399)], 500, "a join before the newest mark"),
            (vec![join(600), join(600)], 500, "joins that do not rise"),
            (vec![wit::Mark::End(600), join(700)], 500, "a join without a header"),
            (vec![patch(499, 1)], 500, "a patch of what is settled"),
            (vec![patch(1_099, 2)], 500, "a patch of what has not come"),
            (vec![patch(600, 0)], 500, "an empty patch"),
            (vec![header(70_000)], 500, "headers longer than the stream"),
            (vec![preface(600, 2_049)], 500, "a long preface"),
            ((0..33).map(|n| preface(600 + n, 2_048)).collect(), 500, "prefaces longer than the stream"),
            ((0..40).map(|n| join(500 + n)).collect(), 500, "more marks than bytes allow"),
        ] {
            assert!(checked(marks, settled).is_err(), "{why}");
        }
    }

    #[test]
    fn all_memories_and_tables_of_an_index_share_its_bound() {
        let mut bounds = Bounds::new();
        let half = INDEX_MEMORY as usize / 2;
        assert!(bounds.memory_growing(0, half, None).is_ok_and(|may| may));
        assert!(bounds.memory_growing(0, half, None).is_ok_and(|may| may));
        assert!(bounds.table_growing(0, 1, None).is_ok_and(|may| !may));
        assert_eq!(bounds.exceeded, Some("memory"));
    }

    #[test]
    fn the_built_in_index_finds_the_joins_of_lines() {
        let index = Arc::new(Index::built_in().expect("it is built in"));
        let mut indexer = index.start().expect("it starts");
        let lines = "a line of text that is long enough to be one\n".repeat(200);
        let marks = indexer.advance(lines.as_bytes()).expect("it is text");
        assert!(
            marks.marks.iter().any(|mark| matches!(mark, Mark::Header(header) if header.format == "lines")),
            "{marks:?}"
        );
        assert!(marks.marks.iter().any(|mark| matches!(mark, Mark::Join(_))), "{marks:?}");
    }
}
