//! Clients that wait until batches are decided.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::limits::{STATUS_WAITS_MAX, WAITED_IDS_MAX};

/// Somebody waits for batches to be decided.
pub struct Wait {
    /// 64 bytes each.
    pub pending: BTreeSet<Bytes>,
    /// Ids of the question that was asked, pending or not: what it takes.
    pub ids: usize,
    pub until_ms: u64,
    /// When the primary is asked again whether it still knows them.
    pub ask_ms: u64,
    pub end: Box<dyn FnOnce() + Send>,
}

/// See the module's text. Whoever is given a wait back ends it.
#[derive(Default)]
pub(super) struct Waits {
    next: u64,
    by_number: BTreeMap<u64, Wait>,
    /// Batch id to the waits for it.
    by_id: BTreeMap<Bytes, BTreeSet<u64>>,
    ids: usize,
}

impl Waits {
    /// Its number; the wait itself if it has nothing to wait for, or there are too many.
    pub fn keep(&mut self, wait: Wait) -> Result<u64, Wait> {
        let has_room = self.by_number.len() < STATUS_WAITS_MAX && self.ids + wait.ids <= WAITED_IDS_MAX;
        if !has_room || wait.pending.is_empty() {
            return Err(wait);
        }
        let number = self.next;
        self.next += 1;
        self.ids += wait.ids;
        for id in &wait.pending {
            self.by_id.entry(id.clone()).or_default().insert(number);
        }
        self.by_number.insert(number, wait);
        Ok(number)
    }

    /// These batches of a wait are decided, or not pending any more.
    pub fn settle(&mut self, number: u64, ids: &[Bytes]) -> Option<Wait> {
        let wait = self.by_number.get_mut(&number)?;
        let settled: Vec<&Bytes> = ids.iter().filter(|id| wait.pending.remove(*id)).collect();
        let is_over = wait.pending.is_empty();
        settled.into_iter().for_each(|id| self.forget(id, number));
        is_over.then(|| self.remove(number)).flatten()
    }

    /// A batch is decided, whoever waits for it.
    pub fn decided(&mut self, id: &Bytes) -> Vec<Wait> {
        let numbers = self.by_id.remove(id).unwrap_or_default();
        let over = numbers.into_iter().filter(|number| {
            self.by_number.get_mut(number).is_some_and(|wait| wait.pending.remove(id) && wait.pending.is_empty())
        });
        let over: Vec<u64> = over.collect();
        over.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    /// Those whose time is up.
    pub fn late(&mut self, now_ms: u64) -> Vec<Wait> {
        let late = self.by_number.iter().filter(|(_, wait)| wait.until_ms <= now_ms);
        let late: Vec<u64> = late.map(|(number, _)| *number).collect();
        late.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    /// Those that should ask again, with what they wait for.
    pub fn asking(&mut self, now_ms: u64, ask_every_ms: u64) -> Vec<(u64, Vec<Bytes>)> {
        let asking = self.by_number.iter_mut().filter(|(_, wait)| wait.ask_ms <= now_ms);
        let ask = |(number, wait): (&u64, &mut Wait)| {
            wait.ask_ms = now_ms + ask_every_ms;
            (*number, wait.pending.iter().cloned().collect())
        };
        asking.map(ask).collect()
    }

    fn remove(&mut self, number: u64) -> Option<Wait> {
        let wait = self.by_number.remove(&number)?;
        self.ids -= wait.ids;
        wait.pending.iter().for_each(|id| self.forget(id, number));
        Some(wait)
    }

    fn forget(&mut self, id: &Bytes, number: u64) {
        let Some(numbers) = self.by_id.get_mut(id) else { return };
        numbers.remove(&number);
        if numbers.is_empty() {
            self.by_id.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(ids: &[&'static str], until_ms: u64) -> Wait {
        let pending: BTreeSet<_> = ids.iter().map(|id| Bytes::from_static(id.as_bytes())).collect();
        Wait { ids: pending.len(), pending, until_ms, ask_ms: 50, end: Box::new(|| {}) }
    }

    #[test]
    fn a_wait_ends_when_its_last_batch_is_decided_or_its_time_is_up() {
        let mut waits = Waits::default();
        waits.keep(wait(&["a", "b"], 100)).ok().unwrap();
        assert!(waits.decided(&Bytes::from_static(b"a")).is_empty());
        assert_eq!(waits.decided(&Bytes::from_static(b"b")).len(), 1);
        let number = waits.keep(wait(&["c", "d"], 100)).ok().unwrap();
        assert_eq!(waits.asking(99, 10), [(number, vec![Bytes::from_static(b"c"), Bytes::from_static(b"d")])]);
        assert!(waits.asking(99, 10).is_empty());
        assert!(waits.settle(number, &[Bytes::from_static(b"c")]).is_none());
        assert!(waits.late(99).is_empty());
        assert_eq!(waits.late(100).len(), 1);
        assert!(waits.keep(wait(&[], 100)).is_err());
        assert!(waits.by_id.is_empty() && waits.by_number.is_empty() && waits.ids == 0);
    }

    #[test]
    fn what_is_waited_for_is_bounded_by_ids_and_not_only_by_clients() {
        let mut waits = Waits::default();
        let large = |_| Wait { ids: WAITED_IDS_MAX / 4, ..wait(&["a"], 100) };
        assert_eq!((0..5).map(large).filter_map(|wait| waits.keep(wait).ok()).count(), 4);
        assert_eq!(waits.decided(&Bytes::from_static(b"a")).len(), 4);
        assert!(waits.keep(large(0)).is_ok());
    }
}
