//! The chain as one node knows it: the newest blocks with their tries, and the block that is open.
//!
//! Derived data, all of it: [`Chain::rebuild`] makes it anew from the tables. On the primary the tries of its own blocks are
//! ahead of what is committed; on every node the committed one is checked against each block's header.
//!
//! ```text
//!   committed ──▶ executed ──▶ executed ──▶ open        (own blocks above the committed one: primary only)
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use coco_kv::{Snapshot, Tx};
use coco_protocol::{CommittedBatch, CommittedTransaction, Context, Integrity};
use coco_types::WriteSet;
use parking_lot::{Mutex, RwLock};
use prost::Message as _;

use crate::address::Address;
use crate::block::{Beside, OpenBlock, SealedBlock, before};
use crate::contracts::Contracts;
use crate::governed::Governed;
use crate::ids::Ids;
use crate::messages::ledger::{Block, BlockHeader};
use crate::network::NetworkConfig;
use crate::roots::{Leaves, RootKind};
use crate::tables::{IDS, META, META_CONFIG, META_HEAD, SECRET, SECRET_SIGNER, STATE, UNDO};
use crate::trie::Trie;

/// Blocks whose tries are kept behind the newest committed one.
const TRIES_KEPT: usize = 4;

/// See the module's text. Where both locks are taken, `building` comes first.
#[derive(Default)]
pub struct Chain {
    config: RwLock<Arc<NetworkConfig>>,
    governed: RwLock<Arc<Governed>>,
    building: Mutex<Building>,
    committed: Mutex<Committed>,
    contracts: Arc<Contracts>,
    /// Taken after either of the others.
    ids: Arc<RwLock<Ids>>,
}

/// A block and the trie after it.
#[derive(Clone, Debug)]
pub struct Tip {
    pub header: BlockHeader,
    pub id: String,
    pub trie: Trie,
}

/// What the primary has executed above the committed block.
#[derive(Default)]
struct Building {
    executed: VecDeque<Tip>,
    open: Option<OpenBlock>,
}

#[derive(Default)]
struct Committed {
    /// Newest last.
    tips: VecDeque<Tip>,
    /// Changes that were committed after the newest block, as its successor's seal has not arrived yet.
    changes: BTreeMap<Address, Option<Bytes>>,
}

/// The newest block is not known here yet: this node has to follow first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the newest block has not been followed yet")]
pub struct Behind;

impl Chain {
    pub fn config(&self) -> Arc<NetworkConfig> {
        self.config.read().clone()
    }

    /// What the members have decided, as of what is committed.
    pub fn governed(&self) -> Arc<Governed> {
        self.governed.read().clone()
    }

    /// What contracts run on.
    pub fn contracts(&self) -> Arc<Contracts> {
        Arc::clone(&self.contracts)
    }

    /// Whether a batch or a transaction is in a block, committed or executed.
    pub fn is_committed(&self, state: &Snapshot, id: &str) -> bool {
        self.ids.read().contains(id, |number| state.get(&IDS, number))
    }

    /// The first block was written by this node.
    pub fn begin(&self, config: NetworkConfig, tip: Tip) {
        self.configured(config);
        *self.committed.lock() = Committed::default();
        *self.building.lock() = Building { executed: VecDeque::from([tip]), open: None };
    }

    /// Whether a block can be opened on the one with this id: its trie is here.
    pub fn can_build_on(&self, id: &str) -> bool {
        let building = self.building.lock();
        let is_head = |tip: &Tip| tip.id == id;
        building.executed.iter().any(is_head) || self.committed.lock().tips.iter().any(is_head)
    }

    /// Opens a block on the newest one in `tx`; replaces one that was open.
    pub fn open_block(&self, tx: &mut Tx, context: &Context<'_>) -> Result<(), Behind> {
        let mut building = self.building.lock();
        building.open = None;
        let parent = self.parent_in(&mut building, tx)?;
        let (contracts, known) = (self.contracts(), Arc::clone(&self.ids));
        let beside = Beside { governed: self.governed(), contracts, known };
        building.open = Some(OpenBlock::open(tx, parent, beside, context));
        Ok(())
    }

    /// What the open block has room for, or does; nothing if none is open.
    pub fn with_open<T>(&self, f: impl FnOnce(&mut OpenBlock) -> T) -> Option<T> {
        self.building.lock().open.as_mut().map(f)
    }

    /// Seals the open block, if it holds anything.
    pub fn seal_block(&self, tx: &mut Tx, consensus: Bytes) -> Option<SealedBlock> {
        let mut building = self.building.lock();
        let open = building.open.take().filter(|open| !open.is_empty())?;
        let sealed = open.seal(tx, consensus);
        building.executed.push_back(sealed.tip.clone());
        Some(sealed)
    }

    /// Follows what was committed. Own blocks are known already; others bring the trie forward, and have to lead to the root
    /// that their header names. `state` is the one after the whole batch.
    pub fn follow(&self, batch: &CommittedBatch, state: &Snapshot) -> Result<(), Integrity> {
        for (at, transaction) in batch.transactions.iter().enumerate() {
            if let Some(config) = transaction.writes.get(&META, META_CONFIG).flatten() {
                self.configured(read_config(config)?);
            }
            if let Some(governed) = self.governed().followed(&transaction.writes) {
                *self.governed.write() = Arc::new(governed);
            }
            self.ids.write().follow(&transaction.writes);
            self.committed.lock().collect(&transaction.writes);
            if let Some(head) = transaction.writes.get(&META, META_HEAD).flatten() {
                let secret = transaction.writes.get(&SECRET, SECRET_SIGNER).flatten();
                let later = batch.transactions.get(at + 1..).unwrap_or_default();
                self.advance(head, secret.map(|secret| Renewed { secret, state, later }))?;
            }
        }
        Ok(())
    }

    /// Makes everything anew from the tables, unless it is there already.
    pub fn rebuild(&self, state: &Snapshot) -> Result<(), Integrity> {
        *self.building.lock() = Building::default();
        let config = state.get(&META, META_CONFIG).map(|config| read_config(&config)).transpose()?;
        let founded = config.as_ref().map(NetworkConfig::founded);
        if let Some(config) = config {
            self.configured(config);
        }
        *self.governed.write() = Arc::new(Governed::read(state, founded));
        self.ids.write().rebuild(state);
        let mut committed = self.committed.lock();
        committed.changes.clear();
        let Some(head) = state.get(&META, META_HEAD) else {
            *committed = Committed::default();
            return Ok(());
        };
        let (header, id) = read_head(&head)?;
        if let Some(at) = committed.tips.iter().position(|tip| tip.id == id) {
            committed.tips.truncate(at + 1);
            return Ok(());
        }
        let secret = state.get(&SECRET, SECRET_SIGNER).ok_or_else(|| damaged("the signer's key is missing"))?;
        let trie = Trie::new(leaves(&self.config(), &secret)?);
        committed.tips = VecDeque::from([checked(header, id, trie.update(&values(state)?))?]);
        Ok(())
    }

    fn configured(&self, config: NetworkConfig) {
        let governed = self.governed().with_founded(config.founded());
        *self.governed.write() = Arc::new(governed);
        *self.config.write() = Arc::new(config);
    }

    /// The block of `head` is committed, and the changes collected so far are its own. It may be the first that a key has signed.
    fn advance(&self, head: &Bytes, renewed: Option<Renewed<'_>>) -> Result<(), Integrity> {
        let (header, id) = read_head(head)?;
        let (changes, newest) = {
            let mut committed = self.committed.lock();
            (std::mem::take(&mut committed.changes), committed.tips.back().cloned())
        };
        if newest.as_ref().is_some_and(|tip| tip.header.block_num >= header.block_num) {
            return Ok(());
        }
        // Both are held while an own block changes sides: whoever opens a block meanwhile must find it on one of them.
        let mut building = self.building.lock();
        let own = building.executed.pop_front().filter(|tip| tip.id == id);
        let tip = match own {
            Some(tip) => tip,
            None => {
                // Somebody else's block: whatever this node executed above is void.
                *building = Building::default();
                let trie = match (newest, renewed) {
                    (Some(tip), None) => tip.trie.update(&changes),
                    (Some(tip), Some(_)) if self.config().roots == RootKind::Compatible => tip.trie.update(&changes),
                    (_, Some(renewed)) => renewed.trie(&self.config())?,
                    (None, None) => return Err(damaged("the signer's key is missing")),
                };
                checked(header, id, trie)?
            }
        };
        let mut committed = self.committed.lock();
        committed.tips.push_back(tip);
        while committed.tips.len() > TRIES_KEPT {
            committed.tips.pop_front();
        }
        Ok(())
    }

    /// The newest block of `tx`. Own blocks that are not in it were dropped with an earlier leadership, and are forgotten.
    fn parent_in(&self, building: &mut Building, tx: &mut Tx) -> Result<Tip, Behind> {
        let head = tx.get(&META, META_HEAD).ok_or(Behind)?;
        let (_, id) = read_head(&head).map_err(|_| Behind)?;
        if let Some(at) = building.executed.iter().position(|tip| tip.id == id) {
            building.executed.truncate(at + 1);
            return Ok(building.executed[at].clone());
        }
        let committed = self.committed.lock();
        let tip = committed.tips.iter().find(|tip| tip.id == id).ok_or(Behind)?;
        building.executed.clear();
        Ok(tip.clone())
    }
}

/// With a block that a new key signs, where roots depend on that key: all of the state.
struct Renewed<'a> {
    secret: &'a Bytes,
    /// After the batch that the block is in.
    state: &'a Snapshot,
    /// What the batch holds behind the block.
    later: &'a [CommittedTransaction],
}

impl Renewed<'_> {
    fn trie(&self, config: &NetworkConfig) -> Result<Trie, Integrity> {
        let mut values = values(self.state)?;
        for transaction in self.later.iter().rev() {
            let replaced = transaction.writes.map(&UNDO).into_iter().flatten();
            for row in replaced.filter_map(|(_, row)| row.as_ref()) {
                values.extend(before(row.clone()).ok_or_else(|| damaged("what a block replaced does not decode"))?);
            }
        }
        Ok(Trie::new(leaves(config, self.secret)?).update(&values))
    }
}

/// Everything in the state.
fn values(state: &Snapshot) -> Result<BTreeMap<Address, Option<Bytes>>, Integrity> {
    let rows = state.iter(&STATE).map(|(key, value)| Some((Address::from_key(&key)?, Some(value))));
    let values: Option<BTreeMap<_, _>> = rows.collect();
    values.ok_or_else(|| damaged("an address of the state has another length"))
}

impl Committed {
    fn collect(&mut self, writes: &WriteSet) {
        for (key, value) in writes.map(&STATE).into_iter().flatten() {
            self.changes.extend(Address::from_key(key).map(|address| (address, value.clone())));
        }
    }
}

/// The header and the id in a record of the newest block.
pub fn read_head(record: &Bytes) -> Result<(BlockHeader, String), Integrity> {
    let block = Block::decode(record.clone()).map_err(damaged)?;
    let header = BlockHeader::decode(block.header).map_err(damaged)?;
    Ok((header, block.header_signature))
}

fn checked(header: BlockHeader, id: String, trie: Trie) -> Result<Tip, Integrity> {
    let found = trie.root_hex();
    if found != header.state_root_hash {
        let what = format!("state root of Sawtooth block {}", header.block_num);
        return Err(Integrity { what, expected: header.state_root_hash, found });
    }
    Ok(Tip { header, id, trie })
}

fn leaves(config: &NetworkConfig, secret: &[u8]) -> Result<Leaves, Integrity> {
    let secret = secret.try_into().map_err(|_| damaged("the signer's key has another length"))?;
    Ok(Leaves::new(config.roots, secret))
}

fn read_config(json: &[u8]) -> Result<NetworkConfig, Integrity> {
    serde_json::from_slice(json).map_err(damaged)
}

fn damaged(error: impl std::fmt::Display) -> Integrity {
    Integrity { what: "Sawtooth tables".into(), expected: "rows that decode".into(), found: error.to_string() }
}
