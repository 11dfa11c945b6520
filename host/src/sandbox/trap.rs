//! Why a call of a guest did not return: which limit it was, or how the guest failed, and where.

use wasmtime::{Trap, WasmBacktrace};

use crate::ended::{Ended, Limit};
use crate::sandbox::meter::Bounds;

/// What wasmtime 48 says when a list is larger than its bound (hostcall fuel): it has no type for that.
/// `a_list_beyond_its_bound_is_an_action_bytes_limit` in the tests fails when the wording changes.
const OUT_OF_HOSTCALL_FUEL: &str = "fuel";

/// Why a call did not come back with a result.
pub(super) fn why(error: &wasmtime::Error, bounds: &Bounds) -> Ended {
    let backtrace = backtrace(error);
    if bounds.cpu.exceeded {
        return Ended::OverLimit { limit: Limit::Cpu(bounds.cpu.limit), backtrace };
    }
    if bounds.cpu.rejected {
        return Ended::OverLimit { limit: Limit::SlowLane, backtrace };
    }
    // A guest that was refused memory may go on without; one that then fails, fails of that.
    if let Some(limit) = bounds.refused {
        return Ended::OverLimit { limit, backtrace };
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => Ended::Trapped { message: trap.to_string(), backtrace },
        None if error.root_cause().to_string().contains(OUT_OF_HOSTCALL_FUEL) => {
            Ended::OverLimit { limit: Limit::ActionBytes(bounds.action_bytes), backtrace }
        }
        // What a guest hands over and nobody can read (a list that lies beyond its memory, an action that
        // does not exist) is a trap too, says the component model.
        None => Ended::Trapped { message: error.root_cause().to_string(), backtrace },
    }
}

/// Frames of a backtrace that are looked at: the innermost say what happened.
const FRAMES: usize = 64;

/// Bytes of a function's name that are demangled and kept. Names of generic Rust functions have some
/// hundreds; a component can bring one of many megabytes.
const NAME_BYTES: usize = 1_024;

/// The names of the functions in which the guest was, innermost first.
fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    frames
        .iter()
        .take(FRAMES)
        .map(|frame| match frame.func_name() {
            Some(name) if name.len() <= NAME_BYTES => shortened(format!("{:#}", rustc_demangle::demangle(name))),
            Some(name) => shortened(name.chars().take(NAME_BYTES).collect()),
            None => format!("function {}", frame.func_index()),
        })
        .collect()
}

fn shortened(mut name: String) -> String {
    if name.len() > NAME_BYTES {
        name.truncate(name.floor_char_boundary(NAME_BYTES));
        name.push_str("...");
    }
    name
}
