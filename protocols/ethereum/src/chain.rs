//! The chain as one node knows it: rules, newest blocks with their tries, and the block that is open.
//!
//! Derived data, all of it: [`Chain::rebuild`] makes it anew from the tables. On the primary the tries of its own blocks are
//! ahead of what is committed; on every node the committed one is checked against each block's header.
//!
//! ```text
//!   committed ──▶ executed ──▶ executed ──▶ open        (own blocks above the committed one: primary only)
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use alloy_consensus::Header;
use alloy_primitives::B256;
use alloy_rlp::Decodable;
use bytes::Bytes;
use coco_kv::Snapshot;
use coco_protocol::{CommittedBatch, Context, Integrity};
use coco_types::WriteSet;
use parking_lot::{Mutex, RwLock};

use crate::block::{BlockAttributes, BlockError, Included, OpenBlock, SealedBlock, next_base_fee};
use crate::execute::CodeCache;
use crate::fork::ForkSchedule;
use crate::network::NetworkConfig;
use crate::state::{ACCOUNT, META, META_CONFIG, META_HEAD, STORAGE, State, apply_rows};
use crate::transaction::{AdmissionRules, Transaction, TransactionError};
use crate::trie::StateTrie;

/// Blocks whose tries are kept behind the newest committed one, so that a read that began before it still finds its own.
const TRIES_KEPT: usize = 4;

/// See the module's text. Shared by executor, pool and readers.
pub struct Chain {
    network: RwLock<Arc<Network>>,
    codes: Arc<CodeCache>,
    tips: Mutex<Tips>,
}

/// A network's parameters and rules.
#[derive(Clone, Debug)]
pub struct Network {
    pub config: NetworkConfig,
    pub schedule: ForkSchedule,
}

/// A block and the state after it.
#[derive(Clone, Debug)]
pub struct Tip {
    pub header: Header,
    pub hash: B256,
    pub trie: StateTrie,
}

#[derive(Default)]
struct Tips {
    /// Newest last.
    committed: VecDeque<Tip>,
    executed: VecDeque<Tip>,
    open: Option<OpenBlock>,
    /// Rows that were committed after the newest committed block, as its successor's seal has not arrived yet.
    rows: BTreeMap<Bytes, Option<Bytes>>,
}

impl Network {
    pub fn new(config: NetworkConfig) -> Self {
        let schedule = ForkSchedule::new(config.genesis.config.clone());
        Self { config, schedule }
    }
}

impl Chain {
    /// A chain that is not known yet; until its first block arrives the rules are those of a new network.
    pub fn new() -> Self {
        let network = RwLock::new(Arc::new(Network::new(NetworkConfig::default())));
        Self { network, codes: Arc::new(CodeCache::new()), tips: Mutex::default() }
    }

    pub fn network(&self) -> Arc<Network> {
        self.network.read().clone()
    }

    pub fn codes(&self) -> &Arc<CodeCache> {
        &self.codes
    }

    /// The trie after a committed block, if it is one of the newest.
    pub fn trie(&self, hash: &B256) -> Option<StateTrie> {
        let tips = self.tips.lock();
        tips.committed.iter().rev().find(|tip| tip.hash == *hash).map(|tip| tip.trie.clone())
    }

    /// Base fee of the block that is open or, if none is, of the next.
    pub fn base_fee(&self) -> u64 {
        let tips = self.tips.lock();
        match (&tips.open, tips.newest()) {
            (Some(open), _) => open.header().base_fee_per_gas.unwrap_or(0),
            (None, Some(tip)) => self.network().config.base_fee.unwrap_or_else(|| next_base_fee(&tip.header)),
            (None, None) => 0,
        }
    }

    pub fn block_gas_limit(&self) -> u64 {
        self.network().config.genesis.gas_limit
    }

    /// Whether a transaction fits into the block that is open.
    pub fn has_room(&self, transaction: &Transaction) -> bool {
        self.tips.lock().open.as_ref().is_none_or(|open| open.has_room(transaction))
    }

    /// The rules for submissions: those of the block after the newest.
    pub fn admission_rules(&self) -> AdmissionRules {
        let network = self.network();
        let (number, timestamp) =
            self.tips.lock().newest().map_or((0, 0), |tip| (tip.header.number + 1, tip.header.timestamp));
        let config = &network.config;
        AdmissionRules {
            spec: network.schedule.spec(number, timestamp),
            chain_id: config.genesis.config.chain_id,
            block_gas_limit: config.genesis.gas_limit,
            allow_unprotected: config.allow_unprotected,
            allow_blobs: config.allow_blobs,
            fee_cap_min: config.fee_cap_min,
        }
    }

    /// The first block was written by this node.
    pub fn begin(&self, config: NetworkConfig, tip: Tip) {
        *self.network.write() = Arc::new(Network::new(config));
        *self.tips.lock() = Tips { executed: VecDeque::from([tip]), ..Tips::default() };
    }

    /// Opens a block on the newest one; replaces one that was open.
    pub fn open_block(&self, state: &mut dyn State, context: &Context<'_>) -> Result<(), BlockError> {
        let network = self.network();
        let mut tips = self.tips.lock();
        let parent = tips.newest().expect("a chain begins with block 0 before anything is executed").clone();
        let genesis = &network.config.genesis;
        let now = context.now_ms / 1_000;
        let earliest = parent.header.timestamp + u64::from(network.config.dev);
        let attributes = BlockAttributes {
            timestamp: now.max(earliest),
            mix_hash: context.random().into(),
            beneficiary: genesis.coinbase,
            gas_limit: genesis.gas_limit,
            base_fee: network.config.base_fee,
            ..BlockAttributes::default()
        };
        let on = (&parent.header, parent.hash);
        let open = OpenBlock::open(state, &self.codes, &network.schedule, on, parent.trie, attributes)?;
        tips.open = Some(open);
        Ok(())
    }

    /// Executes a transaction in the open block.
    pub fn execute(
        &self,
        state: &mut dyn State,
        transaction: &Transaction,
        context: &Context<'_>,
    ) -> Result<Included, TransactionError> {
        let mut tips = self.tips.lock();
        let open = tips.open.as_mut().ok_or_else(|| TransactionError::Invalid("no block is open".into()))?;
        open.execute(state, &self.codes, transaction, context.txid).cloned()
    }

    /// Seals the open block, if it holds anything.
    pub fn seal_block(&self, state: &mut dyn State, context: &Context<'_>) -> Result<Option<SealedBlock>, BlockError> {
        let mut tips = self.tips.lock();
        let Some(open) = tips.open.take().filter(|open| !open.included().is_empty()) else { return Ok(None) };
        let sealed = open.seal(state, &self.codes, context.now_ms)?;
        let tip = Tip { header: sealed.header.clone(), hash: sealed.hash, trie: sealed.trie.clone() };
        tips.executed.push_back(tip);
        Ok(Some(sealed))
    }

    /// Follows what was committed. Own blocks are known already; others bring the trie forward, and have to lead to the root
    /// that their header names.
    pub fn follow(&self, batch: &CommittedBatch) -> Result<(), Integrity> {
        let mut tips = self.tips.lock();
        for transaction in &batch.transactions {
            if let Some(config) = written(&transaction.writes, META_CONFIG) {
                *self.network.write() = Arc::new(Network::new(read_config(config)?));
            }
            tips.collect_rows(&transaction.writes);
            if let Some(head) = written(&transaction.writes, META_HEAD) {
                tips.advance(read_header(head)?)?;
            }
        }
        Ok(())
    }

    /// Makes everything anew from the tables, unless it is there already.
    pub fn rebuild(&self, state: &Snapshot) -> Result<(), Integrity> {
        let mut tips = self.tips.lock();
        tips.executed.clear();
        tips.open = None;
        tips.rows.clear();
        if let Some(config) = state.get(&META, META_CONFIG) {
            *self.network.write() = Arc::new(Network::new(read_config(&config)?));
        }
        let Some(head) = state.get(&META, META_HEAD) else {
            tips.committed.clear();
            return Ok(());
        };
        let header = read_header(&head)?;
        let hash = header.hash_slow();
        if let Some(at) = tips.committed.iter().position(|tip| tip.hash == hash) {
            tips.committed.truncate(at + 1);
            return Ok(());
        }
        let mut trie = StateTrie::default();
        let rows = [ACCOUNT, STORAGE].into_iter().flat_map(|map| state.iter(&map));
        apply_rows(&mut trie, rows.map(|(key, value)| (key, Some(value)))).map_err(damaged)?;
        tips.committed = VecDeque::from([checked(header, hash, trie)?]);
        Ok(())
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Tips {
    fn newest(&self) -> Option<&Tip> {
        self.executed.back().or(self.committed.back())
    }

    fn collect_rows(&mut self, writes: &WriteSet) {
        for map in [&ACCOUNT, &STORAGE] {
            let rows = writes.map(map).into_iter().flatten();
            self.rows.extend(rows.map(|(key, value)| (key.clone(), value.clone())));
        }
    }

    /// The block of `header` is committed, and the rows collected so far are its changes.
    fn advance(&mut self, header: Header) -> Result<(), Integrity> {
        let rows = std::mem::take(&mut self.rows);
        let hash = header.hash_slow();
        if self.committed.back().is_some_and(|tip| tip.header.number >= header.number) {
            return Ok(());
        }
        let own = self.executed.pop_front().filter(|tip| tip.hash == hash);
        let tip = match own {
            Some(tip) => tip,
            None => {
                // Somebody else's block: whatever this node executed above is void.
                self.executed.clear();
                let mut trie = self.committed.back().map(|tip| tip.trie.clone()).unwrap_or_default();
                apply_rows(&mut trie, rows).map_err(damaged)?;
                checked(header, hash, trie)?
            }
        };
        self.committed.push_back(tip);
        while self.committed.len() > TRIES_KEPT {
            self.committed.pop_front();
        }
        Ok(())
    }
}

fn checked(header: Header, hash: B256, mut trie: StateTrie) -> Result<Tip, Integrity> {
    let found = trie.root();
    if found != header.state_root {
        return Err(Integrity {
            what: format!("state root of Ethereum block {}", header.number),
            expected: header.state_root.to_string(),
            found: found.to_string(),
        });
    }
    Ok(Tip { header, hash, trie })
}

fn written<'a>(writes: &'a WriteSet, key: &[u8]) -> Option<&'a Bytes> {
    writes.get(&META, key).flatten()
}

fn read_header(rlp: &[u8]) -> Result<Header, Integrity> {
    Header::decode(&mut &rlp[..]).map_err(damaged)
}

fn read_config(json: &[u8]) -> Result<NetworkConfig, Integrity> {
    serde_json::from_slice(json).map_err(damaged)
}

fn damaged(error: impl std::fmt::Display) -> Integrity {
    Integrity { what: "Ethereum tables".into(), expected: "rows that decode".into(), found: error.to_string() }
}
