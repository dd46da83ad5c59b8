//! A backup's check of its primary, off the acknowledgement path: of both signatures that end each batch, and of the evidence of whom
//! it admitted.
//!
//! The root was compared with this node's own tree before the batch was acknowledged; what costs a hundred times as much is looked at
//! when the batch is made readable.

use std::collections::BTreeMap;

use bytes::Bytes;
use coco_crypto::{Certificate, PublicKey};
use coco_governance::attestation::audit_admissions;
use coco_governance::tables::{Read, SERVICE_INFO, SINGLETON};
use coco_governance::{AlarmRow, NodeRow, ServiceInfo};
use coco_kv::Snapshot;
use coco_ledger::SignatureVerifier;
use coco_protocol::{Outcome, Rejection, RejectionReason};
use coco_types::{NodeId, ReplicaId, TxId, View};

use crate::executor::SystemCommand;
use crate::ledger::{Admission, Signed};

/// What a primary wrote contradicts what this replica knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alarm {
    pub view: View,
    pub primary: ReplicaId,
    /// The end of the batch.
    pub txid: TxId,
    pub why: String,
}

/// Writes an alarm down: a transaction of a replica that leads.
pub fn record(alarm: &Alarm, reported_by: ReplicaId) -> SystemCommand {
    let Alarm { view, primary, txid, why } = alarm.clone();
    let row = AlarmRow { primary, txid, why, reported_by };
    Box::new(move |tx, _| {
        let refused = |error: coco_governance::Error| Rejection::new(RejectionReason::Invalid, 0, error.to_string());
        coco_governance::record_alarm(tx, view, &row).map_err(refused)?;
        Ok(Outcome::default())
    })
}

/// Remembers keys, so that a batch costs two verifications and no parsing of certificates.
#[derive(Default)]
pub struct SignatureChecker {
    /// The service's row, and its key.
    service: Option<(Bytes, PublicKey)>,
    /// A node's id is the hash of its key: neither ever changes, nor does its replica.
    nodes: BTreeMap<NodeId, (PublicKey, ReplicaId)>,
}

impl SignatureChecker {
    /// `state` is that of the end of the batch.
    pub fn check(&mut self, signed: &Signed, state: &mut Snapshot) -> Result<(), Alarm> {
        let txid = signed.signature.txid;
        let alarm = |why: String| Alarm { view: txid.view, primary: signed.primary, txid, why };
        self.read_service(state).map_err(alarm)?;
        let id = signed.signature.node.node;
        self.read_node(id, state).map_err(alarm)?;
        let (Some((_, service)), Some((node, replica))) = (&self.service, self.nodes.get(&id)) else {
            return Err(alarm("the ledger does not say who signs".to_owned()));
        };
        if *replica != signed.primary {
            return Err(alarm(format!("signed by the node of replica {replica}")));
        }
        let verifier = SignatureVerifier { service, node };
        verifier.verify(&signed.signature, &signed.signature.node.root).map_err(|error| alarm(error.to_string()))?;
        signed.admissions.iter().try_for_each(|admission| check_admission(admission).map_err(alarm))
    }

    fn read_service(&mut self, state: &mut Snapshot) -> Result<(), String> {
        let row = state.row(&SERVICE_INFO, &SINGLETON).unwrap_or_default();
        if self.service.as_ref().is_none_or(|(known, _)| *known != row) {
            let info: ServiceInfo =
                serde_json::from_slice(&row).map_err(|error| format!("the service's row: {error}"))?;
            let certificate =
                Certificate::from_pem(&info.cert).map_err(|error| format!("the service's row: {error}"))?;
            self.service = Some((row, certificate.public_key().clone()));
        }
        Ok(())
    }

    fn read_node(&mut self, id: NodeId, state: &mut Snapshot) -> Result<(), String> {
        if self.nodes.contains_key(&id) {
            return Ok(());
        }
        let row = NodeRow::read(state, id).map_err(|error| error.to_string())?;
        let info = row.ok_or_else(|| format!("signed by {id}, which is no node"))?.info;
        let key = PublicKey::from_pem(&info.public_key).map_err(|error| format!("the key of {id}: {error}"))?;
        self.nodes.insert(id, (key, info.replica));
        Ok(())
    }
}

fn check_admission(admission: &Admission) -> Result<(), String> {
    let Admission { writes, before, after } = admission;
    let audited =
        audit_admissions(writes, &mut before.clone(), &mut after.clone()).map_err(|error| error.to_string())?;
    match audited.iter().find(|audited| !audited.findings.is_empty()) {
        Some(audited) => Err(format!("it admitted {}: {}", audited.node, audited.findings.join("; "))),
        None => Ok(()),
    }
}
