//! What flags say, in the types of the library; and what they cannot say together.

use std::collections::BTreeSet;

use multiclient::journal::Format;
use multiclient::{Capsules, Grant, Join, Limits, Live, Settings, Sources};

use crate::args::{Allow, GuestFlags, JoinAt, LogFormat, Serve, Walls};
use crate::failure::Failure;
use crate::listening::Encryption;

/// Refuses flags that do not go together. Variables can set a flag to false, which then needs no other.
pub(crate) fn check(serve: &Serve) -> Result<(), Failure> {
    let (sandbox, operation) = (&serve.sandbox, &serve.operation);
    check_tls(serve)?;
    if sandbox.watch && serve.guest.guest.is_none() && serve.tls.cert.is_empty() {
        return Err(Failure::usage("--watch requires --guest FILE or --cert FILE"));
    }
    if sandbox.watch && serve.guest.guest.is_some() && sandbox.walls == Walls::Strict {
        let failure = Failure::usage("--watch and --walls strict contradict each other");
        return Err(failure.next("`--walls auto` leaves out the wall that forbids to load another guest"));
    }
    if (sandbox.record || sandbox.capsule_secrets) && sandbox.capsules.is_none() {
        return Err(Failure::usage("--record and --capsule-secrets require --capsules DIR"));
    }
    if operation.log_file.is_some() && operation.log == LogFormat::Off {
        return Err(Failure::usage("--log-file and --log off contradict each other"));
    }
    Ok(())
}

fn check_tls(serve: &Serve) -> Result<(), Failure> {
    let tls = &serve.tls;
    if tls.cert.len() != tls.key.len() {
        return Err(Failure::usage("--cert and --key come in pairs: the first key belongs to the first certificate"));
    }
    if tls.self_signed && !tls.cert.is_empty() {
        return Err(Failure::usage("--self-signed and --cert contradict each other"));
    }
    let is_wanted = serve.listening().any(|listening| listening.manner.encryption == Encryption::Tls);
    let is_given = tls.self_signed || !tls.cert.is_empty();
    match (is_wanted, is_given) {
        (true, false) => Err(Failure::usage("an `https://` address requires --cert FILE and --key FILE")
            .next("to try it without certificate, add `--self-signed`")),
        (false, true) => Err(Failure::usage("--cert and --self-signed require an `https://` address")
            .next("listen on `https://127.0.0.1:8443`, say")),
        _ => Ok(()),
    }
}

pub(crate) fn limits(serve: &Serve) -> Limits {
    let flags = &serve.limits;
    let mut limits = Limits::default();
    limits.max_clients = flags.max_clients;
    limits.per_address = flags.per_address.0;
    limits.reserve = flags.reserve;
    limits.faults = flags.faults.0;
    limits.memory = flags.memory;
    if let Some(total_memory) = flags.total_memory {
        limits.total_memory = total_memory.0;
    }
    limits.cpu = flags.cpu;
    limits.idle_cpu = flags.idle_cpu;
    limits.header_timeout = flags.header_timeout;
    limits.idle_timeout = flags.idle_timeout;
    limits.stall_timeout = flags.stall_timeout;
    limits.source_timeout = serve.live.source_timeout;
    limits.max_exchanges = flags.max_exchanges;
    limits.max_actions = flags.max_actions;
    limits.max_send = flags.max_send;
    limits.unsent = flags.unsent;
    limits.rate = flags.rate.0;
    limits.drain = serve.operation.drain;
    limits
}

/// The limits of a guest that serves nobody.
pub(crate) fn limits_of_one() -> Limits {
    let mut limits = Limits::default();
    (limits.max_clients, limits.reserve) = (1, 0);
    limits
}

pub(crate) fn settings(serve: &Serve) -> Settings {
    let mut settings = Settings::default();
    settings.reports = serve.operation.log != LogFormat::Off || serve.operation.admin.is_some();
    settings.listing = serve.content.list;
    settings.pages = serve.content.page;
    settings.compat = serve.content.compat;
    settings.headers.clone_from(&serve.content.headers);
    settings.cors.clone_from(&serve.content.cors);
    settings
}

/// How the log looks. None: there is no log.
pub(crate) fn log_format(serve: &Serve) -> Option<Format> {
    match serve.operation.log {
        LogFormat::Text if serve.operation.verbose => Some(Format::Verbose),
        LogFormat::Text => Some(Format::Text),
        LogFormat::Json => Some(Format::Json),
        LogFormat::Combined => Some(Format::Combined),
        LogFormat::Off => None,
    }
}

pub(crate) fn sources(serve: &Serve) -> Result<Sources, Failure> {
    let flags = &serve.content;
    let sources = Sources::spelled(serve.source().as_os_str(), &live(serve));
    let mut sources = sources.map_err(|error| Failure::source(&error))?;
    if sources.only().is_none() && (flags.name.is_some() || flags.media_type.is_some()) {
        return Err(Failure::usage("--as and --type are for a single file or stream, and this is a folder"));
    }
    if flags.follow {
        sources = sources.follow(flags.follow_idle);
    }
    if let Some(name) = &flags.name {
        sources = sources.named(name).map_err(|error| Failure::source(&error))?;
    }
    if let Some(media_type) = &flags.media_type {
        sources = sources.typed(media_type);
    }
    Ok(sources)
}

fn live(serve: &Serve) -> Live {
    let flags = &serve.live;
    let join = match flags.join {
        JoinAt::Start => Join::Start,
        JoinAt::Edge => Join::Edge,
        JoinAt::Burst => Join::Burst,
    };
    let burst = flags.burst.min(flags.buffer);
    Live { buffer: flags.buffer, join, burst, lag: flags.lag, hold: flags.hold, media_type: None }
}

pub(crate) fn capsules(serve: &Serve) -> Result<Option<Capsules>, Failure> {
    let flags = &serve.sandbox;
    let Some(folder) = &flags.capsules else { return Ok(None) };
    let mut capsules = Capsules::at(folder).map_err(|error| Failure::capsules(folder, &error))?;
    if flags.record {
        capsules = capsules.of_all();
    }
    if flags.capsule_secrets {
        capsules = capsules.with_secrets();
    }
    Ok(Some(capsules))
}

pub(crate) fn grants(flags: &GuestFlags) -> BTreeSet<Grant> {
    let grant = |allow: &Allow| match allow {
        Allow::Clocks => Grant::Clocks,
        Allow::Random => Grant::Random,
    };
    flags.allow.iter().map(grant).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::args;

    fn serve(arguments: &[&str]) -> Serve {
        let program = ["multiclient"].iter().chain(arguments).map(OsString::from);
        args::parse(program).expect("it is right").serve
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        assert_eq!(limits(&serve(&["a"])), Limits::default());
        assert_eq!(live(&serve(&["a"])), Live::default());
        let urls: Vec<_> = serve(&["a"]).listening().map(|listening| listening.address.to_string()).collect();
        assert_eq!(urls, ["127.0.0.1:8080"]);
    }

    #[test]
    fn flags_that_need_another_are_refused_without_it() {
        for (arguments, missing) in [
            (&["a", "--watch"][..], "--guest"),
            (&["a", "--watch", "--guest", "g", "--walls", "strict"], "--walls strict"),
            (&["a", "--record"], "--capsules"),
            (&["a", "https://:8443"], "--self-signed"),
            (&["a", "--self-signed"], "https://"),
            (&["a", "--listen", "0 tls", "--cert", "a"], "--key"),
            (&["a", "https://:0", "--cert", "a", "--key", "b", "--self-signed"], "--cert"),
            (&["a", "--capsule-secrets"], "--capsules"),
            (&["a", "--log-file", "log", "--log", "off"], "--log-file"),
        ] {
            let failure = check(&serve(arguments)).expect_err("something is missing");
            assert_eq!(failure.exit_code, 2);
            assert!(failure.to_string().contains(missing), "{failure}");
        }
        assert!(check(&serve(&["a", "--capsules", "b", "--record"])).is_ok());
        assert!(check(&serve(&["a", "https://:0", "--cert", "a", "--key", "b", "--watch"])).is_ok());
    }
}
