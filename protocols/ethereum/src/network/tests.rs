use coco_kv::Store;
use secp256k1::{SECP256K1, SecretKey};

use super::*;
use crate::state::{META, META_CONFIG, ReadState};
use crate::testing::genesis_of_vectors;

#[test]
fn the_genesis_file_of_the_conformance_suite_gives_its_published_hash() {
    let Some(genesis) = genesis_of_vectors() else { return };
    let config = NetworkConfig { genesis, ..NetworkConfig::default() };
    let (header, hash, _) = write_genesis(&mut Store::new().begin(), &config);
    assert_eq!(header.number, 0);
    let hash = hash.to_string();
    assert!(hash.starts_with("0x44fd89d5") && hash.ends_with("3d99"), "{hash}");
}

#[test]
fn an_empty_configuration_is_a_network_with_every_fork() {
    let config = NetworkConfig::read(&serde_json::json!({})).unwrap();
    let (header, ..) = write_genesis(&mut Store::new().begin(), &config);
    assert_eq!(config.genesis.config.chain_id, 31_337);
    assert_eq!(header.gas_limit, 30_000_000);
    assert_eq!(header.base_fee_per_gas, Some(1_000_000_000));
    assert!(header.requests_hash.is_some());
}

#[test]
fn development_networks_fund_the_accounts_that_tools_know() {
    let config = NetworkConfig::read(&serde_json::json!({"dev": true, "chain_id": 1234})).unwrap();
    assert_eq!(config.genesis.config.chain_id, 1234);
    for account in DEV_ACCOUNTS {
        let key = SecretKey::from_byte_array(&account.private_key.0).unwrap();
        let public = key.public_key(SECP256K1).serialize_uncompressed();
        assert_eq!(alloy_primitives::Address::from_raw_public_key(&public[1..]), account.address);
        assert_eq!(config.genesis.alloc[&account.address].balance.to_string(), "10000000000000000000000");
    }
}

#[test]
fn the_stored_configuration_reads_back_without_the_accounts() {
    let store = Store::new();
    let mut tx = store.begin();
    let config = NetworkConfig { base_fee: Some(0), ..NetworkConfig::dev() };
    write_genesis(&mut tx, &config);
    store.apply(coco_types::Seqno(1), &tx.into_parts().0).unwrap();
    let json = ReadState::value(&store.newest_snapshot(), &META, META_CONFIG).unwrap();
    let stored: NetworkConfig = serde_json::from_slice(&json).unwrap();
    let mut expected = config;
    expected.genesis.alloc.clear();
    assert_eq!(stored, expected);
}

#[test]
fn unusable_configurations_are_refused() {
    let error = |value| NetworkConfig::read(&value).unwrap_err();
    assert!(matches!(error(serde_json::json!({"dev": 3})), ConfigError::Malformed(_)));
    assert!(matches!(error(serde_json::json!({"unknown": true})), ConfigError::Malformed(_)));
    assert_eq!(error(serde_json::json!({"chain_id": 0})), ConfigError::NoChainId);
    let closed = serde_json::json!({"genesis": {"config": {"chainId": 7}}});
    assert_eq!(error(closed), ConfigError::GasLimit(0));
    for limit in [serde_json::json!("much"), serde_json::json!(24_575)] {
        let genesis =
            serde_json::json!({"gasLimit": "0x1c9c380", "config": {"chainId": 7, "contractSizeLimit": limit}});
        assert!(matches!(error(serde_json::json!({"genesis": genesis})), ConfigError::CodeLimit(_)));
    }
    let prague = serde_json::json!({"genesis": {"gasLimit": "0x1c9c380", "config": {
        "chainId": 7, "terminalTotalDifficulty": 0, "shanghaiTime": 0, "pragueTime": 0}}});
    assert!(matches!(error(prague), ConfigError::NoSystemContract(_)));
    let shanghai =
        serde_json::json!({"genesis": {"gasLimit": "0x1c9c380", "config": {"chainId": 7, "shanghaiTime": 0}}});
    assert_eq!(error(shanghai), ConfigError::NoMergeBlock);
}
