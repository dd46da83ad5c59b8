//! Ledger secrets: one for each epoch, wrapped for every node that must read what follows, and for recovery.
//!
//! ```text
//!   rekey in transaction s:  new secret, in force from s + 1
//!     ├─ encrypted_ledger_secrets   sealed to each node's own key ──────▶ nodes, as they apply s
//!     ├─ epochs[s + 1]              the previous secret sealed under the new one ──▶ whoever holds the newest opens all
//!     └─ recovery_shares            the new one sealed under a wrapping key, shared among members (`shares`)
//! ```
//!
//! Rows are written by the executor, in the transaction that asks for them, since they name its seqno. They are not decided on but made:
//! an auditor's replay leaves them out and checks that they were asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use coco_crypto::{
    AeadKey, Certificate, Crypto, Domain, ExchangeKey, NONCE_BYTES, Nonce, SigningKey, SymmetricKey, hkdf_sha256,
    seal_to,
};
use coco_kv::Tx;
use coco_types::{NodeId, Seqno, TxId, WriteSet};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Error;
use crate::certificates::{self, Endorsing, Period};
use crate::endorsement;
use crate::grant::{Disclosable, GrantOrder};
use crate::rotation;
use crate::rows::{NodeRow, NodeStatus, ServiceInfo, ServiceStatus};
use crate::shares;
use crate::tables::{self, Read};

const NODE_CONTEXT: &[u8] = b"coco.ledger_secret.v1";
const PREVIOUS_DOMAIN: Domain = Domain::new("coco previous ledger secret");

/// Maps that a node fills with what it made: a replay cannot make the same.
pub const MADE_BY_NODES: [coco_types::MapName; 11] = [
    tables::AUDIT_GRANTS,
    tables::ENCRYPTED_LEDGER_SECRETS,
    tables::HISTORICAL_LEDGER_SECRET,
    tables::RECOVERY_SHARES,
    tables::EPOCHS,
    tables::ENDORSEMENT,
    tables::ENDORSEMENTS,
    tables::ROTATIONS,
    tables::ROTATION_DUE,
    tables::SERVICE_KEYS,
    tables::SUBMITTED_SHARES,
];

/// What this node opens and makes secrets with.
#[derive(Clone)]
pub struct Vault {
    pub node: NodeId,
    pub exchange: Arc<ExchangeKey>,
    pub service_key: Arc<SigningKey>,
    pub crypto: Arc<dyn Crypto>,
    /// What opens one epoch and no other, in the ledger's own form.
    pub disclose: fn(&Disclosable) -> Vec<u8>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("node", &self.node).finish_non_exhaustive()
    }
}

/// What a request asks to be made, besides the rows that it wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// A new ledger secret, and new shares.
    Rekey,
    /// New shares of the present one.
    Reshare,
    /// The service has opened: new shares, and its endorsement.
    Opened,
    /// Another identity of the service.
    Rotate,
    /// A new certificate of the service.
    RenewService(Period),
    /// New certificates of a node, or of all.
    RenewNodes { node: Option<String>, period: Period },
    /// A certificate by a node's own request.
    Endorse(Endorsing),
    /// The ledger's chunk ends with the next signature.
    EndChunk,
    /// The same, and the state is written down there.
    Snapshot,
    /// One epoch is disclosed to an auditor. What is disclosed, the node's ledger knows.
    Grant(GrantOrder),
}

/// How an epoch began.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EpochRow {
    /// Ledger time.
    pub began_ms: u64,
    /// The secret of the epoch before; absent in the first one, and while that of before a recovery is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousSecret>,
    /// Since this transaction somebody knows the secret who should not know what comes: the epoch ends as soon as it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owed_since: Option<Seqno>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// Where its epoch began.
    pub version: Seqno,
    /// Base64: sealed under this epoch's secret.
    pub encrypted_data: String,
}

/// How long an epoch may last. Absent: until somebody ends it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct EpochPolicy {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_s: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Wrapped {
    /// The epoch's first transaction.
    version: Seqno,
    /// Base64.
    encrypted_secret: String,
}

/// Node id → its copies, of which there is one: CCF's form.
type WrappedRow = BTreeMap<String, Vec<Wrapped>>;

/// CCF's row beside ours.
#[derive(Serialize)]
struct HistoricalRow<'a> {
    previous_ledger_secret: HistoricalSecret<'a>,
    next_version: Seqno,
}

#[derive(Serialize)]
struct HistoricalSecret<'a> {
    encrypted_data: &'a str,
    version: Seqno,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_secret_stored_version: Option<u64>,
}

/// The epoch in which a service begins: the network's first transaction, or that of a recovery, which is sealed under it already.
pub fn begin(tx: &mut Tx, vault: &Vault, secret: &SymmetricKey, txid: TxId, now_ms: u64) -> Result<(), Error> {
    let epoch = EpochRow { began_ms: now_ms, previous: None, owed_since: None };
    tables::write(tx, &tables::EPOCHS, &epoch_key(txid.seqno), &epoch);
    write_wrapped(tx, vault, txid.seqno, secret, &[(vault.node, vault.exchange.public().to_vec())])?;
    if let Some(mut service) = ServiceInfo::read(tx as &mut dyn Read)? {
        service.current_service_create_txid = Some(txid);
        tables::write(tx, &tables::SERVICE_INFO, &tables::SINGLETON, &service);
    }
    Ok(())
}

/// A node was admitted in this transaction: what follows is for it too.
pub fn wrap_for_joiner(tx: &mut Tx, vault: &Vault, node: NodeId, exchange_key: &[u8]) -> Result<(), Error> {
    let (version, secret) = current(tx, vault)?;
    let mut row: WrappedRow =
        tables::read(tx, &tables::ENCRYPTED_LEDGER_SECRETS, &tables::SINGLETON)?.unwrap_or_default();
    row.insert(node.to_string(), vec![wrap(vault, version, &secret, exchange_key)?]);
    tables::write(tx, &tables::ENCRYPTED_LEDGER_SECRETS, &tables::SINGLETON, &row);
    rotation::wrap_for_joiner(tx, vault, node, exchange_key)
}

/// A node's copy of the secret that a transaction wrote, and from which transaction on it is in force.
pub fn unwrap(writes: &WriteSet, node: NodeId, exchange: &ExchangeKey) -> Result<Option<(Seqno, SymmetricKey)>, Error> {
    match writes.get(&tables::ENCRYPTED_LEDGER_SECRETS, &tables::SINGLETON).flatten() {
        Some(row) => open_own(row, node, exchange),
        None => Ok(None),
    }
}

/// Does what a request asked for, in its transaction.
pub fn carry_out(tx: &mut Tx, vault: &Vault, order: &Order, txid: TxId, now_ms: u64) -> Result<(), Error> {
    match order {
        Order::Rekey => rekey(tx, vault, txid, now_ms),
        Order::Reshare => shares::reshare(tx, vault),
        Order::Opened => {
            shares::reshare(tx, vault)?;
            endorsement::write(tx, vault, txid, now_ms)
        }
        Order::Rotate => rotation::ask(tx, vault, txid, now_ms),
        Order::RenewService(period) => certificates::renew_service(tx, vault, *period),
        Order::RenewNodes { node, period } => certificates::renew_nodes(tx, vault, node.as_deref(), *period),
        Order::Endorse(endorsing) => endorsing.carry_out(tx, vault),
        // Of the node's files, not of its rows.
        Order::EndChunk | Order::Snapshot => Ok(()),
        Order::Grant(grant) => {
            let found = grant.find(tx, vault)?;
            grant.write(tx, vault, found.first, &Zeroizing::new((vault.disclose)(&found)))
        }
    }
}

/// Makes a new ledger secret, in force behind this transaction.
pub fn rekey(tx: &mut Tx, vault: &Vault, txid: TxId, now_ms: u64) -> Result<(), Error> {
    check_may_rekey(tx)?;
    let (before, old) = current(tx, vault)?;
    let (version, fresh) = (txid.seqno.next(), SymmetricKey::generate(vault.crypto.as_ref()));
    let previous = PreviousSecret { version: before, encrypted_data: seal_previous(&fresh, &old) };
    write_historical(tx, &previous, version);
    let epoch = EpochRow { began_ms: now_ms, previous: Some(previous), owed_since: None };
    tables::write(tx, &tables::EPOCHS, &epoch_key(version), &epoch);
    let readers = readers(tx)?;
    write_wrapped(tx, vault, version, &fresh, &readers)?;
    shares::reshare_secret(tx, vault, version, &fresh)
}

/// Whether a new secret can be made now.
pub fn check_may_rekey(state: &mut dyn Read) -> Result<(), Error> {
    let status = ServiceInfo::read(state)?.map(|service| service.status);
    match status {
        Some(ServiceStatus::Open) => shares::check(state),
        Some(ServiceStatus::Opening) => Ok(()),
        _ => Err(Error::Secrets("a service that is being recovered keeps its secret until it is open".to_owned())),
    }
}

/// Makes a new ledger secret, or writes down that one is owed if too few hold shares now: never is a removal without it forgotten. Whether
/// it was made.
pub fn rekey_or_owe(tx: &mut Tx, vault: &Vault, txid: TxId, now_ms: u64) -> Result<bool, Error> {
    if check_may_rekey(tx).is_ok() {
        return rekey(tx, vault, txid, now_ms).map(|()| true);
    }
    if let Some((version, mut epoch)) = newest_epoch(tx)?
        && epoch.owed_since.is_none()
    {
        epoch.owed_since = Some(txid.seqno);
        tables::write(tx, &tables::EPOCHS, &epoch_key(version), &epoch);
    }
    Ok(false)
}

/// Since when a new secret is owed.
pub fn owed_since(state: &mut dyn Read) -> Result<Option<Seqno>, Error> {
    Ok(newest_epoch(state)?.and_then(|(_, epoch)| epoch.owed_since))
}

/// A new secret is owed, or the present epoch's age has reached what the members allow; and one can be made.
pub fn is_due(state: &mut dyn Read, now_ms: u64) -> Result<bool, Error> {
    let policy: EpochPolicy = tables::read(state, &tables::EPOCH_POLICY, &tables::SINGLETON)?.unwrap_or_default();
    let Some((_, epoch)) = newest_epoch(state)? else { return Ok(false) };
    let ends_ms = policy.max_age_s.map(|max_age_s| epoch.began_ms.saturating_add(max_age_s.saturating_mul(1_000)));
    let due = epoch.owed_since.is_some() || ends_ms.is_some_and(|ends_ms| now_ms >= ends_ms);
    Ok(due && check_may_rekey(state).is_ok())
}

/// Where the present epoch began.
pub fn newest_version(state: &mut dyn Read) -> Result<Seqno, Error> {
    Ok(newest_epoch(state)?.map_or(Seqno(1), |(version, _)| version))
}

/// The first transaction of the epoch that a transaction is of, and that of the next one: an epoch that has ended.
pub(crate) fn span(state: &mut dyn Read, at: Seqno) -> Result<(Seqno, Seqno), Error> {
    let epochs = all_epochs(state)?;
    let first = epochs.range(..=at).next_back().map(|(first, _)| *first);
    let first = first.ok_or_else(|| Error::Secrets(format!("there is no epoch of transaction {at}")))?;
    let next = epochs.range(at.next()..).next().map(|(next, _)| *next);
    let next = next.ok_or_else(|| {
        Error::Secrets(format!(
            "the epoch of transaction {at}, which began with {first}, is still in force: rekey the ledger first"
        ))
    })?;
    Ok((first, next))
}

/// All epochs' secrets, oldest first, from the newest one's: each row opens the secret before it.
pub fn earlier(state: &mut dyn Read, newest: (Seqno, SymmetricKey)) -> Result<Vec<(Seqno, SymmetricKey)>, Error> {
    let epochs = all_epochs(state)?;
    let mut found = vec![newest];
    while let Some((version, secret)) = found.last() {
        let Some(previous) = epochs.get(version).and_then(|epoch| epoch.previous.as_ref()) else { break };
        if previous.version >= *version {
            return Err(Error::Secrets("the epochs are not in order".to_owned()));
        }
        found.push((previous.version, open_previous(secret, &previous.encrypted_data)?));
    }
    found.reverse();
    Ok(found)
}

/// The present secret, from this node's own copy.
pub(crate) fn current(state: &mut dyn Read, vault: &Vault) -> Result<(Seqno, SymmetricKey), Error> {
    let row = state.row(&tables::ENCRYPTED_LEDGER_SECRETS, &tables::SINGLETON);
    let own = row.map(|row| open_own(&row, vault.node, &vault.exchange)).transpose()?.flatten();
    own.ok_or_else(|| Error::Secrets("the ledger has no copy of its secret for this node".to_owned()))
}

/// The secrets of before a recovery are known again: links the present epoch to them.
pub(crate) fn link(tx: &mut Tx, present: (Seqno, &SymmetricKey), before: (Seqno, &SymmetricKey)) -> Result<(), Error> {
    let mut epoch: EpochRow = tables::read(tx, &tables::EPOCHS, &epoch_key(present.0))?
        .ok_or_else(|| Error::Secrets("the present epoch is not recorded".to_owned()))?;
    let previous = PreviousSecret { version: before.0, encrypted_data: seal_previous(present.1, before.1) };
    write_historical(tx, &previous, present.0);
    epoch.previous = Some(previous);
    tables::write(tx, &tables::EPOCHS, &epoch_key(present.0), &epoch);
    Ok(())
}

/// The service's certificate, read.
pub(crate) fn service_certificate(service: &ServiceInfo) -> Result<Certificate, Error> {
    Certificate::from_pem(&service.cert).map_err(|error| Error::Secrets(format!("the service's certificate: {error}")))
}

fn newest_epoch(state: &mut dyn Read) -> Result<Option<(Seqno, EpochRow)>, Error> {
    Ok(all_epochs(state)?.pop_last())
}

fn all_epochs(state: &mut dyn Read) -> Result<BTreeMap<Seqno, EpochRow>, Error> {
    let rows = tables::read_all::<EpochRow>(state, &tables::EPOCHS)?;
    let row = |(key, epoch): (String, EpochRow)| {
        let unreadable =
            || Error::UnreadableRow { map: tables::EPOCHS, key: key.clone(), why: "not a seqno".to_owned() };
        Ok((Seqno(key.parse().map_err(|_| unreadable())?), epoch))
    };
    rows.into_iter().map(row).collect()
}

/// Decimal, so that people read it, and padded, so that it is in order.
fn epoch_key(version: Seqno) -> Vec<u8> {
    format!("{:020}", version.0).into_bytes()
}

/// Those that must read what follows: trusted nodes, and retired ones until they have left the consensus.
fn readers(state: &mut dyn Read) -> Result<Vec<(NodeId, Vec<u8>)>, Error> {
    let mut readers = Vec::new();
    for NodeRow { id, info } in NodeRow::all(state)? {
        let reads = match info.status {
            NodeStatus::Trusted => true,
            NodeStatus::Retired => !info.retired_committed,
            NodeStatus::Pending => false,
        };
        if reads {
            let key = hex::decode(&info.encryption_pub_key);
            readers.push((id, key.map_err(|_| Error::Secrets(format!("the key of node {id} is unreadable")))?));
        }
    }
    Ok(readers)
}

fn write_wrapped(
    tx: &mut Tx,
    vault: &Vault,
    version: Seqno,
    secret: &SymmetricKey,
    readers: &[(NodeId, Vec<u8>)],
) -> Result<(), Error> {
    let mut row = WrappedRow::new();
    for (node, key) in readers {
        row.insert(node.to_string(), vec![wrap(vault, version, secret, key)?]);
    }
    tables::write(tx, &tables::ENCRYPTED_LEDGER_SECRETS, &tables::SINGLETON, &row);
    Ok(())
}

fn write_historical(tx: &mut Tx, previous: &PreviousSecret, next_version: Seqno) {
    let PreviousSecret { version, encrypted_data } = previous;
    // What opens the secret before that was written by the transaction before its first.
    let stored = (*version > Seqno(1)).then(|| version.0 - 1);
    let secret = HistoricalSecret { encrypted_data, version: *version, previous_secret_stored_version: stored };
    let row = HistoricalRow { previous_ledger_secret: secret, next_version };
    tables::write(tx, &tables::HISTORICAL_LEDGER_SECRET, &tables::SINGLETON, &row);
}

fn wrap(vault: &Vault, version: Seqno, secret: &SymmetricKey, recipient: &[u8]) -> Result<Wrapped, Error> {
    let sealed = seal_to(vault.crypto.as_ref(), recipient, NODE_CONTEXT, secret.expose());
    let sealed = sealed.map_err(|error| Error::Secrets(format!("a node's key: {error}")))?;
    Ok(Wrapped { version, encrypted_secret: BASE64.encode(sealed) })
}

fn open_own(row: &[u8], node: NodeId, exchange: &ExchangeKey) -> Result<Option<(Seqno, SymmetricKey)>, Error> {
    let malformed =
        |why: String| Error::UnreadableRow { map: tables::ENCRYPTED_LEDGER_SECRETS, key: node.to_string(), why };
    let row: WrappedRow = serde_json::from_slice(row).map_err(|error| malformed(error.to_string()))?;
    let Some(wrapped) = row.get(&node.to_string()).and_then(|copies| copies.last()) else { return Ok(None) };
    let sealed = BASE64.decode(&wrapped.encrypted_secret).map_err(|error| malformed(error.to_string()))?;
    let secret = exchange.open(NODE_CONTEXT, &sealed).map_err(|error| malformed(error.to_string()))?;
    Ok(Some((wrapped.version, secret_of(&secret)?)))
}

fn seal_previous(present: &SymmetricKey, previous: &SymmetricKey) -> String {
    // The key seals this one message.
    let key = AeadKey::new(&hkdf_sha256(present, PREVIOUS_DOMAIN, &[]));
    BASE64.encode(key.seal_to_vec(Nonce([0; NONCE_BYTES]), &[], previous.expose()))
}

fn open_previous(present: &SymmetricKey, sealed: &str) -> Result<SymmetricKey, Error> {
    let unreadable = || Error::Secrets("a previous ledger secret does not open under the one after it".to_owned());
    let sealed = BASE64.decode(sealed).map_err(|_| unreadable())?;
    let key = AeadKey::new(&hkdf_sha256(present, PREVIOUS_DOMAIN, &[]));
    secret_of(&key.open_from_slice(&[], &sealed).map_err(|_| unreadable())?)
}

pub(crate) fn secret_of(bytes: &[u8]) -> Result<SymmetricKey, Error> {
    let bytes = bytes.try_into().map_err(|_| Error::Secrets("a ledger secret has 32 bytes".to_owned()))?;
    Ok(SymmetricKey::from_bytes(bytes))
}
