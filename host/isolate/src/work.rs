//! A guest that has the host work for it in circles and moves nothing: what does it cost until it is stopped?
//!
//! Nobody else is served meanwhile, so the CPU time of this process is the guest's and what the host does for it.

use std::time::Duration;

use multiclient::isolation_testing::Protection;
use rustix::time::{ClockId, clock_gettime};

use crate::arena::{Arena, Ground, IDLE_CPU, Role};
use crate::attack;
use crate::claim::Claim;
use crate::plan::Failure;
use crate::report::{Control, Measure, Outcome, Timeline, Unit, Verdict};

/// The ways to go in circles: open, wait for what is there already, ask to be called again, list.
const CIRCLES: [&str; 4] = ["busy", "waiting/small.ts", "restless", "listing"];

/// What a circle may cost: its limit, and as much again for what is not counted exactly. In a debug build the host
/// itself takes longer than it is counted for.
const BOUND: Duration = IDLE_CPU.saturating_mul(if cfg!(debug_assertions) { 4 } else { 2 });

pub(crate) fn work(ground: &Ground<'_>) -> Result<Outcome, Failure> {
    let arena = ground.arena_of_made(Role::Impatient(None))?;
    let measures = go_in_circles(&arena, &CIRCLES);
    let control_arena = ground.arena_of_made(Role::Impatient(Some(Protection::Work)))?;
    // One is enough to see it.
    let control_measures = go_in_circles(&control_arena, &CIRCLES[..1]);
    let broken = !control_measures[1].holds();
    let (verdict, note) = match () {
        () if !measures.iter().all(Measure::holds) => (Verdict::Broken, ""),
        () if !broken => (Verdict::Inconclusive, "the control holds, too: the attack showed nothing"),
        () => (Verdict::Held, ""),
    };
    let control = Some(Control { broken, measures: control_measures, timeline: Timeline::empty() });
    Ok(Outcome { claim: Claim::Work, verdict, measures, control, timeline: None, effort: None, note: note.to_owned() })
}

fn go_in_circles(arena: &Arena, circles: &[&str]) -> Vec<Measure> {
    let cost = |circle: &str| {
        let before = process_cpu_time();
        let response = attack::exchange(arena.address(), &format!("GET /!{circle} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let is_gone = arena.wait() && response.is_empty();
        (process_cpu_time().saturating_sub(before), is_gone)
    };
    let costs: Vec<_> = circles.iter().map(|circle| cost(circle)).collect();
    let most = costs.iter().map(|(cost, _)| *cost).max().unwrap_or_default();
    let left = costs.iter().filter(|(_, is_gone)| !is_gone).count();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    vec![
        Measure::at_most("guests not stopped", left as f64, 0.0, Unit::Count),
        Measure::at_most("CPU time of one guest", ms(most), ms(BOUND), Unit::Milliseconds),
        Measure::at_most("faults of the host", arena.ends.host_faults() as f64, 0.0, Unit::Count),
    ]
}

fn process_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
