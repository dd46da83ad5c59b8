//! A block that is being filled.

use std::borrow::Cow;

use alloy_consensus::{Eip658Value, Header, Transaction as _};
use alloy_eips::eip2935::HISTORY_STORAGE_ADDRESS;
use alloy_eips::eip4788::BEACON_ROOTS_ADDRESS;
use alloy_primitives::{Address, B256, Bytes, Log};
use coco_types::{TxId, limits};
use revm::context::result::ExecutionResult;
use revm::primitives::hardfork::SpecId;

use super::blooms::Blooms;
use super::{BlockAttributes, Included};
use crate::execute::{self, CodeCache, Environment, Executed, Told, refusal};
use crate::fork::ForkSchedule;
use crate::state::{self, CorruptState, State, Undo, apply_rows};
use crate::transaction::{Transaction, TransactionError};
use crate::trie::StateTrie;

/// Transactions of a block, bytes: EIP-7934 without the margin for the header.
const TRANSACTION_BYTES_MAX: usize = 8 << 20;
/// Written to the state by one transaction, bytes; the ledger transaction may hold what its client asked to be remembered besides.
const WRITTEN_BYTES_MAX: usize = limits::WRITE_SET_BYTES_MAX - (1 << 20);
/// Transactions, logs and replaced rows of a block, bytes: its record has to fit into one ledger transaction, with what encoding adds.
const RECORD_BYTES_MAX: usize = limits::WRITE_SET_BYTES_MAX - (4 << 20);
/// What a record says of each transaction besides its bytes and logs.
const INCLUDED_BYTES: usize = 256;
/// Less than the cheapest byte costs that a transaction can have written (a log's): what it can write at most follows from its gas.
/// Before Cancun a contract's end wiped storage that nobody paid for: what then exceeds the limits is refused after its execution.
const GAS_PER_BYTE: u64 = 4;

/// A block in the making. Its changes are in the state that was passed to each call; only the sums are in here.
pub struct OpenBlock {
    pub(super) header: Header,
    pub(super) attributes: BlockAttributes,
    pub(super) environment: Environment,
    pub(super) undo: Undo,
    pub(super) trie: StateTrie,
    pub(super) included: Vec<Included>,
    pub(super) deposit_contract: Option<Address>,
    pub(super) block_reward: u128,
    blooms: Blooms,
    blob_gas_max: u64,
    log_count: u64,
    transaction_bytes: usize,
    /// For the record, without what was replaced.
    record_bytes: usize,
    /// Written to the state by the transactions.
    written_bytes: usize,
}

/// A block cannot be opened or sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    #[error("system contract {contract} failed: {reason}")]
    SystemContract { contract: Address, reason: String },
    #[error("this node has not followed up to the newest block yet")]
    Behind,
    #[error(transparent)]
    State(#[from] CorruptState),
}

impl OpenBlock {
    /// Opens a block on `parent`, whose state is in `state` and in `trie`.
    pub fn open(
        state: &mut dyn State,
        codes: &CodeCache,
        schedule: &ForkSchedule,
        parent: (&Header, B256),
        trie: StateTrie,
        mut attributes: BlockAttributes,
    ) -> Result<Self, BlockError> {
        let (parent, parent_hash) = parent;
        let header = attributes.header(schedule, parent, parent_hash);
        let pays_reward = attributes.proof_of_work.is_some();
        let mut block = Self {
            environment: Environment::new(schedule, &header),
            undo: std::mem::take(&mut attributes.patched),
            trie,
            included: Vec::new(),
            deposit_contract: schedule.chain().deposit_contract_address,
            block_reward: if pays_reward { schedule.block_reward(header.number) } else { 0 },
            blob_gas_max: schedule.blob_params(header.timestamp).map_or(0, |params| params.max_blob_gas_per_block()),
            blooms: Blooms::default(),
            log_count: 0,
            transaction_bytes: 0,
            record_bytes: 0,
            written_bytes: 0,
            header,
            attributes,
        };
        block.environment.console = block.attributes.is_developers;
        block.environment.forged = block.attributes.forged.take();
        let spec = block.environment.spec();
        if spec.is_enabled_in(SpecId::PRAGUE) {
            block.system_call(state, codes, HISTORY_STORAGE_ADDRESS, parent_hash.into())?;
        }
        if let Some(root) = block.header.parent_beacon_block_root {
            block.system_call(state, codes, BEACON_ROOTS_ADDRESS, root.into())?;
        }
        Ok(block)
    }

    /// Executes a transaction and includes it, successful or not. An error leaves nothing of it in here, and whoever owns
    /// `state` drops what was written to it by this call. `told` is what the Coco precompile answers with, if the network has it.
    pub fn execute(
        &mut self,
        state: &mut dyn State,
        codes: &CodeCache,
        transaction: &Transaction,
        txid: TxId,
        told: Option<Told>,
    ) -> Result<&Included, TransactionError> {
        self.check_room(transaction)?;
        self.environment.coco = told;
        let environment = self.environment_for(transaction);
        let (executed, told) = execute::transact(state, codes, &environment, transaction.env())
            .map_err(|error| refusal(error, &transaction.env(), &environment))?;
        self.include(state, executed, transaction, txid, told)
    }

    /// Writes what an execution changed, and includes its transaction: for callers that execute in a way of their own.
    pub fn include(
        &mut self,
        state: &mut dyn State,
        executed: Executed,
        transaction: &Transaction,
        txid: TxId,
        told: Option<Told>,
    ) -> Result<&Included, TransactionError> {
        let mut undo = Undo::default();
        let before = state.written_bytes();
        state::commit(state, self.environment.spec(), executed.state, &mut undo);
        let gas_used = executed.result.tx_gas_used();
        let success = executed.result.is_success();
        let logs = match executed.result {
            ExecutionResult::Success { logs, .. } => logs,
            ExecutionResult::Revert { .. } | ExecutionResult::Halt { .. } => Vec::new(),
        };
        self.check_deposits(&logs)?;
        let written = state.written_bytes();
        let log_bytes = |log: &Log| log.data.data.len() + 32 * (log.data.topics().len() + 2);
        let record_bytes = transaction.raw.len() + INCLUDED_BYTES + logs.iter().map(log_bytes).sum::<usize>();
        if self.in_ledger(written) > WRITTEN_BYTES_MAX || !self.fits(written - before, record_bytes + undo.bytes()) {
            return Err(TransactionError::WritesTooMuch);
        }
        self.written_bytes += written - before;
        self.record_bytes += record_bytes;
        self.undo.append(undo);
        let status = self.status(state, success);
        self.header.gas_used += gas_used;
        let blob_gas = transaction.envelope.blob_gas_used().unwrap_or(0);
        self.header.blob_gas_used = self.header.blob_gas_used.map(|used| used + blob_gas);
        self.transaction_bytes += transaction.raw.len();
        let first_log_index = self.log_count;
        self.log_count += logs.len() as u64;
        self.included.push(Included {
            transaction: transaction.clone(),
            txid,
            status,
            gas_used,
            cumulative_gas_used: self.header.gas_used,
            first_log_index,
            bloom: Box::new(self.blooms.of(&logs)).into(),
            logs,
            told,
        });
        Ok(self.included.last().expect("pushed above"))
    }

    /// The header so far: its roots, bloom and hash come with the seal.
    pub fn header(&self) -> &Header {
        &self.header
    }

    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The same for one transaction: an impersonated contract may send (against EIP-3607).
    pub fn environment_for(&self, transaction: &Transaction) -> Cow<'_, Environment> {
        if !transaction.is_impersonated() {
            return Cow::Borrowed(&self.environment);
        }
        let mut environment = self.environment.clone();
        environment.cfg.disable_eip3607 = true;
        Cow::Owned(environment)
    }

    /// For simulation, which relaxes rules. What the header says does not change with it.
    pub fn environment_mut(&mut self) -> &mut Environment {
        &mut self.environment
    }

    pub fn included(&self) -> &[Included] {
        &self.included
    }

    pub fn gas_left(&self) -> u64 {
        self.header.gas_limit - self.header.gas_used
    }

    /// Whether a transaction still fits: its gas, its blobs, its bytes.
    pub fn has_room(&self, transaction: &Transaction) -> bool {
        self.check_room(transaction).is_ok()
    }

    fn check_room(&self, transaction: &Transaction) -> Result<(), TransactionError> {
        let blob_gas = transaction.envelope.blob_gas_used().unwrap_or(0);
        if transaction.envelope.gas_limit() > self.gas_left() {
            return Err(TransactionError::GasAboveBlock);
        }
        if blob_gas > self.blob_gas_max - self.header.blob_gas_used.unwrap_or(0).min(self.blob_gas_max) {
            return Err(TransactionError::Invalid("exceeds block blob gas limit".into()));
        }
        if self.transaction_bytes + transaction.raw.len() > TRANSACTION_BYTES_MAX {
            return Err(TransactionError::Invalid("exceeds block size limit".into()));
        }
        // What somebody else's block holds has fitted; how much it really writes is looked at afterwards.
        if !self.attributes.is_own {
            return Ok(());
        }
        let gas_bytes = usize::try_from(transaction.envelope.gas_limit() / GAS_PER_BYTE).unwrap_or(usize::MAX);
        let bytes = gas_bytes.saturating_add(transaction.raw.len() + INCLUDED_BYTES);
        // Alone in a block it may try: what it really writes is looked at afterwards.
        let fits = self.included.is_empty() || self.fits(0, bytes);
        if !fits {
            return Err(TransactionError::Invalid("exceeds block size limit".into()));
        }
        Ok(())
    }

    /// Whether the block stays within its limits with so much more.
    fn fits(&self, written_bytes: usize, record_bytes: usize) -> bool {
        let record = record_bytes.saturating_add(self.record_bytes + self.undo.bytes());
        let all = record.saturating_add(self.written_bytes).saturating_add(written_bytes);
        self.in_ledger(record) <= RECORD_BYTES_MAX && self.in_ledger(all) <= limits::BLOCK_BYTES_MAX
    }

    /// What so many bytes take in the ledger. Which of the maps are published is not looked at closely: all count as if they were.
    fn in_ledger(&self, bytes: usize) -> usize {
        bytes.saturating_mul(1 + usize::from(self.attributes.is_published))
    }

    fn status(&mut self, state: &mut dyn State, success: bool) -> Eip658Value {
        if self.environment.spec().is_enabled_in(SpecId::BYZANTIUM) {
            return Eip658Value::Eip658(success);
        }
        // Until Byzantium a receipt carries the state root after its transaction.
        let rows = self.changed_rows(state);
        apply_rows(&mut self.trie, rows).expect("rows that were just written decode");
        Eip658Value::PostState(self.trie.root())
    }

    /// Calls a system contract, if it is there, and gives its output.
    pub(super) fn system_call(
        &mut self,
        state: &mut dyn State,
        codes: &CodeCache,
        contract: Address,
        input: Bytes,
    ) -> Result<Option<Bytes>, BlockError> {
        if !state.account(&contract)?.is_some_and(|account| account.has_code()) {
            return Ok(None);
        }
        let failed = |reason: String| BlockError::SystemContract { contract, reason };
        let executed = execute::system_call(state, codes, &self.environment, contract, input)
            .map_err(|error| failed(error.to_string()))?;
        match executed.result {
            ExecutionResult::Success { output, .. } => {
                state::commit(state, self.environment.spec(), executed.state, &mut self.undo);
                Ok(Some(output.into_data()))
            }
            other => Err(failed(format!("{other:?}"))),
        }
    }
}
