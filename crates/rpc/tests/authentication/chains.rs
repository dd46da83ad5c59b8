//! Certificates that an organisation's CA issued to its users.

use bytes::Bytes;
use coco_crypto::sha256;
use coco_governance::tables;
use coco_protocol::{Caller, Identity};
use coco_rpc::authentication::Presented;
use http::Request;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, SanType, SignatureAlgorithm,
};
use rustls::pki_types::CertificateDer;

use crate::{NOW_S, Network};

/// A CA that issues certificates.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

type Change = fn(&mut CertificateParams);

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    params
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

impl Ca {
    fn new(name: &str, change: Change) -> Self {
        Self::with_key(name, &PKCS_ECDSA_P384_SHA384, change)
    }

    fn with_key(name: &str, algorithm: &'static SignatureAlgorithm, change: Change) -> Self {
        let mut params = ca_params(name);
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { der: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// A CA below this one.
    fn below(&self, name: &str, change: Change) -> Self {
        let mut params = ca_params(name);
        change(&mut params);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self { der: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    fn issue(&self, name: &str, change: Change) -> CertificateDer<'static> {
        let mut params = params(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }

    fn id(&self) -> String {
        sha256(&self.der).to_string()
    }

    /// The caller that its user is.
    fn user(&self, subject: &str) -> Caller {
        Caller::Identified(vec![Identity::User { organisation: self.id(), subject: subject.to_owned() }])
    }
}

fn unchanged(_: &mut CertificateParams) {}

impl Network {
    fn register(&self, ca: &Ca) {
        self.put(&tables::USER_CERTS, &ca.id(), &ca.pem);
    }

    fn presenting(&self, chain: &[&CertificateDer<'static>]) -> Caller {
        let chain: Vec<_> = chain.iter().map(|certificate| (*certificate).clone()).collect();
        self.of(&Presented::new(&chain).unwrap())
    }

    fn of(&self, presented: &Presented) -> Caller {
        self.caller(Some(presented), &mut Request::new(Bytes::new())).unwrap()
    }
}

#[test]
fn a_registered_ca_stands_for_its_users_directly_and_through_cas_below_it() {
    let network = Network::new();
    let bank = Ca::new("Bank", unchanged);
    let leaf = bank.issue("ann", unchanged);
    assert_eq!(network.presenting(&[&leaf]), Caller::Anonymous);
    network.register(&bank);
    assert_eq!(network.presenting(&[&leaf]), bank.user("CN=ann"));
    assert_eq!(network.presenting(&[&leaf, &bank.der]), bank.user("CN=ann"), "the CA may be sent along");
    let department = bank.below("Loans", unchanged);
    let clerk = department.issue("bob", unchanged);
    assert_eq!(network.presenting(&[&clerk, &department.der]), bank.user("CN=bob"));
    assert_eq!(network.presenting(&[&clerk]), Caller::Anonymous, "the CA between is missing");
    // An intermediate CA may be what is registered.
    let network = Network::new();
    network.register(&department);
    assert_eq!(network.presenting(&[&clerk]), department.user("CN=bob"));
    assert_eq!(network.presenting(&[&clerk, &department.der, &bank.der]), department.user("CN=bob"));
    assert_eq!(network.presenting(&[&leaf]), Caller::Anonymous);
}

#[test]
fn keys_on_p521_issue_and_are_registered_too() {
    let network = Network::new();
    let bank = Ca::with_key("Bank", &PKCS_ECDSA_P521_SHA512, unchanged);
    network.register(&bank);
    assert_eq!(network.presenting(&[&bank.issue("ann", unchanged)]), bank.user("CN=ann"));
    assert_eq!(network.presenting(&[&bank.der]), Caller::Identified(vec![Identity::Participant(bank.id())]));
}

#[test]
fn a_path_holds_only_while_all_of_it_is_valid() {
    const DAY_S: u64 = 86_400;
    let network = Network::new();
    let bank = Ca::new("Bank", unchanged);
    network.register(&bank);
    let short = |params: &mut CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2027, 1, 10);
        params.not_after = rcgen::date_time_ymd(2027, 1, 20);
    };
    let leaf = Presented::new(&[bank.issue("ann", short)]).unwrap();
    assert_eq!(network.of(&leaf), bank.user("CN=ann"), "now is 2027-01-15");
    network.at(NOW_S + 10 * DAY_S);
    assert_eq!(network.of(&leaf), Caller::Anonymous);
    network.at(NOW_S - 10 * DAY_S);
    assert_eq!(network.of(&leaf), Caller::Anonymous);
    network.at(NOW_S);
    assert_eq!(network.of(&leaf), bank.user("CN=ann"), "the same connection, when it is valid again");
    let expired = bank.below("Past", |params| params.not_after = rcgen::date_time_ymd(2026, 1, 1));
    assert_eq!(network.presenting(&[&expired.issue("bob", unchanged), &expired.der]), Caller::Anonymous);
    let old = Ca::new("Old bank", |params| params.not_after = rcgen::date_time_ymd(2026, 1, 1));
    network.register(&old);
    assert_eq!(network.presenting(&[&old.issue("ann", unchanged)]), Caller::Anonymous);
}

#[test]
fn what_certificates_say_about_their_use_is_heeded() {
    let network = Network::new();
    let bank = Ca::new("Bank", |params| {
        let permitted_subtrees = vec![GeneralSubtree::DnsName("bank.example".to_owned())];
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
    });
    network.register(&bank);
    let named = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![SanType::DnsName("ann.bank.example".try_into().unwrap())];
    };
    let elsewhere = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![SanType::DnsName("ann.other.example".try_into().unwrap())];
    };
    assert_eq!(network.presenting(&[&bank.issue("ann", named)]), bank.user("CN=ann"));
    assert_eq!(network.presenting(&[&bank.issue("ann", elsewhere)]), Caller::Anonymous, "name constraints");
    let server = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    assert_eq!(network.presenting(&[&bank.issue("ann", server)]), Caller::Anonymous, "extended key usage");
    let as_ca = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert_eq!(network.presenting(&[&bank.issue("ann", as_ca)]), Caller::Anonymous, "a CA is no user");
    let nameless = |params: &mut CertificateParams| params.distinguished_name = rcgen::DistinguishedName::new();
    assert_eq!(network.presenting(&[&bank.issue("ann", nameless)]), Caller::Anonymous, "nobody in particular");
    // A limit on how many CAs may be below: of the registered one, and of one between.
    let narrow = Ca::new("Narrow", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    network.register(&narrow);
    let department = narrow.below("Loans", unchanged);
    assert_eq!(network.presenting(&[&narrow.issue("ann", unchanged)]), narrow.user("CN=ann"));
    assert_eq!(network.presenting(&[&department.issue("ann", unchanged), &department.der]), Caller::Anonymous);
}

#[test]
fn no_other_certificate_makes_a_user() {
    let network = Network::new();
    let bank = Ca::new("Bank", unchanged);
    network.register(&bank);
    let impostor = Ca::new("Bank", unchanged);
    assert_eq!(network.presenting(&[&impostor.issue("ann", unchanged)]), Caller::Anonymous, "the same name");
    assert_eq!(network.presenting(&[&impostor.issue("ann", unchanged), &bank.der]), Caller::Anonymous);
    // A registered certificate that is no CA's vouches for nobody.
    let plain = Ca::new("Plain", |params| params.is_ca = IsCa::ExplicitNoCa);
    network.register(&plain);
    assert_eq!(network.presenting(&[&plain.issue("ann", unchanged)]), Caller::Anonymous);
    // A user issues nothing.
    let leaf = bank.below("ann", |params| params.is_ca = IsCa::ExplicitNoCa);
    assert_eq!(network.presenting(&[&leaf.issue("bob", unchanged), &leaf.der]), Caller::Anonymous);
    assert_eq!(network.presenting(&[&CertificateDer::from(vec![0x30, 0])]), Caller::Anonymous);
}

#[test]
fn users_go_with_their_ca_also_on_connections_that_are_open() {
    let network = Network::new();
    let (bank, shop) = (Ca::new("Bank", unchanged), Ca::new("Shop", unchanged));
    let leaf = Presented::new(&[bank.issue("ann", unchanged)]).unwrap();
    network.register(&shop);
    assert_eq!(network.of(&leaf), Caller::Anonymous);
    network.register(&bank);
    assert_eq!(network.of(&leaf), bank.user("CN=ann"), "registered after the connection was made");
    network.write(|tx| tx.remove(&tables::USER_CERTS, bank.id().as_bytes()));
    assert_eq!(network.of(&leaf), Caller::Anonymous);
}

#[test]
fn a_members_ca_gives_its_users_no_vote_and_no_members_rights() {
    let network = Network::new();
    let bank = Ca::new("Bank", unchanged);
    network.put(&tables::MEMBER_CERTS, &bank.id(), &bank.pem);
    let caller = network.presenting(&[&bank.issue("ann", unchanged)]);
    assert_eq!(caller, bank.user("CN=ann"));
    assert!(!caller.is_member());
}
