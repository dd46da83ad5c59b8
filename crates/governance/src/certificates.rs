//! Certificates that the service issues: its nodes' and its own, for as long as the members allow.
//!
//! A certificate differs each time that it is made. It is made by the node that carries an order out, never by a script: what a replay checks is
//! that somebody asked for it.

use bytes::Bytes;
use coco_attestation::cmw::EXTENSION_OID;
use coco_attestation::service_extension;
use coco_crypto::{
    Certificate, CertificateRequest, Crypto, Extension, NodeCertificateRequest, PublicKey, SigningKey, SubjectAltName,
    Validity, encode_pem, issue_node_certificate, self_signed_service_certificate, sha256,
};
use coco_kv::Tx;
use coco_types::{MapName, NodeId, WriteSet};

use crate::Error;
use crate::attestation;
use crate::rotation;
use crate::rows::{Addresses, NodeRow, NodeStatus, ServiceInfo};
use crate::secrets::{self, Vault};
use crate::service::{CERTIFICATE_DAYS_MAX, ServiceConfig};
use crate::tables::{self, Read};

const HOUR_S: u64 = 3600;
const DAY_S: u64 = 24 * HOUR_S;

/// How long a certificate holds, as members vote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period {
    /// Unix seconds.
    pub from_s: u64,
    pub days: u64,
}

impl Period {
    fn validity(self) -> Validity {
        Validity { not_before: self.from_s, not_after: self.from_s.saturating_add(self.days.saturating_mul(DAY_S)) }
    }
}

/// Who a node's certificate is for.
pub struct Subject<'a> {
    pub public_key: &'a PublicKey,
    pub index: u32,
    pub addresses: &'a Addresses,
    /// The evidence that it carries.
    pub evidence: Option<Extension>,
}

/// A little into the past: clocks of other machines may be behind.
pub fn validity_from(now_s: u64) -> Validity {
    Validity { not_before: now_s.saturating_sub(HOUR_S), not_after: now_s + CERTIFICATE_DAYS_MAX * DAY_S }
}

/// A node's certificate, issued by this service.
pub fn issue(
    crypto: &dyn Crypto,
    (service, key): (&Certificate, &SigningKey),
    subject: Subject<'_>,
    validity: Validity,
) -> Result<Certificate, coco_crypto::Error> {
    let request = NodeCertificateRequest {
        public_key: subject.public_key.clone(),
        common_name: common_name(subject.index),
        subject_alt_names: names(subject.addresses),
        validity,
        extensions: subject.evidence.into_iter().collect(),
    };
    issue_node_certificate(crypto, service, key, &request)
}

/// What a node asks to have certified: [`issue`] gives the same names.
pub fn request(
    crypto: &dyn Crypto,
    key: &SigningKey,
    index: u32,
    addresses: &Addresses,
) -> Result<String, coco_crypto::Error> {
    CertificateRequest::sign(crypto, key, &common_name(index), &names(addresses))
}

/// Whether this is [`request`] of the node with this key.
pub fn is_request_of(request: &str, key: &PublicKey, index: u32, addresses: &Addresses) -> bool {
    CertificateRequest::from_pem(request).is_ok_and(|request| {
        request.public_key == *key
            && request.common_name == Some(common_name(index))
            && request.subject_alt_names == names(addresses)
    })
}

fn common_name(index: u32) -> String {
    format!("coco node {index}")
}

/// What a node at these addresses is called in its certificate.
pub fn names(addresses: &Addresses) -> Vec<SubjectAltName> {
    let mut hosts = vec![addresses.api.ip().to_string(), addresses.peers.ip().to_string()];
    if addresses.api.ip().is_loopback() || addresses.api.ip().is_unspecified() {
        hosts.extend(["localhost".to_owned(), "127.0.0.1".to_owned()]);
    }
    hosts.sort();
    hosts.dedup();
    hosts.iter().map(|host| SubjectAltName::from_host(host)).collect()
}

/// The evidence that a certificate carries, for the next one.
pub fn evidence_of(certificate: &Certificate) -> Option<Extension> {
    let content = certificate.extension(&EXTENSION_OID)?;
    Some(Extension { oid: EXTENSION_OID.to_vec(), content })
}

/// A certificate that members want for a node, by its own request. It is made, and takes the place of [`Endorsing::placeholder`], with the transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endorsing {
    /// PKCS #10, PEM.
    request: String,
    period: Period,
    /// Of the certificate that the node has.
    evidence: Option<Extension>,
}

impl Endorsing {
    /// The service's signature on a key is what makes it a node to its peers. So the key must be a node's, of which members know.
    pub(crate) fn new(state: &mut dyn Read, request: &str, period: Period) -> Result<Self, Error> {
        let parsed = CertificateRequest::from_pem(request)
            .map_err(|error| Error::Secrets(format!("the certificate signing request: {error}")))?;
        let node = parsed.public_key.node_id();
        let present = state.row(&tables::NODE_CERTS, node.to_string().as_bytes());
        let present = present.and_then(|pem| Certificate::from_pem(&String::from_utf8_lossy(&pem)).ok());
        let known = NodeRow::read(state, node)?.filter(|row| row.info.status != NodeStatus::Retired);
        if known.is_none() {
            return Err(Error::Secrets(format!(
                "the certificate signing request is for the key of {node}, which is no node of this network"
            )));
        }
        let longest =
            ServiceConfig::read(state)?.maximum_node_certificate_validity_days.unwrap_or(CERTIFICATE_DAYS_MAX);
        if period.days > longest {
            return Err(Error::Secrets(format!("a node's certificate holds for at most {longest} days")));
        }
        Ok(Self { request: request.to_owned(), period, evidence: present.as_ref().and_then(evidence_of) })
    }

    /// What a script gets in place of the certificate: the same in every replay, and in no other request.
    pub(crate) fn placeholder(&self) -> String {
        let asked = format!("coco.endorsing.v1 {} {} {}", self.period.from_s, self.period.days, self.request);
        encode_pem("CERTIFICATE", sha256(asked.as_bytes()).as_bytes())
    }

    /// Puts the certificate where the script has put its placeholder.
    pub(crate) fn carry_out(&self, tx: &mut Tx, vault: &Vault) -> Result<(), Error> {
        let (service, key) = present(tx, vault)?;
        let request = CertificateRequest::from_pem(&self.request).map_err(refused)?;
        let node = NodeRow::read(tx, request.public_key.node_id())?;
        let mut subject_alt_names = request.subject_alt_names;
        if subject_alt_names.is_empty() {
            subject_alt_names = node.map(|node| names(&node.info.addresses)).unwrap_or_default();
        }
        let common_name = request.common_name.unwrap_or_else(|| "coco node".to_owned());
        let validity = self.period.validity();
        let extensions = self.evidence.iter().cloned().collect();
        let wanted = NodeCertificateRequest {
            public_key: request.public_key,
            common_name,
            subject_alt_names,
            validity,
            extensions,
        };
        let made = issue_node_certificate(vault.crypto.as_ref(), &service, &key, &wanted).map_err(refused)?;
        for (map, row) in self.places(tx.writes()) {
            tx.put(&map, row, made.to_pem().into_bytes());
        }
        Ok(())
    }

    /// Where among these writes a script has put the placeholder.
    fn places(&self, writes: &WriteSet) -> Vec<(MapName, Bytes)> {
        let placeholder = self.placeholder();
        let is_placeholder = |value: &Option<Bytes>| value.as_deref() == Some(placeholder.as_bytes());
        let rows = writes.iter().flat_map(|(map, rows)| rows.iter().map(move |(key, value)| (map, key, value)));
        rows.filter(|(.., value)| is_placeholder(value)).map(|(map, key, _)| (map.clone(), key.clone())).collect()
    }

    /// Puts what the ledger has into a replay's writes where that is a certificate as it was asked for.
    pub(crate) fn accept(
        &self,
        replayed: &mut WriteSet,
        public: &WriteSet,
        service: &Certificate,
    ) -> Result<(), String> {
        let request = CertificateRequest::from_pem(&self.request).map_err(|error| error.to_string())?;
        for (map, key) in self.places(replayed) {
            let row = public.get(&map, &key).flatten().cloned().unwrap_or_default();
            let made = Certificate::from_pem(&String::from_utf8_lossy(&row)).ok().filter(|made| {
                made.public_key() == &request.public_key
                    && made.validity() == self.period.validity()
                    && made.verify_signed_by(service).is_ok()
            });
            if made.is_none() {
                return Err(format!("what {map} has is no certificate that was asked for"));
            }
            replayed.insert(&map, key, Some(row));
        }
        Ok(())
    }
}

/// New certificates for a trusted node, or for all of them.
pub(crate) fn renew_nodes(tx: &mut Tx, vault: &Vault, node: Option<&str>, period: Period) -> Result<(), Error> {
    let (service, key) = present(tx, vault)?;
    write_nodes(tx, vault, (&service, &key), node, period.validity())
}

/// A new certificate of the service, for the key that it has.
pub(crate) fn renew_service(tx: &mut Tx, vault: &Vault, period: Period) -> Result<(), Error> {
    let (service, key) = present(tx, vault)?;
    let renewed = of_service(tx, vault, &service, &key, period.validity())?;
    write_service(tx, |info| info.cert = renewed.to_pem())
}

/// The certificate of a service that goes by the same name under this key.
pub(crate) fn of_service(
    state: &mut dyn Read,
    vault: &Vault,
    before: &Certificate,
    key: &SigningKey,
    validity: Validity,
) -> Result<Certificate, Error> {
    let name = before.common_name().unwrap_or_default();
    let anchors = [service_extension(&attestation::anchors(state)?)];
    self_signed_service_certificate(vault.crypto.as_ref(), key, &name, validity, &anchors).map_err(refused)
}

/// Trusted nodes whose certificates have come to the last third of their time, and for how long the next ones hold: as long as these, within what
/// members allow.
fn ending(state: &mut dyn Read, now_s: u64) -> Result<Vec<(NodeId, Validity)>, Error> {
    let config = ServiceConfig::read(state)?;
    let longest_s = config.maximum_node_certificate_validity_days.unwrap_or(CERTIFICATE_DAYS_MAX).saturating_mul(DAY_S);
    let mut ending = Vec::new();
    for NodeRow { id, info } in NodeRow::all(state)? {
        let pem =
            state.row(&tables::NODE_CERTS, id.to_string().as_bytes()).filter(|_| info.status == NodeStatus::Trusted);
        let Some(pem) = pem else { continue };
        let certificate = Certificate::from_pem(&String::from_utf8_lossy(&pem)).map_err(refused)?;
        let Validity { not_before, not_after } = certificate.validity();
        let held_s = not_after.saturating_sub(not_before);
        if not_after.saturating_sub(now_s) < held_s / 3 {
            let not_before = now_s.saturating_sub(HOUR_S);
            ending.push((id, Validity { not_before, not_after: now_s.saturating_add(held_s.min(longest_s)) }));
        }
    }
    Ok(ending)
}

/// Whether [`renew_ending`] has anything to do.
pub fn are_ending(state: &mut dyn Read, now_s: u64) -> Result<bool, Error> {
    Ok(!ending(state, now_s)?.is_empty())
}

/// New certificates for the nodes whose present ones end soon: nobody has to ask, nor be awake.
pub fn renew_ending(tx: &mut Tx, vault: &Vault, now_s: u64) -> Result<(), Error> {
    let ending = ending(tx, now_s)?;
    let (service, key) = present(tx, vault)?;
    for (node, validity) in ending {
        write_nodes(tx, vault, (&service, &key), Some(&node.to_string()), validity)?;
    }
    Ok(())
}

/// Certificates under this service for the trusted nodes, or for one.
pub(crate) fn write_nodes(
    tx: &mut Tx,
    vault: &Vault,
    service: (&Certificate, &SigningKey),
    only: Option<&str>,
    validity: Validity,
) -> Result<(), Error> {
    for NodeRow { id, info } in NodeRow::all(tx)? {
        let id = id.to_string();
        if info.status != NodeStatus::Trusted || only.is_some_and(|only| only != id) {
            continue;
        }
        let before = tx.get(&tables::NODE_CERTS, id.as_bytes());
        let before = before.and_then(|pem| Certificate::from_pem(&String::from_utf8_lossy(&pem)).ok());
        let key = PublicKey::from_pem(&info.public_key).map_err(refused)?;
        let subject = Subject {
            public_key: &key,
            index: info.index,
            addresses: &info.addresses,
            evidence: before.as_ref().and_then(evidence_of),
        };
        let certificate = issue(vault.crypto.as_ref(), service, subject, validity).map_err(refused)?;
        tx.put(&tables::NODE_CERTS, id.into_bytes(), certificate.to_pem().into_bytes());
    }
    Ok(())
}

pub(crate) fn write_service(tx: &mut Tx, change: impl FnOnce(&mut ServiceInfo)) -> Result<(), Error> {
    let info = ServiceInfo::read(tx as &mut dyn Read)?;
    let mut info = info.ok_or_else(|| Error::NotOpened("there is no service".to_owned()))?;
    change(&mut info);
    tables::write(tx, &tables::SERVICE_INFO, &tables::SINGLETON, &info);
    Ok(())
}

/// The service's certificate and key, as of this transaction.
pub(crate) fn present(tx: &mut Tx, vault: &Vault) -> Result<(Certificate, std::sync::Arc<SigningKey>), Error> {
    let info = ServiceInfo::read(tx as &mut dyn Read)?;
    let info = info.ok_or_else(|| Error::NotOpened("there is no service".to_owned()))?;
    Ok((secrets::service_certificate(&info)?, rotation::key(tx, vault)?))
}

fn refused(error: coco_crypto::Error) -> Error {
    Error::Secrets(format!("a certificate: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use coco_crypto::{Curve, SeededCrypto, SymmetricKey};
    use coco_kv::Store;
    use coco_types::{Seqno, TxId, View};

    use super::*;
    use crate::fixture::{self, Actor, Founded, VALIDITY};

    #[test]
    fn a_nodes_certificate_is_renewed_in_the_last_third_of_its_time_for_no_longer_than_members_allow() {
        let crypto = SeededCrypto::new(1);
        let member = Actor::new(&crypto, Curve::P384, "member");
        let Founded { founding, node, exchange, service_key } = fixture::founded_with(&crypto, &[&member], &[], 0);
        let vault = Vault {
            node,
            exchange: Arc::new(exchange),
            service_key: Arc::new(service_key),
            crypto: Arc::new(SeededCrypto::new(2)),
            disclose: |_| Vec::new(),
        };
        let mut tx = Store::new().begin();
        crate::found(&mut tx, &founding, 0).unwrap();
        let first = TxId::new(View(1), Seqno(1));
        secrets::begin(&mut tx, &vault, &SymmetricKey::generate(&crypto), first, 0).unwrap();
        let (early, late) = (VALIDITY.not_after / 2, VALIDITY.not_after - 10 * DAY_S);
        assert_eq!(are_ending(&mut tx, early), Ok(false));
        assert_eq!(are_ending(&mut tx, late), Ok(true));
        renew_ending(&mut tx, &vault, late).unwrap();
        let pem = tx.get(&tables::NODE_CERTS, node.to_string().as_bytes()).unwrap();
        let renewed = Certificate::from_pem(&String::from_utf8_lossy(&pem)).unwrap().validity();
        let expected = Validity { not_before: late - HOUR_S, not_after: late + CERTIFICATE_DAYS_MAX * DAY_S };
        assert_eq!((renewed.not_before, renewed.not_after), (expected.not_before, expected.not_after));
        assert_eq!(are_ending(&mut tx, late), Ok(false));
    }
}
