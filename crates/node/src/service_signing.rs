//! The keys that this node signs batches with in the service's name, by the transaction from which on each is in force.
//!
//! One that the node has only sealed with goes with the transaction that brought it, like a ledger secret.

use std::sync::Arc;

use coco_crypto::SigningKey;
use coco_types::Seqno;

/// See the module's text. Ordered; never empty.
pub struct ServiceSigning {
    keys: Vec<(Seqno, Arc<SigningKey>)>,
}

impl ServiceSigning {
    /// With the key that the node began with, which nothing takes away.
    pub fn new(key: Arc<SigningKey>) -> Self {
        Self { keys: vec![(Seqno::ZERO, key)] }
    }

    pub fn add(&mut self, first: Seqno, key: Arc<SigningKey>) {
        if self.keys.iter().all(|(known, _)| *known != first) {
            self.keys.push((first, key));
            self.keys.sort_by_key(|(first, _)| *first);
        }
    }

    /// What signs the batch that ends here.
    pub fn at(&self, seqno: Seqno) -> Arc<SigningKey> {
        let newest = self.keys.iter().rev().find(|(first, _)| *first <= seqno);
        let (_, key) = newest.or(self.keys.first()).expect("the first key is always there");
        key.clone()
    }

    /// Transactions from here on are gone.
    pub fn drop_from(&mut self, first: Seqno) {
        self.keys.retain(|(known, _)| *known < first || *known == Seqno::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use coco_crypto::{Curve, SeededCrypto};

    use super::*;

    #[test]
    fn a_key_signs_from_its_transaction_on_and_goes_with_it() {
        let crypto = SeededCrypto::new(1);
        let key = || Arc::new(SigningKey::generate(&crypto, Curve::P384));
        let (first, second, third) = (key(), key(), key());
        let mut signing = ServiceSigning::new(first.clone());
        signing.add(Seqno(20), third.clone());
        signing.add(Seqno(10), second.clone());
        signing.add(Seqno(10), first.clone());
        for (seqno, key) in [(1, &first), (9, &first), (10, &second), (19, &second), (20, &third), (99, &third)] {
            assert!(Arc::ptr_eq(&signing.at(Seqno(seqno)), key), "{seqno}");
        }
        signing.drop_from(Seqno(15));
        assert!(Arc::ptr_eq(&signing.at(Seqno(99)), &second));
        signing.drop_from(Seqno::ZERO);
        assert!(Arc::ptr_eq(&signing.at(Seqno(99)), &first));
    }
}
