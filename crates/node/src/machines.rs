//! A node's machines, put together over a disk: by the shell, and by the simulator.

use std::sync::Arc;

use coco_consensus::{Config, Consensus, StartPoint, Written};
use coco_crypto::{Crypto, Domain, SymmetricKey, hkdf_sha256};
use coco_disk::Disk;
use coco_governance::rotation;
use coco_kv::Store;
use coco_ledger::{HistoryKeys, HistoryStore, SnapshotHead};
use coco_protocol::{CommittedBatch, CommittedTransaction, Protocol};
use coco_types::{ReplicaId, Seqno, TxId};

use crate::archive::{self, Archive, ArchiveParts, Restored, SnapshotLimits, SnapshotPlan};
use crate::executor::{BatchLimits, Executor, Random};
use crate::front::{Front, Visible};
use crate::history::NodeHistory;
use crate::identity::Identity;
use crate::ledger::{LedgerError, NodeLedger, OpenedLedger};
use crate::replica::Replica;
use crate::reuse;

/// What machines are made of.
pub struct Parts<'a> {
    pub identity: &'a Identity,
    /// The ledger's chunk files and tree.
    pub ledger_disk: Arc<dyn Disk>,
    /// The same, if a node that comes back has read them already.
    pub opened: Option<OpenedLedger>,
    /// The ledger was checked behind this snapshot, and not before it: see [`crate::reuse`].
    pub checked_behind: Option<SnapshotHead>,
    /// The consensus's log.
    pub log_disk: Arc<dyn Disk>,
    pub snapshot_disk: Arc<dyn Disk>,
    pub history: Arc<dyn HistoryStore>,
    /// This node's own secret for its history store.
    pub history_secret: &'a SymmetricKey,
    pub protocols: Vec<Arc<dyn Protocol>>,
    pub crypto: Arc<dyn Crypto>,
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub consensus: Config,
    pub batches: BatchLimits,
    pub chunk_bytes: u64,
    pub snapshots: SnapshotLimits,
    /// The network's very first voters.
    pub founders: Vec<ReplicaId>,
}

/// See the module's text.
pub struct Machines {
    pub replica: Replica,
    pub executor: Executor,
    pub front: Front,
    pub archive: Archive,
    pub visible: Arc<Visible>,
    pub ledger: Arc<NodeLedger>,
    pub history: Arc<NodeHistory>,
    pub store: Store,
    /// Every ledger that this node's code knows, hosted or not.
    pub protocols: Vec<Arc<dyn Protocol>>,
    /// The snapshot that this start began with; 0.0 if it began with the first transaction.
    pub restored_from: TxId,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("consensus: {0}")]
    Consensus(#[from] coco_consensus::Error),
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerError),
    #[error("{chunk} is damaged: {source}")]
    Damaged { chunk: String, source: LedgerError },
    #[error("store: {0}")]
    Store(#[from] coco_kv::Error),
    #[error("disk: {0}")]
    Disk(#[from] std::io::Error),
    #[error("{0}")]
    History(#[from] coco_protocol::HistoryError),
    #[error("derived data: {0}")]
    Derived(#[from] coco_protocol::Integrity),
    #[error(transparent)]
    Governance(#[from] coco_governance::Error),
    #[error("archive: {0}")]
    Archive(String),
    #[error(
        "the ledger begins behind {0}, and no good snapshot leads there: move the folder away and let the node join afresh"
    )]
    NoState(TxId),
    #[error(
        "the ledger holds transactions up to {0}, but its consensus log is missing: the folder was damaged; nothing was changed"
    )]
    LogMissing(Seqno),
    #[error(
        "the ledger ends at {found}, but the consensus log has applied {expected}: the folder was damaged or mixed up"
    )]
    LedgerBehindLog { expected: Seqno, found: Seqno },
}

const RANDOM_DOMAIN: Domain = Domain::new("coco.executor.random.v1");

impl Machines {
    /// Opens a node's folder. A folder without a log is a new replica: the first of its network, or a joiner.
    pub fn open(parts: Parts<'_>) -> Result<Self, OpenError> {
        let service = &parts.identity.service.keys();
        let begins_anew = install_received(&parts.snapshot_disk, &parts.ledger_disk, &parts.log_disk, parts.identity)?;
        let durable = coco_consensus::durable_seqno(parts.log_disk.as_ref())?.unwrap_or(Seqno::ZERO);
        let opened = match parts.opened.filter(|opened| !begins_anew && opened.last_seqno() >= durable) {
            Some(opened) => opened,
            None => OpenedLedger::open(parts.ledger_disk, durable)?,
        };
        let ledger_disk = opened.disk().clone();
        let ledger = NodeLedger::over(opened, parts.identity, parts.crypto.clone(), parts.chunk_bytes, parts.clock)?;
        let consensus = open_consensus(&parts.log_disk, &ledger, parts.consensus, &parts.crypto, parts.founders)?;
        let history_secret = parts.history_secret;
        let history =
            Arc::new(NodeHistory::open(HistoryKeys::new(history_secret, parts.crypto.as_ref()), parts.history)?);
        let applied = consensus.seqno_at(consensus.applied_index()).unwrap_or(Seqno::ZERO);
        let Restored { store, at } = archive::restore(&parts.snapshot_disk, &ledger, service, applied)?;
        if at.seqno < ledger.base().seqno {
            return Err(OpenError::NoState(ledger.base()));
        }
        if let Some(anchor) = &parts.checked_behind
            && at.seqno.min(history.watermark().seqno) < anchor.place.txid.seqno
        {
            reuse::check_before(&ledger, service, anchor, &|| true)?;
        }
        feed_history(&ledger, &history, at)?;
        let last = replay(&ledger, &store, &history, at, applied)?;
        let archive = Archive::open(ArchiveParts {
            snapshots: parts.snapshot_disk,
            ledger_disk,
            ledger: ledger.clone(),
            history: history.clone(),
            crypto: parts.crypto.clone(),
            service: service.clone(),
            piece_bytes: parts.snapshots.piece_bytes,
        })
        .map_err(OpenError::Archive)?;
        let newest = archive.kept().last().map_or((Seqno::ZERO, 0), |kept| (kept.head.place.txid.seqno, kept.bytes));
        let plan = SnapshotPlan::new(parts.snapshots, newest.0, newest.1);
        let state = store.snapshot();
        for protocol in &parts.protocols {
            protocol.rebuild(&state)?;
        }
        let node = parts.identity.node_key.public_key().node_id();
        if let Some((first, key)) = rotation::own(&mut store.snapshot(), node, &parts.identity.exchange)? {
            ledger.know_service_key(first, Arc::new(key));
        }
        let visible = Arc::new(Visible::new(last, &store));
        let random = executor_random(&parts.crypto);
        let executor = Executor::new(store.clone(), &parts.protocols, random, parts.batches);
        let front = Front::new(parts.protocols.clone(), history.clone(), visible.clone());
        let mut replica = Replica::new(parts.identity.replica, consensus, ledger.clone(), store.clone(), last, plan);
        if let Some(kept) = archive.kept().iter().rfind(|kept| kept.head.place.txid.seqno <= applied) {
            replica.offer(kept);
        }
        let protocols = parts.protocols;
        Ok(Self { replica, executor, front, archive, visible, ledger, history, store, protocols, restored_from: at })
    }
}

/// Begins anew at a snapshot that was received before the process ended, if one was. Whether it did.
pub fn install_received(
    snapshots: &Arc<dyn Disk>,
    ledger: &Arc<dyn Disk>,
    log: &Arc<dyn Disk>,
    identity: &Identity,
) -> Result<bool, OpenError> {
    archive::install(snapshots, ledger, log, &identity.service.epochs, &identity.service.keys(), identity.replica)
}

/// The same when it has just been received, by a replica that may go on as it was: of a log that stood as `before`, gives where it stands now.
pub fn begin_anew(
    snapshots: &Arc<dyn Disk>,
    ledger: &Arc<dyn Disk>,
    log: &Arc<dyn Disk>,
    identity: &Identity,
    before: Option<&Written>,
) -> Result<Option<Written>, OpenError> {
    let stands = || Written::on(log, Box::new(archive::Unread(Seqno::ZERO)));
    let is_same = before.is_some() && stands()?.as_ref() == before;
    install_received(snapshots, ledger, log, identity)?;
    if is_same { Ok(stands()?) } else { Ok(None) }
}

fn open_consensus(
    disk: &Arc<dyn Disk>,
    ledger: &Arc<NodeLedger>,
    config: Config,
    crypto: &Arc<dyn Crypto>,
    founders: Vec<ReplicaId>,
) -> Result<Consensus, OpenError> {
    let timeouts = crypto.clone();
    let random = Box::new(move || {
        let mut bytes = [0; 8];
        timeouts.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    });
    let batches = ledger.batch_store();
    if disk.exists(coco_consensus::LOG_FILE)? {
        return Ok(Consensus::open(config, disk.clone(), batches, random)?);
    }
    // A log that begins anew would cut the ledger back to its beginning.
    if ledger.last_seqno() > Seqno::ZERO {
        return Err(OpenError::LogMissing(ledger.last_seqno()));
    }
    Ok(Consensus::create(config, StartPoint::genesis(founders), disk.clone(), batches, random)?)
}

/// The records that the history lacks of what the state holds already: of a lost history, everything.
fn feed_history(ledger: &NodeLedger, history: &NodeHistory, until: TxId) -> Result<(), OpenError> {
    let mut last = history.watermark();
    let base = ledger.base();
    if last.seqno < base.seqno {
        history.expect_earlier();
        last = base;
    }
    while last.seqno < until.seqno {
        let transactions;
        (last, transactions) = read_batch(ledger, last, until.seqno)?;
        history.record_batch(&CommittedBatch { transactions });
        history.write_out()?;
    }
    Ok(())
}

/// Reads what is committed behind `from` into the store; history records only behind the history's watermark.
fn replay(
    ledger: &NodeLedger,
    store: &Store,
    history: &NodeHistory,
    from: TxId,
    applied: Seqno,
) -> Result<TxId, OpenError> {
    let watermark = history.watermark();
    let mut last = from;
    while last.seqno < applied {
        let transactions;
        (last, transactions) = read_batch(ledger, last, applied)?;
        let run: Vec<_> =
            transactions.iter().map(|transaction| (transaction.txid.seqno, &*transaction.writes)).collect();
        store.follow(&run)?;
        if last.seqno > watermark.seqno {
            history.record_batch(&CommittedBatch { transactions });
            history.write_out()?;
        }
    }
    ledger.committed(last)?;
    Ok(last)
}

/// The batch behind `last`, of those up to `until`.
pub fn read_batch(
    ledger: &NodeLedger,
    last: TxId,
    until: Seqno,
) -> Result<(TxId, Vec<CommittedTransaction>), OpenError> {
    let next = last.seqno.next();
    let damaged = |source| match ledger.chunk_of(next) {
        Some(chunk) => OpenError::Damaged { chunk, source },
        None => OpenError::Ledger(source),
    };
    let span = ledger.batch_from(next).map_err(damaged)?;
    let span = span.ok_or(OpenError::LedgerBehindLog { expected: until, found: last.seqno })?;
    let transactions = ledger.open_batch(span).map_err(damaged)?;
    Ok((TxId::new(span.view, span.last), transactions))
}

/// The executor's randomness: a stream of its own, so that nothing it hands out tells about the node's keys.
fn executor_random(crypto: &Arc<dyn Crypto>) -> Random {
    let seed = SymmetricKey::generate(crypto.as_ref());
    let counter = std::sync::atomic::AtomicU64::new(0);
    Arc::new(move |bytes: &mut [u8]| {
        for chunk in bytes.chunks_mut(32) {
            let number = counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let block = hkdf_sha256(&seed, RANDOM_DOMAIN, &number.to_le_bytes());
            chunk.copy_from_slice(&block.expose()[..chunk.len()]);
        }
    })
}

#[cfg(test)]
mod tests {
    use coco_crypto::SeededCrypto;
    use coco_disk::MemoryDisk;
    use coco_types::View;

    use super::*;
    use crate::executor::ExecutedBatch;
    use crate::fixture::identity;

    #[test]
    fn a_ledger_whose_consensus_log_is_missing_is_left_as_it_is() {
        let seeded = SeededCrypto::new(1);
        let identity = identity(&seeded);
        let crypto: Arc<dyn Crypto> = Arc::new(seeded);
        let (ledger, _) = NodeLedger::open(
            Arc::new(MemoryDisk::new()),
            Seqno::ZERO,
            &identity,
            crypto.clone(),
            1 << 20,
            Arc::new(|| 0),
        )
        .unwrap();
        let batch = ExecutedBatch { view: View(1), first: Seqno(1), transactions: Vec::new() };
        let sealed = ledger.seal(&batch, ReplicaId(1), TxId::default()).unwrap();
        ledger.batch_store().append(&sealed.bytes).unwrap();
        let log_disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let founders = vec![ReplicaId(1)];
        let opened = open_consensus(&log_disk, &ledger, Config::new(ReplicaId(1)), &crypto, founders);
        assert!(matches!(opened, Err(OpenError::LogMissing(Seqno(1)))));
        assert_eq!(ledger.last_seqno(), Seqno(1));
    }
}
