//! The handles of a guest that runs as a core module: numbers that stand for its sessions, as the canonical ABI
//! has them. A guest that runs as a component has those of the component runtime, which counts the same way.

use wasmtime::{Error, Result, Trap};

use crate::sandbox::canonical::Excess;

/// The handles of one instance.
pub(super) struct Handles {
    slots: Vec<Slot>,
    /// The first slot that is free, or the number of slots.
    next: u32,
    /// Those that the guest holds, and one for each session that the host holds.
    live: usize,
    pub(super) limit: usize,
    /// Whether the guest may make and drop handles. Not while it allocates for the host or frees what the host
    /// has read: a call back in the middle of these might move what is being copied.
    pub(super) may_leave: bool,
}

enum Slot {
    Free {
        next: u32,
    },
    /// What the guest calls this session itself: an address in its memory, as a rule. The host does not look at
    /// it.
    Own {
        session: u32,
    },
}

impl Handles {
    pub(super) fn new(limit: usize) -> Self {
        Self { slots: Vec::new(), next: 0, live: 0, limit, may_leave: true }
    }

    /// `resource.new`: a handle for a session.
    pub(super) fn make(&mut self, session: u32) -> Result<u32> {
        self.check_leave()?;
        self.check_limit()?;
        let index = self.next;
        let made = Slot::Own { session };
        match self.slots.get_mut(index as usize) {
            Some(slot) => {
                let Slot::Free { next } = *slot else { unreachable!("the list of free slots has free slots only") };
                (*slot, self.next) = (made, next);
            }
            None => {
                self.slots.push(made);
                self.next += 1;
            }
        }
        self.live += 1;
        // The component model gives no handle the number 0.
        Ok(index + 1)
    }

    /// `resource.drop`. There is no destructor: a session ends with its instance.
    pub(super) fn drop(&mut self, handle: u32) -> Result<()> {
        self.check_leave()?;
        self.take(handle).map(drop)
    }

    /// Takes a session out of the hands of the guest, and into those of the host.
    pub(super) fn own(&mut self, handle: u32) -> Result<u32> {
        let session = self.take(handle)?;
        self.live += 1;
        Ok(session)
    }

    /// Lends a session of the host to the guest, for one call.
    pub(super) fn lend(&mut self) -> Result<()> {
        self.check_limit()?;
        self.live += 1;
        Ok(())
    }

    /// The call is over.
    pub(super) fn take_back(&mut self) {
        self.live -= 1;
    }

    fn take(&mut self, handle: u32) -> Result<u32> {
        let slot = handle.checked_sub(1).and_then(|index| self.slots.get_mut(index as usize));
        let Some(slot @ &mut Slot::Own { session }) = slot else {
            return Err(Error::msg(format!("unknown handle index {handle}")));
        };
        *slot = Slot::Free { next: self.next };
        self.next = handle - 1;
        self.live -= 1;
        Ok(session)
    }

    fn check_leave(&self) -> Result<()> {
        if self.may_leave { Ok(()) } else { Err(Trap::CannotLeaveComponent.into()) }
    }

    fn check_limit(&self) -> Result<()> {
        if self.live < self.limit { Ok(()) } else { Err(Excess::Handles.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_a_number_that_is_used_again() {
        let mut handles = Handles::new(10);
        let made: Vec<_> = (0..3).map(|session| handles.make(session).expect("there is room")).collect();
        assert_eq!(made, [1, 2, 3]);
        handles.drop(1).expect("it is one");
        assert_eq!(handles.own(2).expect("it is one"), 1);
        for unknown in [0, 1, 2, 4, u32::MAX] {
            let said = handles.drop(unknown).expect_err("it is none").to_string();
            assert_eq!(said, format!("unknown handle index {unknown}"));
        }
        assert_eq!((handles.make(7).ok(), handles.make(8).ok(), handles.make(9).ok()), (Some(2), Some(1), Some(4)));
        assert_eq!(handles.own(2).expect("it is one"), 7);
    }

    #[test]
    fn the_limit_counts_what_the_host_holds_too() {
        let mut handles = Handles::new(3);
        let handle = handles.make(8).expect("there is room");
        handles.own(handle).expect("it is one");
        handles.lend().expect("there is room");
        handles.make(8).expect("there is room");
        assert!(handles.make(8).is_err_and(|error| error.is::<Excess>()));
        handles.take_back();
        handles.make(8).expect("there is room");
        assert!(handles.lend().is_err_and(|error| error.is::<Excess>()));
    }
}
