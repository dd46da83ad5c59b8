//! JSON receipts in CCF's form: the node signs the root, the service endorses the node.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use coco_crypto::{Certificate, PublicKey};
use coco_types::{Digest, NodeId, TxId};
use serde::{Deserialize, Serialize};

use super::{PATH_ELEMENTS_MAX, Receipt, ReceiptError, txid_of_evidence};
use crate::{Leaf, NodeSignature, PathElement, fold_path};

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonReceipt {
    pub leaf_components: LeafComponents,
    /// From the leaf to the root.
    pub proof: Vec<ProofElement>,
    /// Base64 of the node's signature over the root, in DER.
    pub signature: String,
    pub node_id: NodeId,
    /// PEM of the signing node's certificate.
    pub cert: String,
    /// Certificates of past services, each signed by its successor; the first one issued the node's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_endorsements: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafComponents {
    pub write_set_digest: Digest,
    pub commit_evidence: String,
    pub claims_digest: Digest,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProofElement {
    Left(Digest),
    Right(Digest),
}

/// What stands for a receipt of a signature transaction, of which nothing is to be proved beside it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SignatureReceipt {
    pub is_signature_transaction: bool,
    /// Base64 of the node's signature over the root, in DER.
    pub signature: String,
    pub root_hex: Digest,
    pub node_id: NodeId,
    /// PEM of the signing node's certificate, if it is at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
}

impl SignatureReceipt {
    /// `certificate` is that of the node which says so.
    pub fn new(signature: &NodeSignature, certificate: &Certificate) -> Self {
        let own = (certificate.public_key().node_id() == signature.node).then(|| certificate.to_pem());
        Self {
            is_signature_transaction: true,
            signature: signature.sig.clone(),
            root_hex: signature.root,
            node_id: signature.node,
            cert: signature.cert.clone().or(own),
        }
    }
}

impl Receipt {
    /// `certificate` is the signing node's, as the service endorsed it when it signed.
    pub fn to_json(&self, certificate: &Certificate, service_endorsements: &[Certificate]) -> JsonReceipt {
        let element = |element: &PathElement| {
            if element.left { ProofElement::Left(element.hash) } else { ProofElement::Right(element.hash) }
        };
        JsonReceipt {
            leaf_components: LeafComponents {
                write_set_digest: self.leaf.write_set_digest,
                commit_evidence: self.leaf.commit_evidence.clone(),
                claims_digest: self.leaf.claims_digest,
            },
            proof: self.path.iter().map(element).collect(),
            signature: self.signature.node.sig.clone(),
            node_id: self.signature.node.node,
            cert: certificate.to_pem(),
            service_endorsements: service_endorsements.iter().map(Certificate::to_pem).collect(),
        }
    }
}

/// Verifies a JSON receipt under the certificate of the service that the caller trusts, and returns what transaction it
/// proves. Certificates' validity in time is not looked at: a receipt outlives them.
pub fn verify_json_receipt(
    receipt: &JsonReceipt,
    service: &Certificate,
    claims: Option<&[u8]>,
) -> Result<TxId, ReceiptError> {
    verify(receipt, claims, |endorsed| endorsed.verify_signed_by(service))
}

/// The same under the key of a past service, which another one has endorsed.
pub fn verify_json_receipt_of_key(
    receipt: &JsonReceipt,
    service: &PublicKey,
    claims: Option<&[u8]>,
) -> Result<TxId, ReceiptError> {
    verify(receipt, claims, |endorsed| endorsed.verify_signed_by_key(service))
}

fn verify(
    receipt: &JsonReceipt,
    claims: Option<&[u8]>,
    is_trusted: impl Fn(&Certificate) -> Result<(), coco_crypto::Error>,
) -> Result<TxId, ReceiptError> {
    let leaf = Leaf {
        write_set_digest: receipt.leaf_components.write_set_digest,
        commit_evidence: receipt.leaf_components.commit_evidence.clone(),
        claims_digest: receipt.leaf_components.claims_digest,
    };
    let txid = txid_of_evidence(&leaf.commit_evidence)?;
    if !(1..=PATH_ELEMENTS_MAX).contains(&receipt.proof.len()) {
        return Err(ReceiptError::Proof("an impossible path length"));
    }
    let element = |element: &ProofElement| match *element {
        ProofElement::Left(hash) => PathElement { left: true, hash },
        ProofElement::Right(hash) => PathElement { left: false, hash },
    };
    let path: Vec<PathElement> = receipt.proof.iter().map(element).collect();
    let root = fold_path(leaf.digest(), &path);
    let certificate = endorsed_certificate(receipt, is_trusted)?;
    let signature = BASE64.decode(&receipt.signature).map_err(|_| ReceiptError::Signature)?;
    certificate.public_key().verify_prehashed(&root, &signature).map_err(|_| ReceiptError::Signature)?;
    match claims {
        Some(claims) if coco_crypto::sha256(claims) != leaf.claims_digest => Err(ReceiptError::Claims),
        _ => Ok(txid),
    }
}

/// The node's certificate, after walking from it over past services to the trusted one.
fn endorsed_certificate(
    receipt: &JsonReceipt,
    is_trusted: impl Fn(&Certificate) -> Result<(), coco_crypto::Error>,
) -> Result<Certificate, ReceiptError> {
    let parse = |pem: &String| Certificate::from_pem(pem).map_err(|_| ReceiptError::NodeCertificate("malformed"));
    let node = parse(&receipt.cert)?;
    if node.node_id() != receipt.node_id {
        return Err(ReceiptError::NodeCertificate("another node's"));
    }
    let not_endorsed = |_| ReceiptError::NodeCertificate("not endorsed by the service");
    let mut endorsed = node.clone();
    for pem in &receipt.service_endorsements {
        let issuer = parse(pem)?;
        endorsed.verify_signed_by(&issuer).map_err(not_endorsed)?;
        endorsed = issuer;
    }
    is_trusted(&endorsed).map_err(not_endorsed)?;
    Ok(node)
}
