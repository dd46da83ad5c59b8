//! Closing a block: what is paid at its end, and the roots.

use alloy_consensus::Header;
use alloy_primitives::{B256, Bloom, U256};
use alloy_trie::root::{ordered_trie_root_encoded, ordered_trie_root_with_encoder};
use bytes::Bytes;
use revm::primitives::hardfork::SpecId;

use super::{BlockError, BlockRecord, Included, OpenBlock};
use crate::execute::CodeCache;
use crate::state::{self, ACCOUNT, RECENT, STORAGE, State, apply_rows};
use crate::trie::StateTrie;

const WEI_PER_GWEI: u128 = 1_000_000_000;
/// Block hashes that the EVM can ask for.
const RECENT_BLOCKS: u64 = 256;

/// A finished block.
pub struct SealedBlock {
    pub header: Header,
    pub hash: B256,
    pub included: Vec<Included>,
    /// The state trie after the block.
    pub trie: StateTrie,
    /// EIP-7685 requests, encoded.
    pub requests: alloy_eips::eip7685::Requests,
    /// For `history:ethereum.block`.
    pub record: BlockRecord,
    /// For `history:ethereum.undo`.
    pub undo: Bytes,
}

impl OpenBlock {
    /// Seals the block. Its end-of-block changes are written to `state`. `sealed_ms` is the time of the seal, finer than the
    /// header's timestamp can say.
    pub fn seal(mut self, state: &mut dyn State, codes: &CodeCache, sealed_ms: u64) -> Result<SealedBlock, BlockError> {
        self.pay(state)?;
        let mut requests = Default::default();
        if self.environment.spec().is_enabled_in(SpecId::PRAGUE) {
            requests = self.requests(state, codes)?;
            self.header.requests_hash = Some(requests.requests_hash());
        }
        let rows = self.changed_rows(state);
        apply_rows(&mut self.trie, rows)?;
        self.header.state_root = self.trie.root();
        self.seal_transactions();
        let hash = self.header.hash_slow();
        remember_hash(state, self.header.number, hash);
        let record = BlockRecord::new(&self.header, &self.included, &self.attributes, sealed_ms);
        let undo = self.undo.encode();
        Ok(SealedBlock { header: self.header, hash, included: self.included, trie: self.trie, requests, record, undo })
    }

    fn seal_transactions(&mut self) {
        let raw: Vec<&[u8]> = self.included.iter().map(|included| &included.transaction.raw[..]).collect();
        self.header.transactions_root = ordered_trie_root_encoded(&raw);
        let encode_receipt = |included: &Included, out: &mut Vec<u8>| included.encode_receipt(out);
        self.header.receipts_root = ordered_trie_root_with_encoder(&self.included, encode_receipt);
        let with_logs = self.included.iter().filter(|included| !included.logs.is_empty());
        self.header.logs_bloom = with_logs.fold(Bloom::ZERO, |bloom, included| bloom | *included.bloom());
    }

    /// The rows that the block changed, as they are now.
    pub(crate) fn changed_rows(&self, state: &mut dyn State) -> Vec<(Bytes, Option<Bytes>)> {
        let table = |key: &Bytes| if key.len() == 20 { ACCOUNT } else { STORAGE };
        self.undo.rows().map(|(key, _)| (key.clone(), state.value(&table(key), key))).collect()
    }

    /// Mining rewards of imported blocks, and withdrawals.
    fn pay(&mut self, state: &mut dyn State) -> Result<(), BlockError> {
        let mut payments = Vec::new();
        if self.block_reward > 0 {
            let ommers = self.attributes.proof_of_work.iter().flat_map(|work| &work.ommers);
            let mut reward = self.block_reward;
            for ommer in ommers {
                reward += self.block_reward / 32;
                let distance = self.header.number.saturating_sub(ommer.number).min(8);
                payments.push((ommer.beneficiary, self.block_reward * u128::from(8 - distance) / 8));
            }
            payments.push((self.header.beneficiary, reward));
        }
        for withdrawal in self.attributes.withdrawals.iter() {
            payments.push((withdrawal.address, u128::from(withdrawal.amount) * WEI_PER_GWEI));
        }
        for (address, wei) in payments.into_iter().filter(|(_, wei)| *wei > 0) {
            let mut account = state.account(&address)?.unwrap_or_default();
            account.balance = account.balance.saturating_add(U256::from(wei));
            state::set_account(state, &address, &account, &mut self.undo);
        }
        Ok(())
    }
}

fn remember_hash(state: &mut dyn State, number: u64, hash: B256) {
    state.set(&RECENT, key(number), Some(Bytes::copy_from_slice(hash.as_slice())));
    if let Some(old) = number.checked_sub(RECENT_BLOCKS) {
        state.set(&RECENT, key(old), None);
    }

    fn key(number: u64) -> Bytes {
        Bytes::copy_from_slice(&number.to_be_bytes())
    }
}
