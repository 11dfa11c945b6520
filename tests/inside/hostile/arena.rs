//! A server whose guests fail on demand.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use multiclient::{
    Breach, Closed, Ended, Guest, Journal, Limit, Limits, Running, Server, Settings, Sources, Summary, Timeout, listen,
};
use multiclient_isolate::FAULTY;
use support::turn::{Alone, alone};
use support::{Connection, Folder, PATIENCE, noise};

/// Remembers how connections ended.
#[derive(Default)]
pub(super) struct Ends {
    connections: Mutex<Vec<Closed>>,
    added: Condvar,
}

impl Journal for Ends {
    fn closed(&self, connection: &Closed) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection.clone());
        self.added.notify_all();
    }
}

impl Ends {
    /// Waits until the connection from this address has ended, and gives its record.
    pub(super) fn of(&self, client: SocketAddr) -> Closed {
        let is_it = |connection: &Closed| connection.peer == Some(client);
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut connections, _) = self
            .added
            .wait_timeout_while(connections, PATIENCE, |connections| !connections.iter().any(is_it))
            .unwrap_or_else(PoisonError::into_inner);
        let index = connections.iter().rposition(is_it).expect("the journal is told of every connection");
        connections.swap_remove(index)
    }

    /// Whether it has ended.
    pub(super) fn has(&self, client: SocketAddr) -> bool {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.iter().any(|connection| connection.peer == Some(client))
    }
}

/// In which form the guests of a server run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// As the built-in guest does.
    CoreModule,
    /// As custom guests do.
    Component,
}

pub(super) const FORMS: [Form; 2] = [Form::CoreModule, Form::Component];

/// A server whose guests can be asked to fail.
pub(super) struct Arena {
    pub(super) server: Running,
    pub(super) ends: Arc<Ends>,
    _folder: Folder,
    /// One of these measures time, so each has the machine to itself.
    _turn: Alone,
}

impl Arena {
    pub(super) fn new(limits: Limits, settings: Settings) -> Self {
        Self::of(Form::CoreModule, limits, settings)
    }

    pub(super) fn of(form: Form, limits: Limits, settings: Settings) -> Self {
        let turn = alone();
        let folder = Folder::new();
        folder.file("small.ts", noise(1, 1_000));
        folder.file("large.ts", noise(2, 256 << 10));
        let ends = Arc::new(Ends::default());
        let guest = match form {
            Form::CoreModule => Guest::as_core_module(FAULTY.to_vec(), limits),
            Form::Component => Guest::custom(FAULTY.to_vec(), limits, &BTreeSet::new()),
        };
        let guest = guest.expect("it is a guest");
        let sources = Sources::at(folder.path()).expect("the folder is there");
        let journal: Arc<dyn Journal> = Arc::<Ends>::clone(&ends);
        let listener = listen::tcp(([127, 0, 0, 1], 0).into()).expect("a port is free");
        let server = Server::new(guest, sources).settings(settings).journal(journal);
        let server = server.start(vec![listener]).expect("a server can be started");
        Self { server, ends, _folder: folder, _turn: turn }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    /// Has a client ask for a fault, and tells how that client ended.
    pub(super) fn provoke(&self, fault: &str) -> Closed {
        let mut connection = Connection::to(self.address());
        connection.send_request("GET", &format!("/!{fault}"), &[]);
        connection.read_to_cut();
        self.ends.of(connection.local_address())
    }

    pub(super) fn stop(self) -> Summary {
        self.server.stop(PATIENCE)
    }
}

/// Limits under which every fault shows in a moment.
pub(super) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.idle_cpu = Duration::from_millis(100);
    limits.header_timeout = Duration::from_millis(500);
    limits
}

/// How a fault has to end.
pub(super) type Verdict = fn(&Ended) -> bool;

/// Every fault that ends its client.
pub(super) const FAULTS: &[(&str, Verdict)] = &[
    ("spin", |ended| matches!(ended, Ended::OverLimit { limit: Limit::Cpu(_), .. })),
    ("grow", |ended| matches!(ended, Ended::OverLimit { limit: Limit::Memory(_), .. })),
    ("recurse", |ended| matches!(ended, Ended::Trapped { .. })),
    ("trap", |ended| matches!(ended, Ended::Trapped { .. })),
    ("read-beyond", |ended| matches!(ended, Ended::Trapped { .. })),
    ("actions", |ended| matches!(ended, Ended::OverLimit { limit: Limit::ActionBytes(_) | Limit::Memory(_), .. })),
    ("few-actions", |ended| *ended == Ended::Breach(Breach::TooManyActions(65))),
    ("send", |ended| *ended == Ended::Breach(Breach::LongSend((1 << 20) + 1))),
    ("sends", |ended| matches!(ended, Ended::OverLimit { limit: Limit::ActionBytes(_), .. })),
    ("beyond", |ended| matches!(ended, Ended::Trapped { .. })),
    ("outside/small.ts", |ended| *ended == Ended::Breach(Breach::OutsideWindow)),
    ("overflow/small.ts", |ended| *ended == Ended::Breach(Breach::OutsideWindow)),
    ("unopened", |ended| *ended == Ended::Breach(Breach::NothingOpen)),
    ("empty", |ended| *ended == Ended::Breach(Breach::NoWait)),
    ("nowait", |ended| *ended == Ended::Breach(Breach::NoWait)),
    ("twowaits", |ended| *ended == Ended::Breach(Breach::ActionAfterWait)),
    ("busy", |ended| matches!(ended, Ended::OverLimit { limit: Limit::IdleCpu(_), .. })),
    ("handles", |ended| matches!(ended, Ended::OverLimit { limit: Limit::Handles(_), .. })),
    ("deaf", |ended| *ended == Ended::TimedOut(Timeout::Header)),
];
