//! What the server of a control lacks in the trial of isolation: one protection, so that the attack on it is seen.
//!
//! Rule: a server that serves lacks none, and nothing outside of that trial can make one that does.

/// A protection that a server can be made without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(
    not(feature = "isolation-testing"),
    expect(unreachable_pub, dead_code, reason = "for the trial of isolation")
)]
pub enum Protection {
    /// The bound on the handles of a guest.
    Handles,
    /// The bound on what a guest reports.
    Reports,
    /// That what the host does for a guest counts as what the guest does.
    Work,
    /// That folders are read once for all who wait, and only while somebody waits, and that addresses take turns.
    Listings,
    /// That a live source outlives its index.
    Index,
}
