//! The founding facts of a development network: members with fresh keys, funded accounts, every Ethereum fork active.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_genesis::GenesisAccount;
use alloy_primitives::U256;
use anyhow::Context;
use coco_crypto::{
    Certificate, Crypto, Curve, DecryptionKey, SigningKey, SystemCrypto, Validity, self_signed_certificate,
};
use coco_ethereum::fork::CODE_BYTES_MAX_NAME;
use coco_ethereum::network::{DEV_ACCOUNTS, NetworkConfig};
use coco_node::config::{Actor, Genesis};
use coco_types::limits;
use serde_json::{Value, json};

use super::state::{BASE_FEE, Network, write_secret};
use crate::accounts::Account;
use crate::protocols;

/// Whoever develops kills and starts nodes all the time.
const SWAP_INTERVAL_MS: u64 = 5_000;
/// Certificates of a development network are valid for this long.
const YEARS: u64 = 10;
const YEAR_SECONDS: u64 = 365 * 24 * 3600;

/// Puts the genesis together; writes each member's key and certificate into `folder`. Members of a network that is kept hold recovery
/// shares: their keys take a second to make, and what is deleted at the end is never recovered.
pub fn create(folder: &Path, network: &Network, accounts: &[Account], kept: bool) -> anyhow::Result<Genesis> {
    let crypto = SystemCrypto;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
    let member = |index: u32| -> anyhow::Result<Actor> {
        let name = format!("member{index}");
        let (key, certificate) = actor_keys(&crypto, &name, now_s)?;
        write_secret(&folder.join(format!("{name}_privk.pem")), key.to_pem().as_bytes())?;
        fs::write(folder.join(format!("{name}_cert.pem")), certificate.to_pem())?;
        let encryption = if kept { Some(DecryptionKey::generate()?) } else { None };
        if let Some(key) = &encryption {
            write_secret(&folder.join(format!("{name}_enc_privk.pem")), key.to_pem().as_bytes())?;
        }
        Ok(Actor {
            certificate: certificate.to_pem(),
            data: json!({ "name": name }),
            encryption_public_key: encryption.as_ref().map(DecryptionKey::public_pem),
            recovery_role: None,
        })
    };
    Ok(Genesis {
        name: "Coco development network".to_owned(),
        members: (0..network.members).map(member).collect::<anyhow::Result<_>>()?,
        participants: Vec::new(),
        recovery_threshold: None,
        virtual_measurements: vec![coco_node::shell::own_measurement()?.to_string()],
        attestation: coco_attestation::Rules::default(),
        constitution: None,
        opens_at_once: false,
        chunk_bytes: limits::CHUNK_BYTES,
        resume: Default::default(),
        swap_interval_ms: SWAP_INTERVAL_MS,
        ledgers: protocols::genesis(&network.ledgers, ethereum(network, accounts, now_s)?, sawtooth(network)?),
    })
}

fn actor_keys(crypto: &dyn Crypto, name: &str, now_s: u64) -> anyhow::Result<(SigningKey, Certificate)> {
    let key = SigningKey::generate(crypto, Curve::P384);
    // A day of slack for clocks that disagree.
    let validity = Validity { not_before: now_s.saturating_sub(24 * 3600), not_after: now_s + YEARS * YEAR_SECONDS };
    let certificate = self_signed_certificate(crypto, &key, name, &[], validity, &[])?;
    Ok((key, certificate))
}

/// The parameters of a network that begins with a genesis file of the user's own, and perhaps with blocks of another network; those
/// it only serves, and makes no more: see [`super::import`].
fn from_files(network: &Network, genesis: &Path) -> anyhow::Result<Value> {
    let text = fs::read(genesis).with_context(|| genesis.display().to_string())?;
    let mut config = NetworkConfig { base_fee: network.base_fee, dev: true, ..NetworkConfig::default() };
    config.block_interval_ms = if network.instant { 0 } else { network.block_time_ms };
    config.genesis = serde_json::from_slice(&text).with_context(|| genesis.display().to_string())?;
    if network.import.is_some() {
        (config.frozen, config.dev, config.coco_precompile) = (true, false, false);
    }
    Ok(serde_json::to_value(config)?)
}

/// A development network's parameters with the accounts, limits and clock asked for.
fn ethereum(network: &Network, accounts: &[Account], now_s: u64) -> anyhow::Result<Value> {
    if let Some(genesis) = &network.genesis {
        return from_files(network, genesis);
    }
    let mut config = NetworkConfig::dev();
    config.block_interval_ms = if network.instant { 0 } else { network.block_time_ms };
    config.base_fee = network.fixed_base_fee();
    config.crowd = network.crowd;
    let genesis = &mut config.genesis;
    genesis.config.chain_id = network.chain_id;
    genesis.gas_limit = network.gas_limit;
    if let Some(bytes) = network.code_size_limit {
        genesis.config.extra_fields.insert(CODE_BYTES_MAX_NAME.to_owned(), bytes.into());
    }
    genesis.timestamp = now_s;
    genesis.base_fee_per_gas = Some(config.base_fee.unwrap_or(BASE_FEE).into());
    genesis.alloc.retain(|address, _| DEV_ACCOUNTS.iter().all(|account| account.address != *address));
    let balance = U256::from(network.balance_ether) * U256::from(10u64).pow(U256::from(18));
    let funded = |account: &Account| (account.address, GenesisAccount::default().with_balance(balance));
    genesis.alloc.extend(accounts.iter().map(funded));
    Ok(serde_json::to_value(config)?)
}

/// Any processor may register, and anybody may transact.
fn sawtooth(network: &Network) -> anyhow::Result<Value> {
    let block_interval_ms = if network.instant { 0 } else { network.block_time_ms };
    let config = coco_sawtooth::network::NetworkConfig { block_interval_ms, development: true, ..Default::default() };
    Ok(serde_json::to_value(config)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{self, DEV_MNEMONIC};

    #[test]
    fn the_genesis_funds_the_accounts_and_names_members_whose_keys_lie_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let network = Network { members: 2, balance_ether: 10_000, ..Network::example() };
        let accounts = accounts::derive(DEV_MNEMONIC, 1).unwrap();
        let genesis = create(folder.path(), &network, &accounts, true).unwrap();
        assert_eq!(genesis.members.len(), 2);
        let share_key = fs::read_to_string(folder.path().join("member1_enc_privk.pem")).unwrap();
        let share_key = DecryptionKey::from_pem(&share_key).unwrap();
        assert_eq!(genesis.members[1].encryption_public_key, Some(share_key.public_pem()));
        let key = fs::read_to_string(folder.path().join("member1_privk.pem")).unwrap();
        let certificate = Certificate::from_pem(&genesis.members[1].certificate).unwrap();
        assert_eq!(SigningKey::from_pem(&key).unwrap().public_key(), certificate.public_key());
        let ethereum = NetworkConfig::read(&genesis.ledgers[coco_ethereum::NAME]).unwrap();
        let funded = &ethereum.genesis.alloc[&accounts[0].address];
        assert_eq!(funded.balance, U256::from(10u64).pow(U256::from(22)));
        assert!(!ethereum.genesis.alloc.contains_key(&DEV_ACCOUNTS[1].address));
        assert_eq!(ethereum.base_fee, Some(BASE_FEE));
    }

    #[test]
    fn fees_of_a_lone_node_move_unless_they_are_fixed() {
        let fees = |nodes, base_fee| {
            let folder = tempfile::tempdir().unwrap();
            let network = Network { nodes, base_fee, ..Network::example() };
            let genesis = create(folder.path(), &network, &[], false).unwrap();
            let config = NetworkConfig::read(&genesis.ledgers[coco_ethereum::NAME]).unwrap();
            (config.base_fee, config.genesis.base_fee_per_gas)
        };
        assert_eq!(fees(1, None), (None, Some(BASE_FEE.into())));
        assert_eq!(fees(1, Some(0)), (Some(0), Some(0)));
        assert_eq!(fees(3, Some(5)), (Some(5), Some(5)));
    }
}
