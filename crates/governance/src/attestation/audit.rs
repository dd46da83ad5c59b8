//! Judging every admission again, from the ledger's public part alone: years later, without the network.

use std::collections::BTreeMap;

use bytes::Bytes;
use coco_attestation::{appraise, verify};
use coco_crypto::{Certificate, PublicKey, sha256};
use coco_types::{MapName, NodeId, WriteSet};

use super::appraisal::{Appraisal, peers};
use super::policy::{APPRAISALS, basis, policy, trust};
use crate::Error;
use crate::rows::{NodeRow, ServiceInfo};
use crate::tables::Read;

/// The public maps as they stand after some transaction.
#[derive(Default)]
pub struct PublicState {
    maps: BTreeMap<MapName, BTreeMap<Bytes, Bytes>>,
}

/// One admission, or renewal, judged again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Audited {
    pub node: NodeId,
    /// The row that the ledger has.
    pub recorded: Appraisal,
    /// What differs from it, or was not acceptable; empty if all agrees.
    pub findings: Vec<String>,
}

impl PublicState {
    /// Takes a transaction's public writes, and judges again what it admitted.
    pub fn apply(&mut self, writes: &WriteSet) -> Result<Vec<Audited>, Error> {
        let judged: Vec<(Bytes, Option<Bytes>)> =
            appraised(writes).map(|key| (key.clone(), self.row(&APPRAISALS, key))).collect();
        for (map, rows) in writes {
            let stored = self.maps.entry(map.clone()).or_default();
            for (key, value) in rows {
                match value {
                    Some(value) => stored.insert(key.clone(), value.clone()),
                    None => stored.remove(key),
                };
            }
        }
        let mut audited = Vec::new();
        for (key, before) in judged {
            let Some(id) = std::str::from_utf8(&key).ok().and_then(|text| text.parse().ok()) else { continue };
            let Some(recorded) = Appraisal::read(self, id)? else { continue };
            let before = before.and_then(|row| serde_json::from_slice::<Appraisal>(&row).ok());
            audited.extend(audit_admission(self, before, id, recorded)?);
        }
        Ok(audited)
    }
}

/// Judges again what one transaction recorded of nodes, beside the state before it and that after it: what a backup does.
pub fn audit_admissions(writes: &WriteSet, before: &mut dyn Read, after: &mut dyn Read) -> Result<Vec<Audited>, Error> {
    let mut audited = Vec::new();
    for key in appraised(writes) {
        let Some(id) = std::str::from_utf8(key).ok().and_then(|text| text.parse().ok()) else { continue };
        let Some(recorded) = Appraisal::read(after, id)? else { continue };
        audited.extend(audit_admission(after, Appraisal::read(before, id)?, id, recorded)?);
    }
    Ok(audited)
}

/// Whether a transaction recorded anything of nodes.
pub fn admits(writes: &WriteSet) -> bool {
    appraised(writes).next().is_some()
}

fn appraised(writes: &WriteSet) -> impl Iterator<Item = &Bytes> {
    writes.iter().filter(|(map, _)| **map == APPRAISALS).flat_map(|(_, rows)| rows.iter()).map(|(key, _)| key)
}

/// `None`: a later change of standing keeps time and binding, the evidence was judged when they were new.
fn audit_admission(
    state: &mut dyn Read,
    before: Option<Appraisal>,
    node: NodeId,
    recorded: Appraisal,
) -> Result<Option<Audited>, Error> {
    if before.is_some_and(|before| before.at == recorded.at && before.bound == recorded.bound) {
        return Ok(None);
    }
    let mut findings = Vec::new();
    match NodeRow::read(state, node)? {
        Some(row) => judge_row(state, &row, &recorded, &mut findings)?,
        None => findings.push("there is no such node".to_owned()),
    }
    Ok(Some(Audited { node, recorded, findings }))
}

fn judge_row(
    state: &mut dyn Read,
    row: &NodeRow,
    recorded: &Appraisal,
    findings: &mut Vec<String>,
) -> Result<(), Error> {
    let (policy, trust) = (policy(state)?, trust(state)?);
    if basis(&policy, &trust) != recorded.basis {
        findings.push("it was judged by other policy, anchors or collateral than the ledger has".to_owned());
    }
    if let Some(service) = recorded.bound.service
        && Some(service) != service_id(state)?
    {
        findings.push("its evidence is about another service".to_owned());
    }
    let key = match PublicKey::from_pem(&row.info.public_key) {
        Ok(key) if key.node_id() == row.id => key,
        _ => {
            findings.push("its key is not the one that names it".to_owned());
            return Ok(());
        }
    };
    let expected = recorded.bound.binding(&key, row.info.quote_info.kind).report_data();
    match verify(&row.info.quote_info, &expected, &trust, recorded.at) {
        Err(error) => findings.push(error.to_string()),
        Ok(verified) => {
            let peers = peers(state, &[Some(row.id), row.info.replaces])?;
            let decision = appraise(&verified, &policy, &peers, recorded.at);
            findings.extend(decision.reasons.iter().map(ToString::to_string));
            let claims = verified.claims();
            if claims.hardware_id != recorded.hardware_id || claims.measurement() != recorded.measurement {
                findings.push("the recorded machine or measurement is not the evidence's".to_owned());
            }
        }
    }
    Ok(())
}

fn service_id(state: &mut dyn Read) -> Result<Option<coco_types::Digest>, Error> {
    let service = ServiceInfo::read(state)?;
    let certificate = service.and_then(|service| Certificate::from_pem(&service.cert).ok());
    Ok(certificate.map(|certificate| sha256(&certificate.public_key().spki_der())))
}

impl Read for PublicState {
    fn row(&mut self, map: &MapName, key: &[u8]) -> Option<Bytes> {
        self.maps.get(map)?.get(key).cloned()
    }

    fn rows(&mut self, map: &MapName) -> Vec<(Bytes, Bytes)> {
        let rows = self.maps.get(map).into_iter().flatten();
        rows.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}
