//! `--walls`: what the process keeps within reach once it serves.

use std::path::Path;

use multiclient::Sources;
use multiclient_walls::{Mode, Plan};

use crate::admin::Admin;
use crate::args::{Serve, Walls};
use crate::bind::UnixPaths;
use crate::takeover::Takeover;

/// What is there beside the server for clients.
type Beside<'a> = (Option<&'a Admin>, Option<&'a Takeover<'a>>);

/// The walls that the flags ask for, around what a server with these flags needs.
pub(crate) fn plan(flags: &Serve, sources: &Sources, unix_paths: &UnixPaths, beside: Beside<'_>) -> Plan {
    let (admin, takeover) = beside;
    let mode = match flags.sandbox.walls {
        Walls::Auto => Mode::Auto,
        Walls::Strict => Mode::Strict,
        Walls::Off => Mode::Off,
    };
    let mut plan = Plan::new(mode);
    for path in sources.paths() {
        plan = plan.serves(path);
    }
    let sockets = unix_paths.iter().chain(admin.into_iter().flat_map(|admin| admin.unix_paths().iter()));
    let sockets = sockets.chain(takeover.map(Takeover::path));
    if takeover.is_some() {
        plan = plan.passes_sockets();
    }
    for path in flags.operation.pid_file.as_deref().into_iter().chain(sockets) {
        plan = plan.removes(path);
    }
    if let Some(folder) = &flags.sandbox.capsules {
        plan = plan.writes_into(folder);
    }
    if let Some(file) = &flags.operation.log_file {
        plan = plan.appends_to(file);
    }
    for file in flags.tls.cert.iter().chain(&flags.tls.key) {
        plan = plan.reads(file);
    }
    if let Some(file) = reloaded_guest(flags) {
        plan = plan.reads(file).loads_code("SIGHUP loads the `--guest` file again; `--walls strict` forbids it");
    }
    plan
}

/// The file of a guest that can be loaded again while the server runs. None: the built-in guest, which nobody
/// can replace, or walls that forbid it.
pub(crate) fn reloaded_guest(flags: &Serve) -> Option<&Path> {
    match flags.sandbox.walls {
        Walls::Strict => None,
        Walls::Auto | Walls::Off => flags.guest.guest.as_deref(),
    }
}
