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
        let judged: Vec<(Bytes, Option<Bytes>)> = writes
            .iter()
            .filter(|(map, _)| **map == APPRAISALS)
            .flat_map(|(_, rows)| rows.iter())
            .map(|(key, _)| (key.clone(), self.row(&APPRAISALS, key)))
            .collect();
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
            // A later change of standing keeps time and binding: the evidence was judged when they were new.
            let same = before.is_some_and(|before| before.at == recorded.at && before.bound == recorded.bound);
            if !same {
                audited.push(self.judge(id, recorded)?);
            }
        }
        Ok(audited)
    }

    fn judge(&mut self, node: NodeId, recorded: Appraisal) -> Result<Audited, Error> {
        let mut findings = Vec::new();
        match NodeRow::read(self, node)? {
            Some(row) => self.judge_row(&row, &recorded, &mut findings)?,
            None => findings.push("there is no such node".to_owned()),
        }
        Ok(Audited { node, recorded, findings })
    }

    fn judge_row(&mut self, row: &NodeRow, recorded: &Appraisal, findings: &mut Vec<String>) -> Result<(), Error> {
        let (policy, trust) = (policy(self)?, trust(self)?);
        if basis(&policy, &trust) != recorded.basis {
            findings.push("it was judged by other policy, anchors or collateral than the ledger has".to_owned());
        }
        if let Some(service) = recorded.bound.service
            && Some(service) != self.service_id()?
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
                let peers = peers(self, &[Some(row.id), row.info.replaces])?;
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

    fn service_id(&mut self) -> Result<Option<coco_types::Digest>, Error> {
        let service = ServiceInfo::read(self)?;
        let certificate = service.and_then(|service| Certificate::from_pem(&service.cert).ok());
        Ok(certificate.map(|certificate| sha256(&certificate.public_key().spki_der())))
    }
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
