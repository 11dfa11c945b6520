//! Who is there: places for clients, how many each address may take, and who has to stay away for a while.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ended::{Closed, Ended, Rejection};
use crate::limits::{Limits, PENALTY, SUSPECTS};
use crate::sandbox::instance::Place;
use crate::sync::lock;

/// What a server did, when it is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Clients that were admitted.
    pub clients: u64,
    /// Bytes that went to them.
    pub bytes_out: u64,
    /// Clients whose guest failed, broke the contract or ran into a limit.
    pub guest_failures: u64,
    /// Clients that were cut off because the server stopped.
    pub cut_off: u64,
    /// Clients that were closed at once, because the server or their address had too many, or because
    /// clients of their address had failed too often.
    pub rejected: u64,
}

/// Who is there.
#[derive(Default)]
pub(crate) struct Admissions {
    state: Mutex<Present>,
    empty: Condvar,
}

#[derive(Default)]
struct Present {
    clients: u32,
    /// Whether somebody waits for them to leave: telling nobody costs a system call too.
    awaited: bool,
    by_address: HashMap<IpAddr, u32>,
    suspects: Suspects,
    summary: Summary,
}

/// Addresses whose clients ended by their guest's fault not long ago.
#[derive(Default)]
struct Suspects(HashMap<IpAddr, Suspect>);

struct Suspect {
    faults: u32,
    last: Instant,
}

impl Suspects {
    fn fault(&mut self, address: IpAddr, now: Instant) {
        if self.0.len() >= SUSPECTS && !self.0.contains_key(&address) {
            self.0.retain(|_, suspect| now.duration_since(suspect.last) < PENALTY);
            // All of them are recent. One more or less makes no difference to whoever has so many addresses.
            if self.0.len() >= SUSPECTS {
                return;
            }
        }
        let suspect = self.0.entry(address).or_insert(Suspect { faults: 0, last: now });
        if now.duration_since(suspect.last) >= PENALTY {
            suspect.faults = 0;
        }
        suspect.faults = suspect.faults.saturating_add(1);
        suspect.last = now;
    }

    /// Whether an address is blocked for now.
    fn is_blocked(&self, address: IpAddr, faults: Option<u32>, now: Instant) -> bool {
        let Some(faults) = faults.filter(|_| !self.0.is_empty()) else { return false };
        let too_many = |suspect: &Suspect| suspect.faults >= faults && now.duration_since(suspect.last) < PENALTY;
        self.0.get(&address).is_some_and(too_many)
    }
}

/// A client's place among the others, given back when it is dropped.
pub(crate) struct Admission {
    admissions: Arc<Admissions>,
    counted: Option<IpAddr>,
    place: Place,
}

impl Admission {
    /// Fails where there is no place, not even in the reserve.
    pub(crate) fn new(
        admissions: &Arc<Admissions>,
        peer: Option<SocketAddr>,
        limits: &Limits,
    ) -> Result<Self, Rejection> {
        let address = peer.and_then(|peer| counted_as(peer.ip()));
        let mut present = admissions.lock();
        let blocked = |address| present.suspects.is_blocked(address, limits.faults, Instant::now());
        let blocked = address.is_some_and(blocked);
        let counted = address.filter(|_| limits.per_address.is_some());
        let neighbours = counted.and_then(|address| present.by_address.get(&address)).copied().unwrap_or_default();
        let is_crowded = counted.is_some() && limits.per_address.is_some_and(|most| neighbours >= most);
        let reason = match () {
            () if blocked => Some(Rejection::Faults),
            () if is_crowded => Some(Rejection::PerAddress),
            () if present.clients >= limits.max_clients.saturating_add(limits.reserve) => Some(Rejection::MaxClients),
            () => None,
        };
        if let Some(reason) = reason {
            present.summary.rejected += 1;
            return Err(reason);
        }
        let place = if present.clients < limits.max_clients { Place::Regular } else { Place::Reserve };
        present.clients += 1;
        present.summary.clients += 1;
        if let Some(address) = counted {
            present.by_address.insert(address, neighbours + 1);
        }
        drop(present);
        Ok(Self { admissions: Arc::clone(admissions), counted, place })
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut present = self.admissions.lock();
        present.clients -= 1;
        if let Some(address) = self.counted
            && let Some(count) = present.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                present.by_address.remove(&address);
            }
        }
        if present.clients == 0 && present.awaited {
            self.admissions.empty.notify_all();
        }
    }
}

impl Admissions {
    fn lock(&self) -> MutexGuard<'_, Present> {
        lock(&self.state)
    }

    /// What the server has done so far.
    pub(crate) fn summary(&self) -> Summary {
        self.lock().summary
    }

    /// Counts a connection that is closed.
    pub(crate) fn closed(&self, closed: &Closed) {
        let mut present = self.lock();
        present.summary.bytes_out += closed.bytes_out;
        present.summary.guest_failures += u64::from(closed.ended.is_guests_fault());
        present.summary.cut_off += u64::from(closed.ended == Ended::ShutDown);
        if closed.ended.is_guests_fault()
            && let Some(address) = closed.peer.and_then(|peer| counted_as(peer.ip()))
        {
            present.suspects.fault(address, Instant::now());
        }
    }

    /// Waits until the last client is gone, at most `patience`, and says whether it is.
    pub(crate) fn wait_until_empty(&self, patience: Duration) -> bool {
        let began = Instant::now();
        let mut present = self.lock();
        present.awaited = true;
        while present.clients > 0 {
            let Some(left) = patience.checked_sub(began.elapsed()) else { return false };
            (present, _) = self.empty.wait_timeout(present, left).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

/// The address that a client counts for; none if it does not count.
pub(super) fn counted_as(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST) => None,
        IpAddr::V4(address) => Some(address.into()),
        IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(address.parse().expect("an address"), 1))
    }

    #[test]
    fn an_address_has_its_share_of_places_and_this_machine_all_of_them() {
        let admissions = Arc::new(Admissions::default());
        let limits = Limits { max_clients: 6, reserve: 1, per_address: Some(2), ..Limits::default() };
        let enter = |address| Admission::new(&admissions, from(address), &limits);
        let held: Vec<_> = ["192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2"].map(enter).into();
        assert!(held.iter().all(Result::is_ok));
        let rejected = |address| enter(address).err();
        assert_eq!(rejected("192.0.2.1"), Some(Rejection::PerAddress));
        // Written as IPv6, and a neighbour in the same /64: the same addresses.
        assert_eq!(rejected("::ffff:192.0.2.1"), Some(Rejection::PerAddress));
        assert_eq!(rejected("2001:db8::3"), Some(Rejection::PerAddress));
        assert!(enter("2001:db8:0:1::1").is_ok_and(|admission| admission.place() == Place::Regular));
        let local: Vec<_> = ["127.0.0.1", "::1", "127.0.0.1"].map(enter).into();
        assert_eq!(
            local.iter().flatten().map(Admission::place).collect::<Vec<_>>(),
            [Place::Regular, Place::Regular, Place::Reserve]
        );
        assert_eq!(rejected("127.0.0.1"), Some(Rejection::MaxClients));
        drop(held);
        assert!(enter("192.0.2.1").is_ok());
    }

    #[test]
    fn an_address_whose_clients_keep_failing_has_to_stay_away_for_a_while() {
        const FAULTS: u32 = 8;
        let mut suspects = Suspects::default();
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let start = Instant::now();
        for fault in 0..FAULTS {
            assert!(!suspects.is_blocked(one, Some(FAULTS), start), "after {fault} faults");
            suspects.fault(one, start);
        }
        assert!(suspects.is_blocked(one, Some(FAULTS), start) && !suspects.is_blocked(other, Some(FAULTS), start));
        assert!(!suspects.is_blocked(one, Some(FAULTS + 1), start) && !suspects.is_blocked(one, None, start));
        assert!(!suspects.is_blocked(one, Some(FAULTS), start + PENALTY));
        // What is long ago does not count.
        suspects.fault(one, start + PENALTY);
        assert!(!suspects.is_blocked(one, Some(FAULTS), start + PENALTY));
    }

    #[test]
    fn suspects_are_bounded() {
        let mut suspects = Suspects::default();
        let start = Instant::now();
        for number in 0..2 * SUSPECTS {
            suspects.fault(Ipv4Addr::from_bits(u32::try_from(number).expect("few")).into(), start);
        }
        assert_eq!(suspects.0.len(), SUSPECTS);
        suspects.fault(IpAddr::from([192, 0, 2, 1]), start + PENALTY);
        assert_eq!(suspects.0.len(), 1);
    }
}
