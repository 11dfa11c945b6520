//! Who is there: places for clients, how many each address may take, and who has to stay away for a while.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ended::{Ended, Life, Reason};
use crate::limits::{Limits, PENALTY, SUSPECTS};

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
    pub turned_away: u64,
}

/// Who is there.
#[derive(Default)]
pub(crate) struct Crowd {
    state: Mutex<Present>,
    empty: Condvar,
}

#[derive(Default)]
struct Present {
    clients: usize,
    /// Whether somebody waits for them to leave: telling nobody costs a system call too.
    awaited: bool,
    by_address: HashMap<IpAddr, usize>,
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

    /// Whether an address that may have so many faults (0: any number) has to stay away for now.
    fn is_barred(&self, address: IpAddr, faults: u32, now: Instant) -> bool {
        if faults == 0 || self.0.is_empty() {
            return false;
        }
        let too_many = |suspect: &Suspect| suspect.faults >= faults && now.duration_since(suspect.last) < PENALTY;
        self.0.get(&address).is_some_and(too_many)
    }
}

/// A client's place among the others, given back when it is dropped.
pub(crate) struct Admission {
    crowd: Arc<Crowd>,
    counted: Option<IpAddr>,
    at_capacity: bool,
}

impl Admission {
    /// Fails where there is no place, not even in the reserve.
    pub(crate) fn new(crowd: &Arc<Crowd>, peer: Option<SocketAddr>, limits: &Limits) -> Result<Self, Reason> {
        let address = peer.and_then(|peer| counted_as(peer.ip()));
        let mut present = crowd.lock();
        let barred = |address| present.suspects.is_barred(address, limits.faults, Instant::now());
        let barred = address.is_some_and(barred);
        let counted = address.filter(|_| limits.clients_per_address > 0);
        let neighbours = counted.and_then(|address| present.by_address.get(&address)).copied().unwrap_or_default();
        let crowded = counted.is_some() && neighbours >= limits.clients_per_address;
        let reason = match () {
            () if barred => Some(Reason::Penalty),
            () if crowded => Some(Reason::Address),
            () if present.clients >= limits.clients + limits.reserve => Some(Reason::Full),
            () => None,
        };
        if let Some(reason) = reason {
            present.summary.turned_away += 1;
            return Err(reason);
        }
        let at_capacity = present.clients >= limits.clients;
        present.clients += 1;
        present.summary.clients += 1;
        if let Some(address) = counted {
            present.by_address.insert(address, neighbours + 1);
        }
        drop(present);
        Ok(Self { crowd: Arc::clone(crowd), counted, at_capacity })
    }

    /// Whether this place is one of the reserve, there to be told that the server is full.
    pub(crate) fn at_capacity(&self) -> bool {
        self.at_capacity
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut present = self.crowd.lock();
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
            self.crowd.empty.notify_all();
        }
    }
}

impl Crowd {
    fn lock(&self) -> MutexGuard<'_, Present> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the server has done so far.
    pub(crate) fn summary(&self) -> Summary {
        self.lock().summary
    }

    /// Counts a life that is over.
    pub(crate) fn ended(&self, life: &Life) {
        let mut present = self.lock();
        present.summary.bytes_out += life.bytes_out;
        present.summary.guest_failures += u64::from(life.ended.is_guests_fault());
        present.summary.cut_off += u64::from(life.ended == Ended::ShutDown);
        if life.ended.is_guests_fault()
            && let Some(address) = life.peer.and_then(|peer| counted_as(peer.ip()))
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
fn counted_as(address: IpAddr) -> Option<IpAddr> {
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
        let crowd = Arc::new(Crowd::default());
        let limits = Limits { clients: 6, reserve: 1, clients_per_address: 2, ..Limits::default() };
        let enter = |address| Admission::new(&crowd, from(address), &limits);
        let held: Vec<_> = ["192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2"].map(enter).into();
        assert!(held.iter().all(Result::is_ok));
        let turned_away = |address| enter(address).err();
        assert_eq!(turned_away("192.0.2.1"), Some(Reason::Address));
        // Written as IPv6, and a neighbour in the same /64: the same addresses.
        assert_eq!(turned_away("::ffff:192.0.2.1"), Some(Reason::Address));
        assert_eq!(turned_away("2001:db8::3"), Some(Reason::Address));
        assert!(enter("2001:db8:0:1::1").is_ok_and(|place| !place.at_capacity()));
        let local: Vec<_> = ["127.0.0.1", "::1", "127.0.0.1"].map(enter).into();
        assert_eq!(local.iter().flatten().map(Admission::at_capacity).collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(turned_away("127.0.0.1"), Some(Reason::Full));
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
            assert!(!suspects.is_barred(one, FAULTS, start), "after {fault} faults");
            suspects.fault(one, start);
        }
        assert!(suspects.is_barred(one, FAULTS, start) && !suspects.is_barred(other, FAULTS, start));
        assert!(!suspects.is_barred(one, FAULTS + 1, start) && !suspects.is_barred(one, 0, start));
        assert!(!suspects.is_barred(one, FAULTS, start + PENALTY));
        // What is long ago does not count.
        suspects.fault(one, start + PENALTY);
        assert!(!suspects.is_barred(one, FAULTS, start + PENALTY));
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
