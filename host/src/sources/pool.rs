//! Threads for what may wait for a disk, so that no loop ever does.
//!
//! Rules: there are only so many threads. Addresses take turns, and none of them has all the threads. What
//! nobody waits for any more is not begun.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;

use tokio::sync::oneshot;

use crate::contract::Refusal;
use crate::limits::{POOL_IDLE, POOL_STACK};
use crate::sync::lock;

/// The address that something is done for; none for this machine's own.
pub(crate) type Owner = Option<IpAddr>;

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads. They are made when they are needed, and end when they have had nothing to do for a
/// while.
pub(crate) struct Pool(Arc<Inner>);

struct Inner {
    name: &'static str,
    threads: usize,
    /// Bytes of the stack of each.
    stack: usize,
    state: Mutex<State>,
    /// Something waits, or there is no pool any more.
    news: Condvar,
}

#[derive(Default)]
struct State {
    lines: HashMap<Owner, Line>,
    /// Owners of waiting jobs: whose turn it is comes first.
    turns: VecDeque<Owner>,
    waiting: usize,
    threads: usize,
    idle: usize,
    /// Counts the jobs.
    came: u64,
    /// Threads that stay also when there is nothing to do.
    kept: usize,
    over: bool,
}

/// What is done and to be done for one owner.
#[derive(Default)]
struct Line {
    waiting: VecDeque<(u64, Job)>,
    running: usize,
}

impl Pool {
    pub(crate) fn new(name: &'static str, threads: usize) -> Self {
        Self::with_stack(name, threads, POOL_STACK)
    }

    fn with_stack(name: &'static str, threads: usize, stack: usize) -> Self {
        Self(Arc::new(Inner { name, threads, stack, state: Mutex::default(), news: Condvar::new() }))
    }

    /// Makes a thread that stays: without one, and none to be had, nothing that is not in memory could be served.
    pub(crate) fn keep_one(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.kept = 1;
        state.threads += 1;
        drop(state);
        self.0.start_thread().inspect_err(|_| self.0.lock().threads -= 1)
    }

    /// Has this done on a thread. What is waiting when the future is dropped is not begun; what has begun can
    /// ask whether anybody still waits.
    ///
    /// # Errors
    ///
    /// `Unavailable` where there is no thread and none can be made; `Failed` where the work panics.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        owner: Owner,
        work: impl FnOnce(&oneshot::Sender<T>) -> T + Send + 'static,
    ) -> Waiting<T> {
        self.spawn(owner, |answer| {
            let done = work(&answer);
            // Nobody waits any more.
            let _ = answer.send(done);
        })
    }

    /// The same for work that answers by itself, perhaps on another thread.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        owner: Owner,
        work: impl FnOnce(oneshot::Sender<T>) + Send + 'static,
    ) -> Waiting<T> {
        let (sender, answer) = oneshot::channel();
        let number = self.0.push(owner, Box::new(move || work(sender)));
        let place = number.map(|number| Place { pool: Arc::clone(&self.0), owner, number });
        Waiting { answer, place }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.over = true;
        // What waits holds who waits for it.
        let lines = std::mem::take(&mut state.lines);
        drop(state);
        drop(lines);
        self.0.news.notify_all();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Queues a job, and sees to it that there is a thread. None: there is none, and none can be made.
    fn push(self: &Arc<Self>, owner: Owner, job: Job) -> Option<u64> {
        let mut state = self.lock();
        let number = state.push(owner, job);
        if state.idle >= state.waiting || state.threads >= self.threads {
            self.news.notify_one();
            return Some(number);
        }
        state.threads += 1;
        drop(state);
        if self.start_thread().is_ok() {
            return Some(number);
        }
        let mut state = self.lock();
        state.threads -= 1;
        if state.threads > 0 {
            // One of them will come to it.
            return Some(number);
        }
        let job = state.forget(owner, number);
        drop(state);
        drop(job);
        None
    }

    fn start_thread(self: &Arc<Self>) -> io::Result<()> {
        let inner = Arc::clone(self);
        let thread = thread::Builder::new().name(self.name.into()).stack_size(self.stack);
        thread.spawn(move || inner.work()).map(drop)
    }

    /// What a thread does.
    fn work(&self) {
        let mut state = self.lock();
        while !state.over {
            if let Some((owner, job)) = state.next(self.share()) {
                drop(state);
                // A panic is said by its hook, and whoever waits sees that there is no answer.
                let _ = panic::catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
                state.finished(owner);
                continue;
            }
            state.idle += 1;
            let (waited, is_over) = self.wait(state);
            state = waited;
            state.idle -= 1;
            if is_over && state.waiting == 0 && state.threads > state.kept {
                break;
            }
        }
        state.threads -= 1;
    }

    /// Waits for news, and says whether there were none for so long that a thread may end.
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, bool) {
        if state.threads <= state.kept {
            return (self.news.wait(state).unwrap_or_else(PoisonError::into_inner), false);
        }
        let (state, timeout) = self.news.wait_timeout(state, POOL_IDLE).unwrap_or_else(PoisonError::into_inner);
        (state, timeout.timed_out())
    }

    /// The most threads that one owner has: a quarter is left for the next one that comes.
    fn share(&self) -> usize {
        self.threads - self.threads / 4
    }
}

impl State {
    fn push(&mut self, owner: Owner, job: Job) -> u64 {
        self.came += 1;
        self.waiting += 1;
        let line = self.lines.entry(owner).or_default();
        if line.waiting.is_empty() {
            self.turns.push_back(owner);
        }
        line.waiting.push_back((self.came, job));
        self.came
    }

    /// The first job of the owner whose turn it is, of those that have not their share already.
    fn next(&mut self, share: usize) -> Option<(Owner, Job)> {
        let has_turn = |owner: &Owner| self.lines.get(owner).is_some_and(|line| line.running < share);
        let turn = self.turns.iter().position(has_turn)?;
        let owner = self.turns.remove(turn)?;
        let line = self.lines.get_mut(&owner)?;
        let (_, job) = line.waiting.pop_front()?;
        line.running += 1;
        if !line.waiting.is_empty() {
            self.turns.push_back(owner);
        }
        self.waiting -= 1;
        Some((owner, job))
    }

    fn finished(&mut self, owner: Owner) {
        if let Some(line) = self.lines.get_mut(&owner) {
            line.running -= 1;
            self.tidy(owner);
        }
    }

    /// Takes a job out that has not begun.
    fn forget(&mut self, owner: Owner, number: u64) -> Option<Job> {
        let line = self.lines.get_mut(&owner)?;
        let at = line.waiting.iter().position(|(waiting, _)| *waiting == number)?;
        let (_, job) = line.waiting.remove(at)?;
        if line.waiting.is_empty() {
            self.turns.retain(|turn| *turn != owner);
        }
        self.waiting -= 1;
        self.tidy(owner);
        Some(job)
    }

    fn tidy(&mut self, owner: Owner) {
        if self.lines.get(&owner).is_some_and(|line| line.waiting.is_empty() && line.running == 0) {
            self.lines.remove(&owner);
        }
    }
}

/// Waits for what a pool does.
pub(crate) struct Waiting<T> {
    answer: oneshot::Receiver<T>,
    place: Option<Place>,
}

impl<T> Waiting<T> {
    /// The same for work that is done even if nobody waits for it any more. For the trial of isolation.
    pub(super) fn even_if_left(mut self) -> Self {
        if let Some(place) = &mut self.place {
            // Jobs are counted from 1: there is none to be taken out of its line.
            place.number = 0;
        }
        self
    }
}

impl<T> Future for Waiting<T> {
    type Output = Result<T, Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let no_answer = if self.place.is_some() { Refusal::Failed } else { Refusal::Unavailable };
        Pin::new(&mut self.answer).poll(context).map_err(|_| no_answer)
    }
}

/// A job's place in its line.
struct Place {
    pool: Arc<Inner>,
    owner: Owner,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let job = self.pool.lock().forget(self.owner, self.number);
        // Not while the pool is locked: what it holds may be large.
        drop(job);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;

    fn owner(number: u8) -> Owner {
        Some(IpAddr::from([192, 0, 2, number]))
    }

    #[test]
    fn addresses_take_turns_and_none_has_all_threads() {
        let mut state = State::default();
        let (told, done) = mpsc::channel();
        for (number, count) in [(1, 5), (2, 2), (3, 1)] {
            for _ in 0..count {
                let told = told.clone();
                state.push(owner(number), Box::new(move || told.send(number).expect("it is listened to")));
            }
        }
        let take = |state: &mut State| {
            let (owner, job) = state.next(2)?;
            job();
            assert_eq!(owner, self::owner(done.recv().expect("it was done")));
            owner
        };
        let order: Vec<_> = std::iter::from_fn(|| take(&mut state)).collect();
        // The third job of the first address waits until one of its two has ended.
        assert_eq!(order, [1, 2, 3, 1, 2].map(|number| owner(number).expect("an address")));
        state.finished(owner(1));
        assert_eq!(take(&mut state), owner(1));
        assert_eq!(take(&mut state), None);
        assert_eq!(state.waiting, 2);
    }

    #[test]
    fn what_nobody_waits_for_is_not_begun() {
        let pool = Pool::new("test", 1);
        let (go, wait) = mpsc::channel::<()>();
        let (told, done) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let first = pool.run(None, move |_| wait.recv());
        let forgotten = pool.run(None, {
            let told = told.clone();
            move |_| told.send("forgotten")
        });
        let last = pool.run(None, move |_| told.send("last"));
        drop(forgotten);
        go.send(()).expect("it waits");
        assert_eq!(runtime.block_on(first), Ok(Ok(())));
        assert_eq!(runtime.block_on(last), Ok(Ok(())));
        assert_eq!(done.recv(), Ok("last"));
        // A job answers before its thread has left the line.
        let deadline = Instant::now() + Duration::from_secs(20);
        while !(pool.0.lock().lines.is_empty() && pool.0.lock().turns.is_empty()) {
            assert!(Instant::now() < deadline, "something stayed in a line");
            thread::yield_now();
        }
    }

    #[test]
    fn as_many_threads_as_there_is_to_do_and_no_more() {
        let pool = Pool::new("test", 3);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (go, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let (told, begun) = mpsc::channel();
        let jobs: Vec<_> = (1..=5)
            .map(|number| {
                let (wait, told) = (Arc::clone(&wait), told.clone());
                pool.run(owner(number), move |_| {
                    told.send(()).expect("it is listened to");
                    lock(&wait).recv()
                })
            })
            .collect();
        for _ in 0..3 {
            begun.recv_timeout(Duration::from_secs(20)).expect("three have begun");
        }
        assert_eq!(pool.0.lock().waiting, 2);
        (0..5).for_each(|_| go.send(()).expect("they wait"));
        jobs.into_iter().for_each(|job| assert_eq!(runtime.block_on(job), Ok(Ok(()))));
        assert_eq!(pool.0.lock().threads, 3);
        // What panics answers nobody, and costs no thread.
        assert_eq!(runtime.block_on(pool.run(None, |_| panic!("for the test"))), Err::<(), _>(Refusal::Failed));
        assert_eq!(runtime.block_on(pool.run(None, |_| ())), Ok(()));
    }

    #[test]
    fn where_no_thread_can_be_made_nothing_is_done_and_nothing_stays() {
        // A stack that no machine has.
        let pool = Pool::with_stack("test", 4, 1 << 60);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for _ in 0..2 {
            assert_eq!(runtime.block_on(pool.run(None, |_| ())), Err(Refusal::Unavailable));
        }
        let state = pool.0.lock();
        assert!(state.lines.is_empty() && state.turns.is_empty() && state.threads == 0 && state.waiting == 0);
    }
}
