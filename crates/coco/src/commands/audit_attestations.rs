//! `coco ledger audit-attestations`: every admission judged again, from ledger files alone.

use std::fmt;
use std::sync::Arc;

use anyhow::bail;
use coco_disk::Disk;
use coco_governance::attestation::{Audited, PublicState};
use coco_ledger::EntryKeys;
use coco_types::{NodeId, TxId};
use serde::Serialize;

use crate::output::Output;

/// One admission, or renewal.
#[derive(Debug, Serialize)]
struct Told {
    transaction_id: TxId,
    node_id: NodeId,
    platform: &'static str,
    measurement: String,
    /// Ledger time, Unix seconds.
    at: u64,
    /// What the replay found otherwise; empty: confirmed.
    findings: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
struct Summary {
    judged: u64,
    not_confirmed: u64,
}

/// Prints every admission; fails if one is not confirmed.
pub fn run(disk: Arc<dyn Disk>, output: Output) -> anyhow::Result<()> {
    let mut state = PublicState::default();
    let mut summary = Summary::default();
    for transaction in coco_ledger::transactions(disk, EntryKeys::new())? {
        let transaction = transaction?;
        for audited in state.apply(&transaction.public)? {
            summary.judged += 1;
            summary.not_confirmed += u64::from(!audited.findings.is_empty());
            output.print(&Told::new(transaction.txid, audited))?;
        }
    }
    output.print(&summary)?;
    if summary.not_confirmed > 0 {
        bail!("the ledger holds admissions that its own evidence and policy do not support");
    }
    Ok(())
}

impl Told {
    fn new(transaction_id: TxId, audited: Audited) -> Self {
        Self {
            transaction_id,
            node_id: audited.node,
            platform: audited.recorded.kind.as_str(),
            measurement: audited.recorded.measurement,
            at: audited.recorded.at,
            findings: audited.findings,
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.findings.is_empty() { "confirmed" } else { "NOT CONFIRMED" };
        write!(f, "{}  node {}  {} {}  {verdict}", self.transaction_id, self.node_id, self.platform, self.measurement)?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "attestations: {} judged again", self.judged)?;
        match self.not_confirmed {
            0 => write!(f, ", all confirmed"),
            not_confirmed => write!(f, ", {not_confirmed} not confirmed"),
        }
    }
}
