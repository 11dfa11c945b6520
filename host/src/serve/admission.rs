//! Who is there: places for clients, how many each address may take, and who has to stay away for a while.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::timeout_at;

use super::crowd::{self, Crowd};
use super::silent::{Room, Silent};
use crate::budget::Budget;
use crate::ended::{Closed, Ended, Rejection};
use crate::limits::{GIVE_WAY, GIVE_WAY_ATTEMPTS, Limits, MEMORY_PATIENCE, PENALTY, SUSPECTS};
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
    /// Clients that were silent and gave way to others, because the server was full.
    pub displaced: u64,
}

/// Who is there.
#[derive(Default)]
pub(crate) struct Admissions {
    state: Mutex<Present>,
    empty: Condvar,
    /// Notified when a place is free, where somebody waits for one.
    freed: Notify,
    /// The silent clients of each loop.
    silent: Mutex<Vec<Arc<Silent>>>,
}

#[derive(Default)]
struct Present {
    regular: u32,
    reserve: u32,
    /// Whether somebody waits for them to leave: telling nobody costs a system call too.
    awaited: bool,
    /// Newcomers that wait for somebody to give way.
    waiting: u32,
    by_address: HashMap<IpAddr, u32>,
    suspects: Suspects,
    crowd: Crowd,
    summary: Summary,
}

impl Present {
    fn all(&self) -> u32 {
        self.regular + self.reserve
    }

    fn clients(&mut self, place: Place) -> &mut u32 {
        match place {
            Place::Regular => &mut self.regular,
            Place::Reserve => &mut self.reserve,
        }
    }

    fn is_empty(&self) -> bool {
        self.all() == 0
    }

    /// The address that one more client from there counts for. Fails where that has too many, or has to stay away.
    fn counted(&mut self, peer: Option<SocketAddr>, limits: &Limits) -> Result<Option<IpAddr>, Rejection> {
        let address = peer.and_then(|peer| counted_as(peer.ip()));
        let blocked = |address| self.suspects.is_blocked(address, limits.faults, Instant::now());
        let blocked = address.is_some_and(blocked);
        let counted = address.filter(|_| limits.per_address.is_some());
        let neighbours = counted.and_then(|address| self.by_address.get(&address)).copied().unwrap_or_default();
        let is_crowded = counted.is_some() && limits.per_address.is_some_and(|most| neighbours >= most);
        if blocked || is_crowded {
            self.summary.rejected += 1;
            return Err(if blocked { Rejection::Faults } else { Rejection::PerAddress });
        }
        Ok(counted)
    }

    /// Counts one more client for its address.
    fn count(&mut self, counted: Option<IpAddr>) {
        if let Some(address) = counted {
            *self.by_address.entry(address).or_default() += 1;
        }
    }
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
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// Counts the client, so far one without an address, for the address that it turns out to have. Fails where
    /// that has too many, or has to stay away.
    pub(crate) fn count_for(&mut self, peer: SocketAddr, limits: &Limits) -> Result<(), Rejection> {
        let mut present = self.admissions.lock();
        let counted = present.counted(Some(peer), limits)?;
        present.count(counted);
        drop(present);
        self.counted = counted;
        Ok(())
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut present = self.admissions.lock();
        *present.clients(self.place) -= 1;
        if let Some(address) = self.counted
            && let Some(count) = present.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                present.by_address.remove(&address);
            }
        }
        if present.is_empty() && present.awaited {
            self.admissions.empty.notify_all();
        }
        if present.waiting > 0 {
            self.admissions.freed.notify_waiters();
        }
        let clients = present.all();
        let has_gone = present.crowd.has_gone(clients);
        drop(present);
        if has_gone {
            crowd::give_back_later();
        }
    }
}

impl Admissions {
    fn lock(&self) -> MutexGuard<'_, Present> {
        lock(&self.state)
    }

    /// The silent clients of a loop, which is new.
    pub(crate) fn add_loop(&self) -> Arc<Silent> {
        let silent = Arc::<Silent>::default();
        lock(&self.silent).push(Arc::clone(&silent));
        silent
    }

    /// Finds a place for a client. Where all are taken, the client that has been silent longest gives way;
    /// where nobody is silent, there is the reserve. Fails where that is full too.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        peer: Option<SocketAddr>,
        limits: &Limits,
    ) -> Result<Admission, Rejection> {
        for place in [Place::Regular, Place::Reserve] {
            if let Some(admission) = self.try_admit(peer, limits, place)? {
                return Ok(admission);
            }
            for _ in 0..GIVE_WAY_ATTEMPTS {
                if !self.displace(Room::Place(place)) {
                    break;
                }
                if let Some(admission) = self.admit_next(peer, limits, place).await? {
                    return Ok(admission);
                }
            }
        }
        self.lock().summary.rejected += 1;
        Err(Rejection::MaxClients)
    }

    /// Admits a client to a place that somebody is about to leave. None: nobody did in time. A client that
    /// was asked to give way does not when bytes of it have come by then.
    async fn admit_next(
        self: &Arc<Self>,
        peer: Option<SocketAddr>,
        limits: &Limits,
        place: Place,
    ) -> Result<Option<Admission>, Rejection> {
        let deadline = tokio::time::Instant::now() + GIVE_WAY;
        self.lock().waiting += 1;
        let admitted = loop {
            // Made before the attempt: what is freed after it is heard of.
            let freed = self.freed.notified();
            match self.try_admit(peer, limits, place) {
                Ok(None) if timeout_at(deadline, freed).await.is_ok() => {}
                admitted => break admitted,
            }
        };
        self.lock().waiting -= 1;
        admitted
    }

    /// Where little is left of the memory of all clients, has those that hold some and have been silent longest
    /// give way to a client that has something to say. Where next to nothing is left, waits until they have, but
    /// not for long. A few silent clients keep theirs: each is between two requests.
    pub(crate) async fn find_memory(&self, budget: &Budget) {
        let deadline = tokio::time::Instant::now() + MEMORY_PATIENCE;
        self.lock().waiting += 1;
        for _ in 0..GIVE_WAY_ATTEMPTS {
            if !budget.is_scarce() || budget.spares(self.silent_holders()) || !self.displace(Room::Memory) {
                break;
            }
            // Made before the look: what is freed after it is heard of.
            let mut freed = Box::pin(self.freed.notified());
            while budget.is_short() && timeout_at(deadline, &mut freed).await.is_ok() {
                freed.set(self.freed.notified());
            }
            if !budget.is_short() {
                break;
            }
        }
        self.lock().waiting -= 1;
    }

    fn silent_holders(&self) -> usize {
        lock(&self.silent).iter().map(|silent| silent.holders()).sum()
    }

    /// Has the client give way that has been silent longest, on whichever loop it is.
    fn displace(&self, room: Room) -> bool {
        let loops = lock(&self.silent);
        let longest = loops.iter().filter_map(|silent| Some((silent.longest(room)?, silent)));
        longest.min_by_key(|(since, _)| *since).is_some_and(|(_, silent)| silent.displace(room))
    }

    /// None: no such place is free.
    fn try_admit(
        self: &Arc<Self>,
        peer: Option<SocketAddr>,
        limits: &Limits,
        place: Place,
    ) -> Result<Option<Admission>, Rejection> {
        let mut present = self.lock();
        let counted = present.counted(peer, limits)?;
        let most = match place {
            Place::Regular => limits.max_clients,
            Place::Reserve => limits.reserve,
        };
        if *present.clients(place) >= most {
            return Ok(None);
        }
        *present.clients(place) += 1;
        present.summary.clients += 1;
        let clients = present.all();
        present.crowd.note(clients);
        present.count(counted);
        drop(present);
        Ok(Some(Admission { admissions: Arc::clone(self), counted, place }))
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
        present.summary.displaced += u64::from(closed.ended == Ended::Displaced);
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
        while !present.is_empty() {
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
    use crate::limits::CHARGE_STEP;
    use crate::serve::silent::Holds;

    fn from(address: &str) -> Option<SocketAddr> {
        Some(SocketAddr::new(address.parse().expect("an address"), 1))
    }

    #[tokio::test]
    async fn an_address_has_its_share_of_places_and_this_machine_all_of_them() {
        let admissions = Arc::new(Admissions::default());
        let limits = Limits { max_clients: 6, reserve: 1, per_address: Some(2), ..Limits::default() };
        let enter = async |address| admissions.admit(from(address), &limits).await;
        let mut held = Vec::new();
        for address in ["192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2"] {
            held.push(enter(address).await.expect("there is a place"));
        }
        // Written as IPv6, and a neighbour in the same /64: the same addresses.
        for address in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::3"] {
            assert_eq!(enter(address).await.err(), Some(Rejection::PerAddress));
        }
        assert!(enter("2001:db8:0:1::1").await.is_ok_and(|admission| admission.place() == Place::Regular));
        let mut local = Vec::new();
        for (address, place) in [("127.0.0.1", Place::Regular), ("::1", Place::Regular), ("127.0.0.1", Place::Reserve)]
        {
            local.push(enter(address).await.expect("there is a place"));
            assert_eq!(local.last().map(Admission::place), Some(place));
        }
        assert_eq!(enter("127.0.0.1").await.err(), Some(Rejection::MaxClients));
        drop(held);
        assert!(enter("192.0.2.1").await.is_ok());
    }

    /// A client that waits for its first bytes until it has to give way.
    async fn wait_silently(admission: Admission, silent: Arc<Silent>, number: u64, since: tokio::time::Instant) -> u64 {
        silent.gives_way(admission.place(), number, since, Holds::Nothing).await;
        number
    }

    #[tokio::test]
    async fn whoever_has_been_silent_longest_gives_way_and_nobody_else_does() {
        let admissions = Arc::new(Admissions::default());
        let limits = Limits { max_clients: 4, reserve: 1, ..Limits::default() };
        let loops = [admissions.add_loop(), admissions.add_loop()];
        let began = tokio::time::Instant::now();
        let admit = async || admissions.admit(None, &limits).await.map(|admission| (admission.place(), admission));
        let busy = admit().await.expect("there is a place");
        let mut silent = tokio::task::JoinSet::new();
        // The longest silence is neither that of the first client nor on the first loop.
        for (number, on, seconds) in [(1, 0, 2), (2, 1, 1), (3, 0, 3)] {
            let (_, admission) = admit().await.expect("there is a place");
            let since = began + Duration::from_secs(seconds);
            silent.spawn(wait_silently(admission, Arc::clone(&loops[on]), number, since));
        }
        tokio::task::yield_now().await;
        let mut newcomers = Vec::new();
        for number in [2, 1, 3] {
            newcomers.push(admit().await.expect("somebody gives way"));
            assert_eq!(silent.join_next().await.map(Result::ok), Some(Some(number)));
        }
        assert!(newcomers.iter().all(|(place, _)| *place == Place::Regular));
        // Nobody is silent any more: the reserve, and then nothing.
        let told = admit().await.expect("there is the reserve");
        assert_eq!(told.0, Place::Reserve);
        assert_eq!(admit().await.err(), Some(Rejection::MaxClients));
        drop(busy);
        assert!(admit().await.is_ok_and(|(place, _)| place == Place::Regular));
    }

    #[tokio::test]
    async fn a_newcomer_does_not_wait_for_ever_for_a_client_that_stays() {
        let admissions = Arc::new(Admissions::default());
        let limits = Limits { max_clients: 1, reserve: 1, ..Limits::default() };
        let silent = admissions.add_loop();
        let stays = admissions.admit(None, &limits).await.expect("there is a place");
        let mut silence =
            std::pin::pin!(silent.gives_way(Place::Regular, 1, tokio::time::Instant::now(), Holds::Nothing));
        tokio::select! {
            biased;
            () = &mut silence => panic!("nobody needs its place"),
            () = std::future::ready(()) => {}
        }
        let told = admissions.admit(None, &limits).await.map(|admission| admission.place());
        assert_eq!(told, Ok(Place::Reserve));
        silence.await;
        drop(stays);
    }

    #[tokio::test]
    async fn whoever_is_silent_and_holds_memory_gives_way_where_little_is_left() {
        let admissions = Arc::new(Admissions::default());
        let silent = admissions.add_loop();
        let budget = Budget::new(Some(64 * CHARGE_STEP));
        let mut silent_ones = tokio::task::JoinSet::new();
        let began = tokio::time::Instant::now();
        let held = [0, 17, 17, 17];
        for (number, steps) in (1..).zip(held) {
            let silent = Arc::clone(&silent);
            let mut charge = budget.charge();
            assert!(charge.set(steps * CHARGE_STEP).is_ok());
            let holds = if steps > 0 { Holds::Instance } else { Holds::Nothing };
            silent_ones.spawn(async move {
                silent.gives_way(Place::Regular, number, began, holds).await;
                drop(charge);
                number
            });
        }
        tokio::task::yield_now().await;
        assert!(budget.is_scarce() && !budget.is_short());
        // Waits for nobody: there is enough for this one.
        admissions.find_memory(&budget).await;
        assert_eq!(silent_ones.join_next().await.map(Result::ok), Some(Some(2)), "not the first, which holds nothing");
        assert!(!budget.is_scarce());
        admissions.find_memory(&budget).await;
        assert_eq!(silent_ones.len(), 3);
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
