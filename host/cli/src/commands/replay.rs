//! `multiclient replay`.

use std::process::ExitCode;
use std::sync::Arc;

use multiclient::Capsule;

use crate::args::Replay;
use crate::failure::Failure;
use crate::guests;
use crate::output::print_line;

/// Replays a recorded session, and says whether it went as recorded.
pub(crate) fn replay(flags: &Replay) -> Result<ExitCode, Failure> {
    let path = &flags.capsule;
    let capsule = Capsule::read(path).map_err(|error| Failure::capsule(path, &error))?;
    let guest = guests::load(&flags.guest, capsule.limits())?;
    let replay = capsule.replay(&Arc::new(guest));
    print_line(format_args!("{replay}"))?;
    Ok(if replay.is_identical() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
