//! Why a call of a guest did not return: which limit it was, or how the guest failed, and where.

use std::fmt::{self, Write as _};

use wasmtime::{Trap, WasmBacktrace};

use crate::ended::{Ended, Limit};
use crate::limits::COMPONENT_HANDLES;
use crate::sandbox::canonical::Excess;
use crate::sandbox::meter::Bounds;

/// What wasmtime 48 says when a list is larger than its bound (hostcall fuel): it has no type for that.
/// `a_list_beyond_its_bound_is_an_action_bytes_limit` in the tests fails when the wording changes.
const OUT_OF_HOSTCALL_FUEL: &str = "fuel";

/// The same for handles.
const OUT_OF_HANDLES: &str = "store handle limit exceeded";

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
    let message = error.root_cause().to_string();
    let excess = match (error.downcast_ref::<Trap>(), error.downcast_ref::<Excess>()) {
        (None, Some(excess)) => Some(*excess),
        (None, None) if message.contains(OUT_OF_HOSTCALL_FUEL) => Some(Excess::Bytes),
        (None, None) if message.contains(OUT_OF_HANDLES) => Some(Excess::Handles),
        _ => None,
    };
    let limit = match excess {
        Some(Excess::Bytes) => Limit::ActionBytes(bounds.action_bytes),
        Some(Excess::Handles) => Limit::Handles(COMPONENT_HANDLES),
        // What a guest hands over and nobody can read (a list that lies beyond its memory, an action that
        // does not exist) is a trap too, says the component model.
        None => return Ended::Trapped { message, backtrace },
    };
    Ended::OverLimit { limit, backtrace }
}

/// Why no instance was made.
pub(super) fn why_not_made(error: &wasmtime::Error, bounds: &Bounds) -> Ended {
    match why(error, bounds) {
        // Before a guest runs, only what it says of its memory and tables can trap. Whatever else fails then is
        // the host's.
        Ended::Trapped { message, backtrace } if backtrace.is_empty() && !error.is::<Trap>() => {
            Ended::HostFault(message)
        }
        ended => ended,
    }
}

/// Frames of a backtrace that are looked at: the innermost say what happened.
const FRAMES: usize = 64;

/// Bytes of a function's name that are kept. Names of generic Rust functions have some hundreds.
const NAME_BYTES: usize = 1_024;

/// The names of the functions in which the guest was, innermost first.
fn backtrace(error: &wasmtime::Error) -> Vec<String> {
    let frames = error.downcast_ref::<WasmBacktrace>().map(WasmBacktrace::frames).unwrap_or_default();
    frames
        .iter()
        .take(FRAMES)
        .map(|frame| match frame.func_name() {
            Some(name) => function(name),
            None => format!("function {}", frame.func_index()),
        })
        .collect()
}

/// The name of a function as it is in its source, or the beginning of it.
fn function(name: &str) -> String {
    let mut kept = Beginning(String::new());
    // A name that is too long to be kept is most likely not one to demangle.
    let demangled = (name.len() <= NAME_BYTES).then(|| rustc_demangle::demangle(name));
    let whole = match demangled {
        Some(demangled) => write!(kept, "{demangled:#}"),
        None => kept.write_str(name),
    };
    if whole.is_err() {
        kept.0.push_str("...");
    }
    kept.0
}

/// A text that takes its first `NAME_BYTES` and then fails: a short mangled name can stand for megabytes, which
/// need not be written first.
struct Beginning(String);

impl fmt::Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = NAME_BYTES - self.0.len();
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        if text.len() > room { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::budget::Budget;
    use crate::limits::Limits;

    #[test]
    fn a_guest_that_traps_before_it_runs_has_failed_by_itself() {
        let bounds = Bounds::new(&Limits::default(), Budget::new(None).charge(), &Arc::default());
        // Data that lies beyond its memory.
        let trapped = why_not_made(&Trap::MemoryOutOfBounds.into(), &bounds);
        assert!(matches!(trapped, Ended::Trapped { .. }), "{trapped:?}");
        let short = why_not_made(&wasmtime::Error::msg("no slot is free"), &bounds);
        assert_eq!(short, Ended::HostFault("no slot is free".to_owned()));
    }

    #[test]
    fn a_name_is_demangled_and_bounded() {
        assert_eq!(function("_ZN4core3fmt9Formatter3pad17h3f2a1b0c4d5e6f70E"), "core::fmt::Formatter::pad");
        assert_eq!(function("plain"), "plain");
        let long = "ü".repeat(NAME_BYTES);
        assert_eq!(function(&long), format!("{}...", &long[..NAME_BYTES]));
        // Tuples of what came before, twice: two hundred bytes that stand for a megabyte.
        let mut nested = "_RIC1a".to_owned();
        let mut last = "hh".to_owned();
        for _ in 0..16 {
            let here = nested.len() - "_R".len();
            nested += &format!("T{last}E");
            last = format!("B{0}_B{0}_", base_62(here));
        }
        nested += "E";
        assert!(nested.len() < 300 && format!("{:#}", rustc_demangle::demangle(&nested)).len() > 100_000);
        assert_eq!(function(&nested).len(), NAME_BYTES + "...".len());
    }

    /// A number as it stands in a mangled name, where nothing is 0.
    fn base_62(number: usize) -> String {
        const DIGITS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let mut digits = Vec::new();
        let mut rest = number.checked_sub(1);
        while let Some(value) = rest {
            digits.insert(0, char::from(DIGITS[value % 62]));
            rest = (value >= 62).then_some(value / 62);
        }
        digits.into_iter().collect()
    }
}
