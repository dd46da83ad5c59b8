//! The objects that describe a transaction that is not signed, and the changes to state and block it is tried under.

use std::collections::BTreeMap;

use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip7702::{Authorization, SignedAuthorization};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use revm::context::TxEnv;
use revm::context_interface::either::Either;
use serde::Deserialize;

use super::error::RpcError;
use super::values::Hex;

/// A transaction as `eth_call` and its relatives take it. Unknown fields mean nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CallRequest {
    pub from: Option<Hex<Address>>,
    pub to: Option<Hex<Address>>,
    pub gas: Option<Hex<u64>>,
    pub gas_price: Option<Hex<u128>>,
    pub max_fee_per_gas: Option<Hex<u128>>,
    pub max_priority_fee_per_gas: Option<Hex<u128>>,
    pub max_fee_per_blob_gas: Option<Hex<u128>>,
    pub value: Option<Hex<U256>>,
    pub nonce: Option<Hex<u64>>,
    pub data: Option<Hex<Bytes>>,
    pub input: Option<Hex<Bytes>>,
    pub chain_id: Option<Hex<u64>>,
    #[serde(rename = "type")]
    pub kind: Option<Hex<u8>>,
    pub access_list: Option<Vec<AccessItem>>,
    pub blob_versioned_hashes: Option<Vec<Hex<B256>>>,
    pub authorization_list: Option<Vec<AuthorizationItem>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessItem {
    address: Hex<Address>,
    #[serde(default)]
    storage_keys: Vec<Hex<B256>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationItem {
    chain_id: Hex<U256>,
    address: Hex<Address>,
    nonce: Hex<u64>,
    y_parity: Hex<u8>,
    r: Hex<U256>,
    s: Hex<U256>,
}

/// What accounts are taken to be.
pub type StateOverrides = BTreeMap<Hex<Address>, AccountOverride>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccountOverride {
    pub balance: Option<Hex<U256>>,
    pub nonce: Option<Hex<u64>>,
    pub code: Option<Hex<Bytes>>,
    /// Replaces the whole storage.
    pub state: Option<BTreeMap<Hex<B256>, Hex<B256>>>,
    /// Replaces single slots.
    pub state_diff: Option<BTreeMap<Hex<B256>, Hex<B256>>>,
    pub move_precompile_to_address: Option<Hex<Address>>,
}

/// What the block is taken to be.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockOverrides {
    pub number: Option<Hex<U256>>,
    #[serde(alias = "timestamp")]
    pub time: Option<Hex<u64>>,
    pub gas_limit: Option<Hex<u64>>,
    #[serde(alias = "coinbase")]
    pub fee_recipient: Option<Hex<Address>>,
    #[serde(alias = "random")]
    pub prev_randao: Option<Hex<B256>>,
    #[serde(alias = "baseFee")]
    pub base_fee_per_gas: Option<Hex<u64>>,
    pub blob_base_fee: Option<Hex<u128>>,
    pub difficulty: Option<Hex<U256>>,
}

impl CallRequest {
    pub fn sender(&self) -> Address {
        self.from.unwrap_or_default().0
    }

    pub fn value(&self) -> U256 {
        self.value.unwrap_or_default().0
    }

    /// `input` and `data` are two names of the same thing.
    pub fn input(&self) -> Result<Bytes, RpcError> {
        match (&self.input, &self.data) {
            (Some(input), Some(data)) if input != data => Err(RpcError::invalid_argument(
                0,
                "both \"data\" and \"input\" are set and not equal. Please use \"input\" to pass transaction call data",
            )),
            (Some(Hex(bytes)), _) | (None, Some(Hex(bytes))) => Ok(bytes.clone()),
            (None, None) => Ok(Bytes::new()),
        }
    }

    /// The highest price per gas that it names; zero if it names none.
    pub fn price(&self) -> u128 {
        self.gas_price.or(self.max_fee_per_gas).unwrap_or_default().0
    }

    pub fn access_list(&self) -> AccessList {
        let item = |item: &AccessItem| AccessListItem {
            address: item.address.0,
            storage_keys: item.storage_keys.iter().map(|Hex(key)| *key).collect(),
        };
        AccessList(self.access_list.iter().flatten().map(item).collect())
    }

    pub fn authorizations(&self) -> Vec<SignedAuthorization> {
        let item = |item: &AuthorizationItem| {
            let inner = Authorization { chain_id: item.chain_id.0, address: item.address.0, nonce: item.nonce.0 };
            SignedAuthorization::new_unchecked(inner, item.y_parity.0, item.r.0, item.s.0)
        };
        self.authorization_list.iter().flatten().map(item).collect()
    }

    /// As the EVM takes it, with this much gas and this nonce.
    pub fn env(&self, gas_limit: u64, nonce: u64) -> Result<TxEnv, RpcError> {
        if self.gas_price.is_some() && (self.max_fee_per_gas.is_some() || self.max_priority_fee_per_gas.is_some()) {
            let both = "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified";
            return Err(RpcError::invalid_argument(0, both));
        }
        let is_dynamic = self.max_fee_per_gas.is_some() || self.max_priority_fee_per_gas.is_some();
        let tx_type = match self {
            _ if self.authorization_list.is_some() => 4,
            _ if self.blob_versioned_hashes.is_some() => 3,
            _ if is_dynamic => 2,
            _ if self.access_list.is_some() => 1,
            _ => 0,
        };
        // An unnamed tip is none; a tip without a cap is its own cap.
        let tip = self.max_priority_fee_per_gas.map(|Hex(tip)| tip);
        let gas_price = self.gas_price.or(self.max_fee_per_gas).map_or(tip.unwrap_or(0), |Hex(price)| price);
        Ok(TxEnv {
            tx_type,
            caller: self.sender(),
            gas_limit,
            gas_price,
            kind: self.to.map_or(TxKind::Create, |Hex(to)| TxKind::Call(to)),
            value: self.value(),
            data: self.input()?,
            nonce,
            chain_id: self.chain_id.map(|Hex(id)| id),
            access_list: self.access_list(),
            gas_priority_fee: (tx_type >= 2).then(|| tip.unwrap_or(0)),
            blob_hashes: self.blob_versioned_hashes.iter().flatten().map(|Hex(hash)| *hash).collect(),
            max_fee_per_blob_gas: self.max_fee_per_blob_gas.unwrap_or_default().0,
            authorization_list: self.authorizations().into_iter().map(Either::Left).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> CallRequest {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn data_and_input_may_both_be_there_if_they_agree() {
        assert_eq!(request(r#"{"data":"0x01"}"#).input().unwrap().as_ref(), [1]);
        assert_eq!(request(r#"{"data":"0x01","input":"0x01","unknown":[]}"#).input().unwrap().as_ref(), [1]);
        assert_eq!(request(r#"{"data":"0x01","input":"0x02"}"#).input().unwrap_err().code, -32602);
    }

    #[test]
    fn the_type_follows_from_the_fields() {
        let tx_type = |text: &str| request(text).env(1, 0).map(|env| env.tx_type).map_err(|error| error.code);
        assert_eq!(tx_type("{}"), Ok(0));
        assert_eq!(tx_type(r#"{"gasPrice":"0x1"}"#), Ok(0));
        assert_eq!(tx_type(r#"{"accessList":[]}"#), Ok(1));
        assert_eq!(tx_type(r#"{"maxFeePerGas":"0x1"}"#), Ok(2));
        assert_eq!(tx_type(r#"{"blobVersionedHashes":[]}"#), Ok(3));
        assert_eq!(tx_type(r#"{"authorizationList":[]}"#), Ok(4));
        assert_eq!(tx_type(r#"{"gasPrice":"0x1","maxFeePerGas":"0x1"}"#), Err(-32602));
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        for text in [
            r#"{"gas":"0x10000000000000000"}"#,
            r#"{"gas":-1}"#,
            r#"{"to":"0x11"}"#,
            r#"{"data":"0x1"}"#,
            r#"{"value":"1"}"#,
            r#"{"nonce":"0x1ffffffffffffffff"}"#,
            "\"0x\"",
        ] {
            assert!(serde_json::from_str::<CallRequest>(text).is_err(), "{text}");
        }
    }
}
