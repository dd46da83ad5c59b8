//! The ledger secrets that this node holds: those of committed epochs for good, those that it has only sealed with until they are
//! committed too, or dropped with the transactions that brought them.

use coco_crypto::SymmetricKey;
use coco_ledger::EntryKeys;
use coco_types::Seqno;

pub struct Epochs {
    committed: EntryKeys,
    all: EntryKeys,
}

impl Epochs {
    pub fn new(committed: EntryKeys) -> Self {
        Self { all: committed.clone(), committed }
    }

    pub fn all(&self) -> &EntryKeys {
        &self.all
    }

    /// Those to be kept for good when everything up to `last` is committed. A fresh replica is given epochs whose transactions it has not read yet: without them it
    /// could not open the snapshot by which it is to catch up.
    pub fn kept(&self, last: Seqno) -> EntryKeys {
        let mut kept = self.all.clone();
        kept.truncate_after(last.next());
        self.add_committed(&mut kept);
        kept
    }

    /// Sealed with, on the way to the consensus.
    pub fn sealed_with(&mut self, first: Seqno, secret: &SymmetricKey) {
        self.all.add_epoch(first, secret);
    }

    /// Found in a committed transaction.
    pub fn committed(&mut self, first: Seqno, secret: &SymmetricKey) {
        self.committed.add_epoch(first, secret);
        self.all.add_epoch(first, secret);
    }

    /// Transactions from here on are gone. A secret is in force from behind the one that brought it.
    pub fn drop_from(&mut self, first: Seqno) {
        let mut all = std::mem::take(&mut self.all);
        all.truncate_after(first);
        self.add_committed(&mut all);
        self.all = all;
    }

    fn add_committed(&self, to: &mut EntryKeys) {
        self.committed.epochs().for_each(|(first, secret)| to.add_epoch(first, secret));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firsts(keys: &EntryKeys) -> Vec<u64> {
        keys.epochs().map(|(first, _)| first.0).collect()
    }

    #[test]
    fn what_was_only_sealed_with_goes_with_its_transaction_and_what_is_committed_stays() {
        let secret = |byte| SymmetricKey::from_bytes([byte; 32]);
        let mut given = EntryKeys::new();
        given.add_epoch(Seqno(1), &secret(1));
        given.add_epoch(Seqno(50), &secret(2));
        let mut epochs = Epochs::new(given);
        epochs.sealed_with(Seqno(11), &secret(3));
        epochs.sealed_with(Seqno(21), &secret(4));
        epochs.committed(Seqno(11), &secret(3));
        assert_eq!(firsts(epochs.all()), [1, 11, 21, 50]);
        assert_eq!(firsts(&epochs.kept(Seqno(15))), [1, 11, 50]);
        assert_eq!(firsts(&epochs.kept(Seqno(20))), [1, 11, 21, 50]);
        epochs.drop_from(Seqno(20));
        assert_eq!(firsts(epochs.all()), [1, 11, 50]);
        epochs.drop_from(Seqno(5));
        assert_eq!(firsts(epochs.all()), [1, 11, 50]);
    }
}
