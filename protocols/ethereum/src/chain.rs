//! The chain as one node knows it: rules, newest blocks with their tries, and the block that is open.
//!
//! Derived data, all of it: [`Chain::rebuild`] makes it anew from the tables. On the primary the tries of its own blocks are
//! ahead of what is committed; on every other node the tries follow ([`crate::followed`]).
//!
//! ```text
//!   committed ──▶ executed ──▶ executed ──▶ open        (own blocks above the committed one: primary only)
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use alloy_consensus::Header;
use alloy_primitives::{B256, keccak256};
use alloy_rlp::Decodable;
use bytes::Bytes;
use coco_kv::Snapshot;
use coco_protocol::{CommittedBatch, Context, Integrity};
use coco_types::WriteSet;
use parking_lot::{Mutex, RwLock};

use crate::block::{BlockAttributes, BlockError, Included, NextBaseFee, OpenBlock, SealedBlock};
use crate::developer::{self, Mining, Settings};
use crate::execute::{CodeCache, Told};
use crate::followed::{Committed, Followed};
use crate::fork::ForkSchedule;
use crate::network::NetworkConfig;
use crate::permissions::Permissions;
use crate::state::{
    ACCOUNT, META, META_CONFIG, META_HEAD, META_REVERTED, META_SEALED_MS, OF_BLOCKS, STORAGE, State, apply_rows,
};
use crate::transaction::{AdmissionRules, INITCODE_BYTES_MAX, Transaction, TransactionError};
use crate::trie::StateTrie;

/// Rows that a trie is made of at a time.
const ROWS_AT_ONCE: usize = 1_024;

/// See the module's text. Shared by executor, pool and readers, which never wait for an execution: what the executor holds for
/// long has a lock of its own. Where both are taken, `building` comes first.
pub struct Chain {
    network: RwLock<Arc<Network>>,
    rules: RwLock<Arc<AdmissionRules>>,
    codes: Arc<CodeCache>,
    building: Mutex<Building>,
    committed: Mutex<Committed>,
    mining: RwLock<Mining>,
    permissions: RwLock<Arc<Permissions>>,
    /// The lowest block that the committed chain went back to since it was last asked.
    went_back: Mutex<Option<u64>>,
    /// A lone developer's node: operations are executed, and what contracts write to the console is told.
    is_developers: bool,
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
    /// When it was sealed, milliseconds since 1970; 0 if it was imported.
    pub sealed_ms: u64,
}

/// What the primary has executed above the committed block.
#[derive(Default)]
struct Building {
    executed: VecDeque<Tip>,
    open: Option<OpenBlock>,
    /// Drawn when the block was opened: what its transactions are told comes of it.
    seed: [u8; 32],
    /// A developer wants the open block even if nothing is in it.
    asked_for: bool,
}

impl Building {
    /// The block that is being filled. One in which nothing was included may have been dropped.
    fn filling(&self) -> Option<&OpenBlock> {
        self.open.as_ref().filter(|open| self.asked_for || !open.included().is_empty())
    }
}

impl Network {
    pub fn new(config: NetworkConfig) -> Self {
        let schedule = ForkSchedule::new(config.genesis.config.clone());
        Self { config, schedule }
    }

    fn admission_rules(&self, newest: Option<&Header>) -> AdmissionRules {
        let (number, timestamp) = newest.map_or((0, 0), |header| (header.number + 1, header.timestamp));
        let config = &self.config;
        AdmissionRules {
            spec: self.schedule.spec(number, timestamp),
            chain_id: config.genesis.config.chain_id,
            block_gas_limit: config.genesis.gas_limit,
            allow_unprotected: config.allow_unprotected,
            allow_blobs: config.allow_blobs,
            fee_cap_min: config.fee_cap_min,
            initcode_bytes_max: self.schedule.code_bytes_max().map_or(INITCODE_BYTES_MAX, |max| max.saturating_mul(2)),
        }
    }
}

impl Chain {
    /// A chain that is not known yet; until its first block arrives the rules are those of a new network.
    pub fn new(is_developers: bool) -> Self {
        let network = Arc::new(Network::new(NetworkConfig::default()));
        Self {
            rules: RwLock::new(Arc::new(network.admission_rules(None))),
            network: RwLock::new(network),
            codes: Arc::new(CodeCache::new()),
            building: Mutex::default(),
            committed: Mutex::default(),
            mining: RwLock::default(),
            permissions: RwLock::default(),
            went_back: Mutex::default(),
            is_developers,
        }
    }

    pub fn network(&self) -> Arc<Network> {
        self.network.read().clone()
    }

    /// Whether developers may do to it what they like.
    pub fn is_developers(&self) -> bool {
        self.is_developers && self.network.read().config.dev
    }

    /// Who may do what, as of what is committed.
    pub fn permissions(&self) -> Arc<Permissions> {
        self.permissions.read().clone()
    }

    pub fn codes(&self) -> &Arc<CodeCache> {
        &self.codes
    }

    /// The trie after a committed block by itself, if it is one of the newest.
    pub fn trie(&self, hash: &B256) -> Option<StateTrie> {
        // A root that is wrong is told to whoever follows next, which stops the node.
        let trie = self.committed.lock().tip(hash).ok().flatten().map(|tip| tip.trie.clone())?;
        Some(trie.apart())
    }

    /// Base fee of the block that is open or, if none is, of the next if it is opened now.
    pub fn base_fee(&self, now_ms: u64) -> u64 {
        let building = self.building.lock();
        if let Some(open) = building.filling() {
            return open.header().base_fee_per_gas.unwrap_or(0);
        }
        self.next_base_fee(&building).map_or(0, |next| next.at(now_ms))
    }

    /// From when on the next block's base fee is not above `fee_cap`; `None` if it never is.
    pub fn payable_from_ms(&self, fee_cap: u128) -> Option<u64> {
        self.next_base_fee(&self.building.lock()).map_or(Some(0), |next| next.payable_from_ms(fee_cap))
    }

    pub fn block_gas_limit(&self) -> u64 {
        self.mining().gas_limit.unwrap_or_else(|| self.network.read().config.genesis.gas_limit)
    }

    /// When blocks are made, as far as a developer has decided it.
    pub fn mining(&self) -> Mining {
        *self.mining.read()
    }

    /// When the newest block was sealed.
    pub fn newest_sealed_ms(&self) -> u64 {
        let building = self.building.lock();
        let executed = building.executed.back().map(|tip| tip.sealed_ms);
        executed.or_else(|| self.committed.lock().newest().map(|newest| newest.sealed_ms)).unwrap_or(0)
    }

    /// Whether a transaction fits into the block that is open.
    pub fn has_room(&self, transaction: &Transaction) -> bool {
        self.building.lock().open.as_ref().is_none_or(|open| open.has_room(transaction))
    }

    /// The rules for submissions: those of the block after the newest.
    pub fn admission_rules(&self) -> Arc<AdmissionRules> {
        self.rules.read().clone()
    }

    /// The first block was written by this node.
    pub fn begin(&self, config: NetworkConfig, tip: Tip) {
        *self.network.write() = Arc::new(Network::new(config));
        self.renew_rules(&tip.header);
        *self.committed.lock() = Committed::default();
        *self.building.lock() = Building { executed: VecDeque::from([tip]), ..Building::default() };
    }

    /// Whether a block can be opened on the state whose newest header has this hash: its trie is here. A node that has just
    /// become primary may have to follow a last few batches first.
    pub fn can_build_on(&self, head: &B256) -> bool {
        let building = self.building.lock();
        let is_head = |tip: &Tip| tip.hash == *head;
        building.executed.iter().any(is_head) || self.committed.lock().knows(head)
    }

    /// Forgets the block that was open: what was written for it was dropped.
    pub fn drop_open_block(&self) {
        let mut building = self.building.lock();
        (building.open, building.asked_for) = (None, false);
    }

    /// Opens a block on the newest one in `state`, unless one is open.
    pub fn open_block(&self, state: &mut dyn State, context: &Context<'_>) -> Result<(), BlockError> {
        let mut building = self.building.lock();
        if building.open.is_none() {
            let parent = self.parent_in(&mut building, state)?;
            building.open = Some(self.open_on(state, &parent, None, context)?);
            building.seed = context.random();
        }
        Ok(())
    }

    /// The same, and the block is sealed whatever it holds.
    pub(crate) fn open_asked_for(&self, state: &mut dyn State, context: &Context<'_>) -> Result<(), BlockError> {
        self.open_block(state, context)?;
        self.building.lock().asked_for = true;
        Ok(())
    }

    /// Opens a block on `parent`; at `timestamp`, if that is given.
    pub(crate) fn open_on(
        &self,
        state: &mut dyn State,
        parent: &Tip,
        timestamp: Option<u64>,
        context: &Context<'_>,
    ) -> Result<OpenBlock, BlockError> {
        let network = self.network();
        let genesis = &network.config.genesis;
        let mut attributes = BlockAttributes {
            timestamp: parent.header.timestamp.max(context.now_ms / 1_000),
            mix_hash: context.random().into(),
            beneficiary: genesis.coinbase,
            gas_limit: genesis.gas_limit,
            is_own: true,
            is_published: OF_BLOCKS.iter().any(|map| context.is_published(map)),
            base_fee: Some(NextBaseFee::new(&network.config, &parent.header, parent.sealed_ms).at(context.now_ms)),
            ..BlockAttributes::default()
        };
        if network.config.dev {
            Settings::in_force(state).shape(state, &mut attributes, parent.header.timestamp, context);
            attributes.timestamp = timestamp.unwrap_or(attributes.timestamp).max(parent.header.timestamp + 1);
            attributes.patched = developer::adopt(state, parent.header.number + 1);
            attributes.is_developers = self.is_developers;
        }
        let on = (&parent.header, parent.hash);
        OpenBlock::open(state, &self.codes, &network.schedule, on, parent.trie.clone(), attributes)
    }

    /// The newest block in `state`.
    pub(crate) fn newest(&self, state: &mut dyn State) -> Result<Tip, BlockError> {
        self.parent_in(&mut self.building.lock(), state)
    }

    /// A developer's operation was executed: what holds for mining now, and the newest block if it is another one.
    pub(crate) fn operated(&self, mining: Mining, newest: Option<Tip>) {
        *self.mining.write() = mining;
        let mut building = self.building.lock();
        if let Some(tip) = newest {
            self.renew_rules(&tip.header);
            building.executed.push_back(tip);
        } else {
            let newest = building.executed.back().map(|tip| tip.header.clone());
            let newest = newest.or_else(|| self.newest_committed());
            newest.iter().for_each(|header| self.renew_rules(header));
        }
    }

    /// Executes a transaction in the open block; `read` is told what became of it.
    pub fn execute<T>(
        &self,
        state: &mut dyn State,
        transaction: &Transaction,
        context: &Context<'_>,
        read: impl FnOnce(&Included) -> T,
    ) -> Result<T, TransactionError> {
        self.permissions.read().check(transaction)?;
        let mut building = self.building.lock();
        let block_seed = building.seed;
        let open = building.open.as_mut().ok_or_else(|| TransactionError::Invalid("no block is open".into()))?;
        let told = || Told::for_transaction(&block_seed, context.now_ms, context.txid);
        let told = self.network.read().config.coco_precompile.then(told);
        open.execute(state, &self.codes, transaction, context.txid, told).map(read)
    }

    /// Seals the open block, if it holds anything.
    pub fn seal_block(&self, state: &mut dyn State, context: &Context<'_>) -> Result<Option<SealedBlock>, BlockError> {
        let mut building = self.building.lock();
        let asked_for = std::mem::take(&mut building.asked_for);
        let open = building.open.take().filter(|open| asked_for || !open.included().is_empty());
        let Some(open) = open else { return Ok(None) };
        let sealed = open.seal(state, &self.codes, context.now_ms)?;
        let (header, sealed_ms) = (sealed.header.clone(), context.now_ms);
        let tip = Tip { header, hash: sealed.hash, trie: sealed.trie.clone(), sealed_ms };
        self.renew_rules(&tip.header);
        building.executed.push_back(tip);
        Ok(Some(sealed))
    }

    /// The number of the newest committed block.
    pub fn committed_number(&self) -> Option<u64> {
        self.committed.lock().newest().map(|newest| newest.header.number)
    }

    fn newest_committed(&self) -> Option<Header> {
        self.committed.lock().newest().map(|newest| newest.header.clone())
    }

    /// Whether the committed chain went back since the last call, and to which block at the lowest.
    pub fn take_went_back(&self) -> Option<u64> {
        self.went_back.lock().take()
    }

    /// Follows what was committed. Own blocks are known already; others bring the trie forward, and have to lead to the root
    /// that their header names.
    pub fn follow(&self, batch: &CommittedBatch, state: &Snapshot) -> Result<(), Integrity> {
        let mut anew = false;
        for transaction in &batch.transactions {
            if let Some(config) = written(&transaction.writes, META_CONFIG) {
                *self.network.write() = Arc::new(Network::new(read_config(config)?));
                self.newest_committed().iter().for_each(|header| self.renew_rules(header));
            }
            if let Some(permissions) = self.permissions().followed(&transaction.writes) {
                *self.permissions.write() = Arc::new(permissions);
            }
            if let Some(number) = written(&transaction.writes, META_REVERTED) {
                let mut lowest = self.went_back.lock();
                let number = read_number(Some(number));
                *lowest = Some(lowest.map_or(number, |lowest| lowest.min(number)));
            }
            // What comes before the first block is in the tables that its trie is made of.
            if self.committed_number().is_some() || written(&transaction.writes, META_HEAD).is_some() {
                self.committed.lock().collect(&transaction.writes);
            }
            if let Some(head) = written(&transaction.writes, META_HEAD) {
                let header = read_header(head)?;
                // Where somebody else went back, or began with a crowd, there is no way to follow but to look at the state again.
                let is_on_crowd = self.committed_number().is_none() && self.network().config.crowd > 0;
                let begins_anew = is_on_crowd || written(&transaction.writes, META_REVERTED).is_some();
                anew |= begins_anew && !self.is_own(&header);
                if !anew {
                    self.advance(header, read_number(written(&transaction.writes, META_SEALED_MS)))?;
                }
            }
        }
        if anew { self.rebuild(state) } else { Ok(()) }
    }

    /// Whether this node made the next block to be committed, and this is its header.
    fn is_own(&self, header: &Header) -> bool {
        self.building.lock().executed.front().is_some_and(|tip| tip.hash == header.hash_slow())
    }

    /// Makes everything anew from the tables, unless it is there already.
    pub fn rebuild(&self, state: &Snapshot) -> Result<(), Integrity> {
        *self.building.lock() = Building::default();
        *self.permissions.write() = Arc::new(Permissions::read(state));
        if let Some(config) = state.get(&META, META_CONFIG) {
            *self.network.write() = Arc::new(Network::new(read_config(&config)?));
        }
        let Some(head) = state.get(&META, META_HEAD) else {
            *self.committed.lock() = Committed::default();
            return Ok(());
        };
        let header = read_header(&head)?;
        let hash = header.hash_slow();
        *self.mining.write() = Settings::committed(state).mining();
        self.renew_rules(&header);
        if self.committed.lock().go_back(&hash) {
            return Ok(());
        }
        let sealed_ms = read_number(state.get(&META, META_SEALED_MS).as_ref());
        let tip = Tip::checked(header, hash, trie_of(state)?, sealed_ms)?;
        self.committed.lock().push(tip);
        Ok(())
    }

    /// The block of `header` is committed, and the rows collected so far are its changes.
    fn advance(&self, header: Header, sealed_ms: u64) -> Result<(), Integrity> {
        let hash = header.hash_slow();
        let (writes, newest) = {
            let mut committed = self.committed.lock();
            (committed.take_collected(), committed.newest().map(|newest| newest.header.number))
        };
        // Both are held while an own block changes sides: whoever opens a block meanwhile must find it on one of them.
        let mut building = self.building.lock();
        let is_own = building.executed.front().is_some_and(|tip| tip.hash == hash);
        if !is_own && newest.is_some_and(|newest| newest >= header.number) {
            return Ok(());
        }
        if let Some(tip) = building.executed.pop_front().filter(|_| is_own) {
            self.committed.lock().push(tip);
            return Ok(());
        }
        // Somebody else's block: whatever this node executed above is void.
        *building = Building::default();
        drop(building);
        self.renew_rules(&header);
        self.committed.lock().follow(Followed { header, hash, sealed_ms, writes })
    }

    /// The newest block of `state`. Own blocks that are not in it were dropped with an earlier leadership, and are forgotten.
    fn parent_in(&self, building: &mut Building, state: &mut dyn State) -> Result<Tip, BlockError> {
        let head = state.value(&META, META_HEAD).ok_or(BlockError::Behind)?;
        let hash = keccak256(&head);
        if let Some(at) = building.executed.iter().rposition(|tip| tip.hash == hash) {
            building.executed.truncate(at + 1);
            return Ok(building.executed[at].clone());
        }
        let mut committed = self.committed.lock();
        let known = committed.tip(&hash).unwrap_or_else(|broken| panic!("what this node leads on is sound: {broken}"));
        building.executed.clear();
        Ok(known.ok_or(BlockError::Behind)?.clone())
    }

    fn renew_rules(&self, newest: &Header) {
        let rules = self.network().admission_rules(Some(newest));
        *self.rules.write() = Arc::new(AdmissionRules { block_gas_limit: self.block_gas_limit(), ..rules });
    }

    fn next_base_fee(&self, building: &Building) -> Option<NextBaseFee> {
        let network = self.network.read();
        let after = |header: &Header, sealed_ms: u64| NextBaseFee::new(&network.config, header, sealed_ms);
        match building.executed.back() {
            Some(tip) => Some(after(&tip.header, tip.sealed_ms)),
            None => self.committed.lock().newest().map(|newest| after(newest.header, newest.sealed_ms)),
        }
    }
}

impl Tip {
    /// The tip of a block whose header has to name the trie's root.
    pub(crate) fn checked(header: Header, hash: B256, mut trie: StateTrie, sealed_ms: u64) -> Result<Self, Integrity> {
        let found = trie.root();
        if found != header.state_root {
            return Err(Integrity {
                what: format!("state root of Ethereum block {}", header.number),
                expected: header.state_root.to_string(),
                found: found.to_string(),
            });
        }
        Ok(Self { header, hash, trie, sealed_ms })
    }
}

/// Some accounts at a time, so that nothing but the trie grows with the state. Rows as they were after the newest block.
pub(crate) fn trie_of(state: &Snapshot) -> Result<StateTrie, Integrity> {
    let mut trie = StateTrie::default();
    let mut rows = Vec::with_capacity(ROWS_AT_ONCE);
    for (address, row) in state.iter(&ACCOUNT) {
        rows.extend(state.prefix(&STORAGE, &address).map(|(key, value)| (key, Some(value))));
        rows.push((address, Some(row)));
        if rows.len() >= ROWS_AT_ONCE {
            apply_rows(&mut trie, rows.drain(..)).map_err(damaged)?;
        }
    }
    apply_rows(&mut trie, rows).map_err(damaged)?;
    apply_rows(&mut trie, developer::patched_rows(state)).map_err(damaged)?;
    Ok(trie)
}

fn written<'a>(writes: &'a WriteSet, key: &[u8]) -> Option<&'a Bytes> {
    writes.get(&META, key).flatten()
}

/// 0 if it is not there: then time does not count.
pub(crate) fn read_number(value: Option<&Bytes>) -> u64 {
    value.and_then(|bytes| bytes[..].try_into().ok()).map_or(0, u64::from_be_bytes)
}

fn read_header(rlp: &[u8]) -> Result<Header, Integrity> {
    Header::decode(&mut &rlp[..]).map_err(damaged)
}

fn read_config(json: &[u8]) -> Result<NetworkConfig, Integrity> {
    serde_json::from_slice(json).map_err(damaged)
}

pub(crate) fn damaged(error: impl std::fmt::Display) -> Integrity {
    Integrity { what: "Ethereum tables".into(), expected: "rows that decode".into(), found: error.to_string() }
}
