//! Lines for programs: one JSON object each.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::escape::bounded;
use super::events::Exchange;
use crate::ended::{Closed, Ended, Limit};

/// An object for something that is not one client's doing.
pub(super) fn notice(line: &mut String, text: &str) -> fmt::Result {
    writeln!(line, "{}", serde_json::json!({ "event": "notice", "time": now(), "text": text }))
}

/// An object for an exchange.
pub(super) fn exchange(line: &mut String, exchange: &Exchange<'_>) -> fmt::Result {
    let Exchange { client, request, status, referrer, agent, bytes_out, complete, memory_peak, .. } = exchange;
    let object = serde_json::json!({
        "event": "exchange",
        "time": now(),
        "client": client,
        "peer": exchange.peer.map(|peer| peer.to_string()),
        "via": exchange.via.map(|via| via.to_string()),
        "request": bounded(request),
        "status": status,
        "referrer": bounded(referrer),
        "agent": bounded(agent),
        "bytes_out": bytes_out,
        "complete": complete,
        "duration_us": micros(exchange.duration),
        "memory_peak": memory_peak,
        "cpu_us": micros(exchange.cpu),
    });
    writeln!(line, "{object}")
}

/// An object for a connection, however it ended.
pub(super) fn closed(line: &mut String, closed: &Closed) -> fmt::Result {
    let Closed { client, ended, bytes_in, bytes_out, exchanges, memory_peak, output, .. } = closed;
    let bound = match ended {
        Ended::OverLimit {
            limit: Limit::Memory(bytes) | Limit::TotalMemory(bytes) | Limit::ActionBytes(bytes),
            ..
        } => Some(*bytes),
        Ended::OverLimit { limit: Limit::Cpu(time) | Limit::IdleCpu(time), .. } => Some(micros(*time)),
        _ => None,
    };
    let object = serde_json::json!({
        "event": "closed",
        "time": now(),
        "client": client,
        "peer": closed.peer.map(|peer| peer.to_string()),
        "via": closed.via.map(|via| via.to_string()),
        "ended": ended.kind(),
        "which": ended.which(),
        "bound": bound,
        "detail": ended.to_string(),
        "backtrace": ended.backtrace(),
        "bytes_in": bytes_in,
        "bytes_out": bytes_out,
        "exchanges": exchanges,
        "reports_left_out": closed.reports_left_out,
        "memory_peak": memory_peak,
        "cpu_us": micros(closed.cpu),
        "output": output,
        "capsule": closed.capsule,
        "duration_us": micros(closed.duration),
    });
    writeln!(line, "{object}")
}

/// Seconds since 1970, with milliseconds.
fn now() -> f64 {
    (jiff::Timestamp::now().as_millisecond() as f64) / 1_000.0
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ended::{Breach, Rejection, Timeout};

    #[test]
    fn programs_are_told_which_and_how_much_in_words_of_their_own() {
        let breach = Ended::Breach(Breach::TooManyActions(65));
        let stuck = Ended::OverLimit { limit: Limit::Cpu(Duration::from_millis(50)), backtrace: vec!["a::b".into()] };
        for (ended, kind, which, bound, detail) in [
            (Ended::Finished, "finished", None, None, "finished"),
            (Ended::TimedOut(Timeout::Stall), "timed-out", Some("stall-timeout"), None, "timed out: accepted no data"),
            (stuck, "over-limit", Some("cpu"), Some(50_000), "over limit: cpu 50 ms for one event, in a::b"),
            (Limit::Memory(8 << 20).into(), "over-limit", Some("memory"), Some(8 << 20), "over limit: memory 8 MiB"),
            (breach, "contract-breach", Some("max-actions"), None, "contract breach: 65 actions in one list"),
            (
                Ended::Rejected(Rejection::MaxClients),
                "rejected",
                Some("max-clients"),
                None,
                "rejected: the server is full",
            ),
            (Ended::Displaced, "displaced", None, None, "displaced: the server is full, and it was silent longest"),
        ] {
            let mut line = String::new();
            super::closed(&mut line, &Closed::new(1, None, ended)).expect("a string takes everything");
            let told: serde_json::Value = serde_json::from_str(&line).expect("it is JSON");
            let expected = serde_json::json!([kind, which, bound, detail]);
            assert_eq!(serde_json::json!([told["ended"], told["which"], told["bound"], told["detail"]]), expected);
        }
    }
}
