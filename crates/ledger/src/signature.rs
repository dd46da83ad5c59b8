//! The signature transaction that ends each batch: the service's and the node's signature over the Merkle root.
//!
//! Both cover the same root, that of leaves 0 .. seqno - 1; the signature transaction's own leaf comes after. A row that
//! is there is whole: a half-filled one would verify less than it seems to.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use coco_crypto::{Certificate, Crypto, PublicKey, SigningKey, cbor, cose};
use coco_types::{Digest, MapName, NodeId, ReplicaId, Seqno, TxId, View, WriteSet};
use minicbor::{Decoder, Encoder};
use serde::{Deserialize, Serialize};

use crate::tables::{COMMITTED, COSE_SIGNATURES, K0, SIGNATURES, TREE, VIEW};
use crate::{Error, Frontier};

const LABEL_VDS: i64 = 395;
/// CCF_LEDGER_SHA256.
const VDS: i64 = 2;
const LABEL_CCF: &str = "ccf.v1";
const LABEL_TXID: &str = "txid";
const CWT_ISSUER: i64 = 1;
const CWT_SUBJECT: i64 = 2;
const CWT_ISSUED_AT: i64 = 6;

/// The node's signature as JSON, in CCF's form; the last three fields are CCF's and always zero.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSignature {
    pub node: NodeId,
    pub seqno: Seqno,
    pub view: View,
    pub root: Digest,
    /// Base64 of the ECDSA signature in DER.
    pub sig: String,
    /// PEM, when it changed since this node last signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    pub commit_seqno: u64,
    pub commit_view: u64,
    pub hashed_nonce: Digest,
}

/// Who leads a view: its entries are sealed under keys derived for this replica. The first transaction of each view writes
/// it to `public:ccf.gov.coco.view`, so that a reader can derive the keys of what follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Primary {
    pub view: View,
    pub replica: ReplicaId,
}

impl Primary {
    /// The value of the row. A genesis transaction writes it itself; otherwise the view's first signature does.
    pub fn to_row(self) -> Vec<u8> {
        to_json(&self)
    }

    /// The row in these writes, if they have it.
    pub fn from_writes(txid: TxId, writes: &WriteSet) -> Result<Option<Self>, Error> {
        let malformed = || Error::MalformedSignature { txid, why: "view row" };
        let Some(row) = row(writes, &VIEW) else { return Ok(None) };
        let primary: Self = serde_json::from_slice(row).map_err(|_| malformed())?;
        if primary.view == txid.view { Ok(Some(primary)) } else { Err(malformed()) }
    }
}

/// Who signs, and in whose name.
#[derive(Clone)]
pub struct Signer {
    pub crypto: Arc<dyn Crypto>,
    pub service_key: Arc<SigningKey>,
    /// P-256.
    pub node_key: Arc<SigningKey>,
    pub node_id: NodeId,
    /// Fixed when the service started.
    pub issuer: String,
    pub subject: String,
}

impl Signer {
    /// The rows of a signature transaction.
    pub(crate) fn rows(&self, txid: TxId, tree: &Frontier, content: &SignatureContent<'_>) -> WriteSet {
        let root = tree.root();
        let protected = self.protected(txid, content.issued_at);
        let signature = cose::sign(self.crypto.as_ref(), &self.service_key, &protected, root.as_bytes());
        let message = cose::Sign1 { protected: &protected, unprotected: &[0xa0], payload: None, signature: &signature };
        let node_signature = NodeSignature {
            node: self.node_id,
            seqno: txid.seqno,
            view: txid.view,
            root,
            sig: BASE64.encode(self.node_key.sign_prehashed(self.crypto.as_ref(), &root).der()),
            cert: content.node_certificate.map(Certificate::to_pem),
            commit_seqno: 0,
            commit_view: 0,
            hashed_nonce: Digest::ZERO,
        };
        let mut writes = WriteSet::new();
        let mut insert = |map: &MapName, value: Vec<u8>| {
            writes.insert(map, Bytes::from_static(&K0), Some(Bytes::from(value)));
        };
        insert(&COSE_SIGNATURES, to_json(&BASE64.encode(message.encode())));
        insert(&SIGNATURES, to_json(&node_signature));
        insert(&TREE, tree.encode());
        insert(&COMMITTED, to_json(&content.committed));
        if let Some(primary) = content.new_view {
            insert(&VIEW, primary.to_row());
        }
        writes
    }

    fn protected(&self, txid: TxId, issued_at: u64) -> Vec<u8> {
        let kid = self.service_key.public_key().id().to_string();
        let mut bytes = Vec::with_capacity(192);
        let mut e = Encoder::new(&mut bytes);
        let ok = "a vector takes any bytes";
        e.map(5).expect(ok);
        e.i64(cose::LABEL_ALG).expect(ok).i64(cose::algorithm(self.service_key.curve())).expect(ok);
        e.i64(cose::LABEL_KID).expect(ok).bytes(kid.as_bytes()).expect(ok);
        e.i64(cose::LABEL_CWT_CLAIMS).expect(ok).map(3).expect(ok);
        e.i64(CWT_ISSUER).expect(ok).str(&self.issuer).expect(ok);
        e.i64(CWT_SUBJECT).expect(ok).str(&self.subject).expect(ok);
        e.i64(CWT_ISSUED_AT).expect(ok).u64(issued_at).expect(ok);
        e.i64(LABEL_VDS).expect(ok).i64(VDS).expect(ok);
        e.str(LABEL_CCF).expect(ok).map(1).expect(ok);
        e.str(LABEL_TXID).expect(ok).str(&txid.to_string()).expect(ok);
        bytes
    }
}

/// What a signature transaction says besides the signatures.
pub(crate) struct SignatureContent<'a> {
    /// Unix seconds.
    pub issued_at: u64,
    pub committed: TxId,
    pub node_certificate: Option<&'a Certificate>,
    pub new_view: Option<Primary>,
}

/// A decoded signature transaction; nothing in it is verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignatureTransaction {
    pub txid: TxId,
    /// COSE_Sign1 with detached payload, as a receipt copies it.
    pub cose: Vec<u8>,
    pub node: NodeSignature,
    /// Over leaves 0 .. seqno - 1.
    pub frontier: Frontier,
    /// What the primary knew to be committed.
    pub committed: TxId,
}

impl SignatureTransaction {
    /// `None` if these writes are no signature transaction's.
    pub fn from_writes(txid: TxId, writes: &WriteSet) -> Result<Option<Self>, Error> {
        let Some(cose) = row(writes, &COSE_SIGNATURES) else { return Ok(None) };
        let malformed = |why| Error::MalformedSignature { txid, why };
        let cose: String = serde_json::from_slice(cose).map_err(|_| malformed("COSE signature row"))?;
        let cose = BASE64.decode(cose).map_err(|_| malformed("COSE signature row"))?;
        let node = row(writes, &SIGNATURES).ok_or(malformed("no node signature row"))?;
        let node: NodeSignature = serde_json::from_slice(node).map_err(|_| malformed("node signature row"))?;
        let frontier = row(writes, &TREE).ok_or(malformed("no tree row"))?;
        let frontier = Frontier::decode(frontier).map_err(|_| malformed("tree row"))?;
        let committed = row(writes, &COMMITTED).ok_or(malformed("no committed row"))?;
        let committed = serde_json::from_slice(committed).map_err(|_| malformed("committed row"))?;
        let signature = Self { txid, cose, node, frontier, committed };
        signature.check_consistent().map_err(malformed)?;
        Ok(Some(signature))
    }

    /// When the primary signed, by its clock, seconds since 1970; `None` if the signature does not say.
    pub fn issued_at(&self) -> Option<u64> {
        let message = cose::Sign1::decode(&self.cose).ok()?;
        ProtectedHeader::decode(message.protected).ok().map(|header| header.issued_at)
    }

    /// Checks the service's signature over `root`, which the caller computed from the transactions themselves. It covers all of
    /// them; who the node was is not looked at.
    pub fn verify_service(&self, service: &PublicKey, root: &Digest) -> Result<(), Error> {
        if self.node.root != *root {
            return Err(Error::RootMismatch { txid: self.txid, signed: self.node.root, computed: *root });
        }
        verify_service_signature(&self.cose, service, self.txid, root)
    }

    fn check_consistent(&self) -> Result<(), &'static str> {
        if (self.node.view, self.node.seqno) != (self.txid.view, self.txid.seqno) {
            return Err("the node signed another transaction");
        }
        if self.frontier.leaves() != self.txid.seqno.0 || self.frontier.root() != self.node.root {
            return Err("the tree row does not give the signed root");
        }
        if self.committed.seqno >= self.txid.seqno || self.committed.view > self.txid.view {
            return Err("it claims to be committed before it was written");
        }
        Ok(())
    }
}

/// Whose signatures count, at one point of the ledger.
#[derive(Clone, Copy, Debug)]
pub struct SignatureVerifier<'a> {
    pub service: &'a PublicKey,
    /// The key of the node's endorsed certificate.
    pub node: &'a PublicKey,
}

impl SignatureVerifier<'_> {
    /// Checks both signatures over `root`, which the caller computed from the transactions themselves.
    pub fn verify(&self, signature: &SignatureTransaction, root: &Digest) -> Result<(), Error> {
        let txid = signature.txid;
        if signature.node.root != *root {
            return Err(Error::RootMismatch { txid, signed: signature.node.root, computed: *root });
        }
        let bad_node = |why| Error::NodeSignature { txid, why };
        if signature.node.node != self.node.node_id() {
            return Err(bad_node("another node's key"));
        }
        if let Some(pem) = &signature.node.cert {
            let certificate = Certificate::from_pem(pem).map_err(|_| bad_node("malformed certificate"))?;
            if certificate.public_key() != self.node {
                return Err(bad_node("its certificate has another key"));
            }
        }
        let node_der = BASE64.decode(&signature.node.sig).map_err(|_| bad_node("not base64"))?;
        self.node.verify_prehashed(root, &node_der).map_err(|_| bad_node("not over this root"))?;
        verify_service_signature(&signature.cose, self.service, txid, root)
    }
}

/// Checks the service's signature over `root`.
pub(crate) fn verify_service_signature(
    message: &[u8],
    service: &PublicKey,
    txid: TxId,
    root: &Digest,
) -> Result<(), Error> {
    let bad = |why| Error::ServiceSignature { txid, why };
    let message = cose::Sign1::decode(message).map_err(|_| bad("not a COSE message"))?;
    if message.unprotected != [0xa0] || message.payload.is_some() {
        return Err(bad("an unprotected header or a payload"));
    }
    let header = ProtectedHeader::decode(message.protected).map_err(bad)?;
    header.check_key(service).map_err(bad)?;
    if header.txid != txid {
        return Err(bad("it names another transaction"));
    }
    message.verify(service, Some(root.as_bytes())).map_err(|_| bad("not over this root"))
}

/// The protected header of the service's signature and of the receipts made from it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ProtectedHeader {
    pub alg: i64,
    pub kid: Vec<u8>,
    pub issuer: String,
    pub subject: String,
    pub issued_at: u64,
    /// Of the signature transaction.
    pub txid: TxId,
}

impl ProtectedHeader {
    /// Accepts exactly the labels above, in deterministic form. The error says what is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        cbor::check_deterministic(bytes).map_err(|_| "the protected header is not deterministic CBOR")?;
        Self::decode_map(&mut Decoder::new(bytes)).map_err(|_| "the protected header is malformed")?
    }

    /// The key that is named is the one that is trusted, and the algorithm is its own.
    pub fn check_key(&self, service: &PublicKey) -> Result<(), &'static str> {
        if self.kid != service.id().to_string().as_bytes() {
            return Err("another service key");
        }
        if self.alg != cose::algorithm(service.curve()) { Err("another algorithm") } else { Ok(()) }
    }

    /// Deterministic form was checked, so the order of labels is the only possible one.
    fn decode_map(d: &mut Decoder<'_>) -> Result<Result<Self, &'static str>, minicbor::decode::Error> {
        if d.map()? != Some(5) || d.i64()? != cose::LABEL_ALG {
            return Ok(Err("the protected header has other labels"));
        }
        let alg = d.i64()?;
        if d.i64()? != cose::LABEL_KID {
            return Ok(Err("the protected header has other labels"));
        }
        let kid = d.bytes()?.to_vec();
        if d.i64()? != cose::LABEL_CWT_CLAIMS || d.map()? != Some(3) || d.i64()? != CWT_ISSUER {
            return Ok(Err("the CWT claims have other labels"));
        }
        let issuer = d.str()?.to_owned();
        if d.i64()? != CWT_SUBJECT {
            return Ok(Err("the CWT claims have other labels"));
        }
        let subject = d.str()?.to_owned();
        if d.i64()? != CWT_ISSUED_AT {
            return Ok(Err("the CWT claims have other labels"));
        }
        let issued_at = d.u64()?;
        if d.i64()? != LABEL_VDS || d.i64()? != VDS {
            return Ok(Err("not a CCF ledger's data structure"));
        }
        if d.str()? != LABEL_CCF || d.map()? != Some(1) || d.str()? != LABEL_TXID {
            return Ok(Err("the protected header has other labels"));
        }
        let Ok(txid) = d.str()?.parse() else { return Ok(Err("a malformed transaction id")) };
        Ok(Ok(Self { alg, kid, issuer, subject, issued_at, txid }))
    }
}

fn row<'a>(writes: &'a WriteSet, map: &MapName) -> Option<&'a [u8]> {
    writes.get(map, &K0).flatten().map(AsRef::as_ref)
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("these rows have a JSON form")
}
