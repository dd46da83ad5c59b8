//! One batch: the unit of consensus. Sealed by the primary, checked by backups.
//!
//! ```text
//! entry view.n   entry view.n+1   …   signature entry view.m (may carry the chunk flag)
//! └──────────── leaves n .. m-1 ───┘   signs the root of leaves 0 .. m-1; its own leaf m comes after
//! ```

use coco_crypto::Certificate;
use coco_types::{Digest, ReplicaId, Seqno, TxId, WriteSet};

use crate::entry::{EntryFields, append_entry};
use crate::leaf::leaf_digest;
use crate::signature::SignatureContent;
use crate::tables::COSE_SIGNATURES;
use crate::{Entry, EntryKeys, Error, FLAG_CHUNK_AFTER, Frontier, MerkleTree, Primary};
use crate::{SignatureTransaction, SignatureVerifier, Signer};

/// The first batch of a network opens its view and holds the genesis transactions: before them no signer is known.
const GENESIS: Seqno = Seqno(1);

/// Builds a batch from executed transactions, all in one buffer. Nothing outside changes before [`BatchSealer::finish`]:
/// dropping it leaves no trace.
pub struct BatchSealer {
    keys: EntryKeys,
    primary: Primary,
    first: Seqno,
    bytes: Vec<u8>,
    leaves: Vec<Digest>,
}

/// What [`BatchSealer::finish`] needs to know about the signature transaction.
pub struct Closing<'a> {
    pub signer: &'a Signer,
    /// Unix seconds.
    pub issued_at: u64,
    /// What the primary knows to be committed.
    pub committed: TxId,
    /// The node's endorsed certificate, if it changed since this node last signed.
    pub node_certificate: Option<&'a Certificate>,
    /// The first batch of a view: it names the primary's replica, and holds nothing but the signature transaction (the network's very
    /// first batch holds the genesis too).
    pub new_view: bool,
    /// The chunk ends with this batch.
    pub chunk_ends: bool,
}

/// A batch ready for consensus and for [`LedgerFiles::append`](crate::LedgerFiles::append).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedBatch {
    pub bytes: Vec<u8>,
    pub first: Seqno,
    /// The signature transaction.
    pub last: TxId,
    /// Of leaves 0 .. last - 1.
    pub root: Digest,
}

impl BatchSealer {
    /// `first` must be the seqno after the last one sealed in the ledger: the number of leaves of its tree.
    pub fn new(keys: EntryKeys, primary: Primary, first: Seqno) -> Self {
        Self { keys, primary, first, bytes: Vec::new(), leaves: Vec::new() }
    }

    /// The TxId of the transaction that is added next: claims are salted with it.
    pub fn next_txid(&self) -> TxId {
        TxId::new(self.primary.view, Seqno(self.first.0 + self.leaves.len() as u64))
    }

    /// Bytes sealed so far.
    pub fn sealed_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Transactions added so far.
    pub fn len(&self) -> usize {
        self.leaves.len()
    }

    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// The keys from here on: a rekey takes effect with the transaction after the one that wrote it.
    pub fn set_keys(&mut self, keys: EntryKeys) {
        self.keys = keys;
    }

    /// Seals one transaction. On an error nothing was added.
    pub fn add(&mut self, writes: &WriteSet, claims_digest: Digest) -> Result<TxId, Error> {
        if writes.map(&COSE_SIGNATURES).is_some() {
            let last = self.next_txid();
            return Err(Error::MalformedBatch { last, why: "a signature that is not the ledger's own" });
        }
        self.append(writes, claims_digest, 0)
    }

    /// Adds the leaves to the tree, signs its root, and closes the batch. On an error the tree is as it was.
    pub fn finish(mut self, tree: &mut MerkleTree, closing: &Closing<'_>) -> Result<SealedBatch, Error> {
        let before = tree.leaves();
        if before != self.first.0 {
            return Err(Error::NotContiguous { expected: Seqno(before), found: self.first });
        }
        let last = self.next_txid();
        if closing.new_view && !self.is_empty() && self.first != GENESIS {
            return Err(Error::MalformedBatch { last, why: "a view's first batch holds other transactions" });
        }
        self.leaves.iter().for_each(|leaf| tree.append(*leaf));
        let root = tree.root();
        let content = SignatureContent {
            issued_at: closing.issued_at,
            committed: closing.committed,
            node_certificate: closing.node_certificate,
            new_view: closing.new_view.then_some(self.primary),
        };
        let rows = closing.signer.rows(last, tree.frontier(), &content);
        let flags = if closing.chunk_ends { FLAG_CHUNK_AFTER } else { 0 };
        let sealed = self.append(&rows, Digest::ZERO, flags).and_then(|_| {
            tree.append(*self.leaves.last().expect("the signature transaction was appended"));
            tree.flush()
        });
        if let Err(error) = sealed {
            tree.truncate(before)?;
            return Err(error);
        }
        Ok(SealedBatch { bytes: self.bytes, first: self.first, last, root })
    }

    fn append(&mut self, writes: &WriteSet, claims_digest: Digest, flags: u8) -> Result<TxId, Error> {
        let txid = self.next_txid();
        let key = self.keys.entry_key(txid.seqno, self.primary.replica)?;
        let evidence_digest = self.keys.commit_evidence_digest(txid)?;
        let fields = EntryFields { txid, flags, claims_digest, evidence_digest };
        let range = append_entry(&mut self.bytes, &fields, writes, &key)?;
        let write_set_digest = coco_crypto::sha256(&self.bytes[range]);
        self.leaves.push(leaf_digest(&write_set_digest, &evidence_digest, &claims_digest));
        Ok(txid)
    }
}

/// A batch from another replica: its frame was checked, nothing else.
pub struct Batch<'a> {
    entries: Vec<Entry<'a>>,
    signature: SignatureTransaction,
    primary: Option<Primary>,
}

/// A batch whose root and signatures verify, appended to the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedBatch {
    pub first: Seqno,
    pub last: TxId,
    /// Of leaves 0 .. last - 1.
    pub root: Digest,
}

impl<'a> Batch<'a> {
    /// Checks heads, contiguity, one view, and that it ends with the one signature transaction.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut entries: Vec<Entry<'a>> = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (entry, behind) = Entry::split_first(rest)?;
            if let Some(previous) = entries.last() {
                let (previous, next) = (previous.txid(), entry.txid());
                if next.seqno != previous.seqno.next() {
                    return Err(Error::NotContiguous { expected: previous.seqno.next(), found: next.seqno });
                }
                if next.view != previous.view {
                    return Err(Error::MalformedBatch { last: next, why: "two views" });
                }
            }
            entries.push(entry);
            rest = behind;
        }
        let last = entries.last().ok_or(Error::MalformedEntry { why: "an empty batch" })?;
        let malformed = |why| Error::MalformedBatch { last: last.txid(), why };
        let signature = SignatureTransaction::from_writes(last.txid(), &last.public_writes()?)?
            .ok_or(malformed("it does not end with a signature transaction"))?;
        if entries.iter().rev().skip(1).any(|entry| entry.head().flags != 0) {
            return Err(malformed("a chunk that ends within the batch"));
        }
        let first = entries.first().unwrap_or(last);
        let primary = match Primary::from_writes(first.txid(), &first.public_writes()?)? {
            None if first.txid().seqno == GENESIS => Primary::from_writes(last.txid(), &last.public_writes()?)?,
            primary => primary,
        };
        Ok(Self { entries, signature, primary })
    }

    pub fn first(&self) -> Seqno {
        self.entries.first().expect("a parsed batch is not empty").txid().seqno
    }

    /// The signature transaction's.
    pub fn last(&self) -> TxId {
        self.signature.txid
    }

    /// All entries, the signature transaction's last.
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    pub fn signature(&self) -> &SignatureTransaction {
        &self.signature
    }

    /// Who leads the view, if this is its first batch.
    pub fn primary(&self) -> Option<Primary> {
        self.primary
    }

    /// Appends the batch's leaves to the tree and checks both signatures over the root they give. On an error the tree is
    /// as it was.
    pub fn verify(&self, tree: &mut MerkleTree, verifier: &SignatureVerifier<'_>) -> Result<VerifiedBatch, Error> {
        let before = tree.leaves();
        if before != self.first().0 {
            return Err(Error::NotContiguous { expected: Seqno(before), found: self.first() });
        }
        let verified = self.append_and_verify(tree, verifier);
        if verified.is_err() {
            tree.truncate(before)?;
        }
        verified
    }

    fn append_and_verify(
        &self,
        tree: &mut MerkleTree,
        verifier: &SignatureVerifier<'_>,
    ) -> Result<VerifiedBatch, Error> {
        let (last, others) = self.entries.split_last().expect("a parsed batch is not empty");
        others.iter().for_each(|entry| tree.append(entry.leaf_digest()));
        let root = tree.root();
        verifier.verify(&self.signature, &root)?;
        tree.append(last.leaf_digest());
        tree.flush()?;
        Ok(VerifiedBatch { first: self.first(), last: last.txid(), root })
    }

    /// Appends the batch's leaves. Whether it signs the root that they and all before them give.
    pub fn signs_its_root(&self, tree: &mut Frontier) -> bool {
        let (last, others) = self.entries.split_last().expect("a parsed batch is not empty");
        others.iter().for_each(|entry| tree.append(entry.leaf_digest()));
        let signs = tree.leaves() == last.txid().seqno.0 && tree.root() == self.signature.node.root;
        tree.append(last.leaf_digest());
        signs
    }

    /// All transactions' writes, public and private. Checks seals and commit evidence.
    pub fn open(&self, keys: &EntryKeys, primary: ReplicaId) -> Result<Vec<(TxId, WriteSet)>, Error> {
        let open = |entry: &Entry<'a>| Ok((entry.txid(), self.open_entry(entry, keys, primary)?));
        self.entries.iter().map(open).collect()
    }

    /// One of its transactions' writes. A ledger secret may change within a batch: what a transaction writes about it holds for
    /// the next one.
    pub fn open_entry(&self, entry: &Entry<'a>, keys: &EntryKeys, primary: ReplicaId) -> Result<WriteSet, Error> {
        let (last, txid) = (self.last(), entry.txid());
        let writes = entry.open(keys.entry_key(txid.seqno, primary)?.as_ref())?;
        if entry.evidence_digest() != keys.commit_evidence_digest(txid)? {
            return Err(Error::MalformedBatch { last, why: "another commit evidence than the secret's" });
        }
        if txid != last && writes.map(&COSE_SIGNATURES).is_some() {
            return Err(Error::MalformedBatch { last, why: "a signature transaction within it" });
        }
        Ok(writes)
    }
}
