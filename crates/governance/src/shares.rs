//! Recovery shares: what members hold, so that enough of them together open a ledger whose nodes are lost.
//!
//! ```text
//!   ledger secret ◀─seals─ wrapping key ─M of N─▶ shares ─RSA-OAEP─▶ each holder      an owner holds the whole wrapping key
//! ```
//!
//! A share is opaque to clients: a version byte, a number (0 for the whole key) and 32 bytes. The row keeps a digest of each, so that a
//! wrong one is refused when it is submitted, by name, and what was submitted before stays good.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use coco_crypto::{
    AeadKey, Domain, EncryptionKey, NONCE_BYTES, Nonce, SHARES_MAX, SymmetricKey, combine_shares, constant_time_eq,
    hkdf_sha256, sha256_of, split_into_shares,
};
use coco_kv::Tx;
use coco_types::{Digest, Seqno};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::Error;
use crate::refusal::{Code, Refusal};
use crate::rows::{MemberInfo, ServiceInfo, ServiceStatus};
use crate::secrets::{self, Order, Vault};
use crate::service::ServiceConfig;
use crate::tables::{self, Read};

const VERSION: u8 = 1;
const WHOLE_KEY: u8 = 0;
const DIGEST_DOMAIN: Domain = Domain::new("coco recovery share");
const WRAPPING_DOMAIN: Domain = Domain::new("coco recovery wrapping");
const SUBMITTED_DOMAIN: Domain = Domain::new("coco submitted share");

/// The row of the shares in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SharesRow {
    /// Base64: sealed under the wrapping key.
    pub wrapped_latest_ledger_secret: String,
    /// Member or participant id → base64: the share, encrypted to its key.
    pub encrypted_shares: BTreeMap<String, String>,
    /// Where the epoch of the wrapped secret began.
    pub version: Seqno,
    /// So many of them are needed.
    pub threshold: u64,
    /// Member id → what its share hashes to.
    pub share_digests: BTreeMap<String, Digest>,
}

/// Who may hold shares besides members.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ShareHolders {
    /// Participants that have an encryption key.
    #[serde(default)]
    pub participants: bool,
}

impl ShareHolders {
    pub fn read(state: &mut dyn Read) -> Result<Self, Error> {
        Ok(tables::read(state, &tables::SHARE_HOLDERS, &tables::SINGLETON)?.unwrap_or_default())
    }
}

impl SharesRow {
    pub fn read(state: &mut dyn Read) -> Result<Option<Self>, Error> {
        tables::read(state, &tables::RECOVERY_SHARES, &tables::SINGLETON)
    }
}

/// Where a recovery stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Progress {
    pub submitted: u64,
    pub threshold: u64,
    pub whole_key: bool,
    /// The share was there already.
    pub repeated: bool,
    /// The service has opened with this share.
    pub opened: bool,
}

/// What each active member holds of the wrapping key, and participants if the members have decided so.
#[derive(Default)]
struct Holders {
    /// Of that recovery role: one share each.
    participants: Vec<(String, EncryptionKey)>,
    owners: Vec<(String, EncryptionKey)>,
}

/// New shares of the present secret, among those who are active now.
pub(crate) fn reshare(tx: &mut Tx, vault: &Vault) -> Result<(), Error> {
    let (version, secret) = secrets::current(tx, vault)?;
    reshare_secret(tx, vault, version, &secret)
}

/// As [`reshare`], of a secret that was made just now. A service that is not open has none.
pub(crate) fn reshare_secret(tx: &mut Tx, vault: &Vault, version: Seqno, secret: &SymmetricKey) -> Result<(), Error> {
    if ServiceInfo::read(tx as &mut dyn Read)?.is_none_or(|service| service.status != ServiceStatus::Open) {
        return Ok(());
    }
    let threshold = ServiceConfig::read(tx)?.recovery_threshold;
    let Holders { participants, owners } = Holders::read(tx)?;
    if threshold == 0 || (participants.is_empty() && owners.is_empty()) {
        tx.remove(&tables::RECOVERY_SHARES, tables::SINGLETON);
        return Ok(());
    }
    check(tx)?;
    let wrapping = SymmetricKey::generate(vault.crypto.as_ref());
    let mut row = SharesRow {
        wrapped_latest_ledger_secret: BASE64.encode(wrapping_key(&wrapping).seal_to_vec(NONCE, &[], secret.expose())),
        encrypted_shares: BTreeMap::new(),
        version,
        threshold,
        share_digests: BTreeMap::new(),
    };
    if !participants.is_empty() {
        let threshold = usize::try_from(threshold).unwrap_or(usize::MAX).min(participants.len());
        let shares = split_into_shares(vault.crypto.as_ref(), &wrapping, threshold, participants.len());
        let shares = shares.map_err(|error| Error::Secrets(error.to_string()))?;
        for ((member, key), share) in participants.iter().zip(shares) {
            row.give(member, key, &Zeroizing::new([&[VERSION][..], &share].concat()))?;
        }
    }
    for (member, key) in &owners {
        row.give(member, key, &Zeroizing::new([&[VERSION, WHOLE_KEY][..], wrapping.expose()].concat()))?;
    }
    tables::write(tx, &tables::RECOVERY_SHARES, &tables::SINGLETON, &row);
    Ok(())
}

/// Whether those who are active are enough for the threshold.
pub(crate) fn check(state: &mut dyn Read) -> Result<(), Error> {
    let threshold = ServiceConfig::read(state)?.recovery_threshold;
    let Holders { participants, owners } = Holders::read(state)?;
    let (count, needed) = (participants.len(), usize::try_from(threshold).unwrap_or(usize::MAX));
    if count > SHARES_MAX {
        return Err(Error::Secrets(format!("{count} would hold shares, and {SHARES_MAX} can")));
    }
    if count < needed && owners.is_empty() {
        return Err(Error::Secrets(format!("recovery would need {needed} of only {count} share holders")));
    }
    Ok(())
}

/// Whether a member holds a share, once it is active.
pub(crate) fn is_holder(state: &mut dyn Read, member: &str, info: &MemberInfo) -> bool {
    let has_key = state.row(&tables::MEMBER_ENCRYPTION_KEYS, member.as_bytes()).is_some();
    has_key && info.recovery_role.as_deref() != Some("NonParticipant")
}

/// Takes a member's share. With enough of them the secrets are known again, and the service opens.
pub(crate) fn submit(
    tx: &mut Tx,
    vault: &Vault,
    member: &str,
    share: &[u8],
) -> Result<(Progress, Option<Order>), Refusal> {
    let service = ServiceInfo::read(tx as &mut dyn Read)?;
    if service.as_ref().is_none_or(|service| service.status != ServiceStatus::WaitingForRecoveryShares) {
        let why = "the service is not waiting for recovery shares";
        return Err(Refusal::new(Code::ServiceNotWaitingForRecoveryShares, why));
    }
    let row =
        SharesRow::read(tx)?.ok_or_else(|| Refusal::new(Code::InternalError, "the ledger has no recovery shares"))?;
    let genuine = row
        .share_digests
        .get(member)
        .ok_or_else(|| Refusal::new(Code::InvalidInput, "the member held no share when the shares were made last"))?;
    if !constant_time_eq(digest(member, share).as_bytes(), genuine.as_bytes()) {
        let why = "this is not the share that the member was given last; what others have submitted stays good";
        return Err(Refusal::new(Code::InvalidInput, why));
    }
    let present = secrets::current(tx, vault)?;
    let sealed = BASE64.encode(submitted_key(&present.1, member).seal_to_vec(NONCE, &[], share));
    let before = tables::read::<String>(tx, &tables::SUBMITTED_SHARES, member.as_bytes())?;
    let repeated = before.as_ref() == Some(&sealed);
    if !repeated {
        tables::write(tx, &tables::SUBMITTED_SHARES, member.as_bytes(), &sealed);
    }
    let submitted = open_submitted(tx, &present.1)?;
    let whole = submitted.iter().find(|share| share.get(1) == Some(&WHOLE_KEY));
    let mut progress = Progress {
        submitted: submitted.len() as u64,
        threshold: row.threshold,
        whole_key: whole.is_some(),
        repeated,
        opened: false,
    };
    let wrapping = match whole {
        Some(share) => secrets::secret_of(share.get(2..).unwrap_or_default())?,
        None if progress.submitted < row.threshold => return Ok((progress, None)),
        None => {
            let bare = |share: &Zeroizing<Vec<u8>>| Zeroizing::new(share.get(1..).unwrap_or_default().to_vec());
            let bare: Vec<_> = submitted.iter().map(bare).collect();
            combine_shares(&bare).map_err(|error| Refusal::new(Code::InternalError, error.to_string()))?
        }
    };
    open_service(tx, &row, &wrapping, (present.0, &present.1))?;
    progress.opened = true;
    Ok((progress, Some(Order::Opened)))
}

fn open_service(
    tx: &mut Tx,
    row: &SharesRow,
    wrapping: &SymmetricKey,
    present: (Seqno, &SymmetricKey),
) -> Result<(), Error> {
    let wrong = || Error::Secrets("the shares do not open the ledger secret: the row was altered".to_owned());
    let sealed = BASE64.decode(&row.wrapped_latest_ledger_secret).map_err(|_| wrong())?;
    let secret = wrapping_key(wrapping).open_from_slice(&[], &sealed).map_err(|_| wrong())?;
    let secret = secrets::secret_of(&Zeroizing::new(secret))?;
    secrets::link(tx, present, (row.version, &secret))?;
    // All of the chain must open: the nodes will read the ledger from its beginning.
    let chain = secrets::earlier(tx, (present.0, present.1.clone()))?;
    if chain.first().is_none_or(|(version, _)| *version != Seqno(1)) {
        return Err(Error::Secrets("the secrets of the first epochs are missing".to_owned()));
    }
    for (member, _) in tx.rows(&tables::SUBMITTED_SHARES) {
        tx.remove(&tables::SUBMITTED_SHARES, &member);
    }
    let mut service = ServiceInfo::read(tx as &mut dyn Read)?.ok_or_else(wrong)?;
    service.status = ServiceStatus::Open;
    tables::write(tx, &tables::SERVICE_INFO, &tables::SINGLETON, &service);
    Ok(())
}

fn open_submitted(state: &mut dyn Read, present: &SymmetricKey) -> Result<Vec<Zeroizing<Vec<u8>>>, Error> {
    let rows = tables::read_all::<String>(state, &tables::SUBMITTED_SHARES)?;
    let open = |(member, sealed): (String, String)| {
        let unreadable = || Error::Secrets(format!("the submitted share of {member} does not open"));
        let sealed = BASE64.decode(sealed).map_err(|_| unreadable())?;
        let share = submitted_key(present, &member).open_from_slice(&[], &sealed).map_err(|_| unreadable())?;
        Ok(Zeroizing::new(share))
    };
    rows.into_iter().map(open).collect()
}

impl SharesRow {
    fn give(&mut self, member: &str, key: &EncryptionKey, share: &[u8]) -> Result<(), Error> {
        let encrypted = key.encrypt(share).map_err(|error| Error::Secrets(format!("the key of {member}: {error}")))?;
        self.encrypted_shares.insert(member.to_owned(), BASE64.encode(encrypted));
        self.share_digests.insert(member.to_owned(), digest(member, share));
        Ok(())
    }
}

impl Holders {
    /// In the order of their ids.
    fn read(state: &mut dyn Read) -> Result<Self, Error> {
        let mut holders = Self::default();
        for (member, info) in MemberInfo::all(state)? {
            if info.status != "Active" || !is_holder(state, &member, &info) {
                continue;
            }
            let pem = state.row(&tables::MEMBER_ENCRYPTION_KEYS, member.as_bytes()).unwrap_or_default();
            let key = EncryptionKey::from_pem(&String::from_utf8_lossy(&pem))
                .map_err(|error| Error::Secrets(format!("the encryption key of {member}: {error}")))?;
            let of_role = if info.recovery_role.as_deref() == Some("Owner") {
                &mut holders.owners
            } else {
                &mut holders.participants
            };
            of_role.push((member, key));
        }
        if ShareHolders::read(state)?.participants {
            for (id, pem) in state.rows(&tables::USER_ENCRYPTION_KEYS) {
                let id = String::from_utf8_lossy(&id).into_owned();
                // One certificate is one holder, whatever else it is.
                if holders.owners.iter().chain(&holders.participants).any(|(holder, _)| *holder == id) {
                    continue;
                }
                let key = EncryptionKey::from_pem(&String::from_utf8_lossy(&pem))
                    .map_err(|error| Error::Secrets(format!("the encryption key of {id}: {error}")))?;
                holders.participants.push((id, key));
            }
        }
        Ok(holders)
    }
}

/// Each key here seals one message.
const NONCE: Nonce = Nonce([0; NONCE_BYTES]);

fn wrapping_key(wrapping: &SymmetricKey) -> AeadKey {
    AeadKey::new(&hkdf_sha256(wrapping, WRAPPING_DOMAIN, &[]))
}

/// Of one member: what it seals is always the same share.
fn submitted_key(present: &SymmetricKey, member: &str) -> AeadKey {
    AeadKey::new(&hkdf_sha256(present, SUBMITTED_DOMAIN, member.as_bytes()))
}

fn digest(member: &str, share: &[u8]) -> Digest {
    sha256_of(&[DIGEST_DOMAIN.as_str().as_bytes(), &[0], member.as_bytes(), share])
}
