//! `eth_simulateV1`: blocks that could come next, executed for real on a state that is never written.

use alloy_consensus::{Header, Signed, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxLegacy};
use alloy_eips::Encodable2718;
use alloy_eips::eip4895::Withdrawals;
use alloy_primitives::{Address, B256, Signature, TxKind, U256};
use coco_types::TxId;
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, InvalidTransaction};
use serde::Deserialize;
use std::sync::{Arc, OnceLock};

use super::proofs::trie_at;
use crate::block::{BlockAttributes, Included, OpenBlock};
use crate::chain::Network;
use crate::execute::{CodeCache, Environment, ExecuteError, Told, refusal};
use crate::rpc::call::{Call, Deadline, Method};
use crate::rpc::call_request::{BlockOverrides, CallRequest, StateOverrides};
use crate::rpc::committed::{BlockHead, CommittedBlock};
use crate::rpc::error::RpcError;
use crate::rpc::json::{Json, Object, push_list, push_object};
use crate::rpc::limits::{CALL_GAS_MAX, READ_MS_MAX, RESPONSE_BYTES_MAX, SIMULATED_BLOCKS_MAX};
use crate::rpc::moved_precompiles::MovedPrecompiles;
use crate::rpc::params::Params;
use crate::rpc::reply::Answer;
use crate::rpc::simulation::{halted, override_account, read_account, reverted, simulated};
use crate::rpc::transfers::{Transfers, run};
use crate::rpc::values::{BlockParam, Hex};
use crate::state::{ACCOUNT, Account, Overlay, ReadState, STORAGE, Undo, apply_rows, set_account};
use crate::transaction::{Envelope, Transaction};
use crate::trie::{AccountChange, StateTrie};

pub const METHODS: &[Method] = &[Method::read("eth_simulateV1", simulate)];

/// The base fee of the next block is an eighth higher at most, and has to fit.
const BASE_FEE_MAX: u64 = u64::MAX / 2;
/// Between a block and the next, where the caller names no time, seconds.
const BLOCK_TIME_S: u64 = 12;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    #[serde(default)]
    block_state_calls: Vec<BlockCalls>,
    #[serde(default)]
    trace_transfers: bool,
    #[serde(default)]
    validation: bool,
    #[serde(default)]
    return_full_transactions: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BlockCalls {
    block_overrides: Option<BlockOverrides>,
    state_overrides: Option<StateOverrides>,
    calls: Option<Vec<CallRequest>>,
}

fn simulate(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let request: Request = params.required(0)?;
    if request.block_state_calls.is_empty() {
        return Err(RpcError::invalid_params("empty input"));
    }
    let chain = call.chain();
    let base: BlockParam = params.optional(1)?.unwrap_or(BlockParam::Latest);
    let number = chain.number(base)?.ok_or_else(RpcError::header_not_found)?;
    for asked in request.block_state_calls.iter().flat_map(|block| block.calls.iter().flatten()) {
        if !chain.discloses_call(&asked.sender(), asked.to.as_ref().map(|Hex(to)| to)) {
            return Err(RpcError::new(4100, "unauthorized"));
        }
    }
    let header = chain.header(number)?.ok_or_else(RpcError::header_not_found)?;
    let mut simulated = Simulated {
        network: call.server.ledger.network(),
        codes: call.server.ledger.chain.codes().clone(),
        overlay: Overlay::new(chain.state_at(number)?),
        trie: trie_at(call, number)?,
        parent_hash: header.hash_slow(),
        first: number,
        parent: header,
        gas: CALL_GAS_MAX,
        deadline: call.deadline(),
        validation: request.validation,
        trace_transfers: request.trace_transfers,
        full: request.return_full_transactions,
        out: String::from("["),
        told: simulated(call),
    };
    for block in request.block_state_calls {
        simulated.fill_up_to(&block)?;
        simulated.block(block)?;
    }
    simulated.out.push(']');
    Ok(Json(simulated.out))
}

/// The chain as far as it was simulated.
struct Simulated {
    network: Arc<Network>,
    codes: Arc<CodeCache>,
    overlay: Overlay,
    trie: StateTrie,
    parent: Header,
    parent_hash: B256,
    /// The number of the real block that all of it follows.
    first: u64,
    /// What is left of the gas for the whole request.
    gas: u64,
    deadline: Deadline,
    validation: bool,
    trace_transfers: bool,
    full: bool,
    out: String,
    /// What the Coco precompile tells the next transaction.
    told: Option<Told>,
}

/// What became of one call.
struct Outcome {
    result: ExecutionResult,
    logs: Vec<alloy_primitives::Log>,
}

impl Simulated {
    /// Block numbers may jump: the blocks in between are empty.
    fn fill_up_to(&mut self, block: &BlockCalls) -> Result<(), RpcError> {
        let named = block.block_overrides.as_ref().and_then(|overrides| overrides.number);
        let next = U256::from(self.parent.number + 1);
        let number = named.map_or(next, |Hex(number)| number);
        if number < next {
            let message = format!("block numbers must be in order: {number} <= {}", self.parent.number);
            return Err(RpcError::new(-38020, message));
        }
        if number - U256::from(self.first) > U256::from(SIMULATED_BLOCKS_MAX) {
            return Err(RpcError::new(-38026, "too many blocks"));
        }
        while U256::from(self.parent.number + 1) < number {
            self.block(BlockCalls::default())?;
        }
        Ok(())
    }

    fn attributes(&self, overrides: &BlockOverrides) -> Result<BlockAttributes, RpcError> {
        let timestamp = overrides.time.map_or(self.parent.timestamp.saturating_add(BLOCK_TIME_S), |Hex(time)| time);
        if timestamp <= self.parent.timestamp {
            let message = format!("block timestamps must be in order: {timestamp} <= {}", self.parent.timestamp);
            return Err(RpcError::new(-38021, message));
        }
        let free = (!self.validation).then_some(0);
        if self.parent.base_fee_per_gas.is_some_and(|fee| fee > BASE_FEE_MAX) {
            return Err(RpcError::invalid_params("the base fee is too high to go on from"));
        }
        Ok(BlockAttributes {
            timestamp,
            mix_hash: overrides.prev_randao.unwrap_or_default().0,
            beneficiary: overrides.fee_recipient.map_or(self.parent.beneficiary, |Hex(address)| address),
            gas_limit: overrides.gas_limit.map_or(self.parent.gas_limit, |Hex(limit)| limit),
            base_fee: overrides.base_fee_per_gas.map(|Hex(fee)| fee).or(free),
            ..BlockAttributes::default()
        })
    }

    fn block(&mut self, block: BlockCalls) -> Result<(), RpcError> {
        self.deadline.check()?;
        let overrides = block.block_overrides.unwrap_or_default();
        let attributes = self.attributes(&overrides)?;
        let precompiles = self.override_state(block.state_overrides.unwrap_or_default(), attributes.timestamp)?;
        let network = self.network.clone();
        let parent = (&self.parent, self.parent_hash);
        let trie = std::mem::take(&mut self.trie);
        let mut open = OpenBlock::open(&mut self.overlay, &self.codes, &network.schedule, parent, trie, attributes)
            .map_err(RpcError::internal)?;
        let mut outcomes = Vec::new();
        for call in block.calls.unwrap_or_default() {
            self.deadline.check()?;
            outcomes.push(self.call(&mut open, &precompiles, &overrides, &call)?);
        }
        let sealed = open.seal(&mut self.overlay, &self.codes, 0).map_err(RpcError::internal)?;
        self.trie = sealed.trie;
        self.tell(sealed.header.clone(), sealed.hash, sealed.included, &outcomes);
        (self.parent, self.parent_hash) = (sealed.header, sealed.hash);
        if self.out.len() > RESPONSE_BYTES_MAX {
            return Err(RpcError::response_too_large());
        }
        Ok(())
    }

    /// Overridden accounts are part of the block's state root, as if the parent had left them so.
    fn override_state(&mut self, overrides: StateOverrides, timestamp: u64) -> Result<MovedPrecompiles, RpcError> {
        let spec = self.network.schedule.spec(self.parent.number + 1, timestamp);
        let mut precompiles = MovedPrecompiles::new(spec, self.told);
        let (mut undo, mut emptied) = (Undo::default(), Vec::new());
        for (Hex(address), account) in overrides {
            emptied.extend(account.state.is_some().then_some(address));
            precompiles.override_account(&address, account.move_precompile_to_address.map(|Hex(to)| to))?;
            override_account(&mut self.overlay, &address, account, &mut undo)?;
        }
        let state: &dyn ReadState = &self.overlay;
        let current =
            |key: &bytes::Bytes| if key.len() == 20 { state.value(&ACCOUNT, key) } else { state.value(&STORAGE, key) };
        // An account whose storage was replaced comes into the trie anew, so that nobody has to name the slots that it had.
        self.trie.apply_all(emptied.iter().map(|address| (*address, AccountChange::default())));
        let accounts = emptied.iter().map(|address| bytes::Bytes::copy_from_slice(address.as_slice()));
        let keys = undo.rows().map(|(key, _)| key.clone()).chain(accounts);
        let rows: Vec<_> = keys.map(|key| (key.clone(), current(&key))).collect();
        apply_rows(&mut self.trie, rows).map_err(RpcError::internal)?;
        Ok(precompiles)
    }

    fn call(
        &mut self,
        open: &mut OpenBlock,
        precompiles: &MovedPrecompiles,
        overrides: &BlockOverrides,
        call: &CallRequest,
    ) -> Result<Outcome, RpcError> {
        let nonce = match call.nonce {
            Some(Hex(nonce)) => nonce,
            None => read_account(&self.overlay, &call.sender())?.nonce,
        };
        let gas = call.gas.map_or(open.gas_left(), |Hex(gas)| gas);
        if gas > open.gas_left() {
            return Err(RpcError::new(-38015, format!("block gas limit reached: {gas} > {}", open.gas_left())));
        }
        let gas = gas.min(self.gas);
        let chain_id = self.network.schedule.chain().chain_id;
        let transaction = unsigned(call, chain_id, nonce, gas)?;
        let tx = transaction.env();
        let environment = self.environment(open, overrides, &tx);
        let deadline = self.deadline.clone();
        let watch = Transfers::new(self.trace_transfers, deadline);
        let worn = self.with_worn_nonce(&transaction.sender)?;
        let begun = TxEnv { nonce: if worn.is_some() { 0 } else { tx.nonce }, ..tx.clone() };
        // Each transaction has randomness of its own.
        if let Some(told) = &mut self.told {
            told.seed = coco_crypto::sha256(&told.seed).0;
        }
        let precompiles = precompiles.telling(self.told);
        let (executed, logs) = run(&mut self.overlay, &self.codes, &environment, begun, precompiles, watch)?;
        let mut executed = executed.map_err(|error| refused(error, &tx, &environment))?;
        if let Some(account) = worn {
            set_account(&mut self.overlay, &transaction.sender, &account, &mut Undo::default());
            executed.state.entry(transaction.sender).and_modify(|changed| changed.info.nonce = 0);
        }
        let result = executed.result.clone();
        self.gas = self.gas.saturating_sub(result.tx_gas_used());
        open.include(&mut self.overlay, executed, &transaction, TxId::default(), None)
            .map_err(|error| RpcError::server(error.to_string()))?;
        Ok(Outcome { result, logs })
    }

    /// Where nonces are not checked, the last one is followed by the first, as in other clients; the EVM knows none after the last.
    /// Gives the account as it was, if it has that nonce, and lets it begin again.
    fn with_worn_nonce(&mut self, sender: &Address) -> Result<Option<Account>, RpcError> {
        let account = read_account(&self.overlay, sender)?;
        if self.validation || account.nonce != u64::MAX {
            return Ok(None);
        }
        set_account(&mut self.overlay, sender, &Account { nonce: 0, ..account }, &mut Undo::default());
        Ok(Some(account))
    }

    fn environment(&self, open: &OpenBlock, overrides: &BlockOverrides, tx: &TxEnv) -> Environment {
        let mut environment = open.environment().clone();
        let cfg = &mut environment.cfg;
        cfg.disable_nonce_check = !self.validation;
        cfg.disable_base_fee = !self.validation;
        cfg.disable_eip3607 = true;
        cfg.disable_block_gas_limit = true;
        cfg.tx_gas_limit_cap = Some(u64::MAX);
        if let Some(blob) = &mut environment.block.blob_excess_gas_and_price {
            let free = !self.validation && tx.max_fee_per_blob_gas == 0;
            blob.blob_gasprice = match overrides.blob_base_fee {
                Some(Hex(fee)) => fee,
                None if free => 0,
                None => blob.blob_gasprice,
            };
        }
        environment
    }

    fn tell(&mut self, header: Header, hash: B256, included: Vec<Included>, outcomes: &[Outcome]) {
        let withdrawals = header.withdrawals_root.map(|_| Withdrawals::default());
        let head = BlockHead::new(header, hash, &self.network.schedule);
        let block = CommittedBlock::new(head, included, Vec::new(), withdrawals);
        let mut json = block.json(self.full.then_some(|_: &Transaction| true)).0;
        json.pop();
        json.push_str(",\"calls\":");
        let mut first_log = 0;
        push_list(&mut json, outcomes.iter().enumerate(), |out, (index, outcome)| {
            push_object(out, |object| {
                // Transfers count among the logs here, and nowhere else.
                let shown = block.transaction(index).map(|included| Included {
                    first_log_index: first_log,
                    logs: outcome.logs.clone(),
                    bloom: OnceLock::new(),
                    ..included.clone()
                });
                if let Some(included) = shown {
                    object.list("logs", included.logs.iter().enumerate(), |out, (position, log)| {
                        block.head.push_log(out, &included.log_place(index, position), log.into());
                    });
                }
                fill_outcome(object, &outcome.result);
            });
            first_log += outcome.logs.len() as u64;
        });
        json.push('}');
        if self.out.len() > 1 {
            self.out.push(',');
        }
        self.out.push_str(&json);
    }
}

fn fill_outcome(object: &mut Object<'_>, result: &ExecutionResult) {
    let gas = result.gas();
    // What a revert returns is told as the data of its error.
    let returned = result.output().filter(|_| result.is_success());
    object.data("returnData", returned.map_or(&[], |output| output));
    object.quantity("gasUsed", gas.tx_gas_used());
    object.quantity("maxUsedGas", gas.total_gas_spent().max(gas.floor_gas()));
    object.quantity("status", u8::from(result.is_success()));
    let error = match result {
        ExecutionResult::Success { .. } => return,
        ExecutionResult::Revert { output, .. } => reverted(output),
        ExecutionResult::Halt { reason, .. } => RpcError::new(-32015, halted(reason).message),
    };
    object.object("error", |object| {
        object.field("code").push_str(&error.code.to_string());
        object.string("message", &error.message);
        if let Some(data) = &error.data {
            object.string("data", data);
        }
    });
}

fn refused(error: Option<ExecuteError>, tx: &TxEnv, environment: &Environment) -> RpcError {
    let Some(error) = error else { return RpcError::too_slow(READ_MS_MAX) };
    let ExecuteError::Transaction(invalid) = &error else { return RpcError::internal(error) };
    let code = match invalid {
        InvalidTransaction::NonceTooLow { .. } => -38010,
        InvalidTransaction::NonceTooHigh { .. } => -38011,
        InvalidTransaction::GasPriceLessThanBasefee => -38012,
        InvalidTransaction::CallGasCostMoreThanGasLimit { .. }
        | InvalidTransaction::GasFloorMoreThanGasLimit { .. } => -38013,
        InvalidTransaction::LackOfFundForMaxFee { .. } => -38014,
        InvalidTransaction::RejectCallerWithCode => -38024,
        InvalidTransaction::CreateInitCodeSizeLimit => -38025,
        _ => -32000,
    };
    RpcError::new(code, format!("err: {}", refusal(error, tx, environment)))
}

/// The transaction that a call would be: nobody signed it.
fn unsigned(call: &CallRequest, chain_id: u64, nonce: u64, gas_limit: u64) -> Result<Transaction, RpcError> {
    let env = call.env(gas_limit, nonce)?;
    let (to, value, input) = (env.kind, env.value, env.data);
    let (max_fee_per_gas, max_priority_fee_per_gas) = (env.gas_price, env.gas_priority_fee.unwrap_or(0));
    let access_list = env.access_list;
    let recipient = || match to {
        TxKind::Call(to) => Ok(to),
        TxKind::Create => Err(RpcError::invalid_params("a transaction of this type creates nothing")),
    };
    let envelope: Envelope = match env.tx_type {
        4 => sign_nothing(TxEip7702 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            to: recipient()?,
            value,
            access_list,
            authorization_list: call.authorizations(),
            input,
        }),
        3 => sign_nothing(TxEip4844 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            to: recipient()?,
            value,
            access_list,
            blob_versioned_hashes: env.blob_hashes,
            max_fee_per_blob_gas: env.max_fee_per_blob_gas,
            input,
        }),
        1 => sign_nothing(TxEip2930 {
            chain_id,
            nonce,
            gas_price: max_fee_per_gas,
            gas_limit,
            to,
            value,
            access_list,
            input,
        }),
        0 if call.gas_price.is_some() => {
            sign_nothing(TxLegacy { chain_id: None, nonce, gas_price: max_fee_per_gas, gas_limit, to, value, input })
        }
        _ => sign_nothing(TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas,
            max_priority_fee_per_gas,
            to,
            value,
            access_list,
            input,
        }),
    };
    let sender: Address = call.sender();
    let raw = bytes::Bytes::from(envelope.encoded_2718());
    let hash = alloy_primitives::keccak256(&raw);
    let authorities = call.authorizations().iter().map(|signed| signed.recover_authority().ok()).collect();
    Ok(Transaction { envelope, hash, sender, authorities, raw })
}

fn sign_nothing<T>(tx: T) -> Envelope
where
    T: alloy_consensus::transaction::SignableTransaction<Signature>,
    Envelope: From<Signed<T>>,
{
    let nobody = Signature::new(U256::ZERO, U256::ZERO, false);
    Envelope::from(tx.into_signed(nobody))
}
