//! Members whose keys are on P-521, as CCF's may be.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair};
use coco_crypto::cose::{self, Sign1};
use coco_crypto::sha256;
use coco_governance::{Code, Facts, Operation, Request, Session, tables};
use coco_types::Digest;
use minicbor::Encoder;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P521_SHA512};

use crate::{NOW_S, Network};

#[test]
fn a_member_signs_with_es512_and_with_nothing_else_that_its_key_could_do() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap();
    let id = sha256(certificate.der()).to_string();
    let network = Network::new();
    network.put(&tables::MEMBER_CERTS, &id, &certificate.pem());
    network.put(&tables::MEMBER_INFO, &id, r#"{"status": "Accepted"}"#);
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P521_SHA512_FIXED_SIGNING, &key.serialize_der()).unwrap();
    let ask = |alg: i64| {
        let mut e = Encoder::new(Vec::new());
        e.map(4).unwrap().i64(1).unwrap().i64(alg).unwrap().i64(4).unwrap().bytes(id.as_bytes()).unwrap();
        e.str("ccf.gov.msg.type").unwrap().str("state_digest").unwrap();
        e.str("ccf.gov.msg.created_at").unwrap().u64(NOW_S).unwrap();
        let protected = e.into_writer();
        let signature = pair.sign(&SystemRandom::new(), &cose::to_be_signed(&protected, b"")).unwrap();
        let message =
            Sign1 { protected: &protected, unprotected: &[0xa0], payload: Some(b""), signature: signature.as_ref() };
        let facts = Facts { root: Some(Digest([7; 32])), now_s: NOW_S, ..Facts::default() };
        let session = Session::new(network.store.begin(), facts, None);
        let operation = Operation::UpdateDigest { member: id.clone() };
        session.handle(&Request { operation, message: message.encode().into() }).map(drop)
    };
    ask(-36).unwrap();
    for alg in [-7, -35, -39, -8, 0] {
        assert_eq!(ask(alg).unwrap_err().code, Code::InvalidAuthenticationInfo, "{alg}");
    }
}
