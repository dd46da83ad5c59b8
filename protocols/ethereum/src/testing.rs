//! What the tests of this crate share: recorded chains, and transactions that are really signed.

use alloy_consensus::transaction::SignableTransaction;
use alloy_consensus::{TxEip1559, TxLegacy};
use alloy_eips::Encodable2718;
use alloy_genesis::Genesis;
use alloy_primitives::{Address, B256, Bytes as EvmBytes, Signature, TxKind, U256};
use bytes::Bytes;
use secp256k1::{Message, SECP256K1, SecretKey};

use crate::network::DEV_ACCOUNTS;
use crate::transaction::Envelope;

/// A file of the conformance vectors that lie beside the repository; `None`, said aloud, if they are absent.
pub(crate) fn vector(name: &str) -> Option<Vec<u8>> {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/execution-apis").join(name);
    let read = std::fs::read(&path);
    if read.is_err() {
        eprintln!("skipped: {} is absent", path.display());
    }
    read.ok()
}

pub(crate) fn genesis_of_vectors() -> Option<Genesis> {
    Some(serde_json::from_slice(&vector("genesis.json")?).expect("the vectors hold a genesis file"))
}

/// The key of development account `index`.
pub(crate) fn dev_key(index: usize) -> SecretKey {
    SecretKey::from_byte_array(&DEV_ACCOUNTS[index].private_key.0).expect("a valid key")
}

pub(crate) fn sign_hash(key: &SecretKey, hash: B256) -> Signature {
    let (recovery, compact) = SECP256K1.sign_ecdsa_recoverable(&Message::from_digest(hash.0), key).serialize_compact();
    let part = |range: std::ops::Range<usize>| U256::from_be_slice(&compact[range]);
    Signature::new(part(0..32), part(32..64), i32::from(recovery) == 1)
}

/// The signed EIP-2718 encoding.
pub(crate) fn sign<T>(key: &SecretKey, tx: T) -> Bytes
where
    T: SignableTransaction<Signature>,
    Envelope: From<alloy_consensus::Signed<T>>,
    T: alloy_consensus::transaction::RlpEcdsaEncodableTx,
{
    let signature = sign_hash(key, tx.signature_hash());
    Envelope::from(tx.into_signed(signature)).encoded_2718().into()
}

/// A plain transfer on the development chain, of type 2.
pub(crate) fn transfer(nonce: u64, to: Address, value: u64) -> TxEip1559 {
    TxEip1559 {
        chain_id: 31_337,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 2_000_000_000,
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(to),
        value: U256::from(value),
        ..TxEip1559::default()
    }
}

/// A call or, without `to`, a creation.
pub(crate) fn invoke(nonce: u64, to: Option<Address>, input: EvmBytes) -> TxLegacy {
    TxLegacy {
        chain_id: Some(31_337),
        nonce,
        gas_price: 2_000_000_000,
        gas_limit: 1_000_000,
        to: to.map_or(TxKind::Create, TxKind::Call),
        value: U256::ZERO,
        input,
    }
}
