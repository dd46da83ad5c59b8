//! Certificates of connections: registered ones, and those that an organisation's registered CA, or a CA below it, has issued.
//!
//! A path is built and judged by webpki: signatures, validity, basic constraints, name constraints, extended key usage. A CA stands for
//! its users as long as it is registered; nothing else revokes them, so that organisations keep their certificates short. A registered
//! certificate itself holds until it is removed, whatever validity it states, as in CCF.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coco_crypto::{ForeignCertificate, sha256};
use coco_governance::tables;
use coco_kv::Snapshot;
use coco_protocol::Identity;
use coco_types::Digest;
use parking_lot::Mutex;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::{Facts, registered};

/// What the other end of a connection presented, its own certificate first. It proved that it holds that one's key.
pub struct Presented {
    chain: Vec<CertificateDer<'static>>,
    fingerprint: Digest,
    /// What the chain was found to be, and among which registered certificates.
    judged: Mutex<Option<(u64, Option<Vouched>)>>,
}

/// An organisation's word for the holder of a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Vouched {
    organisation: Digest,
    subject: String,
    /// Every certificate of the path is valid at these times, Unix seconds.
    not_before: u64,
    not_after: u64,
}

/// The registered certificates that are a CA's, by their subjects. Read anew when registrations change.
#[derive(Default)]
pub(super) struct Organisations {
    known: Mutex<Option<(u64, Arc<BySubject>)>>,
}

type BySubject = BTreeMap<Vec<u8>, Vec<Organisation>>;

struct Organisation {
    certificate: ForeignCertificate,
    anchor: TrustAnchor<'static>,
}

impl Presented {
    pub fn new(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let chain: Vec<_> = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        let fingerprint = sha256(chain.first()?);
        Some(Self { chain, fingerprint, judged: Mutex::new(None) })
    }

    /// Its own certificate, DER.
    pub(crate) fn leaf(&self) -> Bytes {
        self.chain.first().map(|leaf| Bytes::copy_from_slice(leaf)).unwrap_or_default()
    }
}

impl Organisations {
    /// Who is known to have presented this.
    pub(super) fn known(&self, facts: &Facts, presented: &Presented) -> Vec<Identity> {
        let registered = registered(&facts.state, &presented.fingerprint.to_string());
        if !registered.is_empty() {
            return registered;
        }
        let mut judged = presented.judged.lock();
        let vouched = match &*judged {
            // What was not valid yet may be now.
            Some((version, Some(vouched))) if *version == facts.actors_version => Some(vouched.clone()),
            _ => {
                let vouched = self.judge(facts, &presented.chain);
                *judged = Some((facts.actors_version, vouched.clone()));
                vouched
            }
        };
        let valid = vouched.filter(|vouched| (vouched.not_before..=vouched.not_after).contains(&facts.now_s));
        let user = valid.map(|Vouched { organisation, subject, .. }| Identity::User {
            organisation: organisation.to_string(),
            subject,
        });
        user.into_iter().collect()
    }

    fn judge(&self, facts: &Facts, chain: &[CertificateDer<'_>]) -> Option<Vouched> {
        let organisations = self.at(facts);
        if organisations.is_empty() {
            return None;
        }
        let parsed: Option<Vec<_>> =
            chain.iter().map(|certificate| ForeignCertificate::from_der(certificate).ok()).collect();
        let parsed = parsed?;
        let issuers = parsed.iter().map(ForeignCertificate::issuer_der);
        let candidates = issuers.filter_map(|issuer| organisations.get(issuer)).flatten();
        candidates.into_iter().find_map(|organisation| organisation.vouches(chain, &parsed, facts.now_s))
    }

    fn at(&self, facts: &Facts) -> Arc<BySubject> {
        let mut known = self.known.lock();
        match &*known {
            Some((version, organisations)) if *version == facts.actors_version => organisations.clone(),
            _ => {
                let organisations = Arc::new(read(&facts.state));
                *known = Some((facts.actors_version, organisations.clone()));
                organisations
            }
        }
    }
}

impl Organisation {
    fn new(pem: &[u8]) -> Option<Self> {
        let certificate = ForeignCertificate::from_pem(std::str::from_utf8(pem).ok()?).ok()?;
        if !certificate.is_ca() {
            return None;
        }
        let der = CertificateDer::from(certificate.der().to_vec());
        let anchor = anchor_from_trusted_cert(&der).ok()?.to_owned();
        Some(Self { certificate, anchor })
    }

    /// `parsed` is `chain`. Whoever is not valid now is not vouched for now.
    fn vouches(&self, chain: &[CertificateDer<'_>], parsed: &[ForeignCertificate], now_s: u64) -> Option<Vouched> {
        let ([leaf, intermediates @ ..], [first, ..]) = (chain, parsed) else { return None };
        let leaf = EndEntityCert::try_from(leaf).ok()?;
        let anchors = [self.anchor.clone()];
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_s));
        let path = leaf
            .verify_for_usage(algorithms, &anchors, intermediates, now, KeyUsage::client_auth(), None, None)
            .ok()?;
        let between: Vec<_> = path.intermediate_certificates().map(|certificate| certificate.der()).collect();
        // An anchor's own limits are nobody's business but ours.
        if self.certificate.path_len().is_some_and(|most| between.len() > most as usize) {
            return None;
        }
        let on_path = parsed.iter().skip(1).filter(|other| between.iter().any(|der| der.as_ref() == other.der()));
        let valid = [first, &self.certificate].into_iter().chain(on_path).map(ForeignCertificate::validity);
        let (mut not_before, mut not_after) = (0, u64::MAX);
        for validity in valid {
            not_before = not_before.max(validity.not_before);
            not_after = not_after.min(validity.not_after);
        }
        let organisation = self.certificate.fingerprint();
        Some(Vouched { organisation, subject: first.distinguished_name()?, not_before, not_after })
    }
}

fn read(state: &Snapshot) -> BySubject {
    let mut organisations = BySubject::new();
    for map in [&tables::MEMBER_CERTS, &tables::USER_CERTS] {
        for organisation in state.iter(map).filter_map(|(_, pem)| Organisation::new(&pem)) {
            let subject = organisation.certificate.subject_der().to_vec();
            organisations.entry(subject).or_default().push(organisation);
        }
    }
    organisations
}
