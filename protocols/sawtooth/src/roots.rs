//! What a state root says of the values below it: a choice that a network makes in its genesis.
//!
//! The original's roots are hashes of plain values. Whoever knows all values but one, and that one is small, confirms a guess by computing the
//! root. With confidential roots each leaf is instead a MAC of its address and its value under a key that only nodes have: the roots
//! look the same, are on all nodes the same, and tell nothing but whether the state changed. What they lose is that outsiders can compute
//! them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use coco_crypto::{Domain, MacKey, SymmetricKey, hkdf_sha256};
use serde::{Deserialize, Serialize};

use crate::address::Address;

const LEAVES: Domain = Domain::new("coco sawtooth leaves");

/// The choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootKind {
    /// Bit for bit the original's.
    #[default]
    Compatible,
    Confidential,
}

/// What stands in a trie's leaves: values, or their MACs.
#[derive(Clone, Default)]
pub struct Leaves(Option<Arc<MacKey>>);

impl Leaves {
    /// `secret` is the key that signs blocks: every node has it, and nobody else. With it this key changes, and all leaves do.
    pub fn new(kind: RootKind, secret: &[u8; 32]) -> Self {
        match kind {
            RootKind::Compatible => Self(None),
            RootKind::Confidential => {
                let key = hkdf_sha256(&SymmetricKey::from_bytes(*secret), LEAVES, &[]);
                Self(Some(Arc::new(MacKey::new(&key))))
            }
        }
    }

    /// The same kind under another key; nothing if there is no key.
    pub fn renewed(&self, secret: &[u8; 32]) -> Option<Self> {
        self.0.as_ref().map(|_| Self::new(RootKind::Confidential, secret))
    }

    /// What goes into the trie in place of these changes; nothing if they go as they are.
    pub fn masked(&self, changes: &BTreeMap<Address, Option<Bytes>>) -> Option<BTreeMap<Address, Option<Bytes>>> {
        let key = self.0.as_ref()?;
        let mask = |(address, value): (&Address, &Option<Bytes>)| {
            let tag = |value: &Bytes| Bytes::copy_from_slice(&key.tag(&[&address.0[..], value].concat()).0);
            (*address, value.as_ref().map(tag))
        };
        Some(changes.iter().map(mask).collect())
    }
}

impl fmt::Debug for Leaves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Leaves(confidential)" } else { "Leaves(compatible)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trie::Trie;

    fn root(leaves: &Leaves, value: &'static [u8]) -> String {
        let changes = BTreeMap::from([(Address([7; 35]), Some(Bytes::from_static(value)))]);
        Trie::new(leaves.clone()).update(&changes).root_hex()
    }

    #[test]
    fn a_confidential_root_follows_the_state_and_the_networks_key() {
        let leaves = |kind, key: u8| Leaves::new(kind, &[key; 32]);
        let (ours, others) = (leaves(RootKind::Confidential, 1), leaves(RootKind::Confidential, 2));
        assert_eq!(root(&ours, b"1"), root(&ours.clone(), b"1"));
        assert_ne!(root(&ours, b"1"), root(&ours, b"2"));
        assert_ne!(root(&ours, b"1"), root(&others, b"1"));
        assert_ne!(root(&ours, b"1"), root(&Leaves::default(), b"1"));
        assert_eq!(root(&leaves(RootKind::Compatible, 1), b"1"), root(&Leaves::default(), b"1"));
        let place = BTreeMap::from([(Address([7; 35]), Some(Bytes::from_static(b"1")))]);
        let trie = Trie::new(ours.clone()).update(&place);
        let removed = trie.update(&BTreeMap::from([(Address([7; 35]), None)]));
        assert_eq!(removed.root_hex(), Trie::new(ours).root_hex());
    }
}
