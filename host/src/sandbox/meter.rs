//! What a guest may take, and how much of it is used: memory, and CPU time in one call.

use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(feature = "wasi")]
use tokio::task;
use wasmtime::{ResourceLimiter, Store, UpdateDeadline};

use crate::budget::{Charge, Exhausted};
use crate::ended::Limit;
use crate::limits::{COMPONENT_HANDLES, INSTANCE_BYTES, Limits, TICK};
use crate::sandbox::handles::Handles;
use crate::sandbox::slow_lane::{Entry, Place, SlowLane};
use crate::sandbox::ticker::Ticker;
#[cfg(feature = "wasi")]
use crate::sandbox::wasi::Wasi;

/// What the store of one client knows: its bounds, and how much of them is used.
pub(super) struct Bounds {
    memory: u64,
    memory_now: u64,
    pub(super) memory_peak: u64,
    /// Whether the guest was refused memory, and by which limit.
    pub(super) refused: Option<Limit>,
    /// What of the memory of all clients it has.
    charge: Charge,
    /// Of one list of actions, in the host's memory.
    pub(super) action_bytes: u64,
    pub(super) cpu: Cpu,
    /// Those of a guest that runs as a core module.
    pub(super) handles: Handles,
    /// For custom guests that want one.
    #[cfg(feature = "wasi")]
    pub(super) wasi: Option<Box<Wasi>>,
}

/// How long the guest has been computing in this call.
pub(super) struct Cpu {
    pub(super) limit: Duration,
    /// Whether it has used that up.
    pub(super) exceeded: bool,
    /// Whether the slow lane was full.
    pub(super) rejected: bool,
    slow_lane: Arc<SlowLane>,
    /// Once the call has been seen to be long: when that was, by the clock of its thread, and its place in
    /// the lane.
    long: Option<(Duration, Option<Place>)>,
    /// How long the guest was computing in the last call. Not how long the call lasted: the thread may
    /// have waited for its turn, or the machine may have had other things to do.
    pub(super) last: Duration,
}

impl Bounds {
    pub(super) fn new(limits: &Limits, charge: Charge, slow_lane: &Arc<SlowLane>) -> Self {
        Self {
            memory: limits.memory,
            memory_now: 0,
            memory_peak: 0,
            refused: None,
            charge,
            action_bytes: limits.action_bytes(),
            cpu: Cpu {
                limit: limits.cpu,
                exceeded: false,
                rejected: false,
                slow_lane: Arc::clone(slow_lane),
                long: None,
                last: Duration::ZERO,
            },
            handles: Handles::new(COMPONENT_HANDLES),
            #[cfg(feature = "wasi")]
            wasi: None,
        }
    }

    fn grow(&mut self, bytes: usize) -> bool {
        let wanted = self.memory_now.saturating_add(bytes as u64);
        if wanted > self.memory {
            self.refused = Some(Limit::Memory(self.memory));
            return false;
        }
        if self.charge.set(INSTANCE_BYTES.saturating_add(wanted)) == Err(Exhausted) {
            self.refused = Some(Limit::TotalMemory(self.charge.budget().total()));
            return false;
        }
        self.memory_now = wanted;
        self.memory_peak = self.memory_peak.max(wanted);
        true
    }
}

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current).saturating_mul(size_of::<usize>())))
    }
}

impl Cpu {
    /// Called at each tick of a call that lasts longer than one.
    pub(super) fn tick(&mut self) -> UpdateDeadline {
        let now = thread_cpu_time();
        match &mut self.long {
            None => {
                let place = match self.slow_lane.enter() {
                    Entry::Place(place) => Some(place),
                    Entry::Alone => None,
                    Entry::Full => {
                        self.rejected = true;
                        return UpdateDeadline::Interrupt;
                    }
                };
                self.long = Some((now, place));
                UpdateDeadline::Continue(1)
            }
            Some((since, place)) if now.saturating_sub(*since) < self.limit => {
                if let Some(place) = place {
                    self.slow_lane.take_turns(place);
                }
                UpdateDeadline::Continue(1)
            }
            Some(_) => {
                self.exceeded = true;
                UpdateDeadline::Interrupt
            }
        }
    }
}

/// Makes a call under the limit of CPU time.
pub(super) fn timed<T>(
    ticker: &Ticker,
    store: &mut Store<Bounds>,
    call: impl FnOnce(&mut Store<Bounds>) -> wasmtime::Result<T>,
) -> wasmtime::Result<T> {
    let began = Instant::now();
    let _ticking = ticker.run();
    // The tick that comes next may come at once. Two are at least one whole.
    store.set_epoch_deadline(2);
    let result = on_this_thread(store, call);
    let cpu = &mut store.data_mut().cpu;
    // The thread's own clock is a system call. Short calls, which are nearly all, do without.
    cpu.last = began.elapsed().min(2 * TICK);
    if let Some((since, place)) = cpu.long.take() {
        cpu.last += thread_cpu_time().saturating_sub(since);
        if place.is_some() {
            cpu.slow_lane.leave();
        }
    }
    result
}

#[cfg(feature = "wasi")]
fn on_this_thread<T>(store: &mut Store<Bounds>, call: impl FnOnce(&mut Store<Bounds>) -> T) -> T {
    if store.data().wasi.is_some() {
        // The functions of WASI may wait (here they never have to), and say so to the loop in a way
        // that it only accepts from a thread that is not its own.
        return task::block_in_place(|| call(store));
    }
    call(store)
}

#[cfg(not(feature = "wasi"))]
fn on_this_thread<T>(store: &mut Store<Bounds>, call: impl FnOnce(&mut Store<Bounds>) -> T) -> T {
    call(store)
}

pub(super) fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(feature = "wasi")]
impl wasmtime_wasi::WasiView for Bounds {
    fn ctx(&mut self) -> wasmtime_wasi::WasiCtxView<'_> {
        self.wasi.as_mut().expect("a guest that imports WASI is given one").view()
    }
}
