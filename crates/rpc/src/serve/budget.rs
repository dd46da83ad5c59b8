//! Memory that one listener may hold for its clients, counted in bytes.
//!
//! Per-connection limits alone do not bound memory: sixteen thousand clients may each be within theirs. Nor may the clients of one address
//! have all of it, or they would leave nothing to the others. What is small is not counted, so that the common request costs nothing here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::connections::Owed;

/// Content up to this many bytes a connection is covered by the cap on connections.
const UNCOUNTED_BYTES_MAX: usize = 64 << 10;

pub(crate) struct Budget {
    held: Mutex<Holdings>,
    max: usize,
    of_one_max: usize,
}

#[derive(Default)]
struct Holdings {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// A share of the budget, given back when dropped.
pub(crate) struct Charge {
    budget: Arc<Budget>,
    address: IpAddr,
    bytes: usize,
    uncounted_max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize, of_one_max: usize) -> Arc<Self> {
        Arc::new(Self { held: Mutex::default(), max, of_one_max })
    }

    pub(crate) fn nothing(self: &Arc<Self>, address: IpAddr) -> Charge {
        self.nothing_of_many(address, 1)
    }

    /// For one of so many requests that a connection may have at a time.
    pub(crate) fn nothing_of_many(self: &Arc<Self>, address: IpAddr, requests: usize) -> Charge {
        Charge { budget: Arc::clone(self), address, bytes: 0, uncounted_max: UNCOUNTED_BYTES_MAX / requests }
    }
}

impl Charge {
    /// An answer, counted until the last reference to it is dropped; `None` if the budget is spent. `owe` says to whom it is large.
    pub(crate) fn hold(mut self, bytes: Bytes, owe: impl FnOnce(usize) -> Owed) -> Option<Bytes> {
        if bytes.len() <= self.uncounted_max {
            return Some(bytes);
        }
        self.grow_to(bytes.len()).then(|| {
            let owed = owe(bytes.len());
            Bytes::from_owner(Held { bytes, _charge: self, _owed: owed })
        })
    }

    /// Counts `total` bytes in place of what was counted before; `false` if the budget is spent.
    pub(crate) fn grow_to(&mut self, total: usize) -> bool {
        if total <= self.uncounted_max || total <= self.bytes {
            return true;
        }
        let more = total - self.bytes;
        let mut held = self.budget.held.lock();
        let of_one = held.by_address.get(&self.address).copied().unwrap_or(0);
        if held.all.saturating_add(more) > self.budget.max || of_one.saturating_add(more) > self.budget.of_one_max {
            return false;
        }
        held.all += more;
        held.by_address.insert(self.address, of_one + more);
        self.bytes = total;
        true
    }

    /// The same, and gives back what is counted no more.
    pub(crate) fn set_to(&mut self, total: usize) -> bool {
        let counted = if total <= self.uncounted_max { 0 } else { total };
        if counted > self.bytes {
            return self.grow_to(counted);
        }
        self.give_back(self.bytes - counted);
        true
    }

    fn give_back(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.bytes -= bytes;
        let mut held = self.budget.held.lock();
        held.all -= bytes;
        if let Some(of_one) = held.by_address.get_mut(&self.address) {
            *of_one -= bytes;
            if *of_one == 0 {
                held.by_address.remove(&self.address);
            }
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

struct Held {
    bytes: Bytes,
    _charge: Charge,
    _owed: Owed,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn large_content_is_counted_until_it_is_dropped() {
        let budget = Budget::new(100 << 10, 100 << 10);
        let hold = |bytes| budget.nothing(A).hold(bytes, Owed::nobody);
        let large = Bytes::from(vec![0; 80 << 10]);
        let held = hold(large.clone()).expect("within the budget");
        let part = held.slice(0..1);
        drop(held);
        assert!(hold(large.clone()).is_none(), "a part of it is still alive");
        assert!(hold(Bytes::from_static(b"small")).is_some());
        drop(part);
        assert!(hold(large).is_some());
    }

    #[test]
    fn a_charge_that_does_not_fit_changes_nothing() {
        let budget = Budget::new(100 << 10, 100 << 10);
        let mut charge = budget.nothing(A);
        assert!(charge.grow_to(70 << 10));
        assert!(!charge.grow_to(101 << 10));
        assert!(charge.grow_to(100 << 10));
        assert!(charge.set_to(80 << 10) && !charge.set_to(101 << 10));
        assert_eq!(budget.held.lock().all, 80 << 10);
        assert!(charge.set_to(1) && budget.held.lock().all == 0);
        assert!(charge.set_to(70 << 10));
        drop(charge);
        let held = budget.held.lock();
        assert_eq!((held.all, held.by_address.len()), (0, 0));
    }

    #[test]
    fn small_content_is_counted_where_one_connection_may_have_much_of_it() {
        let budget = Budget::new(100 << 10, 100 << 10);
        let hold = |bytes: usize| budget.nothing_of_many(A, 256).hold(Bytes::from(vec![0; bytes]), Owed::nobody);
        let held: Vec<_> = std::iter::from_fn(|| hold(32 << 10)).take(10).collect();
        assert_eq!(held.len(), 3);
        assert!(hold(256).is_some() && budget.nothing(A).hold(Bytes::from(vec![0; 32 << 10]), Owed::nobody).is_some());
    }

    #[test]
    fn what_one_address_holds_leaves_room_for_others() {
        let budget = Budget::new(400 << 10, 100 << 10);
        let mut charges: Vec<_> = (0..4).map(|_| budget.nothing(A)).collect();
        let granted = charges.iter_mut().filter_map(|charge| charge.grow_to(90 << 10).then_some(())).count();
        assert_eq!(granted, 1);
        assert!(budget.nothing(B).grow_to(90 << 10));
    }
}
