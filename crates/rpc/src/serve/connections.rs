//! Who is connected to one listener, and who has to go.
//!
//! Each connection notes in one word what it is doing and since when; one sweep a second looks for those that take too long.
//! This replaces a timer per request, which would cost more than parsing it. It also sees to it that large answers move.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ListenerLimits;

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Nothing: between two requests, or sending an answer.
    Idle = 0,
    /// A request's head, or the TLS handshake, is arriving.
    Head = 1,
    /// A request's body is arriving.
    Body = 2,
    /// A service has the request.
    Working = 3,
    /// It became a WebSocket, which looks after itself.
    Socket = 4,
    /// It carries bytes, and nobody relies on it just now.
    Unused = 5,
}

/// What a connection is told to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Order {
    Continue = 0,
    /// Finish what is under way, then close.
    Drain = 1,
    /// Close now.
    Close = 2,
}

/// One connection, as its own task sees it. Leaves the table when dropped.
pub(crate) struct Connection {
    id: u64,
    address: IpAddr,
    all: Arc<Connections>,
    note: Arc<Note>,
}

/// All connections of a listener.
pub(crate) struct Connections {
    limits: ListenerLimits,
    epoch: Instant,
    table: Mutex<Table>,
    emptied: Notify,
}

#[derive(Default)]
struct Table {
    notes: BTreeMap<u64, Arc<Note>>,
    per_address: BTreeMap<IpAddr, usize>,
    last_id: u64,
    draining: bool,
}

/// What the sweep reads and writes.
struct Note {
    /// Milliseconds since the epoch, shifted by [`PHASE_BITS`], and the phase below.
    state: AtomicU64,
    order: AtomicU8,
    ordered: Notify,
    /// Bytes of large answers that are not on their way yet.
    owed: AtomicUsize,
    /// Bytes that left since the time that is looked at began; the time in milliseconds, 0 while nothing is owed.
    moved: AtomicUsize,
    paced_since: AtomicU64,
}

/// A large answer on its way to one connection, until it is dropped. Who takes it too slowly has to go: memory is held for it.
pub(crate) struct Owed(Option<(Arc<Note>, usize)>);

const PHASE_BITS: u32 = 3;

impl Connections {
    pub(crate) fn new(limits: ListenerLimits) -> Arc<Self> {
        Arc::new(Self { limits, epoch: Instant::now(), table: Mutex::default(), emptied: Notify::new() })
    }

    /// Takes a connection in, in place of the one that has been idle longest if the listener is full. `None`: turn it away.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr, phase: Phase) -> Option<Connection> {
        let mut table = self.table.lock();
        if table.draining {
            return None;
        }
        let of_address = table.per_address.get(&address).copied().unwrap_or(0);
        if of_address >= self.limits.connections_per_address_max {
            return None;
        }
        if table.notes.len() >= self.limits.connections_max && !table.evict(self.limits.connections_max / 256 + 1) {
            return None;
        }
        table.last_id += 1;
        let id = table.last_id;
        let note = Arc::new(Note {
            state: AtomicU64::new(self.state(phase)),
            order: AtomicU8::new(Order::Continue as u8),
            ordered: Notify::new(),
            owed: AtomicUsize::new(0),
            moved: AtomicUsize::new(0),
            paced_since: AtomicU64::new(0),
        });
        table.notes.insert(id, Arc::clone(&note));
        table.per_address.insert(address, of_address + 1);
        Some(Connection { id, address, all: Arc::clone(self), note })
    }

    /// Closes those that are in one phase for too long, and those that take large answers too slowly.
    pub(crate) fn sweep(&self) {
        self.sweep_at(self.now_ms());
    }

    fn sweep_at(&self, now: u64) {
        for note in self.table.lock().notes.values() {
            if note.is_too_slow(now, &self.limits) {
                note.order(Order::Close);
            }
            let (phase, since) = note.phase();
            let allowed = match phase {
                Phase::Idle => self.limits.idle_timeout,
                Phase::Head => self.limits.head_timeout,
                Phase::Body => self.limits.body_timeout,
                Phase::Working | Phase::Socket | Phase::Unused => continue,
            };
            if Duration::from_millis(now.saturating_sub(since)) > allowed {
                note.order(Order::Close);
            }
        }
    }

    /// How often to sweep so that nobody stays much longer than allowed.
    pub(crate) fn sweep_interval(&self) -> Duration {
        let shortest = self.limits.head_timeout.min(self.limits.body_timeout).min(self.limits.idle_timeout);
        let shortest = shortest.min(self.limits.answer_pace);
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }

    /// Tells every connection, and turns new ones away from now on.
    pub(crate) fn order_all(&self, order: Order) {
        let mut table = self.table.lock();
        table.draining = true;
        for note in table.notes.values() {
            note.order(order);
        }
    }

    /// Waits until the last connection is gone.
    pub(crate) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.table.lock().notes.is_empty() {
                return;
            }
            emptied.await;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.lock().notes.len()
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX >> PHASE_BITS)
    }

    fn state(&self, phase: Phase) -> u64 {
        self.now_ms() << PHASE_BITS | phase as u64
    }
}

impl Table {
    /// Closes up to `count` of those idle longest; if none is idle, of those slowest to send a head, then of those unused longest. `false` if
    /// there is none.
    fn evict(&mut self, count: usize) -> bool {
        for victim in [Phase::Idle, Phase::Head, Phase::Unused] {
            let mut candidates: Vec<(u64, u64)> = self
                .notes
                .iter()
                .filter_map(|(id, note)| {
                    let (phase, since) = note.phase();
                    (phase == victim).then_some((since, *id))
                })
                .collect();
            if candidates.is_empty() {
                continue;
            }
            candidates.sort_unstable();
            for (_, id) in candidates.into_iter().take(count) {
                // Its place is free from now on; its own task takes it out of the count of its address when it ends.
                if let Some(note) = self.notes.remove(&id) {
                    note.order(Order::Close);
                }
            }
            return true;
        }
        false
    }
}

impl Connection {
    /// Where it comes from.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.note.state.store(self.all.state(phase), Ordering::Relaxed);
    }

    /// Bytes arrived.
    pub(crate) fn received(&self) {
        if self.note.phase().0 == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// Bytes of an answer left.
    pub(crate) fn sent(&self, bytes: usize) {
        self.note.moved.fetch_add(bytes, Ordering::Relaxed);
        if self.note.phase().0 == Phase::Idle {
            self.enter(Phase::Idle);
        }
    }

    /// A large answer is about to leave.
    pub(crate) fn owe(&self, bytes: usize) -> Owed {
        self.note.owed.fetch_add(bytes, Ordering::Relaxed);
        Owed(Some((Arc::clone(&self.note), bytes)))
    }

    /// Waits for an order beyond `known`.
    pub(crate) async fn ordered(&self, known: Order) -> Order {
        loop {
            let ordered = self.note.ordered.notified();
            let order = self.note.current_order();
            if order > known {
                return order;
            }
            ordered.await;
        }
    }
}

/// The requests under way on one connection: it is idle while there are none.
#[derive(Clone)]
pub(crate) struct Flights {
    connection: Arc<Connection>,
    count: Arc<Mutex<usize>>,
}

/// One of them, until it is dropped: answered, or given up by the client.
pub(crate) struct Flight(Flights);

impl Flights {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, count: Arc::default() }
    }

    pub(crate) fn begin(&self) -> Flight {
        let mut count = self.count.lock();
        *count += 1;
        if *count == 1 {
            self.connection.enter(Phase::Working);
        }
        Flight(self.clone())
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut count = self.0.count.lock();
        *count -= 1;
        if *count == 0 {
            self.0.connection.enter(Phase::Idle);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut table = self.all.table.lock();
        table.notes.remove(&self.id);
        if let Some(count) = table.per_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                table.per_address.remove(&self.address);
            }
        }
        if table.notes.is_empty() {
            self.all.emptied.notify_waiters();
        }
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some((note, bytes)) = &self.0 {
            note.owed.fetch_sub(*bytes, Ordering::Relaxed);
        }
    }
}

impl Note {
    /// Only the sweep calls this.
    fn is_too_slow(&self, now: u64, limits: &ListenerLimits) -> bool {
        let since = self.paced_since.load(Ordering::Relaxed);
        if self.owed.load(Ordering::Relaxed) == 0 {
            self.paced_since.store(0, Ordering::Relaxed);
            return false;
        }
        if since != 0 && Duration::from_millis(now.saturating_sub(since)) < limits.answer_pace {
            return false;
        }
        self.paced_since.store(now.max(1), Ordering::Relaxed);
        let moved = self.moved.swap(0, Ordering::Relaxed);
        since != 0 && moved < limits.answer_pace_bytes
    }

    fn phase(&self) -> (Phase, u64) {
        let state = self.state.load(Ordering::Relaxed);
        let phase = match state & ((1 << PHASE_BITS) - 1) {
            0 => Phase::Idle,
            1 => Phase::Head,
            2 => Phase::Body,
            3 => Phase::Working,
            4 => Phase::Socket,
            _ => Phase::Unused,
        };
        (phase, state >> PHASE_BITS)
    }

    fn order(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::Release);
        self.ordered.notify_waiters();
    }

    fn current_order(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::Continue,
            1 => Order::Drain,
            _ => Order::Close,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn connections(connections_max: usize, connections_per_address_max: usize) -> Arc<Connections> {
        Connections::new(ListenerLimits { connections_max, connections_per_address_max, ..ListenerLimits::default() })
    }

    #[test]
    fn a_full_listener_closes_the_one_idle_longest() {
        let all = connections(2, 9);
        let first = all.admit(A, Phase::Idle).expect("room");
        let second = all.admit(A, Phase::Idle).expect("room");
        first.enter(Phase::Working);
        let third = all.admit(A, Phase::Idle).expect("the second makes room");
        assert_eq!(second.note.current_order(), Order::Close);
        assert_eq!(first.note.current_order(), Order::Continue);
        third.enter(Phase::Working);
        assert!(all.admit(A, Phase::Idle).is_none(), "everyone is busy");
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn slow_heads_go_when_nobody_is_idle() {
        let all = connections(1, 9);
        let slow = all.admit(A, Phase::Head).expect("room");
        assert!(all.admit(B, Phase::Idle).is_some());
        assert_eq!(slow.note.current_order(), Order::Close);
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let all = connections(9, 1);
        let mine = all.admit(A, Phase::Idle).expect("room");
        assert!(all.admit(A, Phase::Idle).is_none());
        assert!(all.admit(B, Phase::Idle).is_some());
        drop(mine);
        assert!(all.admit(A, Phase::Idle).is_some());
    }

    #[test]
    fn nobody_is_admitted_once_the_listener_drains() {
        let all = connections(9, 9);
        let open = all.admit(A, Phase::Working).expect("room");
        all.order_all(Order::Drain);
        assert_eq!(open.note.current_order(), Order::Drain);
        assert!(all.admit(A, Phase::Idle).is_none());
    }

    impl Owed {
        pub(crate) fn nobody(_bytes: usize) -> Self {
            Self(None)
        }
    }

    #[test]
    fn who_takes_a_large_answer_too_slowly_is_closed_whatever_else_it_does() {
        let limits = ListenerLimits {
            answer_pace_bytes: 100,
            answer_pace: Duration::from_millis(1000),
            idle_timeout: Duration::from_secs(3600),
            ..ListenerLimits::default()
        };
        let all = Connections::new(limits);
        let [slow, fast, done] = [(); 3].map(|()| all.admit(A, Phase::Idle).expect("room"));
        slow.enter(Phase::Working);
        let _held = [slow.owe(1 << 20), fast.owe(1 << 20)];
        drop(done.owe(1 << 20));
        all.sweep_at(1);
        for now in [500, 1001, 1500, 2001] {
            slow.sent(1);
            fast.sent(100);
            all.sweep_at(now);
        }
        assert_eq!(slow.note.current_order(), Order::Close);
        for other in [fast, done] {
            assert_eq!(other.note.current_order(), Order::Continue);
        }
    }

    #[test]
    fn a_sweep_closes_what_takes_too_long_and_nothing_else() {
        let limits = ListenerLimits { head_timeout: Duration::ZERO, ..ListenerLimits::default() };
        let all = Connections::new(limits);
        let slow = all.admit(A, Phase::Head).expect("room");
        let working = all.admit(A, Phase::Working).expect("room");
        let start = all.now_ms();
        while all.now_ms() == start {
            std::hint::spin_loop();
        }
        all.sweep();
        assert_eq!(slow.note.current_order(), Order::Close);
        assert_eq!(working.note.current_order(), Order::Continue);
    }
}
