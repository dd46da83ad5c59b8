//! Another identity for the same service, by vote: for a key that somebody may know who is not to know it any more.
//!
//! ```text
//!   ──── signed by the old key ───▶│ rotation in transaction s, first of its batch │──── signed by the new key, this batch already ────▶
//!                                  ├─ service_keys      the new key sealed to each trusted node's own key
//!                                  ├─ service.info, endorsed_certificates    the new certificate, and nodes' certificates under it
//!                                  ├─ endorsement       the new key vouches for the old one, up to s - 1: old receipts stay good
//!                                  └─ rotations         the old key vouches for the new one: an X.509 certificate that bridges the two
//! ```
//!
//! A node that is being removed must not get the new key. While one has not left the consensus, the rotation waits: it is carried out by
//! the transaction that records that the last of them is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use coco_crypto::{Certificate, Curve, ExchangeKey, PublicKey, SigningKey, endorse_service_certificate, seal_to};
use coco_kv::Tx;
use coco_types::{NodeId, Seqno, TxId, WriteSet};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Error;
use crate::certificates;
use crate::endorsement::{self, Endorsement, EndorsementRow};
use crate::rows::{NodeRow, NodeStatus, ServiceInfo, ServiceStatus};
use crate::secrets::Vault;
use crate::tables::{self, Read};

const KEY_CONTEXT: &[u8] = b"coco.service_key.v1";

/// One change of the service's identity.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RotationRow {
    pub txid: TxId,
    /// The certificate before, in PEM.
    pub previous: String,
    /// The certificate after, issued once more by the key before: who trusts that one verifies the new one by it. In PEM.
    pub bridge: String,
}

/// The present key, for each node.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct KeysRow {
    /// The transaction from which on it signs.
    version: Seqno,
    /// Node id → base64.
    keys: BTreeMap<String, String>,
}

/// Whether the identity can be rotated, now or once a node is gone.
pub(crate) fn check(state: &mut dyn Read) -> Result<(), Error> {
    match ServiceInfo::read(state)?.map(|service| service.status) {
        Some(ServiceStatus::Open) => Ok(()),
        _ => Err(Error::Secrets("only a service that is open gets another identity".to_owned())),
    }
}

/// The members want another identity: at once, or when those have gone that are not to know it.
pub(crate) fn ask(tx: &mut Tx, vault: &Vault, txid: TxId, now_ms: u64) -> Result<(), Error> {
    check(tx)?;
    tables::write(tx, &tables::ROTATION_DUE, &tables::SINGLETON, &txid);
    carry_out_due(tx, vault, txid, now_ms)
}

/// Carries out what was asked for, unless somebody must leave before.
pub fn carry_out_due(tx: &mut Tx, vault: &Vault, txid: TxId, now_ms: u64) -> Result<(), Error> {
    let leaving = |node: &NodeRow| node.info.status == NodeStatus::Retired && !node.info.retired_committed;
    if !is_due(tx)? || NodeRow::all(tx)?.iter().any(leaving) {
        return Ok(());
    }
    tx.remove(&tables::ROTATION_DUE, tables::SINGLETON);
    rotate(tx, vault, txid, now_ms)
}

/// Asked for, and not carried out yet.
pub fn is_due(state: &mut dyn Read) -> Result<bool, Error> {
    Ok(tables::read::<TxId>(state, &tables::ROTATION_DUE, &tables::SINGLETON)?.is_some())
}

fn rotate(tx: &mut Tx, vault: &Vault, txid: TxId, now_ms: u64) -> Result<(), Error> {
    let crypto = vault.crypto.as_ref();
    let now_s = now_ms / 1_000;
    let (old, old_key) = certificates::present(tx, vault)?;
    let key = SigningKey::generate(crypto, Curve::P384);
    let validity = certificates::validity_from(now_s);
    let new = certificates::of_service(tx, vault, &old, &key, validity)?;
    let bridge = endorse_service_certificate(crypto, &old, &old_key, &new)
        .map_err(|error| Error::Secrets(format!("the bridge to the new identity: {error}")))?;
    let created = ServiceInfo::read(tx as &mut dyn Read)?.and_then(|service| service.current_service_create_txid);
    let says = Endorsement {
        endorsed: old.public_key().clone(),
        begin: created.unwrap_or_default(),
        end: Some(TxId::new(txid.view, Seqno(txid.seqno.0.saturating_sub(1)))),
        end_root: None,
    };
    endorsement::append(tx, vault, (&key, &says), txid, now_s)?;
    write_keys(tx, vault, txid.seqno, &key)?;
    certificates::write_nodes(tx, vault, (&new, &key), None, validity)?;
    certificates::write_service(tx, |info| {
        info.cert = new.to_pem();
        info.current_service_create_txid = Some(txid);
    })?;
    let row = RotationRow { txid, previous: old.to_pem(), bridge: bridge.to_pem() };
    tables::write(tx, &tables::ROTATIONS, format!("{:020}", txid.seqno.0).as_bytes(), &row);
    Ok(())
}

/// All rotations of this service, oldest first. A recovery begins a service that has had none.
pub fn rotations(state: &mut dyn Read) -> Result<Vec<RotationRow>, Error> {
    Ok(tables::read_all::<RotationRow>(state, &tables::ROTATIONS)?.into_iter().map(|(_, row)| row).collect())
}

/// The service's key, as of this state.
pub fn key(state: &mut dyn Read, vault: &Vault) -> Result<Arc<SigningKey>, Error> {
    let Some(row) = state.row(&tables::SERVICE_KEYS, &tables::SINGLETON) else { return Ok(vault.service_key.clone()) };
    match open_own(&row, vault.node, &vault.exchange)? {
        Some((_, key)) => Ok(Arc::new(key)),
        None => Err(Error::Secrets("the ledger has no copy of the service's key for this node".to_owned())),
    }
}

/// A node's copy of the key that a transaction wrote, and from which transaction on it signs.
pub fn unwrap(writes: &WriteSet, node: NodeId, exchange: &ExchangeKey) -> Result<Option<(Seqno, SigningKey)>, Error> {
    match writes.get(&tables::SERVICE_KEYS, &tables::SINGLETON).flatten() {
        Some(row) => open_own(row, node, exchange),
        None => Ok(None),
    }
}

/// A node's copy of the present key, once it was rotated, and from which transaction on it signs.
pub fn own(state: &mut dyn Read, node: NodeId, exchange: &ExchangeKey) -> Result<Option<(Seqno, SigningKey)>, Error> {
    match state.row(&tables::SERVICE_KEYS, &tables::SINGLETON) {
        Some(row) => open_own(&row, node, exchange),
        None => Ok(None),
    }
}

/// A node was admitted in this transaction.
pub(crate) fn wrap_for_joiner(tx: &mut Tx, vault: &Vault, node: NodeId, exchange_key: &[u8]) -> Result<(), Error> {
    let Some(mut row) = tables::read::<KeysRow>(tx, &tables::SERVICE_KEYS, &tables::SINGLETON)? else { return Ok(()) };
    let key = key(tx, vault)?;
    row.keys.insert(node.to_string(), wrap(vault, &key, exchange_key)?);
    tables::write(tx, &tables::SERVICE_KEYS, &tables::SINGLETON, &row);
    Ok(())
}

/// The keys of before a recovery are nobody's any more.
pub(crate) fn forget(tx: &mut Tx) {
    tx.remove(&tables::SERVICE_KEYS, tables::SINGLETON);
    tx.remove(&tables::ROTATION_DUE, tables::SINGLETON);
    for (key, _) in tx.rows(&tables::ROTATIONS) {
        tx.remove(&tables::ROTATIONS, &key);
    }
}

fn write_keys(tx: &mut Tx, vault: &Vault, version: Seqno, key: &SigningKey) -> Result<(), Error> {
    let mut row = KeysRow { version, keys: BTreeMap::new() };
    for NodeRow { id, info } in NodeRow::all(tx)? {
        if info.status == NodeStatus::Trusted {
            let recipient = hex::decode(&info.encryption_pub_key);
            let recipient = recipient.map_err(|_| Error::Secrets(format!("the key of node {id} is unreadable")))?;
            row.keys.insert(id.to_string(), wrap(vault, key, &recipient)?);
        }
    }
    tables::write(tx, &tables::SERVICE_KEYS, &tables::SINGLETON, &row);
    Ok(())
}

fn wrap(vault: &Vault, key: &SigningKey, recipient: &[u8]) -> Result<String, Error> {
    let sealed = seal_to(vault.crypto.as_ref(), recipient, KEY_CONTEXT, &key.to_pkcs8_der());
    Ok(BASE64.encode(sealed.map_err(|error| Error::Secrets(format!("a node's key: {error}")))?))
}

fn open_own(row: &[u8], node: NodeId, exchange: &ExchangeKey) -> Result<Option<(Seqno, SigningKey)>, Error> {
    let malformed = |why: String| Error::UnreadableRow { map: tables::SERVICE_KEYS, key: node.to_string(), why };
    let row: KeysRow = serde_json::from_slice(row).map_err(|error| malformed(error.to_string()))?;
    let Some(sealed) = row.keys.get(&node.to_string()) else { return Ok(None) };
    let sealed = BASE64.decode(sealed).map_err(|error| malformed(error.to_string()))?;
    let der = exchange.open(KEY_CONTEXT, &sealed).map_err(|error| malformed(error.to_string()))?;
    let key = SigningKey::from_pkcs8_der(&Zeroizing::new(der)).map_err(|error| malformed(error.to_string()))?;
    Ok(Some((row.version, key)))
}

/// The keys of this ledger's services before the present one, each with its last transaction.
pub fn earlier_keys(state: &mut dyn Read) -> Result<Vec<(Seqno, PublicKey)>, Error> {
    let mut found = Vec::new();
    for EndorsementRow { endorsement, endorsing_key, .. } in endorsement::endorsements(state)? {
        let unreadable = |why: String| Error::Secrets(format!("an endorsement of an earlier service: {why}"));
        let decode = |text: &str| BASE64.decode(text).map_err(|error| unreadable(error.to_string()));
        let key = PublicKey::from_spki_der(&decode(&endorsing_key)?).map_err(|error| unreadable(error.to_string()))?;
        let says = Endorsement::verify(&decode(&endorsement)?, &key).map_err(unreadable)?;
        if let Some(end) = says.end {
            found.push((end.seqno, says.endorsed));
        }
    }
    Ok(found)
}

/// The certificate of the service that `trusted` has become, by bridges that each lead from one to the next.
pub fn follow_bridges(trusted: &Certificate, bridges: &[Certificate], at_s: u64) -> Certificate {
    let mut present = trusted.clone();
    for bridge in bridges {
        if bridge.public_key() != present.public_key() && bridge.verify_issued_by(&present, at_s).is_ok() {
            present = bridge.clone();
        }
    }
    present
}
