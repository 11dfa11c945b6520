//! `/metrics`: numbers for Prometheus, in its text format (version 0.0.4).
//!
//! Rule: labels have values of closed sets only (words of the program, the name of the one live source), and never
//! anything that a client chooses or is: each value is a time series for ever.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use multiclient::Connected;

use super::counts::BUCKETS;
use super::watched::Watched;

/// What the format is called in `Content-Type`.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text of `/metrics`.
pub(super) fn text(watched: &Watched) -> String {
    let mut text = Text::default();
    let clients = watched.observer.clients();
    server(&mut text, watched);
    now(&mut text, watched, &clients);
    so_far(&mut text, watched);
    exchanges(&mut text, watched);
    live(&mut text, watched, &clients);
    process(&mut text, watched);
    text.0
}

fn server(text: &mut Text, watched: &Watched) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    text.family("multiclient_build_info", Kind::Gauge, "The version of the program.");
    text.sample("multiclient_build_info", &version, 1);
    let since_1970 = watched.began.duration_since(UNIX_EPOCH).unwrap_or_default();
    text.gauge("multiclient_start_time_seconds", "When the server started, since 1970.", since_1970.as_secs_f64());
    let is_ready = u8::from(watched.is_ready.load(Ordering::Relaxed));
    text.gauge("multiclient_ready", "1, or 0 once the server is to stop.", is_ready);
    let limits = &watched.limits;
    text.gauge("multiclient_clients_limit", "Clients that may be connected at once.", limits.max_clients);
    if let Some(bytes) = limits.total_memory {
        text.gauge("multiclient_memory_limit_bytes", "Memory that all clients together may take.", bytes);
    }
}

fn now(text: &mut Text, watched: &Watched, clients: &[Connected]) {
    let instances = clients.iter().filter(|client| client.memory > 0);
    let memory: u64 = clients.iter().map(|client| client.memory).sum();
    text.gauge("multiclient_clients", "Clients that are connected.", clients.len());
    text.gauge("multiclient_instances", "Clients that have an instance of the guest now.", instances.count());
    text.gauge("multiclient_instances_memory_bytes", "Memory of these instances.", memory);
    let charged = watched.observer.charged_memory();
    text.gauge("multiclient_memory_charged_bytes", "Memory that is charged to clients, of the limit.", charged);
}

fn so_far(text: &mut Text, watched: &Watched) {
    let (totals, ends) = (watched.observer.totals(), watched.counts.ends());
    let summary = watched.observer.summary();
    text.counter("multiclient_clients_admitted_total", "Clients that were given a place.", summary.clients);
    text.family("multiclient_clients_ended_total", Kind::Counter, "Clients that have left or were refused, by reason.");
    for (kind, count) in &ends.by_kind {
        text.sample("multiclient_clients_ended_total", &[("ended", kind)], count);
    }
    let which = "multiclient_clients_ended_which_total";
    text.family(which, Kind::Counter, "Of these, the ones with a limit, timeout or rule, by its name.");
    for (name, count) in &ends.by_which {
        text.sample(which, &[("which", name)], count);
    }
    let failures = "Clients whose guest failed, broke the contract or ran into a limit.";
    text.counter("multiclient_guest_failures_total", failures, summary.guest_failures);
    text.counter("multiclient_received_bytes_total", "Bytes received from clients.", totals.bytes_in);
    text.counter("multiclient_sent_bytes_total", "Bytes sent to clients.", totals.bytes_out);
    text.counter("multiclient_guest_cpu_seconds_total", "CPU time of guests.", totals.cpu.as_secs_f64());
}

fn exchanges(text: &mut Text, watched: &Watched) {
    text.family("multiclient_exchanges_total", Kind::Counter, "Requests that were answered, by class of status.");
    for (class, count) in watched.counts.classes() {
        text.sample("multiclient_exchanges_total", &[("status", class)], count);
    }
    let durations = watched.counts.durations();
    let name = "multiclient_exchange_duration_seconds";
    text.family(name, Kind::Histogram, "From the first byte of a request to the last of its response.");
    let bounds = BUCKETS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(durations.up_to) {
        text.sample(&format!("{name}_bucket"), &[("le", &bound)], count);
    }
    text.sample(&format!("{name}_sum"), &[], durations.sum.as_secs_f64());
    text.sample(&format!("{name}_count"), &[], durations.up_to[BUCKETS.len()]);
}

fn live(text: &mut Text, watched: &Watched, clients: &[Connected]) {
    let Some(stream) = watched.observer.stream() else { return };
    let name = String::from_utf8_lossy(&stream.name);
    let source = [("source", &*name)];
    let lag = clients.iter().filter_map(|client| client.lag).max().unwrap_or(0);
    for (metric, kind, help, value) in [
        ("multiclient_live_received_bytes_total", Kind::Counter, "Bytes of the current producer.", stream.received),
        ("multiclient_live_buffered_bytes", Kind::Gauge, "Bytes that are kept for viewers.", stream.buffered),
        ("multiclient_live_viewers", Kind::Gauge, "Clients that watch.", stream.viewers),
        ("multiclient_live_lag_bytes", Kind::Gauge, "How far the slowest viewer is behind the live edge.", lag),
        ("multiclient_live_ended", Kind::Gauge, "1 if no more will come.", u64::from(stream.has_ended)),
    ] {
        text.family(metric, kind, help);
        text.sample(metric, &source, value);
    }
}

fn process(text: &mut Text, watched: &Watched) {
    let Some(usage) = watched.process.usage() else { return };
    text.counter("process_cpu_seconds_total", "CPU time of the process.", seconds(usage.cpu));
    text.gauge("process_resident_memory_bytes", "Memory of the process in RAM.", usage.resident);
    text.gauge("process_threads", "Threads of the process.", usage.threads);
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing into a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, of)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{}\"", escaped(of));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Counter, help);
        self.sample(name, &[], value);
    }
}

/// The value of a label, as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_source_cannot_end_a_label_or_a_line() {
        let mut text = Text::default();
        text.sample("a", &[("b", "x\"} 1\nc\\"), ("d", "e")], 7);
        assert_eq!(text.0, "a{b=\"x\\\"} 1\\nc\\\\\",d=\"e\"} 7\n");
    }
}
