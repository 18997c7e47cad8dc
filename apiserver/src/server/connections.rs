//! Who is connected. When there is no room, the connection that was idle longest makes some: a crowd that says nothing
//! shuts nobody out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::activity::Activity;
use super::limits::Limits;

/// The connections of one listener.
#[derive(Debug, Default)]
pub(super) struct Connections {
    connections_max: usize,
    strangers_per_address_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// Connections that somebody has authenticated on, and others, in the order in which they came.
    known: BTreeMap<u64, Arc<Shared>>,
    strangers: BTreeMap<u64, Arc<Shared>>,
    /// The others by address.
    by_address: HashMap<IpAddr, BTreeSet<u64>>,
}

/// What the table and the connection share.
#[derive(Debug)]
struct Shared {
    number: u64,
    address: IpAddr,
    activity: Activity,
    is_known: AtomicBool,
    evicted: CancellationToken,
}

/// The place of one connection; it is free again when the last of its holders is gone.
#[derive(Debug)]
pub(crate) struct Seat {
    client: IpAddr,
    shared: Arc<Shared>,
    connections: Weak<Connections>,
}

impl Connections {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let (connections_max, strangers_per_address_max) = (limits.connections_max, limits.strangers_per_address_max);
        Arc::new(Self { connections_max, strangers_per_address_max, state: Mutex::default() })
    }

    /// A place for a connection of this address; none if nobody that is there is idle.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Arc<Seat>> {
        let (client, address) = (address.to_canonical(), network(address));
        let mut state = self.state.lock();
        if state.by_address.get(&address).is_some_and(|of| of.len() >= self.strangers_per_address_max) {
            let idle = state.by_address[&address].iter().find(|number| state.strangers[number].is_idle());
            let idle = *idle?;
            state.evict(idle);
        }
        if state.known.len() + state.strangers.len() >= self.connections_max {
            let idle = state.idle_longest()?;
            state.evict(idle);
        }
        state.last += 1;
        let shared = Arc::new(Shared {
            number: state.last,
            address,
            activity: Activity::new(),
            is_known: AtomicBool::new(false),
            evicted: CancellationToken::new(),
        });
        state.strangers.insert(shared.number, shared.clone());
        state.by_address.entry(address).or_default().insert(shared.number);
        Some(Arc::new(Seat { client, shared, connections: Arc::downgrade(self) }))
    }
}

impl State {
    /// Of those that nobody has authenticated on the first that came, else of all the one that was idle longest.
    fn idle_longest(&self) -> Option<u64> {
        if let Some((number, _)) = self.strangers.iter().find(|(_, shared)| shared.is_idle()) {
            return Some(*number);
        }
        let idle = self.known.values().filter_map(|shared| Some((shared.activity.idle_since()?, shared.number)));
        idle.min().map(|(_, number)| number)
    }

    fn evict(&mut self, number: u64) {
        if let Some(shared) = self.remove(number) {
            shared.evicted.cancel();
        }
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Shared>> {
        let shared = self.strangers.remove(&number);
        if let Some(shared) = &shared {
            self.forget_address(shared);
        }
        shared.or_else(|| self.known.remove(&number))
    }

    fn forget_address(&mut self, shared: &Shared) {
        if let Some(of) = self.by_address.get_mut(&shared.address) {
            of.remove(&shared.number);
            if of.is_empty() {
                self.by_address.remove(&shared.address);
            }
        }
    }
}

impl Shared {
    fn is_idle(&self) -> bool {
        self.activity.idle_since().is_some()
    }
}

impl Seat {
    /// What goes on on the connection.
    pub(super) fn activity(&self) -> &Activity {
        &self.shared.activity
    }

    /// Resolves when the connection has to make room.
    pub(super) async fn evicted(&self) {
        self.shared.evicted.cancelled().await;
    }

    /// The address of the client.
    pub(crate) fn client(&self) -> IpAddr {
        self.client
    }

    /// Somebody has authenticated on the connection.
    pub(crate) fn set_known(&self) {
        if self.shared.is_known.load(Ordering::Relaxed) || self.shared.is_known.swap(true, Ordering::Relaxed) {
            return;
        }
        let Some(connections) = self.connections.upgrade() else { return };
        let mut state = connections.state.lock();
        if let Some(shared) = state.strangers.remove(&self.shared.number) {
            state.forget_address(&shared);
            state.known.insert(shared.number, shared);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(connections) = self.connections.upgrade() {
            connections.state.lock().remove(self.shared.number);
        }
    }
}

/// What counts as one address: who has one of IPv6 has the other 2⁶⁴ of its network as well.
fn network(address: IpAddr) -> IpAddr {
    const HOST_BITS: u32 = 64;
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> HOST_BITS << HOST_BITS)),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(connections_max: usize, strangers_per_address_max: usize) -> Arc<Connections> {
        Connections::new(&Limits { connections_max, strangers_per_address_max, ..Limits::default() })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_evicted(seat: &Seat) -> bool {
        seat.shared.evicted.is_cancelled()
    }

    #[test]
    fn the_oldest_idle_goes_when_all_places_are_taken() {
        let connections = connections(3, 100);
        let one = address("192.0.2.1");
        let seats: Vec<_> = (0..3).map(|_| connections.admit(one).unwrap()).collect();
        // A client that authenticated stays, and so does one whose request is under way.
        seats[0].set_known();
        seats[1].activity().begin();
        let fourth = connections.admit(one).unwrap();
        assert_eq!(seats.iter().map(|seat| is_evicted(seat)).collect::<Vec<_>>(), [false, false, true]);
        // Of clients that authenticated those go last.
        fourth.activity().begin();
        let _fifth = connections.admit(one).unwrap();
        assert!(is_evicted(&seats[0]));
        _fifth.activity().begin();
        assert!(connections.admit(one).is_none(), "nobody is idle");
        drop(fourth);
        assert!(connections.admit(one).is_some(), "a connection that ended leaves its place");
    }

    #[test]
    fn one_address_cannot_fill_the_table_before_it_authenticates() {
        let connections = connections(100, 2);
        let (crowd, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let quiet = connections.admit(other).unwrap();
        let known = connections.admit(crowd).unwrap();
        known.set_known();
        let seats: Vec<_> = (0..5).map(|_| connections.admit(crowd).unwrap()).collect();
        assert_eq!(seats.iter().filter(|seat| is_evicted(seat)).count(), 3);
        assert!(!is_evicted(&quiet) && !is_evicted(&known));
        assert_eq!(connections.state.lock().by_address[&crowd].len(), 2);
        drop((seats, known, quiet));
        let state = connections.state.lock();
        assert!(state.by_address.is_empty() && state.known.is_empty() && state.strangers.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        assert_eq!(network(address("2001:db8::1:2:3:4")), address("2001:db8::"));
        assert_eq!(network(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }
}
