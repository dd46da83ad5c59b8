//! The newest committed blocks, and their tries, brought up to date when somebody needs them.
//!
//! A trie costs more than anything else a backup does for a transaction, and nearly all of it is hashing what the next block changes
//! again. Nobody needs the trie of every block: proofs are asked for now and then, and a node builds on the newest only when it
//! leads. So the blocks of a busy primary wait here, up to a limit, and are applied together; the last of them has to lead to the root that
//! its header names, and with it all before. A light block is applied at once, with all that waits.
//!
//! ```text
//!   tips (tries known) ──▶ waiting ──▶ waiting ──▶ newest
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use alloy_consensus::Header;
use alloy_primitives::B256;
use bytes::Bytes;
use coco_protocol::Integrity;
use coco_types::WriteSet;

use crate::chain::{Tip, damaged};
use crate::state::{ACCOUNT, STORAGE, apply_rows};

/// Blocks whose tries are kept, so that a read that began before the newest still finds its own.
const TRIES_KEPT: usize = 4;
/// Blocks that wait.
const BLOCKS_MAX: usize = 64;
/// Rows that they wrote: what a node that begins to lead may have to apply first, a few microseconds each.
const ROWS_MAX: usize = 32_768;
/// Bytes that they wrote, which stay in memory as long.
const BYTES_MAX: usize = 64 << 20;
/// A block that wrote so few rows is light.
const LIGHT_MAX: usize = 192;

/// See the module's text.
#[derive(Default)]
pub(crate) struct Committed {
    /// Newest last.
    tips: VecDeque<Tip>,
    /// Newer than all tips; newest last.
    waiting: VecDeque<Followed>,
    /// What those wrote.
    due: Weight,
    /// Written after the newest block, as its successor's seal has not arrived yet.
    collected: Vec<Arc<WriteSet>>,
    /// A root was wrong: nothing is right from there on.
    broken: Option<Integrity>,
}

/// A committed block, and everything that was written since the one before.
pub(crate) struct Followed {
    pub header: Header,
    pub hash: B256,
    pub sealed_ms: u64,
    pub writes: Vec<Arc<WriteSet>>,
}

#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct Weight {
    rows: usize,
    bytes: usize,
}

/// The newest block.
pub(crate) struct Newest<'a> {
    pub header: &'a Header,
    pub sealed_ms: u64,
}

impl Committed {
    pub fn newest(&self) -> Option<Newest<'_>> {
        let waiting = self.waiting.back().map(|block| Newest { header: &block.header, sealed_ms: block.sealed_ms });
        waiting.or_else(|| self.tips.back().map(|tip| Newest { header: &tip.header, sealed_ms: tip.sealed_ms }))
    }

    pub fn knows(&self, hash: &B256) -> bool {
        self.waiting.iter().any(|block| block.hash == *hash) || self.tips.iter().any(|tip| tip.hash == *hash)
    }

    /// A block with its trie, if it is one of the newest; brought up to date for it.
    pub fn tip(&mut self, hash: &B256) -> Result<Option<&Tip>, Integrity> {
        if let Some(at) = self.waiting.iter().position(|block| block.hash == *hash) {
            self.apply(at + 1)?;
        }
        Ok(self.tips.iter().rfind(|tip| tip.hash == *hash))
    }

    /// What a transaction wrote.
    pub fn collect(&mut self, writes: &Arc<WriteSet>) {
        if writes.map(&ACCOUNT).is_some() || writes.map(&STORAGE).is_some() {
            self.collected.push(writes.clone());
        }
    }

    pub fn take_collected(&mut self) -> Vec<Arc<WriteSet>> {
        std::mem::take(&mut self.collected)
    }

    /// The next block, whose trie is known.
    pub fn push(&mut self, tip: Tip) {
        self.waiting.clear();
        self.due = Weight::default();
        self.push_tip(tip);
    }

    /// The next block.
    pub fn follow(&mut self, block: Followed) -> Result<(), Integrity> {
        let weight = block.weight();
        self.due = self.due.plus(weight);
        self.waiting.push_back(block);
        let is_too_much = self.due.rows > ROWS_MAX || self.due.bytes > BYTES_MAX;
        if weight.rows <= LIGHT_MAX || self.waiting.len() > BLOCKS_MAX || is_too_much {
            return self.apply(self.waiting.len());
        }
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// The newest block is this one from now on; `false` if it is not known, and nothing is.
    pub fn go_back(&mut self, hash: &B256) -> bool {
        self.collected.clear();
        let at = self.tips.iter().rposition(|tip| tip.hash == *hash);
        match self.waiting.iter().rposition(|block| block.hash == *hash) {
            Some(at) => self.waiting.truncate(at + 1),
            None => {
                self.tips.truncate(at.map_or(0, |at| at + 1));
                self.waiting.clear();
            }
        }
        self.weigh();
        at.is_some() || !self.waiting.is_empty()
    }

    /// The oldest `count` of the waiting blocks get their tries. Only the last few of them get one each, the others together.
    fn apply(&mut self, count: usize) -> Result<(), Integrity> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let together = count.saturating_sub(TRIES_KEPT - 1).max(1).min(count);
        self.apply_together(together)?;
        for _ in together..count {
            self.apply_together(1)?;
        }
        Ok(())
    }

    fn apply_together(&mut self, count: usize) -> Result<(), Integrity> {
        let blocks: Vec<_> = self.waiting.drain(..count).collect();
        let mut rows: BTreeMap<&Bytes, &Option<Bytes>> = BTreeMap::new();
        for writes in blocks.iter().flat_map(|block| &block.writes) {
            rows.extend([&ACCOUNT, &STORAGE].into_iter().filter_map(|map| writes.map(map)).flatten());
        }
        self.weigh();
        let mut trie = self.tips.back().map(|tip| tip.trie.clone()).unwrap_or_default();
        apply_rows(&mut trie, rows.into_iter().map(|(key, value)| (key.clone(), value.clone()))).map_err(damaged)?;
        let Some(Followed { header, hash, sealed_ms, .. }) = blocks.into_iter().next_back() else { return Ok(()) };
        let tip =
            Tip::checked(header, hash, trie, sealed_ms).inspect_err(|broken| self.broken = Some(broken.clone()))?;
        self.push_tip(tip);
        Ok(())
    }

    fn weigh(&mut self) {
        self.due = self.waiting.iter().map(Followed::weight).fold(Weight::default(), Weight::plus);
    }

    fn push_tip(&mut self, tip: Tip) {
        self.tips.push_back(tip);
        while self.tips.len() > TRIES_KEPT {
            self.tips.pop_front();
        }
    }
}

impl Followed {
    fn weight(&self) -> Weight {
        let rows = |writes: &Arc<WriteSet>| {
            let of_map = |map| writes.map(map).map_or(0, |rows| rows.len());
            of_map(&ACCOUNT) + of_map(&STORAGE)
        };
        let of_one = |writes: &Arc<WriteSet>| Weight { rows: rows(writes), bytes: writes.bytes() };
        self.writes.iter().map(of_one).fold(Weight::default(), Weight::plus)
    }
}

impl Weight {
    fn plus(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, bytes: self.bytes + other.bytes }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Address;

    use super::*;
    use crate::state::{Account, BLOCK};
    use crate::trie::StateTrie;

    /// Blocks that raise one account's nonce after the other's.
    struct Chain {
        trie: StateTrie,
        number: u64,
    }

    impl Chain {
        fn next(&mut self, transactions: usize) -> Followed {
            self.number += 1;
            let writes: Vec<_> = (0..transactions).map(|at| Arc::new(write(at, self.number))).collect();
            let rows = writes.iter().flat_map(|writes| writes.map(&ACCOUNT)).flatten();
            apply_rows(&mut self.trie, rows.map(|(key, value)| (key.clone(), value.clone()))).unwrap();
            let header = Header { number: self.number, state_root: self.trie.root(), ..Header::default() };
            Followed { hash: header.hash_slow(), header, sealed_ms: 0, writes }
        }
    }

    fn write(account: usize, nonce: u64) -> WriteSet {
        let mut writes = WriteSet::new();
        let address = Address::with_last_byte(u8::try_from(account % 200).unwrap());
        let row = Account { nonce, ..Account::default() }.encode();
        writes.insert(&ACCOUNT, Bytes::copy_from_slice(address.as_slice()), Some(row));
        writes
    }

    #[test]
    fn heavy_blocks_wait_until_one_of_them_is_asked_for() {
        let mut chain = Chain { trie: StateTrie::default(), number: 0 };
        let mut committed = Committed::default();
        let headers: Vec<_> = (0..10)
            .map(|_| chain.next(LIGHT_MAX + 1))
            .map(|block| {
                let header = (block.hash, block.header.state_root);
                committed.follow(block).unwrap();
                header
            })
            .collect();
        assert_eq!((committed.tips.len(), committed.waiting.len()), (0, 10));
        assert_eq!(committed.newest().unwrap().header.number, 10);
        let (hash, root) = headers[7];
        assert_eq!(committed.tip(&hash).unwrap().unwrap().trie.clone().root(), root);
        assert_eq!(committed.waiting.len(), 2, "what nobody asked for still waits");
        for (at, (hash, _)) in headers.iter().enumerate() {
            assert_eq!(committed.knows(hash), at >= 4, "a read that began a little earlier finds its own");
        }
        committed.follow(chain.next(1)).unwrap();
        assert!(committed.waiting.is_empty(), "a light block brings everything up to date");
    }

    #[test]
    fn not_more_waits_than_a_new_primary_may_be_kept_by() {
        let mut chain = Chain { trie: StateTrie::default(), number: 0 };
        let mut committed = Committed::default();
        for _ in 0..=BLOCKS_MAX {
            committed.follow(chain.next(LIGHT_MAX + 1)).unwrap();
        }
        assert!(committed.waiting.is_empty());
        committed.follow(chain.next(ROWS_MAX + 1)).unwrap();
        assert!(committed.waiting.is_empty());
        assert_eq!(committed.due, Weight::default());
    }

    #[test]
    fn what_waits_does_not_fill_the_memory() {
        let mut chain = Chain { trie: StateTrie::default(), number: 0 };
        let mut committed = Committed::default();
        for _ in 0..2 {
            let mut block = chain.next(LIGHT_MAX + 1);
            let mut record = WriteSet::new();
            record.insert(&BLOCK, Bytes::new(), Some(vec![0; BYTES_MAX / 2].into()));
            block.writes.push(Arc::new(record));
            committed.follow(block).unwrap();
        }
        assert!(committed.waiting.is_empty());
    }

    #[test]
    fn a_wrong_root_is_found_when_the_block_is_applied_and_never_forgotten() {
        let mut chain = Chain { trie: StateTrie::default(), number: 0 };
        let mut committed = Committed::default();
        let mut wrong = chain.next(LIGHT_MAX + 1);
        wrong.header.state_root = B256::ZERO;
        committed.follow(wrong).unwrap();
        let why = committed.follow(chain.next(1)).unwrap_err();
        assert_eq!(why.what, "state root of Ethereum block 1");
        assert_eq!(committed.follow(chain.next(LIGHT_MAX + 1)), Err(why));
    }

    #[test]
    fn going_back_forgets_what_came_after() {
        let mut chain = Chain { trie: StateTrie::default(), number: 0 };
        let mut committed = Committed::default();
        committed.follow(chain.next(1)).unwrap();
        let blocks = [chain.next(LIGHT_MAX + 1), chain.next(LIGHT_MAX + 1)];
        let [middle, last] = [blocks[0].hash, blocks[1].hash];
        blocks.into_iter().for_each(|block| committed.follow(block).unwrap());
        assert!(committed.go_back(&middle));
        assert!(committed.knows(&middle) && !committed.knows(&last));
        assert!(!committed.go_back(&last), "unknown: nothing is kept");
        assert!(committed.newest().is_none());
    }
}
