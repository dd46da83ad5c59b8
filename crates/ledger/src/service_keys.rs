//! The keys that a service has signed with: the present one, and those before it, each up to where the next one began.
//!
//! A ledger's service may be another than it was: members rotate its identity, and a recovery begins a new one. What an earlier one
//! signed in its time stays good, and nothing that it signs after it.

use coco_crypto::PublicKey;
use coco_types::Seqno;

/// See the module's text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceKeys {
    present: PublicKey,
    /// The last transaction of each earlier key, oldest first.
    earlier: Vec<(Seqno, PublicKey)>,
}

impl ServiceKeys {
    /// `earlier`: keys with the last transaction of each.
    pub fn new(present: PublicKey, mut earlier: Vec<(Seqno, PublicKey)>) -> Self {
        earlier.sort_by_key(|(until, _)| *until);
        Self { present, earlier }
    }

    pub fn present(&self) -> &PublicKey {
        &self.present
    }

    pub fn earlier(&self) -> &[(Seqno, PublicKey)] {
        &self.earlier
    }

    /// The key that signs at this transaction.
    pub fn at(&self, seqno: Seqno) -> &PublicKey {
        self.earlier.iter().find(|(until, _)| seqno <= *until).map_or(&self.present, |(_, key)| key)
    }
}

impl From<&PublicKey> for ServiceKeys {
    fn from(present: &PublicKey) -> Self {
        Self { present: present.clone(), earlier: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use coco_crypto::{Curve, SeededCrypto, SigningKey};

    use super::*;

    #[test]
    fn each_key_signs_up_to_where_the_next_began() {
        let crypto = SeededCrypto::new(1);
        let [first, second, third] = [(); 3].map(|()| SigningKey::generate(&crypto, Curve::P384).public_key().clone());
        let keys = ServiceKeys::new(third.clone(), vec![(Seqno(20), second.clone()), (Seqno(10), first.clone())]);
        for (seqno, key) in [(1, &first), (10, &first), (11, &second), (20, &second), (21, &third), (900, &third)] {
            assert_eq!(keys.at(Seqno(seqno)), key);
        }
        assert_eq!(ServiceKeys::from(&first).at(Seqno(1)), &first);
    }
}
