//! What a node keeps of the committed ledger for its next start: who the others are, where they listen, and whether it may resume.
//!
//! A returning replica needs it before it has opened its machines. Sealed beside the identity, and rewritten whenever the committed rows change. A host can
//! put an old copy back, or none: an old one names old addresses, at worst. Whether to resume is therefore read on from the ledger, from where the copy says
//! that it was written ([`Known::on_ledger`]); without a copy the ledger says it all, and where neither does, nobody resumes.

use std::sync::Arc;

use coco_crypto::{AeadKey, Crypto, Nonce, SymmetricKey};
use coco_disk::Disk;
use coco_governance::tables::{NETWORK, RESUME_POLICY, SINGLETON};
use coco_governance::{Addresses, Network, NodeRow, NodeStatus, ResumePolicy};
use coco_ledger::ServiceKeys;
use coco_protocol::CommittedTransaction;
use coco_types::{MapName, NodeId, ReplicaId, Seqno, TxId, WriteSet};
use serde::{Deserialize, Serialize};

use crate::archive::{self, Restored};
use crate::identity::IdentityError;
use crate::ledger::{LedgerError, NodeLedger};
use crate::machines::{OpenError, read_batch};

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// What the members chose; `None`: nothing has said it yet.
    pub resume: Option<ResumePolicy>,
    /// The committed transaction as of which that holds.
    #[serde(default)]
    pub at: TxId,
    /// Every trusted node.
    pub nodes: Vec<KnownNode>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownNode {
    pub replica: ReplicaId,
    /// Unknown to a newcomer.
    #[serde(default)]
    pub node: Option<NodeId>,
    pub index: u32,
    pub addresses: Addresses,
}

const FILE: &str = "network.sealed";
const CONTEXT: &[u8] = b"coco.network.v1";

/// So many transactions are read again at a start, at most, to learn whether the members have chosen anew.
const READ_ON_MAX: u64 = 100_000;

/// The file, with its context.
pub const SEALED: (&str, &[u8]) = (FILE, CONTEXT);

impl Known {
    /// From the committed rows, as of `at`.
    pub fn of(network: Option<&Network>, nodes: &[NodeRow], at: TxId) -> Self {
        let trusted = nodes.iter().filter(|node| node.info.status == NodeStatus::Trusted);
        let known = |node: &NodeRow| {
            let info = &node.info;
            KnownNode { replica: info.replica, node: Some(node.id), index: info.index, addresses: info.addresses }
        };
        Self { resume: network.map(|network| network.resume), at, nodes: trusted.map(known).collect() }
    }

    /// Whether this has to be written where the other is: the ledger is read on from there at the next start.
    pub fn replaces(&self, kept: &Self) -> bool {
        let far = self.at.seqno.0 > kept.at.seqno.0.saturating_add(READ_ON_MAX);
        far || self.resume != kept.resume || self.nodes != kept.nodes
    }

    /// What the node's own ledger says of the members' choice, whatever the file said. `committed`: what the consensus log knows to be. What lies behind
    /// may be committed all the same, and counts where it is stricter.
    pub fn on_ledger(
        mut self,
        ledger: &NodeLedger,
        snapshots: &Arc<dyn Disk>,
        service: &ServiceKeys,
        committed: Seqno,
    ) -> Result<Self, OpenError> {
        let begins_here = self.at == TxId::default() && ledger.base() == TxId::default();
        let is_newer = self.at.seqno > ledger.last_seqno();
        let is_held = is_newer || begins_here || ledger.view_of(self.at.seqno) == Some(self.at.view);
        if self.resume.is_none() || !is_held {
            self = Self::of_state(ledger, snapshots, service, committed)?;
        }
        let mut last = self.at;
        while last.seqno < ledger.last_seqno() {
            let is_committed = last.seqno < committed;
            let (next, transactions) = match read_batch(ledger, last, ledger.last_seqno()) {
                Ok(read) => read,
                Err(error) if is_committed => return Err(error),
                // What was being written when the process ended.
                Err(_) => break,
            };
            for policy in transactions.iter().filter_map(|transaction| policy_in(&transaction.writes)) {
                self.resume = Some(match self.resume.filter(|_| !is_committed) {
                    Some(before) => before.and(policy?),
                    None => policy?,
                });
            }
            if is_committed {
                self.at = next;
            }
            last = next;
        }
        Ok(self)
    }

    fn of_state(
        ledger: &NodeLedger,
        snapshots: &Arc<dyn Disk>,
        service: &ServiceKeys,
        committed: Seqno,
    ) -> Result<Self, OpenError> {
        let Restored { store, at } = archive::restore(snapshots, ledger, service, committed)?;
        if at.seqno < ledger.base().seqno {
            return Err(OpenError::NoState(ledger.base()));
        }
        let mut last = at;
        while last.seqno < committed {
            let transactions;
            (last, transactions) = read_batch(ledger, last, committed)?;
            let writes = |one: &CommittedTransaction| (one.txid.seqno, one.writes.clone());
            let run: Vec<_> = transactions.iter().map(writes).collect();
            store.follow(&run.iter().map(|(seqno, writes)| (*seqno, &**writes)).collect::<Vec<_>>())?;
        }
        let state = &mut store.newest_snapshot();
        let network = Network::read(state).map_err(LedgerError::from)?;
        let nodes = NodeRow::all(state).map_err(LedgerError::from)?;
        Ok(Self::of(network.as_ref(), &nodes, last))
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

/// The members' choice, if this transaction makes one: by a vote, or at the founding.
fn policy_in(writes: &WriteSet) -> Option<Result<ResumePolicy, OpenError>> {
    let row = |map: &MapName| writes.map(map)?.get(&SINGLETON[..])?.clone();
    let unreadable = |error: serde_json::Error| OpenError::Archive(format!("the policy of resumes: {error}"));
    if let Some(voted) = row(&RESUME_POLICY) {
        return Some(serde_json::from_slice(&voted).map_err(unreadable));
    }
    let founded = serde_json::from_slice::<Network>(&row(&NETWORK)?);
    Some(founded.map(|network| network.resume).map_err(unreadable))
}

#[cfg(test)]
mod tests {
    use coco_crypto::SeededCrypto;
    use coco_disk::MemoryDisk;
    use coco_types::View;

    use super::*;

    #[test]
    fn what_a_node_knows_of_the_others_survives_on_its_disk_and_opens_only_with_its_key() {
        let crypto = SeededCrypto::new(1);
        let [sealing, other] = [(); 2].map(|()| SymmetricKey::generate(&crypto));
        let disk = MemoryDisk::new();
        assert_eq!(Known::load(&disk, &sealing).unwrap(), Known::default());
        let address = ([127, 0, 0, 1], 8100).into();
        let addresses = Addresses { api: address, peers: address };
        let node =
            KnownNode { replica: ReplicaId(2), node: Some(NodeId(coco_types::Digest([3; 32]))), index: 1, addresses };
        let resume = Some(ResumePolicy { allowed: false, rolled_back_disks: 1 });
        let known = Known { resume, at: TxId::new(View(2), Seqno(9)), nodes: vec![node] };
        known.store(&disk, &sealing, &crypto).unwrap();
        assert_eq!(Known::load(&disk, &sealing).unwrap(), known);
        assert!(matches!(Known::load(&disk, &other), Err(IdentityError::NotAuthentic)));
    }
}
