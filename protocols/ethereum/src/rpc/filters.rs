//! Filters that clients poll. They are positions in the chain, not queues: what is new is read from the chain when asked for.
//! Only pending transactions are remembered, and only so many.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use coco_protocol::Caller;
use parking_lot::Mutex;

use super::error::RpcError;
use super::limits::{
    FILTER_IDLE_MS, FILTER_PENDING_BYTES_MAX, FILTER_PENDING_MAX, FILTERS_MAX, FILTERS_PER_CALLER_MAX,
};
use super::logs::LogQuery;
use crate::events::{Channel, Event, Events, Keep, ListenerId};
use crate::transaction::Transaction;

/// The filters of one node. They do not move to another one.
pub struct Filters {
    events: Arc<Events>,
    filters: Mutex<BTreeMap<String, Filter>>,
}

struct Filter {
    caller: Caller,
    polled_ms: u64,
    kind: FilterKind,
}

/// What a filter watches. `next` is the first block it has not told.
#[derive(Clone)]
pub enum FilterKind {
    Logs { query: Arc<LogQuery>, next: u64 },
    Blocks { next: u64 },
    Pending(Arc<PendingFilter>),
}

/// Remembers pending transactions between two polls.
pub struct PendingFilter {
    pub full: bool,
    seen: Mutex<Seen>,
    listener: Mutex<Option<ListenerId>>,
}

#[derive(Default)]
struct Seen {
    transactions: VecDeque<Arc<Transaction>>,
    bytes: usize,
}

impl Seen {
    fn push(&mut self, transaction: Arc<Transaction>) {
        self.bytes += transaction.raw.len();
        self.transactions.push_back(transaction);
        while self.transactions.len() > FILTER_PENDING_MAX || self.bytes > FILTER_PENDING_BYTES_MAX {
            let Some(oldest) = self.transactions.pop_front() else { return };
            self.bytes -= oldest.raw.len();
        }
    }
}

impl Filters {
    pub fn new(events: Arc<Events>) -> Self {
        Self { events, filters: Mutex::default() }
    }

    pub fn add(&self, id: String, caller: &Caller, kind: FilterKind, now_ms: u64) -> Result<(), RpcError> {
        let mut filters = self.filters.lock();
        self.drop_idle(&mut filters, now_ms);
        // Callers without an identity share what one has room for, so that they push out each other's oldest, not new ones.
        let own = filters.values().filter(|filter| filter.caller == *caller).count();
        if *caller != Caller::Anonymous && own >= FILTERS_PER_CALLER_MAX {
            return Err(RpcError::limit(format!("{FILTERS_PER_CALLER_MAX} filters of one identity")));
        }
        if filters.len() >= FILTERS_MAX {
            let oldest = filters
                .iter()
                .filter(|(_, filter)| filter.caller == Caller::Anonymous)
                .min_by_key(|(_, filter)| filter.polled_ms);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else {
                return Err(RpcError::limit(format!("{FILTERS_MAX} filters of one node")));
            };
            self.remove(&mut filters, &oldest);
        }
        if let FilterKind::Pending(pending) = &kind {
            pending.listen(&self.events);
        }
        filters.insert(id, Filter { caller: caller.clone(), polled_ms: now_ms, kind });
        Ok(())
    }

    /// The filter as it was before this poll; `advance` says which block it has told up to.
    pub fn poll(&self, id: &str, caller: &Caller, now_ms: u64) -> Result<FilterKind, RpcError> {
        let mut filters = self.filters.lock();
        self.drop_idle(&mut filters, now_ms);
        let filter =
            filters.get_mut(id).filter(|filter| filter.caller == *caller).ok_or_else(RpcError::filter_not_found)?;
        filter.polled_ms = now_ms;
        Ok(filter.kind.clone())
    }

    /// A poll told everything before block `told`. Polls of one filter that overlap may tell twice, but never skip.
    pub fn advance(&self, id: &str, told: u64) {
        if let Some(Filter { kind: FilterKind::Logs { next, .. } | FilterKind::Blocks { next }, .. }) =
            self.filters.lock().get_mut(id)
        {
            *next = told.max(*next);
        }
    }

    /// Whether the caller had it.
    pub fn uninstall(&self, id: &str, caller: &Caller) -> bool {
        let mut filters = self.filters.lock();
        let own = filters.get(id).is_some_and(|filter| filter.caller == *caller);
        if own {
            self.remove(&mut filters, id);
        }
        own
    }

    /// Drops what nobody polls any more.
    pub fn expire(&self, now_ms: u64) {
        self.drop_idle(&mut self.filters.lock(), now_ms);
    }

    fn drop_idle(&self, filters: &mut BTreeMap<String, Filter>, now_ms: u64) {
        let idle = |filter: &Filter| now_ms.saturating_sub(filter.polled_ms) > FILTER_IDLE_MS;
        let expired: Vec<String> =
            filters.iter().filter(|(_, filter)| idle(filter)).map(|(id, _)| id.clone()).collect();
        for id in expired {
            self.remove(filters, &id);
        }
    }

    fn remove(&self, filters: &mut BTreeMap<String, Filter>, id: &str) {
        if let Some(Filter { kind: FilterKind::Pending(pending), .. }) = filters.remove(id)
            && let Some(listener) = pending.listener.lock().take()
        {
            self.events.forget(listener);
        }
    }
}

impl PendingFilter {
    pub fn new(full: bool) -> Arc<Self> {
        Arc::new(Self { full, seen: Mutex::default(), listener: Mutex::default() })
    }

    /// What came since the last call.
    pub fn take(&self) -> Vec<Arc<Transaction>> {
        std::mem::take(&mut *self.seen.lock()).transactions.into()
    }

    fn listen(self: &Arc<Self>, events: &Events) {
        let weak = Arc::downgrade(self);
        let listener = events.listen(
            Channel::Pending,
            Arc::new(move |event| {
                let Some(pending) = weak.upgrade() else { return Keep::No };
                if let Event::Pending(transaction) = event {
                    pending.seen.lock().push(transaction.clone());
                }
                Keep::Yes
            }),
        );
        *self.listener.lock() = Some(listener);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use coco_protocol::Identity;

    fn identified(name: &str) -> Caller {
        Caller::Identified(vec![Identity::Member(name.to_owned())])
    }

    fn filters() -> Filters {
        Filters::new(Events::new())
    }

    fn add(filters: &Filters, id: &str, caller: &Caller, now_ms: u64) -> Result<(), RpcError> {
        filters.add(id.to_owned(), caller, FilterKind::Blocks { next: 1 }, now_ms)
    }

    #[test]
    fn a_filter_of_somebody_else_is_not_found() {
        let filters = filters();
        add(&filters, "0x1", &identified("alice"), 0).unwrap();
        assert!(filters.poll("0x1", &identified("alice"), 0).is_ok());
        assert_eq!(filters.poll("0x1", &identified("bob"), 0).err(), Some(RpcError::filter_not_found()));
        assert!(!filters.uninstall("0x1", &Caller::Anonymous));
        assert!(filters.uninstall("0x1", &identified("alice")));
        assert!(!filters.uninstall("0x1", &identified("alice")));
    }

    #[test]
    fn a_filter_lives_as_long_as_it_is_polled() {
        let filters = filters();
        add(&filters, "0x1", &Caller::Anonymous, 0).unwrap();
        assert!(filters.poll("0x1", &Caller::Anonymous, FILTER_IDLE_MS).is_ok());
        assert!(filters.poll("0x1", &Caller::Anonymous, FILTER_IDLE_MS * 2).is_ok());
        assert!(filters.poll("0x1", &Caller::Anonymous, FILTER_IDLE_MS * 3 + 1).is_err());
    }

    #[test]
    fn an_identity_has_so_many_filters_and_the_anonymous_push_out_their_oldest() {
        let filters = filters();
        for number in 0..FILTERS_PER_CALLER_MAX {
            add(&filters, &format!("a{number}"), &identified("alice"), 0).unwrap();
        }
        assert_eq!(add(&filters, "a", &identified("alice"), 0).unwrap_err().code, -32005);
        for number in 0..FILTERS_MAX {
            add(&filters, &format!("{number}"), &Caller::Anonymous, number as u64 % 7).unwrap();
        }
        assert_eq!(filters.filters.lock().len(), FILTERS_MAX);
    }

    #[test]
    fn a_poll_never_goes_back() {
        let filters = filters();
        add(&filters, "0x1", &Caller::Anonymous, 0).unwrap();
        filters.advance("0x1", 9);
        filters.advance("0x1", 5);
        let Ok(FilterKind::Blocks { next }) = filters.poll("0x1", &Caller::Anonymous, 0) else { panic!("gone") };
        assert_eq!(next, 9);
    }
}
