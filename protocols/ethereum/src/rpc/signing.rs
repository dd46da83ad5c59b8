//! Signing with keys that the node holds: for developers only.

use alloy_consensus::transaction::{RlpEcdsaEncodableTx, SignableTransaction};
use alloy_consensus::{Signed, TxEip1559, TxEip2930, TxEip7702, TxLegacy};
use alloy_eips::Encodable2718;
use alloy_primitives::{Address, B256, Signature, TxKind, U256, keccak256};
use bytes::Bytes;
use secp256k1::{Message, SECP256K1, SecretKey};

use super::call_request::CallRequest;
use super::error::RpcError;
use super::limits::SIGNED_FEE_WEI_MAX;
use super::values::Hex;
use crate::transaction::{Envelope, Transaction};

/// What a request leaves open, filled in.
#[derive(Clone, Copy, Debug)]
pub struct Filled {
    pub chain_id: u64,
    pub nonce: u64,
    pub gas: u64,
    /// The base fee to expect, wei per gas.
    pub base_fee: u64,
    /// The tip to offer, wei per gas.
    pub tip: u128,
}

/// Who signs.
#[derive(Clone, Copy)]
pub enum Signer {
    Key(SecretKey),
    /// Nobody: a developer sends in this account's name.
    Impersonated(Address),
    /// Nobody yet.
    Nobody,
}

impl Signer {
    fn sign(&self, hash: B256) -> Signature {
        match self {
            Self::Key(key) => sign_hash(key, hash),
            Self::Impersonated(sender) => Transaction::no_signature(sender),
            Self::Nobody => Signature::new(U256::ZERO, U256::ZERO, false),
        }
    }
}

/// The address of a key.
pub fn address(key: &SecretKey) -> Address {
    let public = key.public_key(SECP256K1).serialize_uncompressed();
    Address::from_raw_public_key(public.split_at(1).1)
}

pub fn sign_hash(key: &SecretKey, hash: B256) -> Signature {
    let signature = SECP256K1.sign_ecdsa_recoverable(&Message::from_digest(hash.0), key);
    let (recovery, compact) = signature.serialize_compact();
    let (r, s) = compact.split_at(32);
    Signature::new(U256::from_be_slice(r), U256::from_be_slice(s), i32::from(recovery) == 1)
}

/// A message as wallets sign it (EIP-191): nobody can pass a transaction off as one.
pub fn personal_hash(message: &[u8]) -> B256 {
    let mut text = format!("\x19Ethereum Signed Message:\n{}", message.len()).into_bytes();
    text.extend_from_slice(message);
    keccak256(text)
}

/// Signs what the request describes; gives its EIP-2718 encoding.
pub fn sign_request(signer: &Signer, request: &CallRequest, filled: Filled) -> Result<Bytes, RpcError> {
    if request.blob_versioned_hashes.is_some() {
        return Err(RpcError::invalid_argument(0, "blob transactions are not signed here"));
    }
    if let Some(Hex(chain_id)) = request.chain_id.filter(|Hex(chain_id)| *chain_id != filled.chain_id) {
        return Err(RpcError::server(format!(
            "chainId does not match node's (have={chain_id}, want={})",
            filled.chain_id
        )));
    }
    let to = request.to.map_or(TxKind::Create, |Hex(to)| TxKind::Call(to));
    let (value, input) = (request.value(), request.input()?);
    let Filled { chain_id, nonce, gas: gas_limit, .. } = filled;
    let (max_fee_per_gas, max_priority_fee_per_gas) = fees(request, filled);
    let price = request.gas_price.map_or(max_fee_per_gas, |Hex(price)| price);
    if price.saturating_mul(u128::from(gas_limit)) > SIGNED_FEE_WEI_MAX {
        return Err(RpcError::server("tx fee exceeds the configured cap (1.00 ether)"));
    }
    if request.authorization_list.is_some() {
        let to =
            to.to().copied().ok_or_else(|| RpcError::invalid_argument(0, "a set code transaction creates nothing"))?;
        let (access_list, authorization_list) = (request.access_list(), request.authorizations());
        return Ok(encode(
            signer,
            TxEip7702 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas,
                max_priority_fee_per_gas,
                to,
                value,
                access_list,
                authorization_list,
                input,
            },
        ));
    }
    if request.gas_price.is_none() {
        let access_list = request.access_list();
        return Ok(encode(
            signer,
            TxEip1559 {
                chain_id,
                nonce,
                gas_limit,
                max_fee_per_gas,
                max_priority_fee_per_gas,
                to,
                value,
                access_list,
                input,
            },
        ));
    }
    if request.access_list.is_some() {
        let access_list = request.access_list();
        return Ok(encode(
            signer,
            TxEip2930 { chain_id, nonce, gas_price: price, gas_limit, to, value, access_list, input },
        ));
    }
    Ok(encode(signer, TxLegacy { chain_id: Some(chain_id), nonce, gas_price: price, gas_limit, to, value, input }))
}

/// Fee cap and tip: what the request names, else room for the base fee to double.
fn fees(request: &CallRequest, filled: Filled) -> (u128, u128) {
    let cap = request.max_fee_per_gas.map(|Hex(cap)| cap);
    let tip = request.max_priority_fee_per_gas.map_or(filled.tip.min(cap.unwrap_or(u128::MAX)), |Hex(tip)| tip);
    (cap.unwrap_or_else(|| u128::from(filled.base_fee).saturating_mul(2).saturating_add(tip)), tip)
}

fn encode<T>(signer: &Signer, tx: T) -> Bytes
where
    T: SignableTransaction<Signature> + RlpEcdsaEncodableTx,
    Envelope: From<Signed<T>>,
{
    let signature = signer.sign(tx.signature_hash());
    Envelope::from(tx.into_signed(signature)).encoded_2718().into()
}
