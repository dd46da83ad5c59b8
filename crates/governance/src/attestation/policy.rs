//! Policy, anchors and collateral as rows.
//!
//! | map | key → value |
//! |---|---|
//! | `….attestation.policy` | a section of the policy, such as `sev_snp` → its JSON |
//! | `….attestation.anchors` | a root, such as `intel` → digests of accepted certificates; `cca:<instance id>` → a platform's key |
//! | `….attestation.collateral` | what an item is about → the item |
//! | `….attestation.decisions` | map and key of a row of policy → the vote that made it what it is |
//! | `….attestation.nodes` | node id → [`crate::attestation::Appraisal`] |
//!
//! CCF's named maps of measurements are read too: what its actions vote counts here.

use std::collections::{BTreeMap, BTreeSet};

use coco_attestation::collateral::{self, Collateral, CollateralItem};
use coco_attestation::{Anchors, CcaAnchor, Policy, Root, Rules, Trust};
use coco_crypto::sha256;
use coco_kv::Tx;
use coco_types::{Digest, MapName};
use serde_json::{Map, Value};

use super::ccf_rows;
use crate::Error;
use crate::tables::{self, Read};

pub const POLICY: MapName = MapName::from_static("public:ccf.gov.coco.attestation.policy");
pub const ANCHORS: MapName = MapName::from_static("public:ccf.gov.coco.attestation.anchors");
pub const COLLATERAL: MapName = MapName::from_static("public:ccf.gov.coco.attestation.collateral");
pub const APPRAISALS: MapName = MapName::from_static("public:ccf.gov.coco.attestation.nodes");

const CCA_PREFIX: &str = "cca:";

/// What the members voted about code and platforms.
pub fn policy(state: &mut dyn Read) -> Result<Policy, Error> {
    let sections = tables::read_all::<Value>(state, &POLICY)?;
    let whole = Value::Object(sections.into_iter().collect::<Map<_, _>>());
    let mut policy: Policy = serde_json::from_value(whole).map_err(|error| Error::UnreadableRow {
        map: POLICY,
        key: "a section".to_owned(),
        why: error.to_string(),
    })?;
    ccf_rows::add_to(&mut policy, state)?;
    Ok(policy)
}

/// Accepted roots and collateral.
pub fn trust(state: &mut dyn Read) -> Result<Trust, Error> {
    let items = tables::read_all::<CollateralItem>(state, &COLLATERAL)?.into_iter().collect();
    let network = tables::read::<coco_attestation::policy::NetworkPolicy>(state, &POLICY, b"network")?;
    Ok(Trust {
        anchors: anchors(state)?,
        collateral: Collateral::from_items(items),
        crl_optional: network.unwrap_or_default().crl_optional,
    })
}

/// What nodes are judged by now, in the form in which a genesis has it.
pub fn in_force(state: &mut dyn Read) -> Result<Rules, Error> {
    let Trust { anchors, collateral, .. } = trust(state)?;
    let collateral = collateral.items().values().cloned().collect();
    Ok(Rules { policy: policy(state)?, anchors, collateral })
}

/// Takes a newer item from anyone: genuine under an accepted anchor at `at` (ledger time, Unix seconds), and not older than what is there.
pub fn submit_collateral(tx: &mut Tx, item: &CollateralItem, at: u64) -> Result<String, Error> {
    let judged = judge_collateral(tx as &mut dyn Read, item.clone(), at)?;
    judged.keep(tx)?;
    Ok(judged.key)
}

/// A genuine item, and what it was judged by. Judging takes its time: it is done on any thread, ahead of the transaction.
#[derive(Clone, Debug)]
pub struct JudgedCollateral {
    /// What the item is kept as.
    pub key: String,
    /// `None`: what is there says the same.
    news: Option<CollateralItem>,
    anchors: Digest,
    before: Option<Digest>,
}

pub fn judge_collateral(state: &mut dyn Read, item: CollateralItem, at: u64) -> Result<JudgedCollateral, Error> {
    let refused = |error: collateral::CollateralError| Error::CollateralRefused(error.to_string());
    let anchors = anchors(state)?;
    let key = item.key().map_err(|error| refused(error.into()))?;
    let stored = tables::read::<CollateralItem>(state, &COLLATERAL, key.as_bytes())?;
    let stored = Collateral::from_items(stored.map(|stored| (key.clone(), stored)).into_iter().collect());
    let judged = collateral::judge(&item, &stored, &anchors, at).map_err(refused)?;
    let before = row_digest(state, &key);
    Ok(JudgedCollateral { key, news: judged.is_news.then_some(item), anchors: anchors.digest(), before })
}

impl JudgedCollateral {
    pub fn is_news(&self) -> bool {
        self.news.is_some()
    }

    /// Writes it if it is news. `false`: what it was judged by has changed meanwhile.
    pub fn keep(&self, tx: &mut Tx) -> Result<bool, Error> {
        let Some(item) = &self.news else { return Ok(true) };
        if anchors(tx)?.digest() != self.anchors || row_digest(tx, &self.key) != self.before {
            return Ok(false);
        }
        tables::write(tx, &COLLATERAL, self.key.as_bytes(), item);
        Ok(true)
    }
}

fn row_digest(state: &mut dyn Read, key: &str) -> Option<Digest> {
    state.row(&COLLATERAL, key.as_bytes()).map(|row| sha256(&row))
}

/// Writes what a network is founded with; collateral is judged like any other.
pub fn write_founding(tx: &mut Tx, genesis: &Rules, at: u64) -> Result<(), Error> {
    let Value::Object(sections) = serde_json::to_value(&genesis.policy).expect("a policy has only string keys") else {
        unreachable!("a policy is an object")
    };
    let defaults = serde_json::to_value(Policy::default()).expect("a policy has only string keys");
    for (section, value) in sections.iter().filter(|(section, value)| defaults.get(section) != Some(value)) {
        tables::write(tx, &POLICY, section.as_bytes(), value);
    }
    for (root, digests) in &genesis.anchors.roots {
        tables::write(tx, &ANCHORS, root.as_str().as_bytes(), digests);
    }
    for (instance, anchor) in &genesis.anchors.cca {
        tables::write(tx, &ANCHORS, format!("{CCA_PREFIX}{instance}").as_bytes(), anchor);
    }
    for item in &genesis.collateral {
        submit_collateral(tx, item, at)?;
    }
    Ok(())
}

/// Accepted roots, and the keys of Arm platforms.
pub fn anchors(state: &mut dyn Read) -> Result<Anchors, Error> {
    let mut anchors = Anchors::default();
    for (key, value) in tables::read_all::<Value>(state, &ANCHORS)? {
        let unreadable = |why: String| Error::UnreadableRow { map: ANCHORS, key: key.clone(), why };
        match key.strip_prefix(CCA_PREFIX) {
            Some(instance) => {
                let anchor: CcaAnchor = serde_json::from_value(value).map_err(|error| unreadable(error.to_string()))?;
                anchors.cca.insert(instance.to_owned(), anchor);
            }
            None => {
                let root: Root = serde_json::from_value(Value::from(key.clone()))
                    .map_err(|_| unreadable("it names no known root".to_owned()))?;
                let digests: BTreeSet<Digest> =
                    serde_json::from_value(value).map_err(|error| unreadable(error.to_string()))?;
                anchors.roots.insert(root, digests);
            }
        }
    }
    Ok(anchors)
}

/// One value for everything that a verification leaned on: policy, anchors and collateral as they stood.
pub(crate) fn basis(policy: &Policy, trust: &Trust) -> Digest {
    let items: &BTreeMap<String, CollateralItem> = trust.collateral.items();
    let bytes = serde_json::to_vec(&(policy, &trust.anchors, items)).expect("they have only string keys");
    coco_crypto::sha256(&bytes)
}
