//! Memory that can be executed.

use std::io;

/// From here on the kernel refuses to map memory that can be written and executed, and to make memory
/// executable that was not when it was mapped. For the whole process, and for good.
#[expect(unsafe_code, reason = "rustix has no name for this call")]
pub(crate) fn forbid() -> io::Result<()> {
    let refuse = libc::c_ulong::from(libc::PR_MDWE_REFUSE_EXEC_GAIN);
    let nothing: libc::c_ulong = 0;
    // SAFETY: the call takes numbers, and touches no memory.
    match unsafe { libc::prctl(libc::PR_SET_MDWE, refuse, nothing, nothing, nothing) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
