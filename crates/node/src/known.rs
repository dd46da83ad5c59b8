//! What a node keeps of the committed ledger for its next start: who the others are, where they listen, and whether it may resume.
//!
//! A returning replica needs it before it has read its ledger, and before it may act on what it reads. Sealed beside the identity,
//! and rewritten whenever the committed rows change. An old copy names old addresses, at worst.

use coco_crypto::{AeadKey, Crypto, Nonce, SymmetricKey};
use coco_disk::Disk;
use coco_governance::{Addresses, Network, NodeRow, NodeStatus, ResumePolicy};
use coco_types::ReplicaId;
use serde::{Deserialize, Serialize};

use crate::identity::IdentityError;

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    pub resume: ResumePolicy,
    /// Every trusted node.
    pub nodes: Vec<KnownNode>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownNode {
    pub replica: ReplicaId,
    pub index: u32,
    pub addresses: Addresses,
}

const FILE: &str = "network.sealed";
const CONTEXT: &[u8] = b"coco.network.v1";

impl Known {
    /// From the committed rows.
    pub fn of(network: Option<&Network>, nodes: &[NodeRow]) -> Self {
        let trusted = nodes.iter().filter(|node| node.info.status == NodeStatus::Trusted);
        let known = |node: &NodeRow| {
            let info = &node.info;
            KnownNode { replica: info.replica, index: info.index, addresses: info.addresses }
        };
        Self { resume: network.map(|network| network.resume).unwrap_or_default(), nodes: trusted.map(known).collect() }
    }

    pub fn store(&self, disk: &dyn Disk, sealing: &SymmetricKey, crypto: &dyn Crypto) -> Result<(), IdentityError> {
        let plain = serde_json::to_vec(self).expect("what is known has only string keys");
        let mut nonce = Nonce([0; 12]);
        crypto.fill(&mut nonce.0);
        Ok(disk.replace(FILE, &AeadKey::new(sealing).seal_to_vec(nonce, CONTEXT, &plain))?)
    }

    /// Nothing, if there is no file yet.
    pub fn load(disk: &dyn Disk, sealing: &SymmetricKey) -> Result<Self, IdentityError> {
        if !disk.exists(FILE)? {
            return Ok(Self::default());
        }
        let sealed = disk.read_all(FILE)?;
        let plain = AeadKey::new(sealing).open_from_slice(CONTEXT, &sealed).map_err(|_| IdentityError::NotAuthentic)?;
        serde_json::from_slice(&plain).map_err(|error| IdentityError::Unreadable(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use coco_crypto::SeededCrypto;
    use coco_disk::MemoryDisk;

    use super::*;

    #[test]
    fn what_a_node_knows_of_the_others_survives_on_its_disk_and_opens_only_with_its_key() {
        let crypto = SeededCrypto::new(1);
        let [sealing, other] = [(); 2].map(|()| SymmetricKey::generate(&crypto));
        let disk = MemoryDisk::new();
        assert_eq!(Known::load(&disk, &sealing).unwrap(), Known::default());
        let address = ([127, 0, 0, 1], 8100).into();
        let node = KnownNode { replica: ReplicaId(2), index: 1, addresses: Addresses { api: address, peers: address } };
        let known = Known { resume: ResumePolicy { allowed: false, rolled_back_disks: 1 }, nodes: vec![node] };
        known.store(&disk, &sealing, &crypto).unwrap();
        assert_eq!(Known::load(&disk, &sealing).unwrap(), known);
        assert!(matches!(Known::load(&disk, &other), Err(IdentityError::NotAuthentic)));
    }
}
