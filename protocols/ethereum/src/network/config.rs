//! The parameters of an Ethereum network on Coco, as the network's configuration file names them.

use std::collections::BTreeMap;

use alloy_eips::{eip2935, eip4788, eip7002, eip7251};
use alloy_genesis::{ChainConfig, Genesis, GenesisAccount};
use alloy_primitives::{Address, Bytes, U256, address, bytes};
use coco_types::limits;
use revm::primitives::eip170;
use serde::{Deserialize, Serialize};

use super::DEV_ACCOUNTS;
use crate::fork::CODE_BYTES_MAX_NAME;

/// Chain id of development networks.
const DEV_CHAIN_ID: u64 = 31_337;
const GAS_LIMIT: u64 = 30_000_000;
const TRANSACTION_GAS_MIN: u64 = 21_000;
/// Given to each development account, ether.
const DEV_ETHER: u64 = 10_000;
const WEI_PER_ETHER: u64 = 1_000_000_000_000_000_000;

/// The deterministic deployer: a contract that many tools expect at this address.
const CREATE2_DEPLOYER: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");
const CREATE2_DEPLOYER_CODE: Bytes = bytes!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe0"
    "3601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
);

/// Parameters of a network. Every field has a default, so that `{}` is a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// A genesis file as other clients read it. Without one, a new network: every fork to Osaka from the start, system contracts.
    pub genesis: Genesis,
    /// From the first pending transaction to its block, milliseconds; 0 seals at once.
    pub block_interval_ms: u64,
    /// Base fee of every block, wei. Without it EIP-1559 decides, and time without blocks lets it fall as empty blocks would:
    /// see [`crate::block::NextBaseFee`].
    pub base_fee: Option<u64>,
    /// Lowest fee cap that the pool takes, wei.
    pub fee_cap_min: u128,
    /// The pool takes transactions without chain id, which can be replayed on other chains.
    pub allow_unprotected: bool,
    /// The pool takes blob transactions, without their sidecars.
    pub allow_blobs: bool,
    /// Blocks that follow block 0, as other clients export them: RLP, one after the other. They are executed and checked, root by root,
    /// when the network is founded, in one ledger transaction.
    #[serde(skip_serializing_if = "has_no_bytes")]
    pub chain: Bytes,
    /// For development: so many accounts of one wei besides, each with the address that [`super::crowd_member`] gives its number.
    #[serde(skip_serializing_if = "is_zero")]
    pub crowd: u64,
    /// Contracts can ask the Coco precompile. Another network's blocks know nothing of it: with `chain` it is off.
    pub coco_precompile: bool,
    /// No blocks are made: what is submitted stays in the pool.
    pub frozen: bool,
    /// For development: funded accounts, and a timestamp that grows with each block, as test tools expect.
    pub dev: bool,
}

/// The configuration is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{0}")]
    Malformed(String),
    #[error("chain id is 0")]
    NoChainId,
    #[error("gas limit {0}: no transaction fits into a block")]
    GasLimit(u64),
    #[error("contractSizeLimit of the genesis is {0}, not a number of bytes from 24576 on")]
    CodeLimit(String),
    #[error("the network has Prague, but no contract at {0}: its blocks would be invalid")]
    NoSystemContract(Address),
    #[error("the merge is neither at the start (terminalTotalDifficulty 0) nor at a named block (mergeNetsplitBlock)")]
    NoMergeBlock,
    #[error("a crowd is for development networks that begin without blocks of another network")]
    Crowd,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            genesis: new_network(DEV_CHAIN_ID),
            block_interval_ms: limits::BLOCK_INTERVAL_MS,
            base_fee: None,
            fee_cap_min: 0,
            allow_unprotected: false,
            allow_blobs: false,
            chain: Bytes::new(),
            crowd: 0,
            coco_precompile: true,
            frozen: false,
            dev: false,
        }
    }
}

impl NetworkConfig {
    /// For `coco dev`: the accounts that hardhat and foundry know, and the deterministic deployer.
    pub fn dev() -> Self {
        let mut config = Self { allow_unprotected: true, dev: true, ..Self::default() };
        config.add_dev_accounts();
        config
    }

    /// Reads a configuration and checks it. Beside the fields of [`NetworkConfig`] it may have `chain_id`, which names a new
    /// network without a genesis file, and with `dev` it gets the development accounts.
    pub fn read(value: &serde_json::Value) -> Result<Self, ConfigError> {
        let malformed = |error: serde_json::Error| ConfigError::Malformed(error.to_string());
        let mut value = value.clone();
        let chain_id = value.as_object_mut().and_then(|fields| fields.remove("chain_id"));
        let has_genesis = value.get("genesis").is_some();
        let mut config: Self =
            if value.is_null() { Self::default() } else { serde_json::from_value(value).map_err(malformed)? };
        if let Some(chain_id) = chain_id {
            config.genesis.config.chain_id = serde_json::from_value(chain_id).map_err(malformed)?;
        }
        if config.dev && !has_genesis {
            config.allow_unprotected = true;
            config.add_dev_accounts();
        }
        config.coco_precompile &= config.chain.is_empty();
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let chain = &self.genesis.config;
        if chain.chain_id == 0 {
            return Err(ConfigError::NoChainId);
        }
        if self.genesis.gas_limit < TRANSACTION_GAS_MIN {
            return Err(ConfigError::GasLimit(self.genesis.gas_limit));
        }
        if let Some(limit) = chain.extra_fields.get(CODE_BYTES_MAX_NAME)
            && limit.as_u64().is_none_or(|bytes| bytes < eip170::MAX_CODE_SIZE as u64)
        {
            return Err(ConfigError::CodeLimit(limit.to_string()));
        }
        if self.crowd > 0 && !(self.dev && has_no_bytes(&self.chain)) {
            return Err(ConfigError::Crowd);
        }
        let merges_at_start = chain.terminal_total_difficulty == Some(U256::ZERO);
        let merges = merges_at_start || chain.terminal_total_difficulty_passed || chain.merge_netsplit_block.is_some();
        if chain.shanghai_time.is_some() && !merges {
            return Err(ConfigError::NoMergeBlock);
        }
        if chain.prague_time.is_some() {
            for contract in
                [eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS]
            {
                if self.genesis.alloc.get(&contract).is_none_or(|account| account.code.is_none()) {
                    return Err(ConfigError::NoSystemContract(contract));
                }
            }
        }
        Ok(())
    }

    fn add_dev_accounts(&mut self) {
        let balance = U256::from(DEV_ETHER) * U256::from(WEI_PER_ETHER);
        let accounts = DEV_ACCOUNTS.iter().map(|dev| (dev.address, GenesisAccount::default().with_balance(balance)));
        self.genesis.alloc.extend(accounts);
        let deployer = GenesisAccount::default().with_nonce(Some(1)).with_code(Some(CREATE2_DEPLOYER_CODE));
        self.genesis.alloc.insert(CREATE2_DEPLOYER, deployer);
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn has_no_bytes(bytes: &Bytes) -> bool {
    bytes.0.is_empty()
}

/// Everything up to Osaka from the first block on, with the contracts that these forks call.
fn new_network(chain_id: u64) -> Genesis {
    let contract = |code: &Bytes| GenesisAccount::default().with_nonce(Some(1)).with_code(Some(code.clone()));
    let alloc = BTreeMap::from([
        (eip2935::HISTORY_STORAGE_ADDRESS, contract(&eip2935::HISTORY_STORAGE_CODE)),
        (eip4788::BEACON_ROOTS_ADDRESS, contract(&eip4788::BEACON_ROOTS_CODE)),
        (eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, contract(&eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_CODE)),
        (eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, contract(&eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_CODE)),
    ]);
    let config = ChainConfig {
        chain_id,
        homestead_block: Some(0),
        eip150_block: Some(0),
        eip155_block: Some(0),
        eip158_block: Some(0),
        byzantium_block: Some(0),
        constantinople_block: Some(0),
        petersburg_block: Some(0),
        istanbul_block: Some(0),
        muir_glacier_block: Some(0),
        berlin_block: Some(0),
        london_block: Some(0),
        arrow_glacier_block: Some(0),
        gray_glacier_block: Some(0),
        merge_netsplit_block: Some(0),
        terminal_total_difficulty: Some(U256::ZERO),
        shanghai_time: Some(0),
        cancun_time: Some(0),
        prague_time: Some(0),
        osaka_time: Some(0),
        deposit_contract_address: Some(Address::ZERO),
        ..ChainConfig::default()
    };
    Genesis { config, gas_limit: GAS_LIMIT, alloc, ..Genesis::default() }
}
