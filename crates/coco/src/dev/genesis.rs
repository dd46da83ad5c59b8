//! The founding facts of a development network: members with fresh keys, funded accounts, every Ethereum fork active.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::U256;
use anyhow::Context;
use coco_crypto::{Certificate, Crypto, Curve, SigningKey, SystemCrypto, Validity, self_signed_certificate};
use coco_node::config::{Actor, Genesis};
use coco_types::limits;
use serde_json::{Value, json};

use super::plan::ETHEREUM;
use super::state::{Network, write_secret};
use crate::accounts::Account;

/// Wei a unit of gas costs at first.
pub const BASE_FEE: u64 = 1_000_000_000;
/// Certificates of a development network are valid for this long.
const YEARS: u64 = 10;
const YEAR_SECONDS: u64 = 365 * 24 * 3600;

/// Puts the genesis together; writes each member's key and certificate into `folder`.
pub fn create(folder: &Path, network: &Network, accounts: &[Account]) -> anyhow::Result<Genesis> {
    let crypto = SystemCrypto;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
    let member = |index: u32| -> anyhow::Result<Actor> {
        let name = format!("member{index}");
        let (key, certificate) = actor_keys(&crypto, &name, now_s)?;
        write_secret(&folder.join(format!("{name}_privk.pem")), key.to_pem().as_bytes())?;
        fs::write(folder.join(format!("{name}_cert.pem")), certificate.to_pem())?;
        Ok(Actor { certificate: certificate.to_pem(), data: json!({ "name": name }) })
    };
    Ok(Genesis {
        name: "Coco development network".to_owned(),
        members: (0..network.members).map(member).collect::<anyhow::Result<_>>()?,
        participants: Vec::new(),
        virtual_measurements: vec![own_measurement()?],
        chunk_bytes: limits::CHUNK_BYTES,
        ledgers: BTreeMap::from([(ETHEREUM.to_owned(), ethereum(network, accounts, now_s))]),
    })
}

fn actor_keys(crypto: &dyn Crypto, name: &str, now_s: u64) -> anyhow::Result<(SigningKey, Certificate)> {
    let key = SigningKey::generate(crypto, Curve::P384);
    // A day of slack for clocks that disagree.
    let validity = Validity { not_before: now_s.saturating_sub(24 * 3600), not_after: now_s + YEARS * YEAR_SECONDS };
    let certificate = self_signed_certificate(crypto, &key, name, &[], validity, &[])?;
    Ok((key, certificate))
}

/// What a virtual node claims to run: the SHA-256 of its executable, which is this one.
fn own_measurement() -> anyhow::Result<String> {
    let path = std::env::current_exe().context("this executable's path")?;
    let code = fs::read(&path).with_context(|| path.display().to_string())?;
    Ok(coco_crypto::sha256(&code).to_string())
}

/// geth's form of a genesis, with Coco's settings beside it.
fn ethereum(network: &Network, accounts: &[Account], now_s: u64) -> Value {
    let balance = U256::from(network.balance_ether) * U256::from(10u64).pow(U256::from(18));
    let funded = |account: &Account| (account.address.to_string(), json!({ "balance": format!("{balance:#x}") }));
    let alloc: serde_json::Map<String, Value> = accounts.iter().map(funded).collect();
    json!({
        "config": chain_config(network.chain_id),
        "timestamp": format!("{now_s:#x}"),
        "gasLimit": format!("{:#x}", network.gas_limit),
        "baseFeePerGas": format!("{BASE_FEE:#x}"),
        "difficulty": "0x0",
        "alloc": alloc,
        "coco": { "block_interval_ms": network.block_time_ms, "instant": network.instant },
    })
}

/// Every fork from the first block on, with the mainnet's blob parameters.
fn chain_config(chain_id: u64) -> Value {
    let mut config = serde_json::Map::new();
    config.insert("chainId".to_owned(), chain_id.into());
    let by_number = [
        "homesteadBlock",
        "eip150Block",
        "eip155Block",
        "eip158Block",
        "byzantiumBlock",
        "constantinopleBlock",
        "petersburgBlock",
        "istanbulBlock",
        "muirGlacierBlock",
        "berlinBlock",
        "londonBlock",
        "arrowGlacierBlock",
        "grayGlacierBlock",
        "mergeNetsplitBlock",
    ];
    let by_time = ["shanghaiTime", "cancunTime", "pragueTime", "osakaTime"];
    config.extend(by_number.into_iter().chain(by_time).map(|fork| (fork.to_owned(), 0.into())));
    config.insert("terminalTotalDifficulty".to_owned(), 0.into());
    config.insert("terminalTotalDifficultyPassed".to_owned(), true.into());
    let blobs =
        |target: u32, max: u32, fraction: u32| json!({"target": target, "max": max, "baseFeeUpdateFraction": fraction});
    config.insert(
        "blobSchedule".to_owned(),
        json!({ "cancun": blobs(3, 6, 3_338_477), "prague": blobs(6, 9, 5_007_716), "osaka": blobs(6, 9, 5_007_716) }),
    );
    Value::Object(config)
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
        let genesis = create(folder.path(), &network, &accounts).unwrap();
        assert_eq!(genesis.members.len(), 2);
        let key = fs::read_to_string(folder.path().join("member1_privk.pem")).unwrap();
        let certificate = Certificate::from_pem(&genesis.members[1].certificate).unwrap();
        assert_eq!(SigningKey::from_pem(&key).unwrap().public_key(), certificate.public_key());
        let alloc = &genesis.ledgers[ETHEREUM]["alloc"];
        assert_eq!(alloc["0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"]["balance"], "0x21e19e0c9bab2400000");
    }
}
