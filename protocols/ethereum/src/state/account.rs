//! An account's row.

use alloy_primitives::{B256, U256};
use alloy_rlp::{Decodable, Encodable, Header};
use alloy_trie::KECCAK_EMPTY;
use bytes::Bytes;

/// Nonce, balance and code of an account. Its storage is in another table, its storage root in the trie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account {
    pub nonce: u64,
    pub balance: U256,
    pub code_hash: B256,
}

impl Default for Account {
    fn default() -> Self {
        Self { nonce: 0, balance: U256::ZERO, code_hash: KECCAK_EMPTY }
    }
}

impl Account {
    pub fn has_code(&self) -> bool {
        self.code_hash != KECCAK_EMPTY
    }

    pub fn encode(&self) -> Bytes {
        let code_bytes = if self.has_code() { self.code_hash.length() } else { 0 };
        let header = Header { list: true, payload_length: self.nonce.length() + self.balance.length() + code_bytes };
        let mut out = Vec::with_capacity(header.length_with_payload());
        header.encode(&mut out);
        self.nonce.encode(&mut out);
        self.balance.encode(&mut out);
        if self.has_code() {
            self.code_hash.encode(&mut out);
        }
        out.into()
    }

    pub fn decode(mut value: &[u8]) -> Option<Self> {
        let mut fields = Header::decode_bytes(&mut value, true).ok()?;
        let nonce = u64::decode(&mut fields).ok()?;
        let balance = U256::decode(&mut fields).ok()?;
        let code_hash = if fields.is_empty() { KECCAK_EMPTY } else { B256::decode(&mut fields).ok()? };
        (fields.is_empty() && value.is_empty()).then_some(Self { nonce, balance, code_hash })
    }
}
