//! `multiclient`, the program: from the command line to an exit code.

mod address;
mod admin;
mod args;
mod bind;
mod certificates;
mod commands;
mod failure;
mod guests;
mod listening;
mod log_file;
mod manager;
mod options;
mod output;
mod passed;
mod pid_file;
mod printable;
mod privileges;
mod reach;
#[cfg(test)]
mod reference;
mod signals;
mod startup;
mod takeover;
mod values;
mod walls;
mod watched;

use std::process::ExitCode;
use std::time::Instant;

use args::{Arguments, Command};
use failure::Failure;

/// musl's own has one lock for all threads: with it, a request on an open connection takes a tenth longer.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Has the allocator give free pages back to the system at once. By itself it waits until a second has passed and then
/// for the next call, which may never come: after a crowd it kept 5 MiB.
#[cfg(target_env = "musl")]
fn keep_no_free_memory() {
    /// `mi_option_purge_delay` in `mimalloc.h`, in milliseconds.
    const PURGE_DELAY: std::ffi::c_int = 15;
    #[expect(unsafe_code, reason = "a function of the allocator that its crate has no safe name for")]
    // SAFETY: it is mimalloc's, which is linked, with this type, and takes any number.
    unsafe extern "C" {
        safe fn mi_option_set(option: std::ffi::c_int, value: std::ffi::c_long);
    }
    mi_option_set(PURGE_DELAY, 0);
}

fn main() -> ExitCode {
    let began = Instant::now();
    #[cfg(target_env = "musl")]
    keep_no_free_memory();
    if let Some(exit_code) = multiclient_isolate::probe(std::env::args_os()) {
        return exit_code;
    }
    let signals = signals::prepare();
    let done = match args::parse(std::env::args_os()) {
        Ok(arguments) => run(arguments, began, signals),
        Err(error) => {
            let exit_code = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
            output::print_clap(&error).map(|()| exit_code)
        }
    };
    done.unwrap_or_else(|failure| {
        if !failure.is_silent {
            output::report(format_args!("{failure}"));
        }
        ExitCode::from(failure.exit_code)
    })
}

fn run(arguments: Arguments, began: Instant, signals: signals::AtStart) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Some(Command::Inspect { engine: true, .. }) => commands::inspect_engine(),
        Some(Command::Inspect { guest, .. }) => commands::inspect(guest.as_deref()),
        Some(Command::ExportGuest { output, faulty: Some(world) }) => commands::export_faulty(output, *world),
        Some(Command::ExportGuest { output, .. }) => commands::export_guest(output),
        Some(Command::Replay(flags)) => commands::replay(flags),
        Some(Command::Isolate(flags)) => commands::isolate(flags),
        Some(Command::Health(flags)) => commands::health(flags),
        Some(Command::Man { of }) => commands::man(of.as_deref()),
        Some(Command::Completions { shell }) => commands::completions(*shell),
        None => commands::serve(&arguments.serve, began, signals),
    }
}
