//! The leaf of a transaction in the Merkle tree: what a receipt opens.
//!
//! Always the 96-byte form (write set, evidence, claims), so that no leaf can be taken for an inner node (64 bytes).

use coco_crypto::{sha256, sha256_of};
use coco_types::Digest;

/// The three parts of a leaf, as a receipt shows them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// SHA-256 of the whole ledger entry.
    pub write_set_digest: Digest,
    /// The text, which exists outside the nodes only once the transaction is committed.
    pub commit_evidence: String,
    pub claims_digest: Digest,
}

impl Leaf {
    pub fn digest(&self) -> Digest {
        leaf_digest(&self.write_set_digest, &sha256(self.commit_evidence.as_bytes()), &self.claims_digest)
    }
}

pub(crate) fn leaf_digest(write_set: &Digest, evidence: &Digest, claims: &Digest) -> Digest {
    sha256_of(&[write_set.as_bytes(), evidence.as_bytes(), claims.as_bytes()])
}
