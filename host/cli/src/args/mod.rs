//! The command line, declared once: flags, their environment variables, help, the man page, the shells'
//! completions and `docs/flags.md` all come from here.
//!
//! Rules: a flag that sets a limit has the name of the limit. The first paragraph of a flag's comment is its
//! line in `-h`; `--help` has the whole comment as one paragraph.

mod isolate;
mod serve;

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use multiclient::Engine;

pub(crate) use isolate::{AgainstFlags, Isolate};
pub(crate) use serve::{Allow, GuestFlags, IndexFrom, JoinAt, LiveFlags, LogFormat, Serve, Walls};

use crate::address::ServerUrl;
use crate::values::time;

/// Flags that `-h` shows; `--help` shows all.
const EVERYDAY: [&str; 11] =
    ["list", "page", "follow", "header", "cors", "rate", "max-clients", "guest", "log", "quiet", "qr"];

const SHORT_HELP: &str = "\
{about-with-newline}
{usage-heading} {usage}

{positionals}

{options}

Commands: inspect, export-guest, replay, isolate, health, man, completions
Example:  multiclient ~/Videos :8080 --list --page";

const ENVIRONMENT: &str = "\
Environment:
  Each flag has a variable: MULTICLIENT_MAX_CLIENTS=50 is --max-clients 50. Flags win over
  variables. An empty variable counts as not set.";

const NAMES: &str = "To serve a file with the name of a command, write ./NAME.";

/// The exit codes of the program, with their meanings.
pub(crate) const EXIT_CODES: [(u8, &str); 4] = [
    (0, "served to the end; the replay is identical; all claims held; the server is healthy"),
    (1, "could not start; the replay differs; a claim is broken; the server is not healthy"),
    (2, "wrong usage"),
    (3, "some clients were cut off; the isolation test is inconclusive, or its report was not written"),
];

/// The program's version, and that of its engine, which advisories name.
fn version() -> String {
    format!("{} ({})", env!("CARGO_PKG_VERSION"), Engine::of_this_program().version)
}

/// Serve files, folders and live media over HTTP, each client in a fresh sandbox
#[derive(Debug, Parser)]
#[command(name = "multiclient", version = version(), max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(override_usage = "multiclient [OPTIONS] <SOURCE> [URL] | multiclient <COMMAND>")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the imports and exports of a guest
    Inspect {
        /// Component to inspect [default: the built-in guest]
        #[arg(value_hint = ValueHint::FilePath, conflicts_with = "engine")]
        guest: Option<PathBuf>,

        /// Show the parts of the engine that are compiled in, and the features of WebAssembly that are on
        #[arg(long)]
        engine: bool,
    },
    /// Write the built-in guest to a file, for other hosts
    ExportGuest {
        /// File to write, such as `multiclient-session.wasm`, or `-` for standard output
        #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: PathBuf,

        /// Write a component that crashes, hangs and leaks on request instead: a test tool for `isolate`
        ///
        /// It serves as usual, and fails at the paths `/!crash`, `/!hang` and `/!leak`; `/!peek` shows what is in its
        /// memory. `session` is the built-in guest; `wasi-http` and `wasi-http-0.3` are handlers for `wasmtime serve`,
        /// `jco serve` and other hosts of `wasi:http` 0.2 and 0.3. Never publish it: it fails for everybody who asks.
        #[arg(long, value_name = "WORLD", num_args = 0..=1, default_missing_value = "session")]
        faulty: Option<Faulty>,
    },
    /// Replay a recorded connection offline and compare the guest's actions
    Replay(Replay),
    /// Test on this machine that one client cannot affect another
    Isolate(Box<Isolate>),
    /// Check that a server responds, with any status below 500
    Health(Health),
    /// Print the man page
    Man {
        /// Command whose page to print [default: the program]
        #[arg(value_name = "COMMAND")]
        of: Option<String>,
    },
    /// Print a script that completes commands and flags in a shell
    Completions {
        /// Shell that will run the script
        shell: Shell,
    },
}

/// The worlds that there is a component for that fails on request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Faulty {
    /// `multiclient:session/guest` 0.1.
    Session,
    /// `wasi:http/incoming-handler` 0.2.
    WasiHttp,
    /// `wasi:http/handler` 0.3.
    #[value(name = "wasi-http-0.3")]
    WasiHttp03,
}

#[derive(Debug, Args)]
pub(crate) struct Health {
    /// Address of the server: PORT, :PORT, HOST:PORT, http://HOST:PORT, https://HOST:PORT (with any certificate) or
    /// unix:PATH
    #[arg(value_name = "URL", default_value = "127.0.0.1:8080", value_parser = ServerUrl::parse)]
    pub(crate) url: ServerUrl,

    /// Wait this long for a response
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// Capsule to replay: a file that `--capsules` wrote
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) capsule: PathBuf,

    #[command(flatten)]
    pub(crate) guest: GuestFlags,
}

/// The help that the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Help {
    /// One screen.
    Short,
    /// Everything.
    Long,
}

impl Help {
    fn wanted(arguments: &[OsString]) -> Self {
        let is_long = |argument: &OsString| argument == "--help";
        match arguments.get(1).is_some_and(|first| first == "help") || arguments.iter().any(is_long) {
            true => Self::Long,
            false => Self::Short,
        }
    }
}

/// Reads the command line and the environment.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, clap::Error> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut command = command(Help::wanted(&arguments));
    let mut matches = command.try_get_matches_from_mut(arguments)?;
    Arguments::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// The whole command line, with environment variables, for this kind of help.
pub(crate) fn command(help: Help) -> clap::Command {
    let command = with_rules(Arguments::command(), help);
    match help {
        // The line of --log names its values.
        Help::Short => command.help_template(SHORT_HELP).mut_arg("log", |log| log.hide_possible_values(true)),
        Help::Long => command.after_long_help(after_help()),
    }
}

fn after_help() -> String {
    let exit_codes: Vec<_> = EXIT_CODES.iter().map(|(code, meaning)| format!("  {code}  {meaning}")).collect();
    format!("{ENVIRONMENT}\n\nExit codes:\n{}\n\n{NAMES}", exit_codes.join("\n"))
}

/// Applies the rules for all flags of all commands: an environment variable each, and which flags `-h` shows.
fn with_rules(command: clap::Command, help: Help) -> clap::Command {
    let command = command.mut_args(|arg| {
        let arg = in_one_paragraph(arg);
        match arg.get_long() {
            Some(long) => {
                let variable = variable(long);
                let is_hidden = help == Help::Short && !EVERYDAY.contains(&long);
                with_environment(arg, variable, |variable| env::var_os(variable)).hide_short_help(is_hidden)
            }
            None => arg,
        }
    });
    command.mut_subcommands(|command| {
        let everything = with_rules(command, help);
        // Subcommands have few flags, so `-h` shows all of them.
        everything.mut_args(|arg| arg.hide_short_help(false))
    })
}

/// The environment variable of a flag.
pub(crate) fn variable(long: &str) -> String {
    format!("MULTICLIENT_{}", long.replace('-', "_").to_uppercase())
}

/// Lets an environment variable set a flag. Ignores an empty variable: compose files set those for missing values.
fn with_environment(arg: clap::Arg, variable: String, get: impl Fn(&OsStr) -> Option<OsString>) -> clap::Arg {
    let arg = match arg.get_action() {
        ArgAction::SetTrue => arg.value_parser(BoolishValueParser::new()),
        _ => arg,
    };
    if get(OsStr::new(&variable)).is_some_and(|value| value.is_empty()) {
        return arg;
    }
    arg.env(variable).hide_env(true)
}

/// Makes the long help of a flag one paragraph.
fn in_one_paragraph(arg: clap::Arg) -> clap::Arg {
    match paragraph(&arg) {
        Some(paragraph) if arg.get_long_help().is_some() => arg.long_help(paragraph),
        _ => arg,
    }
}

/// The whole comment of a flag as one paragraph: its line in `-h`, then the rest.
pub(crate) fn paragraph(arg: &clap::Arg) -> Option<String> {
    let (first, all) = (arg.get_help()?.to_string(), arg.get_long_help().map(ToString::to_string));
    let rest = all.as_deref().and_then(|all| all.split_once("\n\n")).map(|(_, rest)| rest.replace('\n', " "));
    Some(match rest {
        Some(rest) => format!("{first}. {rest}"),
        None => all.unwrap_or(first),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Bound;

    fn lines_of(help: Help) -> Vec<String> {
        let mut command = command(help).term_width(80);
        let text = match help {
            Help::Short => command.render_help(),
            Help::Long => command.render_long_help(),
        };
        text.to_string().trim_end().lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_declaration_is_consistent() {
        command(Help::Long).debug_assert();
    }

    #[test]
    fn the_short_help_fits_a_screen_and_no_line_wraps() {
        let lines = lines_of(Help::Short);
        let text = lines.join("\n");
        // One line of a screen of 24 is left for the prompt.
        assert!(lines.len() <= 23, "{} lines:\n{text}", lines.len());
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
        for flag in EVERYDAY {
            assert!(text.contains(&format!("--{flag}")), "--{flag} is missing:\n{text}");
        }
        assert!(!text.contains("--idle-cpu"), "{text}");
    }

    #[test]
    fn the_long_help_has_a_paragraph_for_each_flag_and_the_rule_of_the_environment_once() {
        let text = lines_of(Help::Long).join("\n");
        for arg in command(Help::Long).get_arguments() {
            let name = arg.get_long().map_or(String::new(), |long| format!("--{long}"));
            assert!(text.contains(&name), "{name} is missing:\n{text}");
            let help = arg.get_long_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.contains("\n\n"), "{name} has more than a paragraph: {help}");
        }
        assert_eq!(text.matches("MULTICLIENT_").count(), 1, "it has an example:\n{text}");
    }

    /// Commands and their flags, each with its variable.
    fn variables(command: &clap::Command) -> Vec<(String, Option<String>)> {
        let of = |arg: &clap::Arg| {
            let set = arg.get_env().map(|variable| variable.to_string_lossy().into_owned());
            arg.get_long().map(|long| (long.to_owned(), set))
        };
        let own = command.get_arguments().filter_map(of);
        own.chain(command.get_subcommands().flat_map(variables)).collect()
    }

    #[test]
    fn each_flag_has_its_variable() {
        let all = variables(&command(Help::Long));
        assert!(all.len() > 40, "{all:?}");
        for (long, set) in all {
            assert_eq!(set, Some(format!("MULTICLIENT_{}", long.replace('-', "_").to_uppercase())));
        }
    }

    #[test]
    fn an_empty_variable_is_none() {
        let with = |value: &'static str| {
            let arg = clap::Arg::new("rate").long("rate").action(ArgAction::Set);
            with_environment(arg, "MULTICLIENT_RATE".to_owned(), |_| Some(value.into()))
        };
        assert!(with("").get_env().is_none());
        assert!(with("2M").get_env().is_some());
    }

    fn serve(arguments: &[&str]) -> Result<Serve, clap::Error> {
        let program = ["multiclient"].iter().chain(arguments).map(OsString::from);
        parse(program).map(|arguments| arguments.serve)
    }

    #[test]
    fn limits_can_be_lifted_where_it_makes_sense() {
        let lifted = ["a", "--rate", "unlimited", "--per-address", "unlimited", "--faults", "unlimited"];
        let limits = serve(&lifted).expect("it is right").limits;
        assert_eq!((limits.rate, limits.per_address, limits.faults), (Bound(None), Bound(None), Bound(None)));
        assert!(serve(&["a", "--max-clients", "unlimited"]).is_err());
        assert!(serve(&["a", "--memory", "unlimited"]).is_err());
    }

    #[test]
    fn several_addresses_are_given_one_by_one_or_in_a_list() {
        let flags = serve(&["a", "0", "--listen", "9000;unix:m.sock,mode=660", "--listen", ":9001"]);
        let urls: Vec<_> =
            flags.expect("it is right").listening().map(|listening| listening.address.to_string()).collect();
        assert_eq!(urls, ["0", "9000", "unix:m.sock", ":9001"]);
    }
}
