//! Offline verification of a whole folder.
//!
//! Everything is checked from the files alone: names and position tables, every entry, every leaf, every root and both
//! signatures over it. Who may sign comes from the ledger itself - the service's certificate and the nodes' endorsed ones -
//! and can be pinned by the caller. With ledger secrets the sealed parts are opened too; without them they are
//! authenticated by the root, not opened.

use std::collections::BTreeMap;
use std::sync::Arc;

use coco_crypto::Certificate;
use coco_disk::Disk;
use coco_types::{Digest, NodeId, Seqno, TxId, WriteSet, limits};
use serde::Deserialize;

use crate::error::disk_error;
use crate::files::{Base, ChunkFrame, EntryScanner, check_follows};
use crate::signature::verify_service_signature;
use crate::tables::{K0, NODES_ENDORSED_CERTIFICATES, NODES_INFO, SERVICE_INFO};
use crate::{Entry, EntryKeys, Error, Frontier, Primary, ServiceKeys, SignatureTransaction, SignatureVerifier};

/// Entries between two calls of the progress function.
const PROGRESS_ENTRIES: u64 = 1_000;

#[derive(Clone, Default)]
pub struct VerifyOptions {
    /// The service identity that the ledger must end with; without it, whatever the ledger itself says. Those before it are asked for
    /// only where the folder begins later than they do.
    pub service: Option<ServiceKeys>,
    /// Opens the sealed parts of the epochs whose secrets are held.
    pub keys: EntryKeys,
    /// A crash may have torn the end of the last chunk: report it instead of failing.
    pub torn_tail_allowed: bool,
}

/// How far a verification has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress<'a> {
    pub file: &'a str,
    pub txid: TxId,
    pub bytes_done: u64,
    pub bytes_total: u64,
}

/// What a folder was found to hold.
#[derive(Clone, Debug, Default)]
pub struct FolderReport {
    pub chunks: usize,
    pub transactions: u64,
    pub signatures: u64,
    /// Transactions whose sealed part was opened.
    pub opened: u64,
    /// The folder begins later than with transaction 1: it is verified behind this signature transaction.
    pub from: Option<TxId>,
    /// The last transaction in the files; after `signed` it is covered by nothing.
    pub last: TxId,
    /// The last signature transaction.
    pub signed: TxId,
    /// What that signature says to be committed. Two ledgers conflict only if they differ at or below this.
    pub committed: TxId,
    /// Every service certificate with the transaction that wrote it, oldest first.
    pub services: Vec<(TxId, Certificate)>,
    /// The end of the last chunk, where it does not decode: file, byte offset and why.
    pub torn: Option<(String, u64, String)>,
}

impl FolderReport {
    /// Whose signatures count where, by the ledger itself; a batch that names another service is signed by that one.
    pub fn service_keys(&self) -> Option<ServiceKeys> {
        let (_, present) = self.services.last()?;
        let changes = self.services.iter().zip(self.services.iter().skip(1));
        let rotated = changes.filter(|((_, before), (_, after))| before.public_key() != after.public_key());
        let earlier = rotated.map(|((_, before), (at, _))| (Seqno(at.seqno.0 - 1), before.public_key().clone()));
        Some(ServiceKeys::new(present.public_key().clone(), earlier.collect()))
    }
}

/// The first thing found wrong, and where.
#[derive(Debug, thiserror::Error)]
#[error("{file}, byte {offset}, after {after}: {source}")]
pub struct Damage {
    pub file: String,
    pub offset: u64,
    /// The last transaction before it.
    pub after: TxId,
    pub source: Box<Error>,
}

/// Verifies a folder. One that begins later than with transaction 1 is verified from its first signature on, or from the snapshot
/// that it began with, under the service that the caller names: who the nodes are, it does not say.
pub fn verify_folder(
    disk: &Arc<dyn Disk>,
    options: &VerifyOptions,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<FolderReport, Damage> {
    let mut audit = Audit::new(options);
    let chunks = audit.begin(disk.as_ref()).map_err(|source| audit.damage_found(source))?;
    let mut total = Progress { file: "", txid: TxId::default(), bytes_done: 0, bytes_total: 0 };
    total.bytes_total = chunks.iter().map(|chunk| chunk.file_bytes).sum();
    for (at, chunk) in chunks.iter().enumerate() {
        let behind = chunks.get(at + 1..).unwrap_or_default();
        // What is behind a chunk that was not synced was not either.
        let may_be_torn = options.torn_tail_allowed && !chunk.complete && behind.iter().all(|chunk| !chunk.complete);
        let place = Place { is_last: behind.is_empty(), may_be_torn };
        audit.chunk(disk, chunk, place, total, progress)?;
        if audit.report.torn.is_some() {
            break;
        }
        total.bytes_done += chunk.file_bytes;
    }
    if audit.resuming && audit.report.transactions > 0 {
        return Err(audit.damage("", 0, Error::NotSigned { txid: audit.last }));
    }
    if let Some(pinned) = &options.service
        && audit.service().map_or(!audit.late, |certificate| certificate.public_key() != pinned.present())
    {
        let source = Error::ServiceSignature { txid: audit.report.signed, why: "not the expected service" };
        return Err(audit.damage("", 0, source));
    }
    Ok(audit.report)
}

/// Of a chunk in its folder.
#[derive(Clone, Copy)]
struct Place {
    is_last: bool,
    /// A crash may have kept its end from the disk.
    may_be_torn: bool,
}

/// What an entry ends with whose own end is not on the disk. A signature ends with eight zeros by itself: it has no private part.
const UNWRITTEN: &[u8] = &[0; 9];

/// Walks the ledger and keeps what is needed to judge the next entry.
struct Audit<'a> {
    options: &'a VerifyOptions,
    frontier: Frontier,
    last: TxId,
    /// The folder begins later than with transaction 1.
    late: bool,
    /// And what its tree is before its first signature is not known.
    resuming: bool,
    primary: Option<Primary>,
    /// Entries of the genesis batch before its primary is known.
    unopened: Vec<Vec<u8>>,
    nodes: BTreeMap<NodeId, Node>,
    report: FolderReport,
}

#[derive(Default)]
struct Node {
    pending: bool,
    certificate: Option<Certificate>,
}

#[derive(Deserialize)]
struct ServiceInfo {
    cert: String,
}

#[derive(Deserialize)]
struct NodeInfo {
    status: String,
}

impl<'a> Audit<'a> {
    fn new(options: &'a VerifyOptions) -> Self {
        Self {
            options,
            frontier: Frontier::new(),
            last: TxId::default(),
            late: false,
            resuming: false,
            primary: None,
            unopened: Vec::new(),
            nodes: BTreeMap::new(),
            report: FolderReport::default(),
        }
    }

    /// The chunks to be verified, and where they begin.
    fn begin(&mut self, disk: &dyn Disk) -> Result<Vec<ChunkFrame>, Error> {
        let all = if self.options.torn_tail_allowed { ChunkFrame::all_as_left } else { ChunkFrame::all };
        let mut chunks = all(disk)?;
        if let Some(base) = Base::of(disk)? {
            chunks.retain(|chunk| chunk.name.first > base.txid.seqno);
            (self.late, self.last, self.frontier) = (true, base.txid, base.frontier);
            self.report.from = Some(base.txid);
        } else if let Some(first) = chunks.first().map(|chunk| chunk.name.first).filter(|first| *first > Seqno(1)) {
            (self.late, self.resuming) = (true, true);
            self.last.seqno = Seqno(first.0 - 1);
        }
        Ok(chunks)
    }

    fn damage(&self, file: &str, offset: u64, source: Error) -> Damage {
        Damage { file: file.to_owned(), offset, after: self.last, source: Box::new(source) }
    }

    /// Before any entry was looked at: the error says where.
    fn damage_found(&self, source: Error) -> Damage {
        let (file, offset) = match &source {
            Error::Damaged { file, offset, .. } => (file.clone(), *offset),
            Error::Disk { file, .. } => (file.clone(), 0),
            _ => Default::default(),
        };
        self.damage(&file, offset, source)
    }

    fn service(&self) -> Option<&Certificate> {
        self.report.services.last().map(|(_, certificate)| certificate)
    }

    fn chunk(
        &mut self,
        disk: &Arc<dyn Disk>,
        chunk: &ChunkFrame,
        place: Place,
        mut total: Progress<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), Damage> {
        if chunk.name.first != self.last.seqno.next() {
            let source = Error::NotContiguous { expected: self.last.seqno.next(), found: chunk.name.first };
            return Err(self.damage(&chunk.file, 0, source));
        }
        let bytes_before = total.bytes_done;
        let mut scanner = EntryScanner::of_chunk(Arc::clone(disk), &chunk.file, chunk.end);
        let mut table: Vec<u8> = Vec::new();
        let mut ended = false;
        loop {
            let offset = scanner.offset();
            let entry = match scanner.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(error) if place.may_be_torn => {
                    self.report.torn = Some((chunk.file.clone(), offset, error.to_string()));
                    break;
                }
                Err(error) => return Err(self.damage(&chunk.file, offset, error)),
            };
            match self.entry(&entry) {
                Ok(()) => ended = entry.head().flags != 0,
                // Of what was written last the end may lack, and what was written behind that be there.
                Err(error) if place.may_be_torn && entry.raw().ends_with(UNWRITTEN) => {
                    self.report.torn = Some((chunk.file.clone(), offset, error.to_string()));
                    ended = false;
                    break;
                }
                Err(source) => return Err(self.damage(&chunk.file, offset, source)),
            }
            if chunk.complete {
                let position = u32::try_from(offset).unwrap_or(u32::MAX);
                table.extend_from_slice(&position.to_le_bytes());
            }
            if self.report.transactions.is_multiple_of(PROGRESS_ENTRIES) {
                total.bytes_done = bytes_before + offset;
                progress(Progress { file: &chunk.file, txid: self.last, ..total });
            }
        }
        if place.may_be_torn && !place.is_last && !ended && self.report.torn.is_none() {
            self.report.torn = Some((chunk.file.clone(), chunk.end, "the chunk does not go on".to_owned()));
        }
        // Behind the entry that ends it, a chunk has its position table and nothing else.
        if scanner.offset() != chunk.end && !place.may_be_torn {
            let source = Error::MalformedEntry { why: "behind the entry that ends the chunk" };
            return Err(self.damage(&chunk.file, scanner.offset(), source));
        }
        self.check_chunk_end(disk.as_ref(), chunk, &table, place, ended)
            .map_err(|source| self.damage(&chunk.file, chunk.end, source))?;
        self.report.chunks += 1;
        progress(Progress { file: &chunk.file, txid: self.last, bytes_done: bytes_before + chunk.file_bytes, ..total });
        Ok(())
    }

    fn check_chunk_end(
        &self,
        disk: &dyn Disk,
        chunk: &ChunkFrame,
        table: &[u8],
        place: Place,
        ended: bool,
    ) -> Result<(), Error> {
        let file = &chunk.file;
        let damaged = |why: &str| Error::Damaged {
            file: file.clone(),
            offset: chunk.end,
            after: self.last.seqno,
            why: why.to_owned(),
        };
        let goes_on = !place.is_last && self.report.torn.is_none();
        if (chunk.complete || goes_on) && (!ended || self.report.signed != self.last) {
            return Err(damaged("the chunk does not end with a signature that ends it"));
        }
        if !chunk.complete {
            return Ok(());
        }
        if chunk.name.last.is_none() && !self.options.torn_tail_allowed {
            return Err(damaged("an open chunk with a position table: its completion was interrupted"));
        }
        if chunk.name.last.is_some_and(|last| last != self.last.seqno) {
            return Err(damaged("the last entry is not the one in the file's name"));
        }
        let len = usize::try_from(chunk.file_bytes - chunk.end).map_err(|_| damaged("an impossible size"))?;
        if len != table.len() || disk.read(file, chunk.end, len).map_err(disk_error(file))? != table {
            return Err(damaged("the position table does not give the entries' positions"));
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let txid = entry.txid();
        if self.resuming && self.report.transactions == 0 {
            self.last.view = txid.view;
        }
        check_follows(self.last, txid)?;
        let writes = entry.public_writes()?;
        let signature = SignatureTransaction::from_writes(txid, &writes)?;
        match Primary::from_writes(txid, &writes)? {
            primary @ Some(_) if self.last.view != txid.view || self.primary.is_none() => self.primary = primary,
            Some(primary) if self.primary != Some(primary) => {
                return Err(Error::MalformedSignature { txid, why: "a second primary in one view" });
            }
            None if self.last.view != txid.view && txid.seqno != Seqno(1) => {
                return Err(Error::UnknownPrimary { view: txid.view.0 });
            }
            _ => (),
        }
        self.open(entry)?;
        if let Some(signature) = signature {
            if std::mem::take(&mut self.resuming) {
                self.frontier = signature.frontier.clone();
                self.report.from = Some(txid);
            }
            self.signature(&signature, &self.frontier.root())?;
        } else if entry.head().flags != 0 {
            return Err(Error::MalformedEntry { why: "it ends a chunk without a signature" });
        }
        self.governance(txid, &writes)?;
        if !self.resuming {
            self.frontier.append(entry.leaf_digest());
        }
        self.last = txid;
        (self.report.last, self.report.transactions) = (txid, self.report.transactions + 1);
        Ok(())
    }

    /// Opens the sealed part, if its secret is held.
    fn open(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let txid = entry.txid();
        let Some(primary) = self.primary else {
            // Who leads the view that a late folder begins within is not in it.
            return if self.late { Ok(()) } else { self.open_later(entry) };
        };
        for raw in std::mem::take(&mut self.unopened) {
            let (earlier, _) = Entry::split_first(&raw)?;
            self.open(&earlier)?;
        }
        let key = match self.options.keys.entry_key(txid.seqno, primary.replica) {
            Ok(key) => key,
            Err(Error::NoSecret { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        entry.open(&key)?;
        if self.options.keys.commit_evidence_digest(txid)? != entry.evidence_digest() {
            return Err(Error::NotAuthentic { txid });
        }
        self.report.opened += 1;
        Ok(())
    }

    /// A genesis batch may name its primary only in its signature.
    fn open_later(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let bytes = self.unopened.iter().map(Vec::len).sum::<usize>() + entry.raw().len();
        if bytes as u64 > limits::ENTRY_BYTES_MAX {
            return Err(Error::UnknownPrimary { view: entry.txid().view.0 });
        }
        self.unopened.push(entry.raw().to_vec());
        Ok(())
    }

    fn signature(&mut self, signature: &SignatureTransaction, root: &Digest) -> Result<(), Error> {
        let txid = signature.txid;
        let pinned = self.options.service.as_ref().filter(|_| self.late).map(|keys| keys.at(txid.seqno));
        let service = self.service().map(Certificate::public_key).or(pinned);
        let service = service.ok_or(Error::ServiceSignature {
            txid,
            why: if self.late {
                "the folder begins later: name the service"
            } else {
                "no service certificate before it"
            },
        })?;
        let bad_node = |why| Error::NodeSignature { txid, why };
        let node = self.nodes.get(&signature.node.node).filter(|node| !node.pending);
        match node.map(|node| node.certificate.as_ref()) {
            Some(Some(certificate)) => {
                SignatureVerifier { service, node: certificate.public_key() }.verify(signature, root)?;
            }
            // The node was admitted before the folder begins.
            _ if self.late => verify_service_signature(&signature.cose, service, txid, root)?,
            Some(None) => return Err(bad_node("the node has no endorsed certificate")),
            None => return Err(bad_node("the node is not trusted")),
        }
        if signature.committed < self.report.committed {
            return Err(Error::MalformedSignature { txid, why: "less is committed than before" });
        }
        self.report.signatures += 1;
        (self.report.signed, self.report.committed) = (txid, signature.committed);
        Ok(())
    }

    /// Follows the service's certificate and the nodes that may sign.
    fn governance(&mut self, txid: TxId, writes: &WriteSet) -> Result<(), Error> {
        let malformed = |why| Error::MalformedSignature { txid, why };
        if let Some(info) = writes.get(&SERVICE_INFO, &K0).flatten() {
            let info: ServiceInfo = serde_json::from_slice(info).map_err(|_| malformed("service info"))?;
            let certificate = Certificate::from_pem(&info.cert).map_err(|_| malformed("service certificate"))?;
            if self.service() != Some(&certificate) {
                self.report.services.push((txid, certificate));
            }
        }
        for (id, info) in writes.map(&NODES_INFO).into_iter().flatten() {
            let id = node_id(id).ok_or(malformed("node id"))?;
            let Some(info) = info else {
                self.nodes.remove(&id);
                continue;
            };
            let info: NodeInfo = serde_json::from_slice(info).map_err(|_| malformed("node info"))?;
            self.nodes.entry(id).or_default().pending = info.status == "Pending";
        }
        for (id, pem) in writes.map(&NODES_ENDORSED_CERTIFICATES).into_iter().flatten() {
            let id = node_id(id).ok_or(malformed("node id"))?;
            let Some(pem) = pem else {
                self.nodes.entry(id).and_modify(|node| node.certificate = None);
                continue;
            };
            if self.late && self.service().is_none() {
                continue;
            }
            let certificate = Some(self.endorsed(id, pem).map_err(malformed)?);
            // A certificate alone makes no node: it may not sign before its info says that it is trusted.
            self.nodes.entry(id).or_insert(Node { pending: true, certificate: None }).certificate = certificate;
        }
        Ok(())
    }

    fn endorsed(&self, id: NodeId, pem: &[u8]) -> Result<Certificate, &'static str> {
        let pem = std::str::from_utf8(pem).map_err(|_| "node certificate")?;
        let certificate = Certificate::from_pem(pem).map_err(|_| "node certificate")?;
        if certificate.node_id() != id {
            return Err("another node's certificate");
        }
        let service = self.service().ok_or("a node certificate before the service's")?;
        certificate.verify_signed_by(service).map_err(|_| "a node certificate that the service did not issue")?;
        Ok(certificate)
    }
}

/// Node ids are keys as hex text.
fn node_id(key: &[u8]) -> Option<NodeId> {
    std::str::from_utf8(key).ok()?.parse().ok()
}
