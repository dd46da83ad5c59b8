//! Ethereum accounts of a mnemonic (BIP-39, BIP-32), as every development tool derives them: `m/44'/60'/0'/0/i`.

use alloy_primitives::{Address, B256, keccak256};
use anyhow::{Context, anyhow};
use bip32::{DerivationPath, XPrv};
use bip39::Mnemonic;
use secp256k1::{Message, SECP256K1, SecretKey};

/// The mnemonic of all Ethereum development tools. Its keys are public: never use them for anything of value.
pub const DEV_MNEMONIC: &str = "test test test test test test test test test test test junk";
/// Accounts are this path and their index.
pub const DERIVATION_PATH: &str = "m/44'/60'/0'/0/";

/// A key and the address that it controls.
#[derive(Clone)]
pub struct Account {
    pub address: Address,
    key: SecretKey,
}

impl Account {
    /// The private key as `0x` and 64 hex digits, for the banner of a development network only.
    pub fn private_key_hex(&self) -> String {
        format!("0x{}", hex::encode(self.key.secret_bytes()))
    }

    /// Signs a transaction's hash.
    pub fn sign(&self, hash: &B256) -> alloy_primitives::Signature {
        let signed = SECP256K1.sign_ecdsa_recoverable(&Message::from_digest(hash.0), &self.key);
        let (parity, bytes) = signed.serialize_compact();
        alloy_primitives::Signature::from_bytes_and_parity(&bytes, i32::from(parity) == 1)
    }

    fn from_key(key: SecretKey) -> Self {
        let point = key.public_key(SECP256K1).serialize_uncompressed();
        let hash = keccak256(&point[1..]);
        Self { address: Address::from_slice(&hash[12..]), key }
    }
}

/// The first `count` accounts of a mnemonic.
pub fn derive(mnemonic: &str, count: usize) -> anyhow::Result<Vec<Account>> {
    let mnemonic = Mnemonic::parse(mnemonic).context("the mnemonic is not a BIP-39 one")?;
    let seed = mnemonic.to_seed("");
    let base: DerivationPath = DERIVATION_PATH.trim_end_matches('/').parse().map_err(|_| anyhow!("derivation path"))?;
    let parent = XPrv::derive_from_path(seed, &base).map_err(|error| anyhow!("key derivation: {error}"))?;
    let account = |index: usize| {
        let number = bip32::ChildNumber::new(u32::try_from(index)?, false).map_err(|error| anyhow!("{error}"))?;
        let child = parent.derive_child(number).map_err(|error| anyhow!("key derivation: {error}"))?;
        Ok(Account::from_key(SecretKey::from_slice(&child.to_bytes())?))
    };
    (0..count).map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_development_mnemonic_gives_the_accounts_that_every_tool_shows() {
        let accounts = derive(DEV_MNEMONIC, 10).unwrap();
        let address = |i: usize| accounts[i].address.to_checksum(None);
        assert_eq!(address(0), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
        assert_eq!(address(1), "0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
        assert_eq!(address(9), "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720");
        assert_eq!(accounts[0].private_key_hex(), "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");
    }

    #[test]
    fn a_mnemonic_with_a_wrong_checksum_is_refused() {
        assert!(derive("test test test test test test test test test test test test", 1).is_err());
    }

    #[test]
    fn a_signature_recovers_to_the_account() {
        let account = derive(DEV_MNEMONIC, 1).unwrap().remove(0);
        let hash = keccak256(b"anything");
        assert_eq!(account.sign(&hash).recover_address_from_prehash(&hash).unwrap(), account.address);
    }
}
