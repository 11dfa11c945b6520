//! What the process is allowed to do because of who it is.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// Gives all privileges up for good, and sets limits that cannot be raised again.
///
/// `largest_file`: bytes that a file may have that the process writes; None: any number.
///
/// Capabilities belong to threads: those that start later have none either, those that run already keep
/// theirs.
pub(crate) fn drop_all(largest_file: Option<u64>) -> io::Result<()> {
    // First: from here on no program that is started, and no file capability, gives any of it back.
    set_no_new_privs(true)?;
    limit(Resource::Core, Some(0))?;
    // As many descriptors as now, and no more whatever is asked for.
    limit(Resource::Nofile, getrlimit(Resource::Nofile).current)?;
    if let Some(bytes) = largest_file {
        refuse_large_files();
        limit(Resource::Fsize, Some(bytes))?;
    }
    // Neither a core dump nor a debugger of the same user gets at the memory of clients.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    drop_capabilities()
}

fn limit(resource: Resource, bound: Option<u64>) -> io::Result<()> {
    let wanted = Rlimit { current: bound, maximum: bound };
    // A service manager that has set it may have forbidden the call.
    if getrlimit(resource) == wanted { Ok(()) } else { Ok(setrlimit(resource, wanted)?) }
}

/// A write beyond the limit fails. By default it would end the process.
#[expect(unsafe_code, reason = "neither the standard library nor rustix ignores a signal")]
fn refuse_large_files() {
    // SAFETY: ignoring a signal runs no code.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

fn drop_capabilities() -> io::Result<()> {
    clear_ambient_capability_set()?;
    // Needs a capability itself. Without it the others cannot be gained either.
    for capability in CapabilitySet::all().iter() {
        if capability_is_in_bounding_set(capability).is_ok_and(|there| there) {
            let _ = remove_capability_from_bounding_set(capability);
        }
    }
    let nothing = CapabilitySet::empty();
    let none = CapabilitySets { effective: nothing, permitted: nothing, inheritable: nothing };
    // As above.
    if capabilities(None)? == none { Ok(()) } else { Ok(set_capabilities(None, none)?) }
}
