//! The first transaction of a network.

use coco_attestation::{BoundFacts, Rules};
use coco_crypto::{EncryptionKey, ForeignCertificate, PublicKey};
use coco_kv::Tx;
use coco_types::Digest;

use crate::Error;
use crate::attestation;
use crate::rows::{self, MemberInfo, Network, NodeRow, ServiceInfo, ServiceStatus, UserInfo};
use crate::service::ServiceConfig;
use crate::tables::{self, Read};

/// What a network is founded on.
#[derive(Clone, Debug)]
pub struct Founding {
    pub network: Network,
    pub members: Vec<FoundingActor>,
    pub participants: Vec<FoundingActor>,
    /// How many members' shares a recovery needs; absent: those of all who can hold one.
    pub recovery_threshold: Option<u64>,
    pub virtual_measurements: Vec<Digest>,
    pub attestation: Rules,
    /// The module's text.
    pub constitution: String,
    /// The first node, already `Trusted`: there is nobody to judge it.
    pub node: NodeRow,
    /// What its evidence is bound to. Absent only where nobody made evidence: in tests of other things.
    pub bound: Option<BoundFacts>,
    /// Its certificate, in PEM.
    pub node_certificate: String,
    /// The service certificate, in PEM.
    pub service_certificate: String,
}

#[derive(Clone, Debug)]
pub struct FoundingActor {
    /// Certificate in PEM.
    pub certificate: String,
    pub data: serde_json::Value,
    /// RSA key in PEM, of a member that is to hold a recovery share.
    pub encryption_public_key: Option<String>,
    /// CCF's `NonParticipant`, `Participant` or `Owner`.
    pub recovery_role: Option<String>,
}

/// Writes the founding facts at ledger time `at`, Unix seconds; the service is `Opening`. The first node is judged by its own policy, so
/// that no network is founded that would not admit its founder.
pub fn found(tx: &mut Tx, founding: &Founding, at: u64) -> Result<(), Error> {
    if founding.members.is_empty() {
        return Err(Error::Founding("a network needs at least one member".to_owned()));
    }
    for member in &founding.members {
        let id = certificate(&member.certificate)?.fingerprint().to_string();
        tx.put(&tables::MEMBER_CERTS, id.clone().into_bytes(), member.certificate.clone().into_bytes());
        let recovery_role = member.recovery_role.clone();
        let info = MemberInfo { status: "Accepted".to_owned(), member_data: member.data.clone(), recovery_role };
        if let Some(key) = &member.encryption_public_key {
            check_encryption_key(key)?;
            tx.put(&tables::MEMBER_ENCRYPTION_KEYS, id.clone().into_bytes(), key.clone().into_bytes());
        }
        tables::write(tx, &tables::MEMBER_INFO, id.as_bytes(), &info);
    }
    for participant in &founding.participants {
        let id = certificate(&participant.certificate)?.fingerprint().to_string();
        tx.put(&tables::USER_CERTS, id.clone().into_bytes(), participant.certificate.clone().into_bytes());
        tables::write(tx, &tables::USER_INFO, id.as_bytes(), &UserInfo { user_data: participant.data.clone() });
    }
    for measurement in &founding.virtual_measurements {
        tables::write(tx, &tables::VIRTUAL_MEASUREMENTS, &rows::digest_key(measurement), &"AllowedToJoin");
    }
    tables::write(tx, &tables::CONSTITUTION, &tables::SINGLETON, &founding.constitution);
    let config = ServiceConfig { recovery_threshold: threshold(founding)?, ..ServiceConfig::default() };
    tables::write(tx, &tables::SERVICE_CONFIG, &tables::SINGLETON, &config);
    attestation::write_founding(tx, &founding.attestation, at)?;
    if let Some(bound) = &founding.bound {
        let key = PublicKey::from_pem(&founding.node.info.public_key)
            .map_err(|error| Error::Founding(format!("the first node's key: {error}")))?;
        let appraisal = attestation::founder(tx, &founding.node.info.quote_info, &key, bound.clone(), at)?;
        appraisal.write(tx, founding.node.id);
    }
    founding.node.write(tx);
    let id = founding.node.id.to_string();
    tx.put(&tables::NODE_CERTS, id.into_bytes(), founding.node_certificate.clone().into_bytes());
    tables::write(tx, &tables::NETWORK, &tables::SINGLETON, &founding.network);
    tables::write(tx, &tables::LAST_REPLICA, &tables::SINGLETON, &founding.node.info.replica);
    let service = ServiceInfo {
        cert: founding.service_certificate.clone(),
        status: ServiceStatus::Opening,
        recovery_count: 0,
        current_service_create_txid: None,
    };
    tables::write(tx, &tables::SERVICE_INFO, &tables::SINGLETON, &service);
    Ok(())
}

/// Opens the service to applications.
pub fn open(tx: &mut Tx) -> Result<(), Error> {
    let Some(mut service) = ServiceInfo::read(tx as &mut dyn Read)? else {
        return Err(Error::Founding("there is no service to open".to_owned()));
    };
    service.status = ServiceStatus::Open;
    tables::write(tx, &tables::SERVICE_INFO, &tables::SINGLETON, &service);
    Ok(())
}

/// Members that can hold a share, and what the founder says.
fn threshold(founding: &Founding) -> Result<u64, Error> {
    let holds = |member: &&FoundingActor| {
        member.encryption_public_key.is_some() && member.recovery_role.as_deref() != Some("NonParticipant")
    };
    let holders = founding.members.iter().filter(holds).count() as u64;
    match founding.recovery_threshold {
        Some(threshold) if threshold > holders => {
            Err(Error::Founding(format!("recovery would need {threshold} of only {holders} share holders")))
        }
        Some(threshold) => Ok(threshold),
        None => Ok(holders),
    }
}

fn check_encryption_key(pem: &str) -> Result<(), Error> {
    EncryptionKey::from_pem(pem)
        .map(drop)
        .map_err(|error| Error::Founding(format!("a member's encryption key: {error}")))
}

fn certificate(pem: &str) -> Result<ForeignCertificate, Error> {
    ForeignCertificate::from_pem(pem)
        .map_err(|error| Error::Founding(format!("a member's or participant's certificate: {error}")))
}
