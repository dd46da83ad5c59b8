//! COSE receipts. `docs/formats/receipt.md` has the CDDL.
//!
//! Verification is strict: one form for each receipt, nothing ignored, so that every bit of it is bound.

use coco_crypto::{PublicKey, cbor, cose};
use coco_types::{Digest, TxId};
use minicbor::{Decoder, Encoder};

use super::{PATH_ELEMENTS_MAX, Receipt, ReceiptError, txid_of_evidence};
use crate::signature::ProtectedHeader;
use crate::{Claims, Error, Leaf, PathElement, fold_path};

const LABEL_VDP: i64 = 396;
const LABEL_INCLUSION: i64 = -1;
const LABEL_LEAF: u8 = 1;
const LABEL_PATH: u8 = 2;
const EVIDENCE_BYTES_MAX: usize = 1024;

/// What a verified receipt proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedReceipt {
    pub txid: TxId,
    /// The signature transaction.
    pub signed_at: TxId,
    pub issuer: String,
    pub subject: String,
    /// Unix seconds, as the primary's host told them.
    pub issued_at: u64,
    pub leaf: Leaf,
    /// Decoded, if they were given and are Coco's.
    pub claims: Option<Claims>,
}

impl Receipt {
    pub fn to_cose(&self) -> Result<Vec<u8>, Error> {
        let txid = self.signature.txid;
        let signed = cose::Sign1::decode(&self.signature.cose)
            .map_err(|_| Error::MalformedSignature { txid, why: "COSE signature row" })?;
        let mut unprotected = Vec::with_capacity(320 + 40 * self.path.len());
        let mut e = Encoder::new(&mut unprotected);
        let ok = "a vector takes any bytes";
        e.map(1).expect(ok).i64(LABEL_VDP).expect(ok).map(1).expect(ok).i64(LABEL_INCLUSION).expect(ok);
        e.array(1).expect(ok).bytes(&self.inclusion_proof()).expect(ok);
        Ok(cose::Sign1 { unprotected: &unprotected, ..signed }.encode())
    }

    fn inclusion_proof(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256 + 40 * self.path.len());
        let mut e = Encoder::new(&mut bytes);
        let ok = "a vector takes any bytes";
        e.map(2).expect(ok).u8(LABEL_LEAF).expect(ok).array(3).expect(ok);
        e.bytes(self.leaf.write_set_digest.as_bytes()).expect(ok);
        e.str(&self.leaf.commit_evidence).expect(ok);
        e.bytes(self.leaf.claims_digest.as_bytes()).expect(ok);
        e.u8(LABEL_PATH).expect(ok).array(self.path.len() as u64).expect(ok);
        for element in &self.path {
            e.array(2).expect(ok).bool(element.left).expect(ok).bytes(element.hash.as_bytes()).expect(ok);
        }
        bytes
    }
}

/// Verifies a receipt under the service key that the caller trusts. `claims` is what the transaction is said to claim: the
/// map that came with the receipt, or an application's own bytes whose SHA-256 it set.
pub fn verify_receipt(
    receipt: &[u8],
    service: &PublicKey,
    claims: Option<&[u8]>,
) -> Result<VerifiedReceipt, ReceiptError> {
    cbor::check_deterministic(receipt).map_err(|_| ReceiptError::NotDeterministic)?;
    let message = cose::Sign1::decode(receipt).map_err(|_| ReceiptError::Malformed("no COSE_Sign1 message"))?;
    if message.payload.is_some() {
        return Err(ReceiptError::Malformed("the payload is not detached"));
    }
    let header = ProtectedHeader::decode(message.protected).map_err(ReceiptError::Header)?;
    header.check_key(service).map_err(ReceiptError::Header)?;
    let (leaf, path) = decode_proof(message.unprotected)?;
    let txid = txid_of_evidence(&leaf.commit_evidence)?;
    if txid.seqno >= header.txid.seqno || txid.view > header.txid.view {
        return Err(ReceiptError::NotCovered { txid, signed_at: header.txid });
    }
    let root = fold_path(leaf.digest(), &path);
    message.verify(service, Some(root.as_bytes())).map_err(|_| ReceiptError::Signature)?;
    let claims = match claims {
        None => None,
        Some(bytes) if coco_crypto::sha256(bytes) != leaf.claims_digest => return Err(ReceiptError::Claims),
        Some(bytes) => Claims::decode(bytes).ok(),
    };
    Ok(VerifiedReceipt {
        txid,
        signed_at: header.txid,
        issuer: header.issuer,
        subject: header.subject,
        issued_at: header.issued_at,
        leaf,
        claims,
    })
}

/// The one inclusion proof in the unprotected header.
fn decode_proof(unprotected: &[u8]) -> Result<(Leaf, Vec<PathElement>), ReceiptError> {
    let malformed = |_| ReceiptError::Proof("not one inclusion proof");
    let mut d = Decoder::new(unprotected);
    let labels = (|| {
        let vdp = d.map()? == Some(1) && d.i64()? == LABEL_VDP;
        Ok(vdp && d.map()? == Some(1) && d.i64()? == LABEL_INCLUSION && d.array()? == Some(1))
    })();
    if !labels.map_err(malformed)? {
        return Err(ReceiptError::Proof("not one inclusion proof"));
    }
    let proof = d.bytes().map_err(malformed)?;
    // Deterministic inside too: it is a byte string of its own.
    cbor::check_deterministic(proof).map_err(|_| ReceiptError::NotDeterministic)?;
    let mut d = Decoder::new(proof);
    decode_inclusion(&mut d).map_err(|_| ReceiptError::Proof("malformed"))?.map_err(ReceiptError::Proof)
}

type Inclusion = Result<(Leaf, Vec<PathElement>), &'static str>;

fn decode_inclusion(d: &mut Decoder<'_>) -> Result<Inclusion, minicbor::decode::Error> {
    if d.map()? != Some(2) || d.u8()? != LABEL_LEAF || d.array()? != Some(3) {
        return Ok(Err("no leaf of three parts"));
    }
    let write_set_digest = digest(d)?;
    let commit_evidence = d.str()?;
    if commit_evidence.len() > EVIDENCE_BYTES_MAX {
        return Ok(Err("the commit evidence is too long"));
    }
    let commit_evidence = commit_evidence.to_owned();
    let leaf = Leaf { write_set_digest, commit_evidence, claims_digest: digest(d)? };
    if d.u8()? != LABEL_PATH {
        return Ok(Err("no path"));
    }
    let elements = d.array()?.and_then(|elements| usize::try_from(elements).ok());
    let Some(elements @ 1..=PATH_ELEMENTS_MAX) = elements else { return Ok(Err("an impossible path length")) };
    let mut path = Vec::with_capacity(elements);
    for _ in 0..elements {
        if d.array()? != Some(2) {
            return Ok(Err("a malformed path element"));
        }
        path.push(PathElement { left: d.bool()?, hash: digest(d)? });
    }
    Ok(Ok((leaf, path)))
}

fn digest(d: &mut Decoder<'_>) -> Result<Digest, minicbor::decode::Error> {
    Digest::try_from(d.bytes()?).map_err(minicbor::decode::Error::custom)
}
