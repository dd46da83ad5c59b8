//! The block that is being filled.

use crate::limits::{
    BATCH_RECORD_BYTES_MAX, BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX, INVALID_EXTENDED_DATA_BYTES_MAX, INVALID_KEPT_MAX,
    INVALID_MESSAGE_CHARS_MAX, REPLACED_BYTES_MAX,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use coco_kv::Tx;
use coco_protocol::{Context, Rejection, RejectionReason};
use parking_lot::RwLock;
use prost::Message as _;

use super::{Rules, STATES_KEPT, TxState, injector, undo};
use crate::address::Address;
use crate::batch::SignedBatch;
use crate::chain::Tip;
use crate::contracts::Contracts;
use crate::execute::{Executed, Failure, Run, StateReader as _, Step};
use crate::families::Facts;
use crate::governed::Governed;
use crate::ids::{Ids, OpenIds};
use crate::messages::client::{BatchStatus, batch_status, submit_status};
use crate::messages::ledger::{Block, BlockHeader};
use crate::network::{next_signer_key, signer_key, write_signer_key};
use crate::policy;
use crate::settings;
use crate::signing::SignerKey;
use crate::tables::{
    BATCH, BLOCK, BLOCK_BY_ID, BLOCK_BY_ROOT, BatchRecord, IDS, INVALID, INVALID_ORDER, META, META_HEAD,
    META_INVALID_COUNT, ROOT_OF_BLOCK, STATE, TRANSACTION, UNDO, id_key, number_key, read_number,
};
use crate::trie::Trie;

/// See the module's text.
pub struct OpenBlock {
    parent: Tip,
    number: u64,
    key: Option<SignerKey>,
    /// It signs this block for the first time.
    key_is_new: bool,
    rules: Rules,
    governed: Arc<Governed>,
    contracts: Arc<Contracts>,
    /// Of earlier blocks, and of this one.
    known: Arc<RwLock<Ids>>,
    ids: OpenIds,
    batch_ids: Vec<String>,
    of_family: BTreeMap<String, usize>,
    transactions: usize,
    bytes: usize,
    replaced_bytes: usize,
    changes: BTreeMap<Address, Option<Bytes>>,
    /// What the changed addresses held before the block.
    before: BTreeMap<Address, Option<Bytes>>,
}

/// What a block is filled with the help of, besides the state.
pub struct Beside {
    pub governed: Arc<Governed>,
    pub contracts: Arc<Contracts>,
    /// Ids of earlier blocks.
    pub known: Arc<RwLock<Ids>>,
}

/// A block that was written.
pub struct SealedBlock {
    pub tip: Tip,
    pub header_bytes: Bytes,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Valid,
    Invalid(Failure),
}

impl OpenBlock {
    pub fn open(tx: &mut Tx, parent: Tip, beside: Beside, context: &Context<'_>) -> Self {
        let Beside { governed, contracts, known } = beside;
        let rules = Rules::read(&mut TxState(tx));
        let next = next_signer_key(tx, context);
        let (key_is_new, number) = (next.is_some(), parent.header.block_num + 1);
        let key = next.or_else(|| signer_key(tx));
        Self { number, rules, governed, contracts, known, key_is_new, ..Self::empty(parent, key) }
    }

    /// The first block of a network.
    pub fn first(parent: Tip, key: SignerKey) -> Self {
        Self::empty(parent, Some(key))
    }

    fn empty(parent: Tip, key: Option<SignerKey>) -> Self {
        Self {
            parent,
            number: 0,
            key,
            key_is_new: false,
            rules: Rules::default(),
            governed: Arc::default(),
            contracts: Arc::default(),
            known: Arc::default(),
            ids: OpenIds::default(),
            batch_ids: Vec::new(),
            of_family: BTreeMap::new(),
            transactions: 0,
            bytes: 0,
            replaced_bytes: 0,
            changes: BTreeMap::new(),
            before: BTreeMap::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.batch_ids.is_empty()
    }

    /// Whether a batch still fits. One that fits into no block fits everywhere: executing it says what is wrong.
    pub fn has_room(&self, batch: &SignedBatch) -> bool {
        let fits = self.bytes <= BLOCK_BYTES_MAX
            && self.replaced_bytes <= REPLACED_BYTES_MAX
            && self.transactions + batch.transactions.len() <= BLOCK_TRANSACTIONS_MAX;
        self.is_empty()
            || fits && self.rules.allow(self.batch_ids.len(), &self.of_family, batch)
            || self.rules.never_allow(batch)
    }

    /// Executes a batch and includes it, or records that it is invalid. `prepared` is what came of executing it elsewhere. An error
    /// leaves nothing of it in here, and whoever owns `tx` drops what was written to it by this call.
    pub fn execute(
        &mut self,
        tx: &mut Tx,
        batch: &Arc<SignedBatch>,
        prepared: Option<&Result<Executed, Failure>>,
        context: &Context<'_>,
    ) -> Result<Verdict, Rejection> {
        if self.is_committed(tx, &batch.id) {
            return Err(duplicate());
        }
        let checked = self.check(tx, batch).and_then(|()| self.run(tx, batch, prepared, context));
        let executed = checked
            .and_then(|(injected, executed)| self.check_size(tx, batch, &executed).map(|()| (injected, executed)));
        match executed {
            Ok((injected, executed)) => {
                if let Some((batch, executed)) = injected {
                    self.include(tx, &batch, executed);
                }
                self.include(tx, batch, executed);
                Ok(Verdict::Valid)
            }
            Err(failure) => {
                let failure = shortened(failure);
                record_invalid(tx, batch, &failure);
                Ok(Verdict::Invalid(failure))
            }
        }
    }

    /// Writes the block's records and the new head.
    pub fn seal(mut self, tx: &mut Tx, consensus: Bytes) -> SealedBlock {
        self.mirror_settings(tx);
        let key = self.key.as_ref().expect("a network's genesis wrote the signer's key");
        let trie = self.trie(tx, key);
        if self.key_is_new {
            write_signer_key(tx, key);
        }
        let header = BlockHeader {
            block_num: self.number,
            previous_block_id: self.parent.id.clone(),
            signer_public_key: key.public_hex().to_owned(),
            batch_ids: self.batch_ids.clone(),
            consensus,
            state_root_hash: trie.root_hex(),
        };
        let header_bytes: Bytes = header.encode_to_vec().into();
        let id = key.sign(&header_bytes);
        let block = Block { header: header_bytes.clone(), header_signature: id.clone(), batches: Vec::new() };
        let (record, number): (Bytes, _) = (block.encode_to_vec().into(), number_key(self.number));
        tx.put(&META, META_HEAD, record.clone());
        tx.put(&IDS, number.clone(), self.ids.row());
        tx.put(&BLOCK, number.clone(), record);
        tx.put(&BLOCK_BY_ID, id_key(&id), number.clone());
        tx.put(&UNDO, number, undo(&self.before));
        note_root(tx, self.number, &header.state_root_hash);
        SealedBlock { tip: Tip { header, id, trie }, header_bytes }
    }

    /// The trie after this block; from the whole state, where its leaves depend on a key that is new.
    fn trie(&self, tx: &mut Tx, key: &SignerKey) -> Trie {
        let leaves = self.key_is_new.then(|| self.parent.trie.leaves().renewed(&key.secret())).flatten();
        let Some(leaves) = leaves else { return self.parent.trie.update(&self.changes) };
        let rows = tx.prefix(&STATE, &[]);
        let values = rows.filter_map(|(key, value)| Some((Address::from_key(&key)?, Some(value)))).collect();
        Trie::new(leaves).update(&values)
    }

    /// What the members decided has the last word: it is in the state after each block, whatever a transaction has made of it.
    fn mirror_settings(&mut self, tx: &mut Tx) {
        let governed = Arc::clone(&self.governed);
        for (key, value) in governed.settings() {
            if settings::value(&mut TxState(tx), key).as_ref() == Some(&value) {
                continue;
            }
            let address = settings::address(key);
            let before = TxState(tx).read(&address);
            let row = settings::row_with(before.clone(), key, &value);
            tx.put(&STATE, address.key(), row.clone());
            self.before.entry(address).or_insert(before);
            self.changes.insert(address, Some(row));
        }
    }

    /// A change of the state that no batch made.
    pub fn note_change(&mut self, address: Address, value: Option<Bytes>) {
        self.before.entry(address).or_default();
        self.changes.insert(address, value);
    }

    /// Whether this block includes a batch or a transaction.
    pub fn includes(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// Whether an earlier block does, or this one.
    fn is_committed(&self, tx: &mut Tx, id: &str) -> bool {
        self.includes(id) || self.known.read().contains(id, |number| tx.get(&IDS, number))
    }

    /// What needs the state, but no execution.
    fn check(&self, tx: &mut Tx, batch: &SignedBatch) -> Result<(), Failure> {
        let mut earlier = BTreeSet::new();
        for transaction in &batch.transactions {
            let failed = |message: String| {
                Err(Failure { transaction_id: transaction.id.clone(), message, extended_data: Bytes::new() })
            };
            if self.is_committed(tx, &transaction.id) {
                return failed(format!("transaction {} was committed before, in another batch", transaction.id));
            }
            for dependency in &transaction.header.dependencies {
                let met = earlier.contains(dependency) || self.is_committed(tx, dependency);
                if !met {
                    return failed(format!("the dependency {dependency} is not committed"));
                }
            }
            earlier.insert(&transaction.id);
        }
        let first = batch.transactions.first().map(|transaction| transaction.id.clone()).unwrap_or_default();
        let failed = |message| Err(Failure { transaction_id: first, message, extended_data: Bytes::new() });
        if self.rules.never_allow(batch) {
            return failed("the network's settings allow no block that holds this batch".to_owned());
        }
        match self.number {
            // Before genesis everything is permitted.
            0 => Ok(()),
            _ => policy::check(&mut TxState(tx), batch).or_else(failed),
        }
    }

    /// Everything in a block is in one entry of the ledger, so each batch's part is bounded.
    fn check_size(&self, tx: &mut Tx, batch: &SignedBatch, executed: &Executed) -> Result<(), Failure> {
        let replaced = executed.changes.keys().filter(|address| !self.before.contains_key(*address));
        let replaced = replaced.map(|address| tx.get(&STATE, &address.0).map_or(0, |value| value.len())).sum::<usize>();
        if record_bytes(batch, executed) <= BATCH_RECORD_BYTES_MAX && replaced <= REPLACED_BYTES_MAX {
            return Ok(());
        }
        let transaction_id = batch.transactions.first().map(|transaction| transaction.id.clone()).unwrap_or_default();
        let message = "the batch writes or replaces too much at once".to_owned();
        Err(Failure { transaction_id, message, extended_data: Bytes::new() })
    }

    #[expect(
        clippy::type_complexity,
        reason = "a pair of what is included, in order, the first part only sometimes there"
    )]
    fn run(
        &self,
        tx: &mut Tx,
        batch: &Arc<SignedBatch>,
        prepared: Option<&Result<Executed, Failure>>,
        context: &Context<'_>,
    ) -> Result<(Option<(Arc<SignedBatch>, Executed)>, Executed), Failure> {
        let facts = Facts { now_ms: context.now_ms, contracts: Arc::clone(&self.contracts) };
        let injected = self.inject(tx, facts.clone(), context.now_ms);
        if let Some(prepared) = prepared {
            return prepared.clone().map(|executed| (injected, executed));
        }
        let changed = injected.as_ref().map(|(_, executed)| executed.changes.clone()).unwrap_or_default();
        let executed = to_the_end(Run::above(Arc::clone(batch), facts, changed), tx, &self.governed)?;
        Ok((injected, executed))
    }

    /// The node's own batch, before a block's first one. If its family refuses it, the block does without.
    fn inject(&self, tx: &mut Tx, facts: Facts, now_ms: u64) -> Option<(Arc<SignedBatch>, Executed)> {
        let key = self.key.as_ref().filter(|_| self.rules.injects_block_info && self.is_empty())?;
        let batch = injector::block_info(key, &self.parent, now_ms);
        match to_the_end(Run::new(Arc::clone(&batch), facts), tx, &self.governed) {
            Ok(executed) => Some((batch, executed)),
            Err(failure) => {
                tracing::warn!(
                    block = self.number,
                    message = failure.message,
                    "block_info refused the node's own batch"
                );
                None
            }
        }
    }

    fn include(&mut self, tx: &mut Tx, batch: &SignedBatch, executed: Executed) {
        self.bytes += record_bytes(batch, &executed);
        for (address, value) in executed.changes {
            self.before.entry(address).or_insert_with(|| {
                let before = tx.get(&STATE, &address.0);
                self.replaced_bytes += before.as_ref().map_or(0, Bytes::len);
                before
            });
            match &value {
                Some(value) => tx.put(&STATE, address.key(), value.clone()),
                None => tx.remove(&STATE, address.0),
            }
            self.changes.insert(address, value);
        }
        let id = id_key(&batch.id);
        self.ids.insert(&batch.id);
        for (index, transaction) in batch.transactions.iter().enumerate() {
            let place = [&id[..], &(index as u32).to_be_bytes()].concat();
            self.ids.insert(&transaction.id);
            tx.put(&TRANSACTION, id_key(&transaction.id), Bytes::from(place));
            *self.of_family.entry(transaction.header.family_name.clone()).or_default() += 1;
        }
        let record = BatchRecord {
            block_num: self.number,
            index: self.batch_ids.len() as u32,
            batch: batch.raw.clone(),
            receipts: executed.receipts.iter().map(|receipt| receipt.encode_to_vec().into()).collect(),
        };
        tx.put(&BATCH, id, Bytes::from(record.encode_to_vec()));
        self.batch_ids.push(batch.id.clone());
        self.transactions += batch.transactions.len();
    }
}

/// About what a batch takes in the ledger.
fn record_bytes(batch: &SignedBatch, executed: &Executed) -> usize {
    /// A transaction's rows besides its receipt: names of maps are counted once, keys each time.
    const ROWS_BYTES: usize = 256;
    let changes = executed.changes.values().map(|value| 35 + value.as_ref().map_or(0, Bytes::len)).sum::<usize>();
    let receipts = executed.receipts.iter().map(|receipt| receipt.encoded_len() + ROWS_BYTES).sum::<usize>();
    batch.raw.len() + changes + receipts
}

/// Executes a batch of native families.
fn to_the_end(mut run: Run, tx: &mut Tx, governed: &Governed) -> Result<Executed, Failure> {
    loop {
        match run.step(&mut TxState(tx), |family, version| governed.place(family, version, false)) {
            Step::Done(result) => return result,
            Step::Contract(family) => run.execute_open(&mut TxState(tx), family)?,
            Step::External(transaction) => {
                let header = &transaction.header;
                return Err(run.fail_open(
                    format!("there is no transaction processor for {} {}", header.family_name, header.family_version),
                    Bytes::new(),
                ));
            }
        }
    }
}

/// Keeps a batch's status, and drops the oldest when there are too many.
fn record_invalid(tx: &mut Tx, batch: &SignedBatch, failure: &Failure) {
    let status = BatchStatus {
        batch_id: batch.id.clone(),
        status: batch_status::INVALID,
        invalid_transactions: vec![failure.clone()],
    };
    let id = id_key(&batch.id);
    let known = tx.get(&INVALID, &id).is_some();
    tx.put(&INVALID, id.clone(), Bytes::from(status.encode_to_vec()));
    if known {
        return;
    }
    let count = tx.get(&META, META_INVALID_COUNT).and_then(|count| read_number(&count)).unwrap_or(0);
    tx.put(&META, META_INVALID_COUNT, number_key(count + 1));
    tx.put(&INVALID_ORDER, number_key(count), id);
    if let Some(oldest) = count.checked_sub(INVALID_KEPT_MAX)
        && let Some(id) = tx.get(&INVALID_ORDER, &number_key(oldest))
    {
        tx.remove(&INVALID, id);
        tx.remove(&INVALID_ORDER, number_key(oldest));
    }
}

fn shortened(mut failure: Failure) -> Failure {
    if let Some((end, _)) = failure.message.char_indices().nth(INVALID_MESSAGE_CHARS_MAX) {
        failure.message.truncate(end);
    }
    if failure.extended_data.len() > INVALID_EXTENDED_DATA_BYTES_MAX {
        failure.extended_data = Bytes::new();
    }
    failure
}

/// Which block a root is the state of, for as long as that state can be read.
fn note_root(tx: &mut Tx, number: u64, root: &str) {
    let root = Bytes::copy_from_slice(root.as_bytes());
    tx.put(&BLOCK_BY_ROOT, root.clone(), number_key(number));
    tx.put(&ROOT_OF_BLOCK, number_key(number), root);
    let Some(old) = number.checked_sub(STATES_KEPT + 1).map(number_key) else { return };
    let Some(root) = tx.get(&ROOT_OF_BLOCK, &old) else { return };
    tx.remove(&ROOT_OF_BLOCK, old.clone());
    // A later block may have had the same root.
    if tx.get(&BLOCK_BY_ROOT, &root).is_some_and(|number| number == old) {
        tx.remove(&BLOCK_BY_ROOT, root);
    }
}

/// The batch is committed already.
pub fn duplicate() -> Rejection {
    Rejection::new(RejectionReason::Duplicate, i64::from(submit_status::OK), "the batch is committed already")
}
