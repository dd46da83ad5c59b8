//! Block 0.

use std::collections::BTreeMap;

use alloy_consensus::Header;
use alloy_consensus::proofs::calculate_withdrawals_root;
use alloy_eips::eip1559::INITIAL_BASE_FEE;
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_genesis::{Genesis, GenesisAccount};
use alloy_primitives::{Address, B64, B256, U256};
use alloy_rlp::Encodable;
use alloy_trie::KECCAK_EMPTY;
use bytes::Bytes;
use revm::primitives::hardfork::SpecId;

use super::NetworkConfig;
use crate::block::BlockRecord;
use crate::fork::ForkSchedule;
use crate::state::{self, Account, BLOCK, BLOCK_BY_HASH, META, META_CONFIG, META_HEAD, RECENT, State, Undo};
use crate::trie::{AccountChange, StateTrie};

/// Writes the first state and block 0; gives its header, hash and trie.
pub fn write_genesis(state: &mut dyn State, config: &NetworkConfig) -> (Header, B256, StateTrie) {
    let trie = write_alloc(state, &config.genesis.alloc);
    write_first_block(state, config, trie)
}

/// Writes block 0 over a state that is written already.
pub(crate) fn write_first_block(
    state: &mut dyn State,
    config: &NetworkConfig,
    mut trie: StateTrie,
) -> (Header, B256, StateTrie) {
    let header = genesis_header(&config.genesis, trie.root());
    let hash = header.hash_slow();
    let number = Bytes::copy_from_slice(&header.number.to_be_bytes());
    let hash_bytes = Bytes::copy_from_slice(hash.as_slice());

    // The accounts are in the tables now; what is kept of the file is its rules.
    let mut kept = config.clone();
    kept.genesis.alloc.clear();
    kept.chain = Default::default();
    let json = serde_json::to_vec(&kept).expect("a configuration that was read can be written");
    state.set(&META, Bytes::from_static(META_CONFIG), Some(json.into()));
    state.set(&META, Bytes::from_static(META_HEAD), Some(rlp(&header)));
    state.set(&RECENT, number.clone(), Some(hash_bytes.clone()));
    state.set(&BLOCK_BY_HASH, hash_bytes, Some(number.clone()));
    state.set(&BLOCK, number, Some(BlockRecord::genesis(&header).bytes().clone()));
    (header, hash, trie)
}

/// Writes the first accounts; gives their trie.
pub(crate) fn write_alloc(state: &mut dyn State, alloc: &BTreeMap<Address, GenesisAccount>) -> StateTrie {
    let mut trie = StateTrie::default();
    let mut undo = Undo::default();
    for (address, account) in alloc {
        let code_hash = account.code_hash().unwrap_or(KECCAK_EMPTY);
        if let Some(code) = account.non_empty_code() {
            state::set_code(state, code_hash, code);
        }
        let slots: Vec<(U256, U256)> =
            account.storage_slots().map(|(slot, value)| (U256::from_be_bytes(slot.0), value)).collect();
        for (slot, value) in &slots {
            state::set_slot(state, address, *slot, *value, &mut undo);
        }
        let row = Account { nonce: account.nonce.unwrap_or(0), balance: account.balance, code_hash };
        state::set_account(state, address, &row, &mut undo);
        trie.apply(address, &AccountChange { account: Some((row.nonce, row.balance, row.code_hash)), slots });
    }
    trie
}

/// The header of block 0, as other clients make it of the same file.
pub fn genesis_header(genesis: &Genesis, state_root: B256) -> Header {
    let schedule = ForkSchedule::new(genesis.config.clone());
    let number = genesis.number.unwrap_or(0);
    let spec = schedule.spec(number, genesis.timestamp);
    let since = |fork| spec.is_enabled_in(fork);
    let base_fee = genesis.base_fee_per_gas.and_then(|fee| u64::try_from(fee).ok()).unwrap_or(INITIAL_BASE_FEE);
    Header {
        parent_hash: genesis.parent_hash.unwrap_or_default(),
        beneficiary: genesis.coinbase,
        state_root,
        difficulty: genesis.difficulty,
        number,
        gas_limit: genesis.gas_limit,
        timestamp: genesis.timestamp,
        extra_data: genesis.extra_data.clone(),
        mix_hash: genesis.mix_hash,
        nonce: B64::from(genesis.nonce),
        base_fee_per_gas: since(SpecId::LONDON).then_some(base_fee),
        withdrawals_root: since(SpecId::SHANGHAI).then(|| calculate_withdrawals_root(&[])),
        blob_gas_used: since(SpecId::CANCUN).then(|| genesis.blob_gas_used.unwrap_or(0)),
        excess_blob_gas: since(SpecId::CANCUN).then(|| genesis.excess_blob_gas.unwrap_or(0)),
        parent_beacon_block_root: since(SpecId::CANCUN).then_some(B256::ZERO),
        requests_hash: since(SpecId::PRAGUE).then_some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

fn rlp(header: &Header) -> Bytes {
    let mut out = Vec::with_capacity(header.length());
    header.encode(&mut out);
    out.into()
}
