//! Receipts of both forms: what they prove, and that nothing in them can be changed.

mod fixture;

use coco_crypto::{Curve, SigningKey, cose};
use coco_ledger::receipt::{JsonReceipt, ProofElement, Receipt, verify_json_receipt, verify_json_receipt_of_key};
use coco_ledger::{Error, ReceiptError, commit_evidence, verify_receipt};
use coco_types::{Digest, Seqno, TxId};
use fixture::Service;

/// Several batches in two views; all is committed.
fn service() -> Service {
    let mut service = Service::new(1);
    service.batch_of(3, true);
    service.new_view(8);
    service.batch_of(2, false);
    service.commit();
    service
}

#[test]
fn every_transaction_before_a_signature_has_a_receipt_that_verifies() {
    let service = service();
    let key = service.service_certificate.public_key();
    let last = service.files.last_txid().seqno.0;
    for seqno in 1..last {
        let receipt = service.receipt(seqno);
        let verified = verify_receipt(&receipt.to_cose().unwrap(), key, None).unwrap();
        assert_eq!(verified.txid, receipt.txid);
        assert_eq!(verified.signed_at, receipt.signature.txid);
        assert_eq!((verified.issuer.as_str(), verified.subject.as_str()), ("service.example", "ledger"));
        let json = receipt.to_json(&service.node_certificate, &[]);
        assert_eq!(verify_json_receipt(&json, &service.service_certificate, None), Ok(receipt.txid));
    }
}

#[test]
fn claims_are_bound_by_their_digest_and_their_salt() {
    let mut service = Service::new(1);
    let claims = service.batch_with_claims(false);
    let key = service.service_certificate.public_key();
    let receipt = service.receipt(3).to_cose().unwrap();
    let verified = verify_receipt(&receipt, key, Some(&claims.encode())).unwrap();
    assert_eq!(verified.claims.as_ref(), Some(&claims));
    let encoded = claims.encode();
    for bit in 0..encoded.len() * 8 {
        let mut changed = encoded.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(verify_receipt(&receipt, key, Some(&changed)), Err(ReceiptError::Claims));
    }
    let json = service.receipt(3).to_json(&service.node_certificate, &[]);
    assert!(verify_json_receipt(&json, &service.service_certificate, Some(&encoded)).is_ok());
    assert_eq!(verify_json_receipt(&json, &service.service_certificate, Some(b"other")), Err(ReceiptError::Claims));
}

#[test]
fn every_single_bit_of_a_receipt_counts() {
    let service = service();
    let key = service.service_certificate.public_key();
    let receipt = service.receipt(4).to_cose().unwrap();
    for bit in 0..receipt.len() * 8 {
        let mut changed = receipt.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(verify_receipt(&changed, key, None).is_err(), "bit {bit}");
    }
    for len in 0..receipt.len() {
        assert!(verify_receipt(&receipt[..len], key, None).is_err());
    }
    assert!(verify_receipt(&[&receipt[..], &[0]].concat(), key, None).is_err());
}

#[test]
fn a_receipt_of_another_service_is_refused() {
    let service = service();
    let receipt = service.receipt(4).to_cose().unwrap();
    let other = SigningKey::generate(service.crypto.as_ref(), Curve::P384);
    assert_eq!(verify_receipt(&receipt, other.public_key(), None), Err(ReceiptError::Header("another service key")));
}

#[test]
fn an_uncovered_transaction_has_no_receipt() {
    let service = service();
    let reader = service.files.reader();
    let signature = reader.signature_from(Seqno(3)).unwrap().unwrap();
    let collect = |txid| Receipt::collect(&reader, &service.tree.reader(), &service.keys, txid, signature.clone());
    assert!(matches!(collect(signature.txid), Err(Error::NotSigned { .. })));
    let other_view = TxId::new(signature.txid.view, Seqno(3));
    assert!(collect(other_view).is_ok());
    let invalid = TxId { view: coco_types::View(1), seqno: Seqno(3) };
    assert!(matches!(collect(invalid), Err(Error::NotHeld { .. })));
    let last = service.files.last_txid().seqno;
    assert!(reader.signature_from(last.next()).unwrap().is_none());
}

#[test]
fn a_damaged_tree_is_noticed_before_a_receipt_leaves() {
    let service = service();
    // Leaf 2, the sibling of leaf 3, is the fourth node of the file.
    service.disk.flip("merkle.ignored", 32 * 3, 1).unwrap();
    let reader = service.files.reader();
    let signature = reader.signature_from(Seqno(4)).unwrap().unwrap();
    let txid = reader.txid(Seqno(3)).unwrap();
    let collected = Receipt::collect(&reader, &service.tree.reader(), &service.keys, txid, signature);
    assert!(matches!(collected, Err(Error::RootMismatch { .. })));
}

/// A receipt with other content, signed by the service itself: form alone decides.
fn resigned(change: impl Fn(&mut Receipt)) -> Result<(), ReceiptError> {
    let service = service();
    let mut receipt = service.receipt(4);
    change(&mut receipt);
    let root = coco_ledger::fold_path(receipt.leaf.digest(), &receipt.path);
    let bytes = receipt.to_cose().unwrap();
    let message = cose::Sign1::decode(&bytes).unwrap();
    let crypto = service.crypto.as_ref();
    let signature = cose::sign(crypto, &service.signer.service_key, message.protected, root.as_bytes());
    let bytes = cose::Sign1 { signature: &signature, ..message }.encode();
    verify_receipt(&bytes, service.service_certificate.public_key(), None).map(|_| ())
}

#[test]
fn even_the_services_own_signature_does_not_excuse_a_bad_form() {
    assert_eq!(resigned(|_| ()), Ok(()));
    let evidence = |text: &'static str| resigned(|receipt| receipt.leaf.commit_evidence = text.to_owned());
    assert_eq!(evidence("ce:2.4:00"), Err(ReceiptError::Evidence));
    assert_eq!(evidence("2.4"), Err(ReceiptError::Evidence));
    let upper = |receipt: &mut Receipt| receipt.leaf.commit_evidence = format!("ce:2.4:{}", "A".repeat(64));
    assert_eq!(resigned(upper), Err(ReceiptError::Evidence));
    let of = |text: &str| commit_evidence(text.parse().unwrap(), &Digest([1; 32]));
    let later = |receipt: &mut Receipt| receipt.leaf.commit_evidence = of("2.6");
    assert!(matches!(resigned(later), Err(ReceiptError::NotCovered { .. })));
    let later_view = |receipt: &mut Receipt| receipt.leaf.commit_evidence = of("3.4");
    assert!(matches!(resigned(later_view), Err(ReceiptError::NotCovered { .. })));
    assert!(matches!(resigned(|receipt| receipt.path.clear()), Err(ReceiptError::Proof(_))));
    let long = |receipt: &mut Receipt| receipt.path = vec![receipt.path[0]; 65];
    assert!(matches!(resigned(long), Err(ReceiptError::Proof(_))));
    let wordy = |receipt: &mut Receipt| receipt.leaf.commit_evidence = "x".repeat(1025);
    assert!(matches!(resigned(wordy), Err(ReceiptError::Proof(_))));
}

#[test]
fn other_cose_messages_are_no_receipts() {
    let service = service();
    let key = service.service_certificate.public_key();
    let receipt = service.receipt(4);
    // The signature itself, without a proof.
    assert_eq!(verify_receipt(&receipt.signature.cose, key, None), Err(ReceiptError::Proof("not one inclusion proof")));
    let bytes = receipt.to_cose().unwrap();
    let message = cose::Sign1::decode(&bytes).unwrap();
    let attached = cose::Sign1 { payload: Some(receipt.root().as_ref()), ..message }.encode();
    assert_eq!(verify_receipt(&attached, key, None), Err(ReceiptError::Malformed("the payload is not detached")));
    assert!(matches!(verify_receipt(&[0x01], key, None), Err(ReceiptError::Malformed(_))));
    assert_eq!(verify_receipt(&[0x18, 0x01], key, None), Err(ReceiptError::NotDeterministic));
}

#[test]
fn a_json_receipt_is_bound_to_its_node_and_its_service() {
    let (service, other) = (service(), Service::new(2));
    let json = service.receipt(4).to_json(&service.node_certificate, &[]);
    let verify = |change: &dyn Fn(&mut JsonReceipt)| {
        let mut changed = json.clone();
        change(&mut changed);
        verify_json_receipt(&changed, &service.service_certificate, None)
    };
    assert!(verify(&|_| ()).is_ok());
    let certificate = ReceiptError::NodeCertificate("not endorsed by the service");
    let (own, foreign) = (service.service_certificate.public_key(), other.service_certificate.public_key());
    assert!(verify_json_receipt_of_key(&json, own, None).is_ok());
    assert_eq!(verify_json_receipt_of_key(&json, foreign, None), Err(certificate.clone()));
    assert_eq!(verify_json_receipt(&json, &other.service_certificate, None), Err(certificate));
    let other_node = |json: &mut JsonReceipt| json.cert = other.node_certificate.to_pem();
    assert_eq!(verify(&other_node), Err(ReceiptError::NodeCertificate("another node's")));
    assert_eq!(verify(&|json| json.cert.clear()), Err(ReceiptError::NodeCertificate("malformed")));
    assert_eq!(verify(&|json| json.signature = "%".to_owned()), Err(ReceiptError::Signature));
    assert_eq!(verify(&|json| json.leaf_components.write_set_digest = Digest::ZERO), Err(ReceiptError::Signature));
    let mirrored = |json: &mut JsonReceipt| {
        json.proof[0] = match json.proof[0] {
            ProofElement::Left(hash) => ProofElement::Right(hash),
            ProofElement::Right(hash) => ProofElement::Left(hash),
        };
    };
    assert_eq!(verify(&mirrored), Err(ReceiptError::Signature));
    assert!(matches!(verify(&|json| json.proof.clear()), Err(ReceiptError::Proof(_))));
    let text = serde_json::to_string(&json).unwrap();
    assert_eq!(serde_json::from_str::<JsonReceipt>(&text).unwrap(), json);
}

#[test]
fn a_json_receipt_of_a_past_service_verifies_over_its_endorsements() {
    let (past, present) = (Service::new(1), Service::new(2));
    let request = coco_crypto::NodeCertificateRequest {
        public_key: past.service_certificate.public_key().clone(),
        common_name: "Test Service".to_owned(),
        subject_alt_names: vec![coco_crypto::SubjectAltName::from_host("127.0.0.1")],
        validity: fixture::VALIDITY,
        extensions: Vec::new(),
    };
    // A leaf certificate over the past service's key does not make it a CA.
    let leaf = coco_crypto::issue_node_certificate(
        present.crypto.as_ref(),
        &present.service_certificate,
        &present.signer.service_key,
        &request,
    );
    let json = past.receipt(1).to_json(&past.node_certificate, &[leaf.unwrap()]);
    assert!(verify_json_receipt(&json, &present.service_certificate, None).is_err());
    let endorsed = coco_crypto::endorse_service_certificate(
        present.crypto.as_ref(),
        &present.service_certificate,
        &present.signer.service_key,
        &past.service_certificate,
    );
    let json = past.receipt(1).to_json(&past.node_certificate, &[endorsed.unwrap()]);
    assert!(verify_json_receipt(&json, &present.service_certificate, None).is_ok());
    assert!(verify_json_receipt(&json, &past.service_certificate, None).is_err());
}
