//! What a service says about its own key, and about the key of the service that it recovered: the chain by which old receipts stay good.
//!
//! ```text
//!   first service ── endorses itself        second service ── endorses the first, for the epoch [start, end] that it recovered
//! ```
//!
//! COSE_Sign1 by the endorsing service, in CCF's form: attached payload = the endorsed public key in DER, `ccf.v1` = the epoch.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use coco_crypto::cose::{self, Sign1};
use coco_crypto::{Certificate, PublicKey, SigningKey};
use coco_kv::Tx;
use coco_types::{Digest, Seqno, TxId};
use minicbor::{Decoder, Encoder, decode};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::recovery::RecoveryRow;
use crate::rows::ServiceInfo;
use crate::secrets::{self, Vault};
use crate::tables::{self, Read};

const CWT_ISSUED_AT: i64 = 6;
const LABEL_CCF: &str = "ccf.v1";
const START: &str = "epoch.start.txid";
const END: &str = "epoch.end.txid";
const END_ROOT: &str = "epoch.end.merkle.root";

/// The row, as CCF has it, and where it was written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EndorsementRow {
    /// Base64 of the COSE message.
    pub endorsement: String,
    /// Base64 of the endorsing key in DER.
    pub endorsing_key: String,
    pub endorsement_epoch_begin: TxId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endorsement_epoch_end: Option<TxId>,
    /// The transaction of the row before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_version: Option<Seqno>,
    pub version: Seqno,
}

/// What an endorsement says, once its signature was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endorsement {
    pub endorsed: PublicKey,
    pub begin: TxId,
    /// Absent while the epoch lasts: a service endorses itself.
    pub end: Option<TxId>,
    /// The last root that the endorsed service signed.
    pub end_root: Option<Digest>,
}

/// The endorsement of a service that opens in this transaction.
pub(crate) fn write(tx: &mut Tx, vault: &Vault, txid: TxId, now_ms: u64) -> Result<(), Error> {
    let Some(service) = ServiceInfo::read(tx as &mut dyn Read)? else { return Ok(()) };
    let own = secrets::service_certificate(&service)?;
    let says = match RecoveryRow::read(tx)? {
        Some(recovery) => Endorsement {
            endorsed: recovery.previous_certificate()?.public_key().clone(),
            begin: recovery.previous_created.unwrap_or_default(),
            end: Some(recovery.recovered_to),
            end_root: Some(recovery.last_root),
        },
        None => {
            let begin = service.current_service_create_txid.unwrap_or_default();
            Endorsement { endorsed: own.public_key().clone(), begin, end: None, end_root: None }
        }
    };
    append(tx, vault, (&vault.service_key, &says), txid, now_ms / 1_000)
}

/// What this key of the service says, behind what was said before.
pub(crate) fn append(
    tx: &mut Tx,
    vault: &Vault,
    (key, says): (&SigningKey, &Endorsement),
    txid: TxId,
    now_s: u64,
) -> Result<(), Error> {
    let row = EndorsementRow {
        endorsement: BASE64.encode(says.sign(vault, key, now_s)),
        endorsing_key: BASE64.encode(key.public_key().spki_der()),
        endorsement_epoch_begin: says.begin,
        endorsement_epoch_end: says.end,
        previous_version: EndorsementRow::read(tx)?.map(|before| before.version),
        version: txid.seqno,
    };
    let last = tx.rows(&tables::ENDORSEMENTS).pop();
    let last = last.and_then(|(key, _)| String::from_utf8_lossy(&key).parse::<u64>().ok());
    let number = last.map_or(0, |last| last + 1);
    tables::write(tx, &tables::ENDORSEMENT, &tables::SINGLETON, &row);
    tables::write(tx, &tables::ENDORSEMENTS, format!("{number:020}").as_bytes(), &row);
    Ok(())
}

/// The endorsements of all services of this ledger, newest first.
pub fn endorsements(state: &mut dyn Read) -> Result<Vec<EndorsementRow>, Error> {
    let rows = tables::read_all::<EndorsementRow>(state, &tables::ENDORSEMENTS)?;
    Ok(rows.into_iter().rev().map(|(_, row)| row).collect())
}

/// Walks from a trusted key to the key of the service that signed at `at`, checking every link.
pub fn key_at(trusted: &PublicKey, chain: &[EndorsementRow], at: TxId) -> Result<PublicKey, String> {
    let mut key = trusted.clone();
    for row in chain {
        let message = BASE64.decode(&row.endorsement).map_err(|error| error.to_string())?;
        let says = Endorsement::verify(&message, &key)?;
        let Some(end) = says.end else { break };
        if at.seqno > end.seqno {
            break;
        }
        key = says.endorsed;
        if at.seqno >= says.begin.seqno {
            break;
        }
    }
    Ok(key)
}

impl EndorsementRow {
    pub fn read(state: &mut dyn Read) -> Result<Option<Self>, Error> {
        tables::read(state, &tables::ENDORSEMENT, &tables::SINGLETON)
    }
}

impl Endorsement {
    fn sign(&self, vault: &Vault, key: &SigningKey, issued_at: u64) -> Vec<u8> {
        let protected = self.protected(cose::algorithm(key.curve()), issued_at);
        let payload = self.endorsed.spki_der();
        let signature = cose::sign(vault.crypto.as_ref(), key, &protected, &payload);
        Sign1 { protected: &protected, unprotected: &[0xa0], payload: Some(&payload), signature: &signature }.encode()
    }

    fn protected(&self, algorithm: i64, issued_at: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut e = Encoder::new(&mut bytes);
        let ok = "a vector takes any bytes";
        e.map(3).expect(ok);
        e.i64(cose::LABEL_ALG).expect(ok).i64(algorithm).expect(ok);
        e.i64(cose::LABEL_CWT_CLAIMS).expect(ok).map(1).expect(ok);
        e.i64(CWT_ISSUED_AT).expect(ok).u64(issued_at).expect(ok);
        let count = 1 + u64::from(self.end.is_some()) + u64::from(self.end_root.is_some());
        e.str(LABEL_CCF).expect(ok).map(count).expect(ok);
        if let Some(end) = self.end {
            e.str(END).expect(ok).str(&end.to_string()).expect(ok);
        }
        e.str(START).expect(ok).str(&self.begin.to_string()).expect(ok);
        if let Some(root) = self.end_root {
            e.str(END_ROOT).expect(ok).bytes(root.as_bytes()).expect(ok);
        }
        bytes
    }

    /// What a message says that this key signed.
    pub fn verify(message: &[u8], endorsing: &PublicKey) -> Result<Self, String> {
        let message = Sign1::decode(message).map_err(|error| error.to_string())?;
        message.verify(endorsing, None).map_err(|_| "an endorsement is not by the service after it".to_owned())?;
        let payload = message.payload.ok_or("an endorsement has no key")?;
        let endorsed = PublicKey::from_spki_der(payload).map_err(|error| error.to_string())?;
        let mut says = Self { endorsed, begin: TxId::default(), end: None, end_root: None };
        let mut decoder = Decoder::new(message.protected);
        let understood = says.read(&mut decoder).map_err(|error| format!("an endorsement's header: {error}"))?;
        if understood { Ok(says) } else { Err("an endorsement's header is not of the known form".to_owned()) }
    }

    fn read(&mut self, d: &mut Decoder<'_>) -> Result<bool, decode::Error> {
        if d.map()? != Some(3) || d.i64()? != cose::LABEL_ALG {
            return Ok(false);
        }
        d.i64()?;
        if d.i64()? != cose::LABEL_CWT_CLAIMS {
            return Ok(false);
        }
        d.skip()?;
        if d.str()? != LABEL_CCF {
            return Ok(false);
        }
        let Some(count) = d.map()? else { return Ok(false) };
        for _ in 0..count.min(3) {
            let parsed = match d.str()? {
                START => d.str()?.parse().map(|begin| self.begin = begin).is_ok(),
                END => d.str()?.parse().map(|end| self.end = Some(end)).is_ok(),
                END_ROOT => Digest::try_from(d.bytes()?).map(|root| self.end_root = Some(root)).is_ok(),
                _ => false,
            };
            if !parsed {
                return Ok(false);
            }
        }
        Ok(d.position() == d.input().len())
    }
}

/// A certificate in PEM, from a row.
pub(crate) fn certificate(pem: &str) -> Result<Certificate, Error> {
    Certificate::from_pem(pem).map_err(|error| Error::Secrets(format!("the previous service's certificate: {error}")))
}
