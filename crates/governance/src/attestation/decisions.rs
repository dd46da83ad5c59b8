//! Which vote made each row of policy what it is: written with the row, so that whoever explains a judgement can name the proposal behind it.
//!
//! Settled proposals leave the live state; this row stays as long as the one that it is about. What a genesis founded has none.

use std::collections::BTreeMap;

use bytes::Bytes;
use coco_kv::Tx;
use coco_types::MapName;
use serde::{Deserialize, Serialize};

use super::ccf_rows;
use super::policy::{ANCHORS, POLICY};
use crate::Error;
use crate::tables::{self, Read};

pub const DECISIONS: MapName = MapName::from_static("public:ccf.gov.coco.attestation.decisions");

/// Everything by which nodes are judged that members vote on.
const VOTED: &[MapName] = &[
    POLICY,
    ANCHORS,
    tables::VIRTUAL_MEASUREMENTS,
    ccf_rows::VIRTUAL_HOST_DATA,
    ccf_rows::SNP_MEASUREMENTS,
    ccf_rows::SNP_HOST_DATA,
    ccf_rows::SNP_UVM_ENDORSEMENTS,
    ccf_rows::SNP_TCB_VERSIONS,
    ccf_rows::SGX_MEASUREMENTS,
];

/// An accepted proposal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDecision {
    pub proposal: String,
    pub proposer: String,
    /// How each member's ballot was counted.
    pub votes: BTreeMap<String, bool>,
}

/// Names the decision beside every row of policy that the transaction has written so far.
pub(crate) fn record(tx: &mut Tx, decision: &PolicyDecision) {
    let mut about: Vec<(Vec<u8>, bool)> = Vec::new();
    for map in VOTED {
        let rows = tx.writes().map(map).into_iter().flatten();
        about.extend(rows.map(|(key, value)| (row_name(map, key), value.is_some())));
    }
    for (name, stands) in about {
        if stands {
            tables::write(tx, &DECISIONS, &name, decision);
        } else {
            tx.remove(&DECISIONS, &name);
        }
    }
}

/// By map and key, such as `public:ccf.gov.coco.attestation.policy/sev_snp`.
pub fn decisions(state: &mut dyn Read) -> Result<BTreeMap<String, PolicyDecision>, Error> {
    Ok(tables::read_all(state, &DECISIONS)?.into_iter().collect())
}

fn row_name(map: &MapName, key: &Bytes) -> Vec<u8> {
    [map.as_str().as_bytes(), b"/", key].concat()
}
