//! The node's ledger: files, tree and keys behind one lock, shared by the replica, the consensus's log and the readers of receipts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use coco_consensus::{BatchError, BatchSpan, BatchStore, Membership};
use coco_crypto::{Certificate, Crypto, ExchangeKey, SigningKey, SymmetricKey};
use coco_disk::Disk;
use coco_governance::attestation;
use coco_kv::Snapshot;
use coco_ledger::tables::VIEW;
use coco_ledger::{
    Batch, BatchSealer, ChunkName, Claims, Closing, Container, Earlier, Entry, EntryKeys, LedgerFiles, LedgerReader,
    MerkleReader, MerkleTree, NodeSignature, OpenReport, Primary, SealedBatch, SignatureTransaction, Signer,
    SnapshotHead, SnapshotPlace,
};
use coco_protocol::CommittedTransaction;
use coco_types::{Digest, ReplicaId, Seqno, TxId, View, WriteSet, limits};
use parking_lot::{Mutex, RwLock};

use crate::bulletin::Told;
use crate::epochs::Epochs;
use crate::executor::{ExecutedBatch, ExecutedTransaction};
use crate::identity::Identity;
use crate::service_signing::ServiceSigning;

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(transparent)]
    Ledger(#[from] coco_ledger::Error),
    #[error("the primary of view {0} is not named in the ledger")]
    UnknownPrimary(View),
    #[error(transparent)]
    Secrets(#[from] coco_governance::Error),
}

/// A receipt in both forms, with the claims that its leaf binds.
#[derive(Clone, Debug)]
pub struct ReceiptForms {
    pub cose: Bytes,
    pub json: serde_json::Value,
}

/// What is to be checked of another primary's batch: its signatures over the root that this ledger gives, and whom it admitted.
#[derive(Clone)]
pub struct Signed {
    pub signature: SignatureTransaction,
    pub primary: ReplicaId,
    pub admissions: Vec<Admission>,
}

/// A transaction that records something of nodes, between the state before and after it.
#[derive(Clone)]
pub struct Admission {
    pub writes: Arc<WriteSet>,
    pub before: Snapshot,
    pub after: Snapshot,
}

/// See the module's text.
pub struct NodeLedger {
    disk: Arc<dyn Disk>,
    state: Mutex<State>,
    reader: LedgerReader,
    tree: MerkleReader,
    keys: RwLock<Epochs>,
    /// Until a recovery has the secrets of before it, private parts stay closed.
    public_only: bool,
    exchange: ExchangeKey,
    primaries: RwLock<BTreeMap<View, ReplicaId>>,
    /// With the service's key that the node began with.
    signer: Signer,
    service: RwLock<ServiceSigning>,
    certificate: RwLock<Certificate>,
    chunk_bytes: AtomicU64,
    /// The next batch ends its chunk.
    chunk_ends: AtomicBool,
    /// And this node takes a snapshot at the end of a chunk.
    snapshot_wanted: AtomicBool,
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
}

/// A ledger's files, read through once: what a torn write left is cut off, and the tree is that of the rest.
pub struct OpenedLedger {
    disk: Arc<dyn Disk>,
    files: LedgerFiles,
    tree: MerkleTree,
}

impl OpenedLedger {
    /// `durable`: see [`NodeLedger::open`].
    pub fn open(disk: Arc<dyn Disk>, durable: Seqno) -> Result<Self, LedgerError> {
        let (files, tree, _) = LedgerFiles::open(disk.clone(), durable)?;
        Ok(Self { disk, files, tree })
    }

    /// Where they lie. Whoever else uses them has to go through it: it keeps them open.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub fn last_seqno(&self) -> Seqno {
        self.files.last_txid().seqno
    }
}

struct State {
    files: LedgerFiles,
    tree: MerkleTree,
    /// Sealed here and not yet in the files, oldest first: the tree already has their leaves. They may never arrive, if the lead is
    /// lost before the consensus has written them.
    sealed: VecDeque<TxId>,
    /// This node's certificate is in the ledger since this seqno, as far as this process knows.
    certificate_signed_at: Option<Seqno>,
}

/// Issuer and subject of the service's signatures: fixed for a network.
const ISSUER: &str = "coco";
const SUBJECT: &str = "ledger";

impl NodeLedger {
    /// Opens the folder. `durable` is what the consensus log knows to have been synced.
    pub fn open(
        disk: Arc<dyn Disk>,
        durable: Seqno,
        identity: &Identity,
        crypto: Arc<dyn Crypto>,
        chunk_bytes: u64,
        clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Result<(Arc<Self>, OpenReport), LedgerError> {
        let (files, tree, report) = LedgerFiles::open(disk.clone(), durable)?;
        let opened = OpenedLedger { disk, files, tree };
        Ok((Self::over(opened, identity, crypto, chunk_bytes, clock)?, report))
    }

    /// The same over files that are open already.
    pub fn over(
        opened: OpenedLedger,
        identity: &Identity,
        crypto: Arc<dyn Crypto>,
        chunk_bytes: u64,
        clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    ) -> Result<Arc<Self>, LedgerError> {
        let OpenedLedger { disk, files, tree } = opened;
        let copy = |key: &SigningKey| {
            Arc::new(SigningKey::from_pkcs8_der(&key.to_pkcs8_der()).expect("a key survives its own encoding"))
        };
        let signer = Signer {
            crypto,
            service_key: copy(&identity.service.key),
            node_key: copy(&identity.node_key),
            node_id: identity.node_key.public_key().node_id(),
            issuer: ISSUER.to_owned(),
            subject: SUBJECT.to_owned(),
        };
        let keys = identity.service.epochs.clone();
        let base_primary = LedgerFiles::base_primary(disk.as_ref())?;
        let ledger = Self {
            reader: files.reader(),
            tree: tree.reader(),
            disk,
            state: Mutex::new(State { files, tree, sealed: VecDeque::new(), certificate_signed_at: None }),
            public_only: !keys.is_whole(),
            keys: RwLock::new(Epochs::new(keys)),
            exchange: ExchangeKey::from_scalar(identity.exchange.scalar().clone()),
            primaries: RwLock::new(base_primary.into_iter().map(|one| (one.view, one.replica)).collect()),
            service: RwLock::new(ServiceSigning::new(signer.service_key.clone())),
            signer,
            certificate: RwLock::new(identity.node_certificate.clone()),
            chunk_bytes: AtomicU64::new(chunk_bytes),
            chunk_ends: AtomicBool::new(false),
            snapshot_wanted: AtomicBool::new(false),
            clock,
        };
        Ok(Arc::new(ledger))
    }

    /// The files for whoever goes on with them; `None` if they are still used elsewhere.
    pub fn into_files(self: Arc<Self>) -> Option<OpenedLedger> {
        let Self { disk, state, .. } = Arc::into_inner(self)?;
        let State { files, tree, .. } = state.into_inner();
        let held = files.last_txid().seqno.next().0;
        (tree.leaves() == held).then_some(OpenedLedger { disk, files, tree })
    }

    /// A chunk is cut after the batch that reaches this size: the network's parameter, known once the ledger has been read.
    pub fn set_chunk_bytes(&self, bytes: u64) {
        self.chunk_bytes.store(bytes, Ordering::Relaxed);
    }

    /// As [`NodeLedger::end_chunk`], and this node takes a snapshot there.
    pub fn end_chunk_with_snapshot(&self) {
        self.snapshot_wanted.store(true, Ordering::Relaxed);
        self.end_chunk();
    }

    /// Whether a snapshot was asked for where the chunk ends; asked once.
    pub fn take_snapshot_wanted(&self) -> bool {
        self.snapshot_wanted.swap(false, Ordering::Relaxed)
    }

    /// Ends the chunk with the next batch that is sealed here, whatever its size.
    pub fn end_chunk(&self) {
        self.chunk_ends.store(true, Ordering::Relaxed);
    }

    /// Seals a batch for a view that this replica leads. Follow it by the proposal, or by [`NodeLedger::unseal`].
    pub fn seal(&self, batch: &ExecutedBatch, own: ReplicaId, committed: TxId) -> Result<SealedBatch, LedgerError> {
        let first_of_view = self.primaries.write().insert(batch.view, own).is_none();
        // A service's first view is named by its first transaction.
        let names_view = batch.transactions.first().is_some_and(|first| first.writes.map(&VIEW).is_some());
        let new_view = first_of_view && !names_view && batch.first > Seqno(1);
        let primary = Primary { view: batch.view, replica: own };
        if first_of_view {
            self.forget_sealed(&mut self.state.lock())?;
        }
        let (mut keys, mut fresh, mut rotated) = (self.keys(), Vec::new(), None);
        let mut sealer = BatchSealer::new(keys.clone(), primary, batch.first);
        for transaction in &batch.transactions {
            let claims = claims_digest(&keys, transaction, sealer.next_txid())?;
            sealer.add(&transaction.writes, claims)?;
            if let Some((first, secret)) = self.own_secret(&transaction.writes)? {
                keys.add_epoch(first, &secret);
                fresh.push((first, secret));
                sealer.set_keys(keys.clone());
            }
            rotated = self.own_service_key(&transaction.writes)?.or(rotated);
        }
        let last = Seqno(batch.first.0 + batch.transactions.len() as u64);
        let service_key = rotated.as_ref().map_or_else(|| self.service.read().at(last), |(_, key)| key.clone());
        let signer = Signer { service_key, ..self.signer.clone() };
        let mut state = self.state.lock();
        let certificate = self.certificate.read().clone();
        let certificate_is_known = state.certificate_signed_at.is_some_and(|at| at < batch.first);
        let closing = Closing {
            signer: &signer,
            issued_at: (self.clock)() / 1000,
            committed,
            node_certificate: (!certificate_is_known).then_some(&certificate),
            new_view,
            chunk_ends: self.chunk_ends.swap(false, Ordering::Relaxed)
                || state.files.open_chunk_bytes() + sealer.sealed_bytes() as u64
                    >= self.chunk_bytes.load(Ordering::Relaxed),
        };
        let sealed = sealer.finish(&mut state.tree, &closing)?;
        if !certificate_is_known {
            state.certificate_signed_at = Some(sealed.last.seqno);
        }
        state.sealed.push_back(sealed.last);
        let mut epochs = self.keys.write();
        fresh.iter().for_each(|(first, secret)| epochs.sealed_with(*first, secret));
        rotated.into_iter().for_each(|(first, key)| self.know_service_key(first, key));
        Ok(sealed)
    }

    /// A sealed batch did not get its slot: its leaves leave the tree. Its view is dead.
    pub fn unseal(&self) -> Result<(), LedgerError> {
        Ok(self.forget_sealed(&mut self.state.lock())?)
    }

    fn forget_sealed(&self, state: &mut State) -> Result<(), coco_ledger::Error> {
        state.forget_sealed()?;
        let next = state.files.last_txid().seqno.next();
        self.service.write().drop_from(next);
        self.keys.write().drop_from(next);
        Ok(())
    }

    /// The consensus cut the files: every transaction from here on is gone.
    pub fn truncated(&self, first: Seqno) {
        let mut state = self.state.lock();
        if state.certificate_signed_at.is_some_and(|at| at >= first) {
            state.certificate_signed_at = None;
        }
        self.service.write().drop_from(first);
        self.keys.write().drop_from(first);
    }

    /// What signs in the service's name from this transaction on.
    pub fn know_service_key(&self, first: Seqno, key: Arc<SigningKey>) {
        self.service.write().add(first, key);
    }

    /// This node's certificate was renewed: the next signature shows it.
    pub fn renew_certificate(&self, certificate: Certificate) {
        *self.certificate.write() = certificate;
        self.state.lock().certificate_signed_at = None;
    }

    /// The transactions of a committed batch, private parts opened. The signature transaction's rows are the ledger's own, and are
    /// left out.
    pub fn open_batch(&self, span: BatchSpan) -> Result<Vec<CommittedTransaction>, LedgerError> {
        let bytes = self.reader.read(span.first, span.last)?;
        self.open_parsed(&Batch::parse(&bytes)?)
    }

    /// A batch as it lies in the files.
    pub fn raw_batch(&self, span: BatchSpan) -> Result<Vec<u8>, LedgerError> {
        Ok(self.reader.read(span.first, span.last)?)
    }

    /// The transactions of a batch, and what is to be checked of it.
    pub fn open_signed(&self, span: BatchSpan) -> Result<(Vec<CommittedTransaction>, Signed), LedgerError> {
        let bytes = self.reader.read(span.first, span.last)?;
        let batch = Batch::parse(&bytes)?;
        let signed =
            Signed { signature: batch.signature().clone(), primary: self.primary_of(&batch)?, admissions: Vec::new() };
        Ok((self.open_parsed(&batch)?, signed))
    }

    /// The same of a batch that is read already.
    pub fn open_parsed(&self, batch: &Batch<'_>) -> Result<Vec<CommittedTransaction>, LedgerError> {
        let primary = self.primary_of(batch)?;
        let signature = batch.last();
        let mut keys = self.keys();
        let mut transactions = Vec::with_capacity(batch.entries().len());
        for entry in batch.entries() {
            let txid = entry.txid();
            let writes = match batch.open_entry(entry, &keys, primary) {
                Err(coco_ledger::Error::NoSecret { .. }) if self.public_only => entry.public_writes()?,
                opened => opened?,
            };
            if let Some((first, secret)) = self.own_secret(&writes)? {
                keys.add_epoch(first, &secret);
                self.keys.write().committed(first, &secret);
            }
            if let Some((first, key)) = self.own_service_key(&writes)? {
                self.know_service_key(first, key);
            }
            let writes = if txid == signature { WriteSet::new() } else { writes };
            transactions.push(CommittedTransaction { txid, writes: Arc::new(writes) });
        }
        Ok(transactions)
    }

    /// A new ledger secret in a transaction, if it has a copy for this node.
    fn own_secret(&self, writes: &WriteSet) -> Result<Option<(Seqno, SymmetricKey)>, LedgerError> {
        Ok(coco_governance::secrets::unwrap(writes, self.signer.node_id, &self.exchange)?)
    }

    /// Another key of the service in a transaction, if it has a copy for this node.
    fn own_service_key(&self, writes: &WriteSet) -> Result<Option<(Seqno, Arc<SigningKey>)>, LedgerError> {
        let found = coco_governance::rotation::unwrap(writes, self.signer.node_id, &self.exchange)?;
        Ok(found.map(|(first, key)| (first, Arc::new(key))))
    }

    /// Everything up to here is committed: chunks that lie wholly below become final.
    pub fn committed(&self, last: TxId) -> Result<(), LedgerError> {
        self.state.lock().files.set_committed(last.seqno)?;
        Ok(())
    }

    /// The secrets of all epochs that are known now.
    pub fn keys(&self) -> EntryKeys {
        self.keys.read().all().clone()
    }

    /// The secrets to be kept with the node's sealed state when everything up to `last` is committed.
    pub fn kept_keys(&self, last: Seqno) -> EntryKeys {
        self.keys.read().kept(last)
    }

    /// Where the epoch of what comes behind this transaction begins.
    pub fn epoch_behind(&self, seqno: Seqno) -> Option<Seqno> {
        self.keys.read().all().newest_at(seqno.next())
    }

    /// Private parts of before a recovery are closed.
    pub fn is_public_only(&self) -> bool {
        self.public_only
    }

    /// A chunk ends with this transaction.
    pub fn ends_chunk(&self, seqno: Seqno) -> bool {
        self.reader.ends_chunk(seqno)
    }

    /// How much the ledger has grown since the end of a chunk.
    pub fn bytes_after(&self, seqno: Seqno) -> u64 {
        self.reader.bytes_after(seqno)
    }

    /// The first transaction held here; `None` while there is none.
    pub fn first_seqno(&self) -> Option<Seqno> {
        self.reader.first_seqno()
    }

    /// What the ledger held here follows: 0.0, or the snapshot that it began with.
    pub fn base(&self) -> TxId {
        self.reader.base()
    }

    /// The chunks before the snapshot are there.
    pub fn adopt(&self, earlier: &Earlier) -> Result<(), LedgerError> {
        Ok(self.state.lock().files.adopt(earlier)?)
    }

    /// What a snapshot at the end of this batch says beside the state.
    pub fn snapshot_head(
        &self,
        place: SnapshotPlace,
        membership: &Membership,
        removed: &BTreeSet<ReplicaId>,
    ) -> Result<SnapshotHead, LedgerError> {
        let Membership { voters, voters_outgoing, learners, learners_next } = membership.clone();
        Ok(SnapshotHead {
            place,
            primary: self.primary_of_view(place.txid)?,
            membership: [voters, voters_outgoing, learners, learners_next],
            removed: removed.clone(),
            signature: self.reader.read(place.txid.seqno, place.txid.seqno)?,
        })
    }

    /// From a snapshot.
    pub fn know_primary(&self, primary: Primary) {
        self.primaries.write().insert(primary.view, primary.replica);
    }

    /// Makes what was appended durable. May run on any thread; the lock is not held meanwhile.
    pub fn sync(&self) -> io::Result<()> {
        loop {
            let unsynced = self.state.lock().files.take_unsynced();
            if unsynced.is_empty() {
                return Ok(());
            }
            unsynced.sync(self.disk.as_ref())?;
            self.state.lock().files.synced(&unsynced).map_err(io::Error::other)?;
        }
    }

    pub fn last_seqno(&self) -> Seqno {
        self.last_txid().seqno
    }

    /// For its paths, and to put it right.
    pub fn tree(&self) -> &MerkleReader {
        &self.tree
    }

    pub fn last_txid(&self) -> TxId {
        self.reader.last_txid()
    }

    /// The view of a transaction held here.
    pub fn view_of(&self, seqno: Seqno) -> Option<View> {
        self.reader.txid(seqno).ok().map(|txid| txid.view)
    }

    /// The batch that begins at `first`.
    pub fn batch_from(&self, first: Seqno) -> Result<Option<BatchSpan>, LedgerError> {
        let Some(signature) = self.reader.signature_from(first)? else { return Ok(None) };
        Ok(Some(BatchSpan { first, last: signature.txid.seqno, view: signature.txid.view }))
    }

    /// What the committed transactions behind `after`, up to `until`, say of governance. Empty for those that are in no file here; `None` if
    /// that is too much to read.
    pub fn news(&self, after: Seqno, until: Seqno) -> Result<Option<Told>, LedgerError> {
        let mut told = Vec::new();
        let mut next = after.next();
        let mut read = 0;
        while next <= until
            && let Some(span) = self.batch_from(next)?
        {
            let bytes = self.reader.read(span.first, span.last)?;
            read += bytes.len();
            if read > limits::NEWS_READ_AGAIN_BYTES_MAX {
                return Ok(None);
            }
            for entry in Batch::parse(&bytes)?.entries() {
                let news = coco_governance::news(&entry.public_writes()?);
                if !news.is_empty() {
                    told.push((entry.txid(), news));
                }
            }
            next = span.last.next();
        }
        Ok(Some(told))
    }

    /// The name of the chunk file that should hold a transaction.
    pub fn chunk_of(&self, seqno: Seqno) -> Option<String> {
        let names = self.disk.names().ok()?;
        let chunks = names.iter().filter_map(|name| ChunkName::parse(name));
        let holds = |chunk: &ChunkName| chunk.first <= seqno && chunk.last.is_none_or(|last| last >= seqno);
        chunks.filter(holds).max_by_key(|chunk| chunk.first).map(|chunk| chunk.to_string())
    }

    /// The receipt of a *committed* transaction; `None` for a signature transaction, whose proof is itself.
    pub fn receipt(&self, txid: TxId) -> Result<Option<ReceiptForms>, LedgerError> {
        if self.reader.signature_from(txid.seqno)?.is_some_and(|signature| signature.txid == txid) {
            return Ok(None);
        }
        let Some(signature) = self.reader.signature_from(txid.seqno.next())? else { return Ok(None) };
        let receipt = coco_ledger::receipt::Receipt::collect(&self.reader, &self.tree, &self.keys(), txid, signature)?;
        let json = serde_json::to_value(receipt.to_json(&self.certificate.read(), &[])).unwrap_or_default();
        Ok(Some(ReceiptForms { cose: receipt.to_cose()?.into(), json }))
    }

    /// What a *committed* transaction wrote, private part opened, and its receipt in CCF's JSON form: of a signature transaction itself.
    pub fn past(&self, txid: TxId) -> Result<Option<(WriteSet, serde_json::Value)>, LedgerError> {
        let receipt = match self.receipt(txid)? {
            Some(receipt) => receipt.json,
            None => {
                let Some(signature) = self.signature_at(txid)? else { return Ok(None) };
                serde_json::to_value(coco_ledger::receipt::SignatureReceipt::new(&signature, &self.certificate.read()))
                    .unwrap_or_default()
            }
        };
        let bytes = self.reader.read(txid.seqno, txid.seqno)?;
        let primary = self.primary_of_view(txid)?;
        let (entry, _) = Entry::split_first(&bytes)?;
        Ok(Some((self.keys().open(&entry, primary)?, receipt)))
    }

    /// The node's signature that ends a committed batch.
    pub fn signature_at(&self, txid: TxId) -> Result<Option<NodeSignature>, LedgerError> {
        let signature = self.reader.signature_from(txid.seqno)?.filter(|signature| signature.txid == txid);
        Ok(signature.map(|signature| signature.node))
    }

    /// What the consensus's log keeps its batches in.
    pub fn batch_store(self: &Arc<Self>) -> Box<dyn BatchStore> {
        Box::new(Batches { ledger: self.clone() })
    }

    fn primary_of(&self, batch: &Batch<'_>) -> Result<ReplicaId, LedgerError> {
        if let Some(primary) = batch.primary() {
            self.know_primary(primary);
            return Ok(primary.replica);
        }
        self.primary_of_view(batch.last())
    }

    /// Who leads the view of a transaction held here. If nobody has read the view's first batch yet, it is looked for.
    fn primary_of_view(&self, txid: TxId) -> Result<ReplicaId, LedgerError> {
        if let Some(primary) = self.primaries.read().get(&txid.view) {
            return Ok(*primary);
        }
        let unknown = || LedgerError::UnknownPrimary(txid.view);
        let first = self.reader.first_of_view(txid)?;
        let opening = self.reader.signature_from(first)?.ok_or_else(unknown)?;
        let bytes = self.reader.read(first, opening.txid.seqno)?;
        let primary = Batch::parse(&bytes)?.primary().ok_or_else(unknown)?;
        self.know_primary(primary);
        Ok(primary.replica)
    }
}

fn claims_digest(keys: &EntryKeys, transaction: &ExecutedTransaction, txid: TxId) -> Result<Digest, LedgerError> {
    let Some(claims) = &transaction.claims else { return Ok(Digest::ZERO) };
    let claims = Claims {
        salt: keys.claims_salt(txid)?,
        protocol: claims.protocol.to_owned(),
        kind: claims.kind.to_owned(),
        id: claims.id.to_vec(),
        result: claims.result,
        container: claims.container.map(|(hash, number)| Container { hash, number }),
    };
    Ok(claims.digest())
}

impl State {
    /// Brings the tree back to what the files hold.
    fn forget_sealed(&mut self) -> Result<(), coco_ledger::Error> {
        self.sealed.clear();
        let held = self.files.last_txid().seqno.next().0;
        if self.tree.leaves() > held {
            self.certificate_signed_at = None;
            self.tree.truncate(held)?;
        }
        Ok(())
    }
}

/// [`BatchStore`] over the files. The tree grows with them: on the primary at sealing, on a backup here.
struct Batches {
    ledger: Arc<NodeLedger>,
}

impl BatchStore for Batches {
    fn check(&self, batch: &[u8]) -> Result<BatchSpan, BatchError> {
        let batch = Batch::parse(batch).map_err(|error| BatchError { reason: error.to_string() })?;
        Ok(span_of(&batch))
    }

    fn misrooted(&self, after: Seqno, batches: &[&[u8]]) -> Result<Option<BatchSpan>, BatchError> {
        if batches.is_empty() {
            return Ok(None);
        }
        let failed = |error: coco_ledger::Error| BatchError { reason: error.to_string() };
        let mut frontier = self.ledger.tree.frontier(after.next().0).map_err(failed)?;
        for batch in batches {
            let batch = Batch::parse(batch).map_err(failed)?;
            if !batch.signs_its_root(&mut frontier) {
                return Ok(Some(span_of(&batch)));
            }
        }
        Ok(None)
    }

    /// Whoever turns a primary's clock makes evidence and lists expire, and nodes go without a vote.
    fn untimely(&self, batches: &[&[u8]]) -> Result<Option<BatchSpan>, BatchError> {
        let failed = |error: coco_ledger::Error| BatchError { reason: error.to_string() };
        let now_s = (self.ledger.clock)() / 1000;
        for batch in batches {
            let batch = Batch::parse(batch).map_err(failed)?;
            for entry in batch.entries().iter().filter(|entry| entry.txid() != batch.last()) {
                let writes = entry.public_writes().map_err(failed)?;
                if attestation::judged_at(&writes).any(|at| at.abs_diff(now_s) > limits::JUDGEMENT_SKEW_S) {
                    return Ok(Some(span_of(&batch)));
                }
            }
        }
        Ok(None)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<BatchSpan> {
        let batch = Batch::parse(bytes).map_err(io::Error::other)?;
        let mut state = self.ledger.state.lock();
        // A (view, seqno) is sealed once: what is known by its TxId is known by its content.
        if state.sealed.front() == Some(&batch.last()) {
            state.sealed.pop_front();
        } else {
            self.ledger.forget_sealed(&mut state).map_err(io::Error::other)?;
            append_leaves(&mut state.tree, &batch)?;
        }
        state.files.append(bytes).map_err(io::Error::other)?;
        Ok(span_of(&batch))
    }

    fn read(&self, span: BatchSpan) -> io::Result<Bytes> {
        self.ledger.reader.read(span.first, span.last).map(Bytes::from).map_err(io::Error::other)
    }

    fn truncate_after(&mut self, seqno: Seqno) -> io::Result<()> {
        let mut state = self.ledger.state.lock();
        state.files.truncate_after(seqno).map_err(io::Error::other)?;
        self.ledger.forget_sealed(&mut state).map_err(io::Error::other)
    }

    fn last(&self) -> Seqno {
        self.ledger.last_txid().seqno
    }

    fn sync(&mut self) -> io::Result<()> {
        self.ledger.sync()
    }
}

fn span_of(batch: &Batch<'_>) -> BatchSpan {
    BatchSpan { first: batch.first(), last: batch.last().seqno, view: batch.last().view }
}

/// A backup's own tree must give the root that the primary signed.
fn append_leaves(tree: &mut MerkleTree, batch: &Batch<'_>) -> io::Result<()> {
    let before = tree.leaves();
    let entries = batch.entries();
    for entry in entries {
        if entry.txid() == batch.last() && tree.root() != batch.signature().node.root {
            tree.truncate(before).map_err(io::Error::other)?;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the batch signs another root than its entries give",
            ));
        }
        tree.append(entry.leaf_digest());
    }
    tree.flush().map_err(io::Error::other)
}
