//! Serves a handler of `wasi:http` until it is ended: a host for `multiclient isolate`.
//!
//! usage: multiclient-hosts 0.2|0.3 COMPONENT FOLDER PORT [reuse] [turns]
//!
//! `reuse` forces what hosts should not do: an instance answers one client after the other. `turns` lets an instance
//! compute for a millisecond at a time and a second in all; without it, it may keep its thread for ever.

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use multiclient_hosts::{Instances, Server, Settings, Turns, World};

fn main() -> ExitCode {
    let words: Vec<_> = env::args().skip(1).collect();
    let Some((settings, [component, folder])) = parse(&words) else {
        eprintln!("usage: multiclient-hosts 0.2|0.3 COMPONENT FOLDER PORT [reuse] [turns]");
        return ExitCode::from(2);
    };
    match Server::start(settings, Path::new(component), Path::new(folder)) {
        Ok(server) => {
            eprintln!("http://{}/", server.address());
            loop {
                thread::park();
            }
        }
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

/// How to serve, and which component and folder.
fn parse(words: &[String]) -> Option<(Settings, [&str; 2])> {
    let [world, component, folder, port, switches @ ..] = words else { return None };
    let world = match world.as_str() {
        "0.2" => World::IncomingHandler,
        "0.3" => World::Handler,
        _ => return None,
    };
    let mut settings = Settings { port: port.parse().ok()?, ..world.into() };
    for switch in switches {
        match switch.as_str() {
            "reuse" => settings.instances = Instances::Reused,
            "turns" => settings.turns = Turns::Limited,
            _ => return None,
        }
    }
    Some((settings, [component, folder]))
}
