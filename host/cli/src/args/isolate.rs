//! The flags of `isolate`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueHint};
use multiclient_isolate::Claim;

use super::serve::GuestFlags;
use crate::values::{named_command, trigger};

#[derive(Debug, Args)]
pub(crate) struct Isolate {
    /// File or folder that the clients request [default: files made for the test]
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) source: Option<PathBuf>,

    /// Run for 20 s instead of 60 s
    #[arg(long)]
    pub(crate) quick: bool,

    /// Seed of all random choices [default: the time]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Test only this claim (repeatable)
    #[arg(long, value_name = "CLAIM", value_delimiter = ',', value_parser = claim())]
    pub(crate) only: Vec<Claim>,

    #[command(flatten)]
    pub(crate) guest: GuestFlags,

    #[command(flatten)]
    pub(crate) against: AgainstFlags,

    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a JUnit report for CI to FILE
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) junit: Option<PathBuf>,

    /// Write an HTML report to FILE
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) html: Option<PathBuf>,

    /// Write a SARIF report for code scanning to FILE, of another server
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "other-server")]
    pub(crate) sarif: Option<PathBuf>,
}

/// Flags for the test of another server, from outside.
#[derive(Debug, Args)]
pub(crate) struct AgainstFlags {
    /// Test another server: URL is something that it serves, of at least 1 MiB
    #[arg(long, value_name = "URL", group = "other-server", conflicts_with_all = ["source", "guest"])]
    pub(crate) against: Option<String>,

    /// Start another server with this command of `sh`, and test it
    ///
    /// `{port}` becomes a free port and `{root}` a folder with a file `film.mp4`. The command must stay until the
    /// server ends. Everything in its process group is ended with it (and see `--cgroup`).
    #[arg(long, value_name = "COMMAND", group = "other-server", conflicts_with_all = ["source", "guest", "against"])]
    pub(crate) start: Option<String>,

    /// Request this URL of the server that `--start` starts [default: http://127.0.0.1:{port}/film.mp4]
    #[arg(long, value_name = "URL", requires = "start")]
    pub(crate) ready: Option<String>,

    /// Start a server with a command, and test it beside others (repeatable)
    #[arg(long, value_name = "NAME=COMMAND", group = "other-server", value_parser = named_command)]
    #[arg(conflicts_with_all = ["source", "guest", "against", "start"])]
    pub(crate) compare: Vec<(String, String)>,

    /// Test the servers of a TOML file, side by side
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, group = "other-server")]
    #[arg(conflicts_with_all = ["source", "guest", "against", "start"])]
    pub(crate) targets: Option<PathBuf>,

    /// Look at the descriptors, threads and memory of this process of the server, and of its descendants
    #[arg(long, value_name = "N", requires = "against")]
    pub(crate) pid: Option<u32>,

    /// Look at the descriptors, threads and memory of the server's control group
    ///
    /// If it is empty when `--start` starts the server, everything in it is ended with the server.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath, requires = "other-server")]
    pub(crate) cgroup: Option<PathBuf>,

    /// Crash a handler of the server with this request, such as `GET /boom`
    #[arg(long, value_name = "REQUEST", requires = "other-server", value_parser = trigger)]
    pub(crate) crash: Option<String>,

    /// Make a handler of the server hang with this request
    #[arg(long, value_name = "REQUEST", requires = "other-server", value_parser = trigger)]
    pub(crate) hang: Option<String>,

    /// Make a handler of the server leak memory with this request
    #[arg(long, value_name = "REQUEST", requires = "other-server", value_parser = trigger)]
    pub(crate) leak_memory: Option<String>,

    /// Have a handler of the server show what is in its memory with this request
    #[arg(long, value_name = "REQUEST", requires = "other-server", value_parser = trigger)]
    pub(crate) peek: Option<String>,

    /// Attack a server with a private address, which is yours; otherwise only loopback is attacked
    #[arg(long, value_name = "HOST", requires = "other-server")]
    pub(crate) yes_this_is_mine: Option<String>,
}

fn claim() -> impl TypedValueParser<Value = Claim> {
    PossibleValuesParser::new(Claim::ALL.map(Claim::name)).map(|name| {
        let named = Claim::ALL.into_iter().find(|claim| claim.name() == name);
        named.expect("clap takes the names of claims only")
    })
}
