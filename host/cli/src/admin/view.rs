//! What is shown of clients, as JSON: the words are those of the JSON log.

use std::collections::BTreeMap;
use std::time::Duration;

use multiclient::Connected;
use serde_json::{Value, json};

use super::watched::Watched;

/// Clients in one event: more than somebody looks at, and a bound on what an event takes.
const SHOWN: usize = 100;

/// Characters of a name that are shown.
const NAME: usize = 200;

/// The text of `/clients.json`: everybody who is connected.
pub(super) fn clients(watched: &Watched) -> Vec<u8> {
    let clients: Vec<_> = watched.observer.clients().iter().map(client).collect();
    json!({ "clients": clients }).to_string().into_bytes()
}

/// What clients had been sent at the last event, to tell how fast they are.
#[derive(Default)]
pub(super) struct Before(BTreeMap<u64, u64>);

impl Before {
    /// The data of an event: how the server is now, with the clients that were sent most since the last event,
    /// `past` ago.
    pub(super) fn event(&mut self, watched: &Watched, past: Duration) -> Value {
        let clients = watched.observer.clients();
        let rate = |client: &Connected| {
            let before = match self.0.get(&client.client) {
                Some(before) => *before,
                None if client.duration <= past => 0,
                // It was there before anybody looked.
                None => client.bytes_out,
            };
            (client.bytes_out.saturating_sub(before) as f64 / past.as_secs_f64().max(0.001)) as u64
        };
        let mut rows: Vec<_> = clients.iter().map(|client| (rate(client), client)).collect();
        rows.sort_by_key(|(rate, client)| (std::cmp::Reverse(*rate), client.client));
        rows.truncate(SHOWN);
        rows.sort_by_key(|(_, client)| std::cmp::Reverse(client.client));
        let rows = rows.into_iter().map(|(rate, of)| {
            let mut row = client(of);
            row["rate"] = rate.into();
            row
        });
        let event = json!({
            "server": server(watched, &clients),
            "ends": ends(watched),
            "stream": stream(watched, &clients),
            "clients": rows.collect::<Vec<_>>(),
        });
        self.0 = clients.iter().map(|client| (client.client, client.bytes_out)).collect();
        event
    }
}

fn client(client: &Connected) -> Value {
    json!({
        "client": client.client,
        "peer": client.peer.map(|peer| peer.to_string()),
        "duration_us": micros(client.duration),
        "bytes_in": client.bytes_in,
        "bytes_out": client.bytes_out,
        "exchanges": client.exchanges,
        "cpu_us": micros(client.cpu),
        "memory": client.memory,
        "source": client.source.as_deref().map(name),
        "lag": client.lag,
    })
}

fn server(watched: &Watched, clients: &[Connected]) -> Value {
    let (totals, summary) = (watched.observer.totals(), watched.observer.summary());
    json!({
        "ready": watched.is_ready.load(std::sync::atomic::Ordering::Relaxed),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_us": micros(watched.began.elapsed().unwrap_or_default()),
        "clients": clients.len(),
        "clients_limit": watched.limits.max_clients,
        "instances": clients.iter().filter(|client| client.memory > 0).count(),
        "memory": clients.iter().map(|client| client.memory).sum::<u64>(),
        "charged": watched.observer.charged_memory(),
        "memory_limit": watched.limits.total_memory,
        "resident": watched.process.usage().map(|usage| usage.resident),
        "admitted": summary.clients,
        "bytes_in": totals.bytes_in,
        "bytes_out": totals.bytes_out,
        "exchanges": totals.exchanges,
        "cpu_us": micros(totals.cpu),
    })
}

fn ends(watched: &Watched) -> Value {
    let ends = watched.counts.ends();
    let last = ends.last.iter().map(|gone| {
        json!({
            "client": gone.client,
            "ended": gone.ended,
            "ordinary": gone.is_ordinary,
            "bytes_out": gone.bytes_out,
            "duration_us": micros(gone.duration),
        })
    });
    json!({ "by_kind": ends.by_kind, "by_which": ends.by_which, "last": last.collect::<Vec<_>>() })
}

fn stream(watched: &Watched, clients: &[Connected]) -> Value {
    let Some(stream) = watched.observer.stream() else { return Value::Null };
    json!({
        "name": name(&stream.name),
        "received": stream.received,
        "buffered": stream.buffered,
        "viewers": stream.viewers,
        "lag": clients.iter().filter_map(|client| client.lag).max(),
        "ended": stream.has_ended,
    })
}

fn name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(NAME).collect()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
