//! `coco receipt verify --strict`: the node that signed, looked up in a copy of the ledger, must have been trusted in its view.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use coco_crypto::PublicKey;
use coco_crypto::cose::Sign1;
use coco_disk::Disk;
use coco_governance::tables::NODE_INFO;
use coco_ledger::{EntryKeys, SignatureTransaction, VerifyOptions};
use coco_types::{MapWrites, NodeId, TxId, View};
use serde_json::Value;

use crate::read_only_disk::ReadOnlyDisk;

/// Who signed a verified receipt. The folder is verified whole, under the service that is trusted; its end may be torn, as that of
/// a node that runs.
pub fn of(receipt: &[u8], signed_at: TxId, folder: &Path, service: &PublicKey) -> anyhow::Result<NodeId> {
    let disk: Arc<dyn Disk> = Arc::new(ReadOnlyDisk::open(folder.to_owned())?);
    let options = VerifyOptions { service: Some(service.into()), keys: EntryKeys::new(), torn_tail_allowed: true };
    coco_ledger::verify_folder(&disk, &options, &mut |_| {}).with_context(|| folder.display().to_string())?;
    let (mut view, mut trusted, mut of_view) = (View(0), BTreeSet::new(), BTreeSet::new());
    for transaction in coco_ledger::transactions(disk, EntryKeys::new())? {
        let transaction = transaction?;
        transaction.public.map(&NODE_INFO).into_iter().for_each(|rows| follow(&mut trusted, rows));
        // A service's first transaction trusts its own signer.
        if transaction.txid.view != view {
            (view, of_view) = (transaction.txid.view, trusted.clone());
        }
        if transaction.txid == signed_at {
            let signature = SignatureTransaction::from_writes(signed_at, &transaction.public)?;
            let signature = signature.with_context(|| format!("{signed_at} is no signature in this ledger"))?;
            let (own, ledgers) = (Sign1::decode(receipt)?, Sign1::decode(&signature.cose)?);
            ensure!(own.signature == ledgers.signature, "the ledger has another signature at {signed_at}");
            let node = signature.node.node;
            ensure!(
                of_view.contains(node.to_string().as_bytes()),
                "node {node} signed, and was not trusted when view {view} began"
            );
            return Ok(node);
        }
    }
    bail!("{} does not reach to {signed_at}", folder.display())
}

fn follow(trusted: &mut BTreeSet<Vec<u8>>, rows: &MapWrites) {
    for (id, row) in rows {
        let info: Option<Value> = row.as_ref().and_then(|row| serde_json::from_slice(row).ok());
        if info.is_some_and(|info| info["status"] == "Trusted") {
            trusted.insert(id.to_vec());
        } else {
            trusted.remove(id.as_ref());
        }
    }
}
