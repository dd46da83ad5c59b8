use alloy_consensus::{SignableTransaction, Transaction as _, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy};
use alloy_eips::eip7702::Authorization;
use alloy_eips::{Decodable2718, Encodable2718};
use alloy_primitives::{Address, B256, Signature, TxKind, U256};
use bytes::Bytes;
use proptest::prelude::*;
use revm::primitives::hardfork::SpecId;

use super::sender;
use super::{AdmissionRules, Envelope, INITCODE_BYTES_MAX, Transaction, TransactionError, recipient};
use crate::network::DEV_ACCOUNTS;
use crate::testing::{dev_key, invoke, sign, sign_hash, transfer};

fn rules() -> AdmissionRules {
    AdmissionRules {
        spec: SpecId::OSAKA,
        chain_id: 31_337,
        block_gas_limit: 30_000_000,
        allow_unprotected: false,
        allow_blobs: false,
        fee_cap_min: 0,
        initcode_bytes_max: INITCODE_BYTES_MAX,
    }
}

fn admit(raw: &Bytes) -> Result<Transaction, TransactionError> {
    Transaction::admit(raw.clone(), &rules())
}

fn refusal(raw: Bytes) -> String {
    admit(&raw).unwrap_err().to_string()
}

fn blob_transaction() -> TxEip4844 {
    TxEip4844 {
        chain_id: 31_337,
        gas_limit: 21_000,
        max_fee_per_gas: 2,
        max_fee_per_blob_gas: 3,
        blob_versioned_hashes: vec![B256::with_last_byte(1)],
        ..TxEip4844::default()
    }
}

fn delegation(list: Vec<alloy_eips::eip7702::SignedAuthorization>) -> TxEip7702 {
    TxEip7702 {
        chain_id: 31_337,
        gas_limit: 100_000,
        max_fee_per_gas: 2,
        authorization_list: list,
        ..TxEip7702::default()
    }
}

fn authorized(by: usize) -> alloy_eips::eip7702::SignedAuthorization {
    let authorization = Authorization { chain_id: U256::ZERO, address: Address::repeat_byte(3), nonce: 0 };
    let signature = sign_hash(&dev_key(by), authorization.signature_hash());
    authorization.into_signed(signature)
}

#[test]
fn every_type_is_decoded_and_its_sender_recovered() {
    let access =
        TxEip2930 { chain_id: 31_337, gas_limit: 21_000, to: TxKind::Call(Address::ZERO), ..Default::default() };
    let rules = AdmissionRules { allow_blobs: true, ..rules() };
    let submissions = [
        sign(&dev_key(0), invoke(0, Some(Address::ZERO), Default::default())),
        sign(&dev_key(1), access),
        sign(&dev_key(2), transfer(0, Address::ZERO, 1)),
        sign(&dev_key(3), blob_transaction()),
        sign(&dev_key(4), delegation(vec![authorized(5)])),
    ];
    for (index, raw) in submissions.iter().enumerate() {
        let transaction = Transaction::admit(raw.clone(), &rules).unwrap();
        assert_eq!(transaction.sender, DEV_ACCOUNTS[index].address);
        assert_eq!(transaction.hash, *transaction.envelope.tx_hash());
        assert_eq!(u8::from(transaction.envelope.tx_type()), index as u8);
        assert_eq!(recipient(raw), Some(transaction.envelope.kind()));
        let again = Transaction::readmit(raw.clone(), &transaction.finding()).unwrap();
        assert_eq!(again.sender, transaction.sender);
        assert_eq!(again.authorities, transaction.authorities);
    }
}

#[test]
fn the_signer_of_an_authorization_is_found_and_a_void_signature_is_kept_as_void() {
    let mut void = authorized(6);
    void = alloy_eips::eip7702::SignedAuthorization::new_unchecked(void.strip_signature(), 0, U256::ZERO, U256::ZERO);
    let raw = sign(&dev_key(0), delegation(vec![authorized(5), void]));
    let transaction = admit(&raw).unwrap();
    assert_eq!(transaction.authorities, [Some(DEV_ACCOUNTS[5].address), None]);
    let again = Transaction::readmit(raw.clone(), &transaction.finding()).unwrap();
    assert_eq!(again.authorities, transaction.authorities);
    assert!(Transaction::readmit(raw, &transaction.finding()[..41]).is_err());
}

#[test]
fn refusals_have_the_words_that_clients_look_for() {
    let valid = transfer(0, Address::ZERO, 1);
    let signed = |tx: TxEip1559| sign(&dev_key(0), tx);
    assert_eq!(refusal(Bytes::new()), "empty transaction data");
    assert!(refusal(Bytes::from_static(&[0x02, 0xc0])).starts_with("rlp: "));
    assert!(refusal(Bytes::from_static(&[0x83, 1, 2, 3])).starts_with("rlp: "));
    assert_eq!(refusal(Bytes::from_static(&[0x00, 0xc0])), "transaction type not supported");
    assert_eq!(refusal(Bytes::from_static(&[0x05, 0xc0])), "transaction type not supported");
    assert_eq!(refusal(sign(&dev_key(0), blob_transaction())), "transaction type not supported");
    let large = TxEip1559 { input: vec![0; 130_000].into(), ..valid.clone() };
    assert_eq!(refusal(signed(large)), "intrinsic gas too low: have 21000, want 541000");
    let oversized = TxEip1559 { input: vec![0; 131_072].into(), ..valid.clone() };
    let text = refusal(signed(oversized));
    assert!(text.starts_with("oversized data: transaction size 1311") && text.ends_with(", limit 131072"), "{text}");
    let initcode = TxEip1559 { to: TxKind::Create, input: vec![0; 49_153].into(), ..valid.clone() };
    assert!(refusal(signed(initcode)).starts_with("max initcode size exceeded"));
    let unprotected = TxLegacy { chain_id: None, ..invoke(0, Some(Address::ZERO), Default::default()) };
    assert_eq!(
        refusal(sign(&dev_key(0), unprotected)),
        "only replay-protected (EIP-155) transactions allowed over RPC"
    );
    let foreign = TxEip1559 { chain_id: 1, ..valid.clone() };
    assert_eq!(refusal(signed(foreign)), "invalid chain id for signer: have 1 want 31337");
    let greedy = TxEip1559 { gas_limit: 30_000_001, ..valid.clone() };
    assert_eq!(refusal(signed(greedy)), "exceeds block gas limit");
    let capped = TxEip1559 { gas_limit: (1 << 24) + 1, ..valid.clone() };
    assert!(refusal(signed(capped)).starts_with("transaction gas limit too high"));
    let tip = TxEip1559 { max_priority_fee_per_gas: 3_000_000_000, ..valid.clone() };
    assert_eq!(refusal(signed(tip)), "max priority fee per gas higher than max fee per gas");
    let little = TxEip1559 { gas_limit: 20_999, ..valid.clone() };
    assert_eq!(refusal(signed(little)), "intrinsic gas too low: have 20999, want 21000");
    let floor = TxEip1559 { input: vec![1; 100].into(), gas_limit: 23_000, ..valid.clone() };
    assert!(refusal(signed(floor)).starts_with("floor data gas cost too high"));
    assert_eq!(refusal(signed(TxEip1559 { nonce: u64::MAX, ..valid.clone() })), "nonce has max value");
    let rules = AdmissionRules { fee_cap_min: 3_000_000_000, ..rules() };
    assert_eq!(Transaction::admit(signed(valid), &rules).unwrap_err(), TransactionError::Underpriced);
    assert_eq!(
        refusal(sign(&dev_key(0), delegation(Vec::new()))),
        "set code transaction with empty authorization list"
    );
}

#[test]
fn blob_transactions_need_blobs() {
    let rules = AdmissionRules { allow_blobs: true, ..rules() };
    let empty = TxEip4844 { blob_versioned_hashes: Vec::new(), ..blob_transaction() };
    let error = Transaction::admit(sign(&dev_key(0), empty), &rules).unwrap_err();
    assert_eq!(error, TransactionError::NoBlobs);
}

#[test]
fn unprotected_transactions_are_let_in_where_the_network_says_so() {
    let rules = AdmissionRules { allow_unprotected: true, ..rules() };
    let unprotected = TxLegacy { chain_id: None, ..invoke(0, Some(Address::ZERO), Default::default()) };
    let transaction = Transaction::admit(sign(&dev_key(7), unprotected), &rules).unwrap();
    assert_eq!(transaction.sender, DEV_ACCOUNTS[7].address);
}

#[test]
fn a_high_s_is_refused_though_it_recovers() {
    let order = U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16).unwrap();
    let tx = transfer(0, Address::ZERO, 1);
    let low = sign_hash(&dev_key(0), tx.signature_hash());
    let high = Signature::new(low.r(), order - low.s(), !low.v());
    let envelope = Envelope::from(tx.into_signed(high));
    assert_eq!(sender::recover_lenient(&envelope), Ok(DEV_ACCOUNTS[0].address));
    assert_eq!(refusal(envelope.encoded_2718().into()), "invalid sender");
}

#[test]
fn a_transaction_that_is_cut_or_extended_is_refused() {
    for raw in
        [sign(&dev_key(0), transfer(0, Address::ZERO, 1)), sign(&dev_key(0), invoke(0, None, Default::default()))]
    {
        for length in 0..raw.len() {
            assert!(admit(&raw.slice(..length)).is_err());
        }
        assert_eq!(refusal([&raw[..], &[0]].concat().into()), "rlp: trailing bytes");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), first in 0u8..6) {
        let typed = [&[first], &bytes[..]].concat();
        let _none = recipient(&bytes);
        let _refused = admit(&bytes.into());
        let _refused = admit(&typed.into());
    }

    #[test]
    fn a_changed_byte_never_panics_and_never_keeps_the_same_hash(at in 0usize..110, to in any::<u8>()) {
        let raw = sign(&dev_key(0), delegation(vec![authorized(1)]));
        let mut changed = raw.to_vec();
        let at = at % changed.len();
        prop_assume!(changed[at] != to);
        changed[at] = to;
        if let Ok(transaction) = admit(&changed.clone().into()) {
            prop_assert_eq!(transaction.envelope.encoded_2718(), changed);
            prop_assert_ne!(transaction.hash, *Envelope::decode_2718(&mut &raw[..]).unwrap().tx_hash());
        }
    }
}
