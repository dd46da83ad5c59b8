//! Recovery: a new service on the ledger files of one whose nodes are lost.
//!
//! ```text
//!   ledger folder ─▶ verified up to its last signature ─▶ public state ─▶ new service, node and secret; a log of one replica behind it
//!        first transaction ─▶ members vote ─▶ shares ─▶ the row that opens the secrets of before ─▶ the node begins anew with all of it
//! ```
//!
//! Until the shares are there, the node knows the public maps only and hosts no ledger protocol. Nothing that is learnt on the way has to
//! be handed on: the secret that the new service began with opens, through the rows of the ledger, all those before it.

use std::collections::BTreeSet;
use std::sync::Arc;

use coco_consensus::{Consensus, Membership, Resume, StartPoint};
use coco_crypto::{PublicKey, SymmetricKey};
use coco_disk::Disk;
use coco_governance::secrets::{self, Vault};
use coco_governance::{Network, Recovery, ServiceInfo, ServiceStatus};
use coco_kv::Store;
use coco_ledger::tables::{K0, VIEW};
use coco_ledger::{EntryKeys, Primary, SignatureTransaction, VerifyOptions};
use coco_protocol::{Outcome, Rejection, RejectionReason};
use coco_types::{Digest, MapName, ReplicaId, Seqno, TxId, View, WriteSet};

use crate::archive::Unread;
use crate::executor::SystemCommand;
use crate::identity::{Identity, ServiceSecrets};
use crate::ledger::NodeLedger;

/// Where the log of a recovered ledger begins: nothing of the old one's numbering is known.
const FIRST_INDEX: u64 = 1;

/// A ledger that can be recovered.
pub struct Recoverable {
    /// Its last signed transaction: what is behind it is dropped.
    pub signed: TxId,
    /// What was known to be committed then.
    pub committed: TxId,
    /// Behind the last signature, and dropped.
    pub unsigned: u64,
    /// What that signs.
    pub root: Digest,
    /// Its public governance.
    pub state: Store,
}

#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(
        "the ledger to be recovered: {0}: take the files of another node, or set this one and those after it aside"
    )]
    Damaged(#[from] coco_ledger::Damage),
    #[error("the ledger to be recovered: {0}")]
    Ledger(#[from] coco_ledger::Error),
    #[error("the ledger to be recovered: {0}")]
    Governance(#[from] coco_governance::Error),
    #[error("the ledger to be recovered begins behind {0}: take the files of a node that has it whole")]
    BeginsLate(TxId),
    #[error(
        "there is no ledger to be recovered: put its files into the folder `ledger` of the node's data first (`coco recover`)"
    )]
    NoLedger,
    #[error("the consensus log of a recovered ledger: {0}")]
    Log(#[from] coco_consensus::Error),
    #[error("the recovered ledger's transactions are not in order: {0}")]
    Store(#[from] coco_kv::Error),
}

/// Verifies a folder, whose last service must be the one named, and reads its public governance.
pub fn look(disk: &Arc<dyn Disk>, service: &PublicKey) -> Result<Recoverable, RecoveryError> {
    let options = VerifyOptions { service: Some(service.into()), keys: EntryKeys::new(), torn_tail_allowed: true };
    let report = coco_ledger::verify_folder(disk, &options, &mut |_| {})?;
    if let Some(from) = report.from {
        return Err(RecoveryError::BeginsLate(from));
    }
    if report.signed == TxId::default() {
        return Err(RecoveryError::NoLedger);
    }
    let (state, last) = public_state(disk, report.signed.seqno)?;
    let signature = SignatureTransaction::from_writes(report.signed, &last)?;
    let root = signature.map(|signature| signature.node.root).ok_or(RecoveryError::NoLedger)?;
    let unsigned = report.last.seqno.0.saturating_sub(report.signed.seqno.0);
    Ok(Recoverable { signed: report.signed, committed: report.committed, unsigned, root, state })
}

/// A log of one replica that begins behind the ledger, in a view above all of it.
pub fn begin_log(log: &Arc<dyn Disk>, id: ReplicaId, signed: TxId) -> Result<(), RecoveryError> {
    let membership = Membership { voters: [id].into(), ..Membership::default() };
    let start = StartPoint { index: FIRST_INDEX, view: signed.view, seqno: signed.seqno, membership };
    Consensus::install(log, Box::new(Unread(signed.seqno)), id, start, &BTreeSet::new())?;
    // The first election adds one more (receipts of the two services never share a view).
    Resume::open(id, log.clone(), Box::new(Unread(signed.seqno)))?.adopt(View(signed.view.0 + 1))?;
    Ok(())
}

/// Where the new service's first transaction has its place, and the secret that is in force from there; `None` once it is on this node's disk. Whether it is
/// known to be committed is not asked: a node that ended right behind it must not begin the service again.
pub fn beginning(ledger: &NodeLedger, service: &ServiceSecrets) -> Option<(Seqno, SymmetricKey)> {
    let (first, secret) = service.epochs.epochs().next()?;
    (ledger.is_public_only() && ledger.last_seqno().next() == first).then(|| (first, secret.clone()))
}

/// The new service's first transaction: it names its view, since nothing before it could be signed.
pub fn command(recovery: Recovery, vault: Vault, first: Seqno, secret: SymmetricKey) -> SystemCommand {
    Box::new(move |tx, context| {
        let refused = |error: &dyn std::fmt::Display| Rejection::new(RejectionReason::Invalid, 0, error.to_string());
        if context.txid.seqno != first {
            return Err(refused(&format!(
                "the recovery would be {}, and its secret is in force from {first}",
                context.txid
            )));
        }
        let primary = Primary { view: context.txid.view, replica: recovery.node.info.replica };
        tx.put(&VIEW, K0.to_vec(), primary.to_row());
        coco_governance::recover(tx, &recovery, context.now_ms / 1_000).map_err(|error| refused(&error))?;
        secrets::begin(tx, &vault, &secret, context.txid, context.now_ms).map_err(|error| refused(&error))?;
        Ok(Outcome::default())
    })
}

/// All ledger secrets, once the members' shares have opened those of before the recovery; `None` until then.
pub fn secrets_of_before(disk: &Arc<dyn Disk>, identity: &Identity) -> Result<Option<EntryKeys>, RecoveryError> {
    let (store, _) = public_state(disk, Seqno(u64::MAX))?;
    let mut state = store.snapshot();
    let service = ServiceInfo::read(&mut state)?;
    let own = identity.service.certificate.to_pem();
    if service.is_none_or(|service| service.status != ServiceStatus::Open || service.cert.trim() != own.trim()) {
        return Ok(None);
    }
    let mut keys = identity.service.epochs.clone();
    let Some((first, secret)) = identity.service.epochs.epochs().next() else { return Ok(None) };
    for (first, secret) in secrets::earlier(&mut state, (first, secret.clone()))? {
        keys.add_epoch(first, &secret);
    }
    Ok(keys.is_whole().then_some(keys))
}

/// The parameters of the network, as its ledger has them.
pub fn network(state: &Store) -> Result<Network, RecoveryError> {
    Network::read(&mut state.snapshot())?.ok_or(RecoveryError::NoLedger)
}

/// Public governance as of a transaction, or of the last one that can be read, and what that one wrote.
fn public_state(disk: &Arc<dyn Disk>, until: Seqno) -> Result<(Store, WriteSet), RecoveryError> {
    let store = Store::new();
    let mut last = WriteSet::new();
    for transaction in coco_ledger::transactions(disk.clone(), EntryKeys::new())? {
        // A crash may have torn the end. What is to be trusted was verified before.
        let Ok(transaction) = transaction else { break };
        let seqno = transaction.txid.seqno;
        if seqno > until {
            break;
        }
        let kept = |map: &MapName| map.as_str().starts_with("public:ccf.");
        last = transaction.public.into_iter().filter(|(map, _)| kept(map)).collect();
        store.apply(seqno, &last)?;
        store.commit(seqno);
    }
    Ok((store, last))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use coco_crypto::Certificate;
    use coco_disk::MemoryDisk;

    use super::*;

    /// The ledger's golden folder, in memory, and its service.
    fn golden() -> (MemoryDisk, PublicKey) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ledger/testdata");
        let disk = MemoryDisk::new();
        for entry in std::fs::read_dir(folder.join("ledger")).unwrap() {
            let entry = entry.unwrap();
            disk.replace(&entry.file_name().to_string_lossy(), &std::fs::read(entry.path()).unwrap()).unwrap();
        }
        let certificate = std::fs::read_to_string(folder.join("service_cert.pem")).unwrap();
        (disk, Certificate::from_pem(&certificate).unwrap().public_key().clone())
    }

    fn look_at(disk: &MemoryDisk, service: &PublicKey) -> Result<Recoverable, RecoveryError> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        look(&disk, service)
    }

    /// The file with the newest transactions.
    fn last_file(disk: &MemoryDisk) -> String {
        let names = disk.names().unwrap();
        let chunks = names.iter().filter_map(|name| coco_ledger::ChunkName::parse(name));
        chunks.max_by_key(|chunk| chunk.first).unwrap().to_string()
    }

    #[test]
    fn a_whole_ledger_is_recovered_up_to_its_last_signature() {
        let (disk, service) = golden();
        let found = look_at(&disk, &service).unwrap();
        assert_eq!(found.unsigned, 0);
        assert!(found.committed < found.signed);
        assert_ne!(found.root, Digest::ZERO);
        assert_eq!(found.state.committed(), found.signed.seqno);
    }

    #[test]
    fn a_ledger_that_is_cut_anywhere_at_its_end_is_recovered_up_to_the_signature_before() {
        let (disk, service) = golden();
        let whole = look_at(&disk, &service).unwrap();
        let file = last_file(&disk);
        let bytes = disk.read_all(&file).unwrap();
        let mut seen = BTreeSet::new();
        for len in (8..bytes.len()).rev().step_by(97) {
            disk.replace(&file, &bytes[..len]).unwrap();
            let found = look_at(&disk, &service).unwrap();
            assert!(found.signed < whole.signed, "{len} bytes");
            seen.insert(found.signed);
        }
        assert!(!seen.is_empty());
    }

    #[test]
    fn an_end_that_was_not_written_counts_as_cut_off_although_its_length_is_there() {
        let (disk, service) = golden();
        let whole = look_at(&disk, &service).unwrap();
        let file = last_file(&disk);
        let bytes = disk.read_all(&file).unwrap();
        for len in (8..bytes.len()).rev().step_by(31) {
            let mut torn = bytes.clone();
            torn[len..].fill(0);
            if torn == bytes {
                continue;
            }
            disk.replace(&file, &torn).unwrap();
            let found = look_at(&disk, &service).unwrap_or_else(|error| panic!("zeros from byte {len}: {error}"));
            assert!(found.signed < whole.signed, "{len} bytes");
        }
    }

    #[test]
    fn an_altered_ledger_is_refused_and_the_place_named() {
        let (disk, service) = golden();
        let first = disk.names().unwrap().into_iter().find(|name| name.starts_with("ledger_1-")).unwrap();
        for offset in (60..disk.len(&first).unwrap()).step_by(211) {
            let (disk, _) = golden();
            disk.flip(&first, offset, 1).unwrap();
            match look_at(&disk, &service) {
                Err(RecoveryError::Damaged(damage)) => assert!(damage.to_string().contains("ledger_"), "{damage}"),
                Err(other) => panic!("byte {offset}: {other}"),
                Ok(_) => panic!("byte {offset}: it was taken"),
            }
        }
    }

    #[test]
    fn another_services_ledger_an_empty_folder_and_one_without_its_beginning_are_refused() {
        let (disk, service) = golden();
        let other = coco_crypto::SigningKey::generate(&coco_crypto::SeededCrypto::new(77), coco_crypto::Curve::P384);
        assert!(matches!(look_at(&disk, other.public_key()), Err(RecoveryError::Damaged(_))));
        assert!(look_at(&MemoryDisk::new(), &service).is_err());
        let first = disk.names().unwrap().into_iter().find(|name| name.starts_with("ledger_1-")).unwrap();
        disk.remove(&first).unwrap();
        assert!(matches!(look_at(&disk, &service), Err(RecoveryError::BeginsLate(_))));
    }
}
