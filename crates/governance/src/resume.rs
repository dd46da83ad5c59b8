//! What the ledger says of a resume.

use std::collections::{BTreeMap, BTreeSet};

use coco_kv::Tx;
use coco_types::ReplicaId;

use crate::rows::{Network, NodeRow, NodeStatus, ResumeRow};
use crate::tables::{self, Read};
use crate::{Addresses, Error};

/// Records a resume, once, and what changed while nobody could write it down: where its replicas listen now, and that those that were
/// admitted in their places never came to be. A replica gives its identity up for that of its successor; one that resumes has not.
pub fn record_resume(
    tx: &mut Tx,
    mut resume: ResumeRow,
    addresses: &BTreeMap<ReplicaId, Addresses>,
) -> Result<(), Error> {
    let key = resume.view.0.to_string();
    if tables::read::<ResumeRow>(tx as &mut dyn Read, &tables::RESUMES, key.as_bytes())?.is_some() {
        return Ok(());
    }
    let network = Network::read(tx as &mut dyn Read)?;
    resume.rolled_back_disks = network.map_or(0, |network| network.resume.rolled_back_disks);
    tables::write(tx, &tables::RESUMES, key.as_bytes(), &resume);
    let nodes = NodeRow::all(tx)?;
    for node in &nodes {
        let mut info = node.info.clone();
        match addresses.get(&info.replica) {
            Some(now) => info.addresses = *now,
            None if info.status == NodeStatus::Trusted && succeeds_one_of(node, &nodes, &resume.replicas) => {
                info.status = NodeStatus::Retired;
            }
            None => {}
        }
        if info != node.info {
            NodeRow { id: node.id, info }.write(tx);
        }
    }
    Ok(())
}

fn succeeds_one_of(node: &NodeRow, nodes: &[NodeRow], replicas: &[ReplicaId]) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = node.info.replaces;
    while let Some(id) = next.filter(|id| seen.insert(*id)) {
        let Some(before) = nodes.iter().find(|node| node.id == id) else { return false };
        if replicas.contains(&before.info.replica) {
            return true;
        }
        next = before.info.replaces;
    }
    false
}
