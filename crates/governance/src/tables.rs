//! Names of the governance maps, and typed access to their rows.

use bytes::Bytes;
use coco_kv::{Snapshot, Tx};
use coco_types::MapName;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// Member id → certificate in PEM.
pub const MEMBER_CERTS: MapName = MapName::from_static("public:ccf.gov.members.certs");
/// Member id → [`crate::MemberInfo`].
pub const MEMBER_INFO: MapName = MapName::from_static("public:ccf.gov.members.info");
/// Member id → RSA public key in PEM, of members that hold a recovery share.
pub const MEMBER_ENCRYPTION_KEYS: MapName = MapName::from_static("public:ccf.gov.members.encryption_public_keys");
/// Member id → [`crate::Ack`].
pub const MEMBER_ACKS: MapName = MapName::from_static("public:ccf.gov.members.acks");
/// One row: the constitution's text, as JSON.
pub const CONSTITUTION: MapName = MapName::from_static("public:ccf.gov.constitution");
/// Proposal id → what was submitted, unchanged.
pub const PROPOSALS: MapName = MapName::from_static("public:ccf.gov.proposals");
/// Proposal id → [`crate::ProposalInfo`].
pub const PROPOSALS_INFO: MapName = MapName::from_static("public:ccf.gov.proposals_info");
/// Member id → its last signed request, base64 as JSON.
pub const COSE_HISTORY: MapName = MapName::from_static("public:ccf.gov.cose_history");
/// Time and digest of a recent proposal, as JSON → its id, as JSON.
pub const COSE_RECENT_PROPOSALS: MapName = MapName::from_static("public:ccf.gov.cose_recent_proposals");
/// One row: how votes are counted, as the constitution's action `set_voting_policy` has it.
pub const VOTING_POLICY: MapName = MapName::from_static("public:ccf.gov.coco.voting_policy");
/// One row: [`crate::ServiceConfig`].
pub const SERVICE_CONFIG: MapName = MapName::from_static("public:ccf.gov.service.config");
/// Participant id → certificate in PEM.
pub const USER_CERTS: MapName = MapName::from_static("public:ccf.gov.users.certs");
/// Participant id → [`crate::UserInfo`].
pub const USER_INFO: MapName = MapName::from_static("public:ccf.gov.users.info");
/// Token issuer → [`crate::jwt::IssuerRow`].
pub const JWT_ISSUERS: MapName = MapName::from_static("public:ccf.gov.jwt.issuers");
/// Key id → list of [`crate::jwt::KeyRow`].
pub const JWT_KEYS: MapName = MapName::from_static("public:ccf.gov.jwt.public_signing_keys_metadata_v2");
/// "VERB /path" below `/app` → [`crate::application::Endpoint`].
pub const JS_ENDPOINTS: MapName = MapName::from_static("public:ccf.gov.endpoints");
/// A module's name, which begins with `/` → its source.
pub const JS_MODULES: MapName = MapName::from_static("public:ccf.gov.modules");
/// One row: [`crate::application::RuntimeOptions`].
pub const JS_RUNTIME_OPTIONS: MapName = MapName::from_static("public:ccf.gov.js_runtime_options");
/// Name → CA certificates in PEM, as JSON.
pub const CA_CERT_BUNDLES: MapName = MapName::from_static("public:ccf.gov.tls.ca_cert_bundles");
/// Node id → [`crate::NodeInfo`].
pub const NODE_INFO: MapName = MapName::from_static("public:ccf.gov.nodes.info");
/// Node id → certificate in PEM, endorsed by the service.
pub const NODE_CERTS: MapName = MapName::from_static("public:ccf.gov.nodes.endorsed_certificates");
/// Measurement of a virtual node, hex → `"AllowedToJoin"`.
pub const VIRTUAL_MEASUREMENTS: MapName = MapName::from_static("public:ccf.gov.nodes.virtual.measurements");
/// One row: [`crate::ServiceInfo`].
pub const SERVICE_INFO: MapName = MapName::from_static("public:ccf.gov.service.info");
/// One row: the ledger secret in force, for each node: [`crate::secrets`].
pub const ENCRYPTED_LEDGER_SECRETS: MapName = MapName::from_static("public:ccf.internal.encrypted_ledger_secrets");
/// One row: the secret before it, sealed under it, in CCF's form.
pub const HISTORICAL_LEDGER_SECRET: MapName =
    MapName::from_static("public:ccf.internal.historical_encrypted_ledger_secret");
/// First seqno of an epoch → [`crate::secrets::EpochRow`].
pub const EPOCHS: MapName = MapName::from_static("public:ccf.gov.coco.epochs");
/// One row: [`crate::secrets::EpochPolicy`].
pub const EPOCH_POLICY: MapName = MapName::from_static("public:ccf.gov.coco.epoch_policy");
/// One row: [`crate::SharesRow`].
pub const RECOVERY_SHARES: MapName = MapName::from_static("public:ccf.internal.recovery_shares");
/// Member id → its share, sealed, while a recovery waits for others; base64 as JSON.
pub const SUBMITTED_SHARES: MapName = MapName::from_static("public:ccf.internal.encrypted_submitted_shares");
/// One row: [`crate::RecoveryRow`].
pub const RECOVERY: MapName = MapName::from_static("public:ccf.gov.coco.recovery");
/// One row: the certificate of the service before a recovery, PEM as JSON.
pub const PREVIOUS_SERVICE_IDENTITY: MapName = MapName::from_static("public:ccf.gov.service.previous_service_identity");
/// One row: the last root that it signed, hex as JSON.
pub const PREVIOUS_LAST_SIGNED_ROOT: MapName =
    MapName::from_static("public:ccf.internal.previous_service_last_signed_root");
/// One row: the newest [`crate::EndorsementRow`].
pub const ENDORSEMENT: MapName = MapName::from_static("public:ccf.internal.previous_service_identity_endorsement");
/// Number, counted from 0 → [`crate::EndorsementRow`].
pub const ENDORSEMENTS: MapName = MapName::from_static("public:ccf.gov.coco.service_endorsements");
/// One row: the service's key for each trusted node, once it was rotated: [`crate::rotation`].
pub const SERVICE_KEYS: MapName = MapName::from_static("public:ccf.internal.coco.service_keys");
/// One row: the transaction that asked for another identity of the service, until it is carried out.
pub const ROTATION_DUE: MapName = MapName::from_static("public:ccf.gov.coco.service_rotation_due");
/// Seqno → [`crate::rotation::RotationRow`].
pub const ROTATIONS: MapName = MapName::from_static("public:ccf.gov.coco.service_rotations");
/// A ledger's name → [`crate::AddedLedger`], of those that the network was not founded with.
pub const ADDED_LEDGERS: MapName = MapName::from_static("public:ccf.gov.coco.ledgers");
/// Ledger → why members have removed it.
pub const REMOVED_LEDGERS: MapName = MapName::from_static("public:ccf.gov.coco.ledgers.removed");
/// A ledger's name, or `*` for all → [`crate::Closure`].
pub const CLOSURES: MapName = MapName::from_static("public:ccf.gov.coco.ledger.closed");
/// One row: [`crate::ResumePolicy`], in place of what the network was founded with.
pub const RESUME_POLICY: MapName = MapName::from_static("public:ccf.gov.coco.resume_policy");
/// A private map of some ledger → `{}`: what is written to it from now on is in the ledger files in clear too.
pub const PUBLISHED_MAPS: MapName = MapName::from_static("public:ccf.gov.coco.published_maps");
/// One row: [`crate::disclosure::IdentityDisclosure`].
pub const IDENTITY_DISCLOSURE: MapName = MapName::from_static("public:ccf.gov.coco.identity_disclosure");
/// First seqno of an epoch and its auditor's key → [`crate::GrantRow`].
pub const AUDIT_GRANTS: MapName = MapName::from_static("public:ccf.gov.coco.audit_grants");
/// Participant id → RSA public key in PEM, of participants that may hold a recovery share.
pub const USER_ENCRYPTION_KEYS: MapName =
    MapName::from_static("public:ccf.gov.coco.participants.encryption_public_keys");
/// One row: [`crate::ShareHolders`].
pub const SHARE_HOLDERS: MapName = MapName::from_static("public:ccf.gov.coco.share_holders");
/// One row: [`crate::NodeAdmission`].
pub const NODE_ADMISSION: MapName = MapName::from_static("public:ccf.gov.coco.node_admission");
/// One row: [`crate::Network`].
pub const NETWORK: MapName = MapName::from_static("public:ccf.gov.coco.network");
/// One row: the newest replica id given out, a JSON number.
pub const LAST_REPLICA: MapName = MapName::from_static("public:ccf.gov.coco.last_replica");
/// View adopted → [`crate::ResumeRow`].
pub const RESUMES: MapName = MapName::from_static("public:ccf.gov.coco.resumes");
/// One row: who leads the view, as the ledger keeps it.
pub const VIEW: MapName = MapName::from_static("public:ccf.gov.coco.view");
/// One row: what a signature says to be committed, as the ledger keeps it.
pub const COMMITTED: MapName = MapName::from_static("public:ccf.gov.coco.committed");
/// View → [`crate::AlarmRow`].
pub const ALARMS: MapName = MapName::from_static("public:ccf.gov.coco.alarms");

/// The key of a map with one row.
pub const SINGLETON: [u8; 8] = [0; 8];

/// Rows, whether of a transaction or of a snapshot.
pub trait Read {
    fn row(&mut self, map: &MapName, key: &[u8]) -> Option<Bytes>;
    fn rows(&mut self, map: &MapName) -> Vec<(Bytes, Bytes)>;
}

impl Read for Tx {
    fn row(&mut self, map: &MapName, key: &[u8]) -> Option<Bytes> {
        self.get(map, key)
    }

    fn rows(&mut self, map: &MapName) -> Vec<(Bytes, Bytes)> {
        self.prefix(map, b"").collect()
    }
}

impl Read for Snapshot {
    fn row(&mut self, map: &MapName, key: &[u8]) -> Option<Bytes> {
        self.get(map, key)
    }

    fn rows(&mut self, map: &MapName) -> Vec<(Bytes, Bytes)> {
        self.prefix(map, b"").collect()
    }
}

pub(crate) fn read<T: DeserializeOwned>(state: &mut dyn Read, map: &MapName, key: &[u8]) -> Result<Option<T>, Error> {
    state.row(map, key).map(|value| parse(map, key, &value)).transpose()
}

pub(crate) fn read_all<T: DeserializeOwned>(state: &mut dyn Read, map: &MapName) -> Result<Vec<(String, T)>, Error> {
    let row = |(key, value): (Bytes, Bytes)| Ok((text(&key), parse(map, &key, &value)?));
    state.rows(map).into_iter().map(row).collect()
}

pub(crate) fn write<T: Serialize>(tx: &mut Tx, map: &MapName, key: &[u8], value: &T) {
    let json = serde_json::to_vec(value).expect("rows have only string keys");
    tx.put(map, Bytes::copy_from_slice(key), json);
}

pub(crate) fn parse<T: DeserializeOwned>(map: &MapName, key: &[u8], value: &[u8]) -> Result<T, Error> {
    let unreadable =
        |error: serde_json::Error| Error::UnreadableRow { map: map.clone(), key: text(key), why: error.to_string() };
    serde_json::from_slice(value).map_err(unreadable)
}

fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}
