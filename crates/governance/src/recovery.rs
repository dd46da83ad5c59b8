//! A new service on the ledger of one whose nodes are lost: its first transaction, and what its members see of the old one.
//!
//! ```text
//!   Recovering ──vote: both identities──▶ WaitingForRecoveryShares ──enough shares──▶ Open
//! ```
//!
//! Only the public maps are known until the shares are there. The recovering node is the only one; others join once it is open.

use coco_attestation::BoundFacts;
use coco_crypto::{Certificate, PublicKey};
use coco_kv::Tx;
use coco_types::{Digest, ReplicaId, TxId};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::attestation;
use crate::endorsement;
use crate::rotation;
use crate::rows::{NodeRow, NodeStatus, ServiceInfo, ServiceStatus};
use crate::tables::{self, Read};

/// What a recovery begins with.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// The ledger's last signed transaction.
    pub recovered_to: TxId,
    /// What it signs.
    pub last_root: Digest,
    /// The recovering node, `Trusted`, as [`next_replica`].
    pub node: NodeRow,
    pub bound: BoundFacts,
    /// In PEM.
    pub node_certificate: String,
    /// Of the new service, in PEM.
    pub service_certificate: String,
}

/// What was recovered last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RecoveryRow {
    /// Everything up to here is what it was.
    pub recovered_to: TxId,
    pub last_root: Digest,
    /// The certificate of the service before, in PEM.
    pub previous_service: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_created: Option<TxId>,
}

impl RecoveryRow {
    pub fn read(state: &mut dyn Read) -> Result<Option<Self>, Error> {
        tables::read(state, &tables::RECOVERY, &tables::SINGLETON)
    }

    pub(crate) fn previous_certificate(&self) -> Result<Certificate, Error> {
        endorsement::certificate(&self.previous_service)
    }
}

/// The id of a node that recovers the ledger with this state: one that no replica ever had.
pub fn next_replica(state: &mut dyn Read) -> Result<ReplicaId, Error> {
    let last = tables::read::<ReplicaId>(state, &tables::LAST_REPLICA, &tables::SINGLETON)?;
    Ok(ReplicaId(last.map_or(0, |last| last.0) + 1))
}

/// The first transaction of the new service, at Unix time `at`.
pub fn recover(tx: &mut Tx, recovery: &Recovery, at: u64) -> Result<(), Error> {
    let before = ServiceInfo::read(tx as &mut dyn Read)?;
    let before = before.ok_or_else(|| Error::NotOpened("the ledger has no service to be recovered".to_owned()))?;
    for mut node in NodeRow::all(tx)? {
        (node.info.status, node.info.retired_committed) = (NodeStatus::Retired, true);
        node.write(tx);
    }
    let key = PublicKey::from_pem(&recovery.node.info.public_key)
        .map_err(|error| Error::Founding(format!("the recovering node's key: {error}")))?;
    let quote = &recovery.node.info.quote_info;
    let appraisal = attestation::founder(tx, quote, &key, recovery.bound.clone(), at)?;
    appraisal.write(tx, recovery.node.id);
    recovery.node.write(tx);
    let id = recovery.node.id.to_string().into_bytes();
    tx.put(&tables::NODE_CERTS, id, recovery.node_certificate.clone().into_bytes());
    tables::write(tx, &tables::LAST_REPLICA, &tables::SINGLETON, &recovery.node.info.replica);
    tables::write(tx, &tables::PREVIOUS_SERVICE_IDENTITY, &tables::SINGLETON, &before.cert);
    tables::write(tx, &tables::PREVIOUS_LAST_SIGNED_ROOT, &tables::SINGLETON, &recovery.last_root);
    let row = RecoveryRow {
        recovered_to: recovery.recovered_to,
        last_root: recovery.last_root,
        previous_service: before.cert,
        previous_created: before.current_service_create_txid,
    };
    tables::write(tx, &tables::RECOVERY, &tables::SINGLETON, &row);
    rotation::forget(tx);
    // Submitted to a recovery that came to nothing.
    for (member, _) in tx.rows(&tables::SUBMITTED_SHARES) {
        tx.remove(&tables::SUBMITTED_SHARES, &member);
    }
    let service = ServiceInfo {
        cert: recovery.service_certificate.clone(),
        status: ServiceStatus::Recovering,
        recovery_count: before.recovery_count + 1,
        current_service_create_txid: None,
    };
    tables::write(tx, &tables::SERVICE_INFO, &tables::SINGLETON, &service);
    Ok(())
}
