//! Memory that one listener may hold for its clients, counted in bytes.
//!
//! Per-connection limits alone do not bound memory: sixteen thousand clients may each be within theirs. What is small is not
//! counted, so that the common request costs nothing here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// Content up to this many bytes is covered by the cap on connections.
const UNCOUNTED_BYTES_MAX: usize = 64 << 10;

pub(crate) struct Budget {
    held: AtomicUsize,
    max: usize,
}

/// A share of the budget, given back when dropped.
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), max })
    }

    pub(crate) fn nothing(self: &Arc<Self>) -> Charge {
        Charge { budget: Arc::clone(self), bytes: 0 }
    }

    /// `bytes`, counted until the last reference to it is dropped; `None` if the budget is spent.
    pub(crate) fn hold(self: &Arc<Self>, bytes: Bytes) -> Option<Bytes> {
        if bytes.len() <= UNCOUNTED_BYTES_MAX {
            return Some(bytes);
        }
        let mut charge = self.nothing();
        charge.grow_to(bytes.len()).then(|| Bytes::from_owner(Held { bytes, _charge: charge }))
    }
}

impl Charge {
    /// Counts `total` bytes in place of what was counted before; `false` if the budget is spent.
    pub(crate) fn grow_to(&mut self, total: usize) -> bool {
        if total <= UNCOUNTED_BYTES_MAX || total <= self.bytes {
            return true;
        }
        let more = total - self.bytes;
        if self.budget.held.fetch_add(more, Ordering::Relaxed).saturating_add(more) > self.budget.max {
            self.budget.held.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.bytes = total;
        true
    }
}

impl Charge {
    /// The same, and gives back what is counted no more.
    pub(crate) fn set_to(&mut self, total: usize) -> bool {
        let counted = if total <= UNCOUNTED_BYTES_MAX { 0 } else { total };
        if counted > self.bytes {
            return self.grow_to(counted);
        }
        self.budget.held.fetch_sub(self.bytes - counted, Ordering::Relaxed);
        self.bytes = counted;
        true
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

struct Held {
    bytes: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_content_is_counted_until_it_is_dropped() {
        let budget = Budget::new(100 << 10);
        let large = Bytes::from(vec![0; 80 << 10]);
        let held = budget.hold(large.clone()).expect("within the budget");
        let part = held.slice(0..1);
        drop(held);
        assert!(budget.hold(large.clone()).is_none(), "a part of it is still alive");
        assert!(budget.hold(Bytes::from_static(b"small")).is_some());
        drop(part);
        assert!(budget.hold(large).is_some());
    }

    #[test]
    fn a_charge_that_does_not_fit_changes_nothing() {
        let budget = Budget::new(100 << 10);
        let mut charge = budget.nothing();
        assert!(charge.grow_to(70 << 10));
        assert!(!charge.grow_to(101 << 10));
        assert!(charge.grow_to(100 << 10));
        assert!(charge.set_to(80 << 10) && !charge.set_to(101 << 10));
        assert_eq!(budget.held.load(Ordering::Relaxed), 80 << 10);
        assert!(charge.set_to(1) && budget.held.load(Ordering::Relaxed) == 0);
        assert!(charge.set_to(70 << 10));
        drop(charge);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}
