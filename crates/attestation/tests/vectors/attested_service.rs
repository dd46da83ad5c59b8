//! Statements of Microsoft's attested signing service: a COSE message whose header carries the evidence for the key that signs it.
//!
//! Their binding is not Coco's: SHA-256 over the key's COSE form, then 32 zeros. So they verify, and would admit nobody.

use coco_attestation::{Aux, Claims, Details, Evidence, ReportData, TeeKind, VerifyError, examine, verify};
use coco_crypto::{ForeignKey, Hash, Scheme, cose, sha256};
use minicbor::Decoder;
use minicbor::data::Type;

use crate::{day, recorded, trust};

/// What the header says, of the file as it was recorded.
struct Statement {
    evidence: Evidence,
    /// As it stands: its hash is bound.
    cose_key: Vec<u8>,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

impl Statement {
    /// `member`: the header under which the service put its claims.
    fn read(name: &str, member: &str) -> Option<Self> {
        let bytes = recorded(&format!("snp/{name}"))?;
        let message = cose::Sign1::decode(&bytes).unwrap();
        let claims = text_members(member_of(message.protected, member));
        let part = |name: &str| claims.iter().find(|(label, _)| label == name).unwrap().1;
        let content = |name: &str| Decoder::new(part(name)).bytes().unwrap().to_vec();
        let evidence = Evidence::bare(TeeKind::SevSnp, content("attestation"))
            .with(Aux::Certificates, content("snp_endorsements"))
            .with(Aux::UvmEndorsement, content("uvm_endorsements"));
        Some(Self {
            evidence,
            cose_key: part("cose_key").to_vec(),
            signed: cose::to_be_signed(message.protected, message.payload.unwrap()),
            signature: message.signature.to_vec(),
        })
    }

    fn key(&self) -> ForeignKey {
        let mut decoder = Decoder::new(&self.cose_key);
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for _ in 0..decoder.map().unwrap().unwrap() {
            match decoder.i64().unwrap() {
                -2 => x = decoder.bytes().unwrap().to_vec(),
                -3 => y = decoder.bytes().unwrap().to_vec(),
                _ => decoder.skip().unwrap(),
            }
        }
        ForeignKey::from_point(&x, &y).unwrap()
    }
}

/// The encoded value of a header whose label is a text.
fn member_of<'a>(header: &'a [u8], label: &str) -> &'a [u8] {
    text_members(header).into_iter().find(|(found, _)| found == label).unwrap().1
}

fn text_members(map: &[u8]) -> Vec<(String, &[u8])> {
    let mut decoder = Decoder::new(map);
    let mut members = Vec::new();
    for _ in 0..decoder.map().unwrap().unwrap() {
        let label = if decoder.datatype().unwrap() == Type::String {
            decoder.str().unwrap().to_owned()
        } else {
            decoder.skip().unwrap();
            String::new()
        };
        let start = decoder.position();
        decoder.skip().unwrap();
        members.push((label, &map[start..decoder.position()]));
    }
    members
}

fn recordings() -> [(&'static str, &'static str, Hash, u64); 3] {
    let at = |y, m, d, hour: u64, min: u64, s: u64| day(y, m, d) + hour * 3600 + min * 60 + s;
    [
        ("css-attested-cosesign1-20250617.cose", "msft-css-dev", Hash::Sha384, at(2025, 6, 18, 17, 47, 30)),
        ("css-attested-cosesign1-20250812.cose", "msft-css-dev", Hash::Sha384, at(2025, 8, 12, 21, 20, 59)),
        ("css-attested-cosesign1-20250925.cose", "attestedsvc", Hash::Sha256, at(2025, 9, 25, 0, 0, 0)),
    ]
}

fn check_claims(claims: &Claims) {
    let Details::SevSnp(snp) = &claims.details else { panic!("not SEV-SNP") };
    assert_eq!((snp.version, snp.product.as_str(), claims.debug), (3, "Milan", false));
    let uvm = snp.uvm.as_ref().unwrap();
    // The endorsement's leaf has expired by then: it was valid when it signed.
    assert_eq!((uvm.svn, uvm.signed_at / 86_400), (101, day(2024, 11, 14) / 86_400));
    assert_eq!(uvm.feed, "ContainerPlat-AMD-UVM");
}

#[test]
fn statements_of_an_attested_service_verify_from_the_processor_to_the_signing_key() {
    for (name, member, hash, at) in recordings() {
        let Some(statement) = Statement::read(name, member) else { return };
        let bound = ReportData([sha256(&statement.cose_key).0, [0; 32]].concat().try_into().unwrap());
        let verified = verify(&statement.evidence, &bound, &trust(), at).unwrap_or_else(|e| panic!("{name}: {e}"));
        check_claims(verified.claims());
        let key = statement.key();
        key.verify(Scheme::EcdsaFixed(hash), &statement.signed, &statement.signature).unwrap();
        let mut other = statement.signed.clone();
        other[40] ^= 1;
        assert!(key.verify(Scheme::EcdsaFixed(hash), &other, &statement.signature).is_err(), "{name}");
    }
}

#[test]
fn another_statement_s_key_endorsement_or_certificates_are_refused() {
    let [first, second, third] = recordings().map(|(name, member, _, at)| (Statement::read(name, member), at));
    let ((Some(first), at), (Some(second), _), (Some(third), _)) = (first, second, third) else { return };
    let bound =
        |statement: &Statement| ReportData([sha256(&statement.cose_key).0, [0; 32]].concat().try_into().unwrap());
    assert_eq!(verify(&first.evidence, &bound(&third), &trust(), at), Err(VerifyError::ReportDataMismatch));
    let mut mixed = first.evidence.clone();
    mixed.raw = third.evidence.raw.clone();
    let mixed = examine(&mixed, &trust(), at);
    let same_chip = first.evidence.aux[&Aux::Certificates] == third.evidence.aux[&Aux::Certificates];
    assert!(same_chip || mixed.is_err(), "{mixed:?}");
    let swapped = recorded("snp/uvm/uvm_0.2.9.cose").unwrap();
    let swapped = second.evidence.clone().with(Aux::UvmEndorsement, swapped);
    assert_eq!(examine(&swapped, &trust(), at), Err(VerifyError::UvmMeasurementMismatch));
}
