//! Receipts: offline proof that a transaction is committed in the ledger of a service.
//!
//! A receipt holds the leaf's three parts, the path to a signed root, and the signature. The leaf's commit evidence exists
//! outside the nodes only once the transaction is committed, so that a receipt proves commitment, not mere execution.
//!
//! Two forms: COSE (RFC 9942 with CCF's profile), signed by the service; JSON, in CCF's form, signed by a node.

mod cose;
mod json;

use coco_types::{Digest, TxId};

use crate::{EntryKeys, Error, Leaf, LedgerReader, MerkleReader, PathElement, SignatureTransaction};

pub use cose::{VerifiedReceipt, verify_receipt};
pub use json::{
    JsonReceipt, LeafComponents, ProofElement, SignatureReceipt, verify_json_receipt, verify_json_receipt_of_key,
};

/// A path has one element a level; 2^64 leaves have 64.
const PATH_ELEMENTS_MAX: usize = 64;

/// What both forms are made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    pub txid: TxId,
    pub leaf: Leaf,
    /// From the leaf to the root.
    pub path: Vec<PathElement>,
    /// The signature transaction that covers it.
    pub signature: SignatureTransaction,
}

impl Receipt {
    /// Collects the proof of one transaction. The caller has checked that `signature` covers it (the first one after it)
    /// and is **committed**: the evidence in here must not exist outside before.
    pub fn collect(
        reader: &LedgerReader,
        tree: &MerkleReader,
        keys: &EntryKeys,
        txid: TxId,
        signature: SignatureTransaction,
    ) -> Result<Self, Error> {
        if signature.txid.seqno <= txid.seqno {
            return Err(Error::NotSigned { txid });
        }
        let raw = reader.read(txid.seqno, txid.seqno)?;
        let (entry, _) = crate::Entry::split_first(&raw)?;
        if entry.txid() != txid {
            return Err(Error::NotHeld { seqno: txid.seqno });
        }
        let leaf = Leaf {
            write_set_digest: entry.write_set_digest(),
            commit_evidence: keys.commit_evidence(txid)?,
            claims_digest: entry.claims_digest(),
        };
        let path = tree.path(txid.seqno.0, signature.txid.seqno.0)?;
        let receipt = Self { txid, leaf, path, signature };
        let computed = crate::fold_path(receipt.leaf.digest(), &receipt.path);
        if computed != receipt.root() {
            return Err(Error::RootMismatch { txid: receipt.signature.txid, signed: receipt.root(), computed });
        }
        Ok(receipt)
    }

    pub fn root(&self) -> Digest {
        self.signature.node.root
    }
}

/// Which check of a receipt failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    #[error("not a COSE receipt: {0}")]
    Malformed(&'static str),
    #[error("the receipt is not in deterministic CBOR")]
    NotDeterministic,
    #[error("the receipt's header: {0}")]
    Header(&'static str),
    #[error("the receipt's proof: {0}")]
    Proof(&'static str),
    #[error("the commit evidence is not of the form ce:view.seqno:64 hex digits")]
    Evidence,
    #[error("{txid} cannot be covered by the signature {signed_at}")]
    NotCovered { txid: TxId, signed_at: TxId },
    #[error("the signature does not verify over the proof's root")]
    Signature,
    #[error("the claims are not those of the transaction")]
    Claims,
    #[error("the node's certificate: {0}")]
    NodeCertificate(&'static str),
}

/// The TxId in a commit evidence, whose form is checked to the letter.
fn txid_of_evidence(evidence: &str) -> Result<TxId, ReceiptError> {
    let rest = evidence.strip_prefix("ce:").ok_or(ReceiptError::Evidence)?;
    let (txid, nonce) = rest.split_once(':').ok_or(ReceiptError::Evidence)?;
    let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if nonce.len() != 64 || !nonce.bytes().all(lower_hex) {
        return Err(ReceiptError::Evidence);
    }
    txid.parse().map_err(|_| ReceiptError::Evidence)
}
