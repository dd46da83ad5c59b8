//! The tracers that `revm-inspectors` brings, within this node's limits of time and memory.

use alloy_consensus::transaction::TransactionInfo;
use alloy_primitives::map::HashSet;
use alloy_primitives::{Address, B256, U256};
use alloy_rpc_types_trace::geth::{FlatCallConfig, FourByteFrame, PreStateConfig};
use alloy_rpc_types_trace::otterscan::InternalOperation;
use alloy_rpc_types_trace::parity::{LocalizedTransactionTrace, TraceResults, TraceType};
use revm::DatabaseRef;
use revm::bytecode::Bytecode;
use revm::context::result::ExecutionResult;
use revm::inspector::{InspectEvm, Inspector};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::{CallInputs, CallOutcome, CreateInputs, CreateOutcome, InstructionResult, Interpreter};
use revm::state::AccountInfo;
use revm_inspectors::otterscan::InternalOperationsInspector;
use revm_inspectors::tracing::{FourByteInspector, TraceLimits, TracingInspector, TracingInspectorConfig};
use serde::Serialize;

use super::{STEPS_PER_CHECK, Stopped, Subject, TraceContext};
use crate::execute::{CodeCache, Executed, evm};
use crate::rpc::call::Deadline;
use crate::rpc::error::RpcError;
use crate::rpc::json::Json;
use crate::rpc::limits::{RESPONSE_BYTES_MAX, TRACE_BYTES_MAX};
use crate::state::{CorruptState, Overlay, ReadState, State};

/// What a recorded call, and a recorded step, take in memory at least.
const CALL_BYTES: usize = 1_024;
const STEP_BYTES: usize = 512;

/// Accounts and slots as they were before the transaction, or what it changed about them.
pub fn prestate(subject: &mut Subject<'_>, config: &PreStateConfig) -> Result<Json, RpcError> {
    let settings = TracingInspectorConfig::from_geth_prestate_config(config);
    let (inspector, executed) = recorded(subject, settings)?;
    let frame = inspector.into_geth_builder().geth_prestate_traces(&executed, config, Before::of(subject));
    json(&frame.map_err(RpcError::internal)?)
}

/// How often each function was called, with how many bytes of arguments.
pub fn four_byte(subject: &mut Subject<'_>) -> Result<Json, RpcError> {
    let (inspector, _) = bounded(subject, FourByteInspector::default(), 0)?;
    json(&FourByteFrame::from(inspector))
}

/// Calls one after the other instead of inside one another.
pub fn flat_calls(
    subject: &mut Subject<'_>,
    config: &FlatCallConfig,
) -> Result<Vec<LocalizedTransactionTrace>, RpcError> {
    let settings = TracingInspectorConfig::from_flat_call_config(config);
    let (inspector, executed) = recorded(subject, settings)?;
    let builder = inspector.into_parity_builder().with_transaction_gas_used(executed.result.tx_gas_used());
    Ok(builder.into_localized_transaction_traces(subject.info))
}

/// What parity's `trace_replay…` and `trace_call` tell.
pub fn results(subject: &mut Subject<'_>, kinds: &HashSet<TraceType>) -> Result<TraceResults, RpcError> {
    let (inspector, executed) = recorded(subject, TracingInspectorConfig::from_parity_config(kinds))?;
    let builder = inspector.into_parity_builder().with_transaction_gas_used(executed.result.tx_gas_used());
    let told = builder.into_trace_results_with_state(&executed, kinds, Before::of(subject));
    told.map_err(RpcError::internal)
}

/// Movements of value, creations and ends of contracts inside the transaction.
pub fn internal_operations(subject: &mut Subject<'_>) -> Result<Vec<InternalOperation>, RpcError> {
    bounded(subject, InternalOperationsInspector::default(), 0).map(|(inspector, _)| inspector.into_operations())
}

/// How it ended, without anything about the way there.
pub fn outcome(subject: &mut Subject<'_>) -> Result<ExecutionResult, RpcError> {
    bounded(subject, revm::inspector::NoOpInspector, 0).map(|(_, executed)| executed.result)
}

pub fn json(told: &impl Serialize) -> Result<Json, RpcError> {
    let text = serde_json::to_string(told).map_err(RpcError::internal)?;
    if text.len() > RESPONSE_BYTES_MAX { Err(RpcError::response_too_large()) } else { Ok(Json(text)) }
}

fn recorded(
    subject: &mut Subject<'_>,
    config: TracingInspectorConfig,
) -> Result<(TracingInspector, Executed), RpcError> {
    let limits = TraceLimits::default().set_max_recorded_bytes(Some(TRACE_BYTES_MAX));
    let step_bytes = if config.record_steps { STEP_BYTES } else { 0 };
    let (inspector, executed) = bounded(subject, TracingInspector::new(config).with_limits(limits), step_bytes)?;
    if inspector.limit_exceeded() {
        return Err(RpcError::response_too_large());
    }
    Ok((inspector, executed))
}

fn bounded<I>(subject: &mut Subject<'_>, inner: I, step_bytes: usize) -> Result<(I, Executed), RpcError>
where
    I: for<'a> Inspector<TraceContext<'a>, EthInterpreter>,
{
    let deadline = subject.deadline.clone();
    let bounded = Bounded { inner, deadline, steps: 0, step_bytes, bytes: 0, stopped: None };
    let mut evm = evm(subject.state, subject.codes, subject.environment, bounded);
    let executed = evm.inspect_tx(subject.tx.clone());
    let Bounded { inner, stopped, .. } = evm.inspector;
    match stopped {
        Some(stopped) => Err(stopped.into()),
        None => executed.map(|executed| (inner, executed)).map_err(|error| subject.refused(error)),
    }
}

/// Stops an inspector's transaction when it takes too long or records too much.
struct Bounded<I> {
    inner: I,
    deadline: Deadline,
    steps: u32,
    step_bytes: usize,
    bytes: usize,
    stopped: Option<Stopped>,
}

impl<I> Bounded<I> {
    fn take(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > TRACE_BYTES_MAX {
            self.stopped.get_or_insert(Stopped::TooLarge);
        }
    }
}

impl<'a, I: Inspector<TraceContext<'a>, EthInterpreter>> Inspector<TraceContext<'a>, EthInterpreter> for Bounded<I> {
    fn initialize_interp(&mut self, interpreter: &mut Interpreter<EthInterpreter>, context: &mut TraceContext<'a>) {
        self.inner.initialize_interp(interpreter, context);
    }

    fn step(&mut self, interpreter: &mut Interpreter<EthInterpreter>, context: &mut TraceContext<'a>) {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(STEPS_PER_CHECK) && self.deadline.passed() {
            self.stopped.get_or_insert(Stopped::TooSlow);
        }
        self.take(self.step_bytes);
        if self.stopped.is_some() {
            return interpreter.halt(InstructionResult::OutOfGas);
        }
        self.inner.step(interpreter, context);
    }

    fn step_end(&mut self, interpreter: &mut Interpreter<EthInterpreter>, context: &mut TraceContext<'a>) {
        if self.stopped.is_none() {
            self.inner.step_end(interpreter, context);
        }
    }

    fn log(&mut self, context: &mut TraceContext<'a>, log: alloy_primitives::Log) {
        self.take(CALL_BYTES + log.data.data.len());
        self.inner.log(context, log);
    }

    fn call(&mut self, context: &mut TraceContext<'a>, inputs: &mut CallInputs) -> Option<CallOutcome> {
        self.take(CALL_BYTES + inputs.input.len());
        self.inner.call(context, inputs)
    }

    fn call_end(&mut self, context: &mut TraceContext<'a>, inputs: &CallInputs, outcome: &mut CallOutcome) {
        self.take(outcome.result.output.len());
        self.inner.call_end(context, inputs, outcome);
    }

    fn create(&mut self, context: &mut TraceContext<'a>, inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        self.take(CALL_BYTES + inputs.init_code().len());
        self.inner.create(context, inputs)
    }

    fn create_end(&mut self, context: &mut TraceContext<'a>, inputs: &CreateInputs, outcome: &mut CreateOutcome) {
        self.take(outcome.result.output.len());
        self.inner.create_end(context, inputs, outcome);
    }

    fn selfdestruct(&mut self, contract: Address, target: Address, value: U256) {
        self.inner.selfdestruct(contract, target, value);
    }
}

/// The state before the transaction, as the library asks for it.
struct Before<'a> {
    state: &'a Overlay,
    codes: &'a CodeCache,
}

impl<'a> Before<'a> {
    fn of(subject: &'a Subject<'_>) -> Self {
        Self { state: subject.state, codes: subject.codes }
    }
}

impl DatabaseRef for Before<'_> {
    type Error = CorruptState;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, CorruptState> {
        let Some(account) = (self.state as &dyn ReadState).account(&address)? else { return Ok(None) };
        let code = if account.has_code() { self.code_by_hash_ref(account.code_hash)? } else { Bytecode::default() };
        Ok(Some(AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            account_id: None,
            code: Some(code),
        }))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, CorruptState> {
        Ok(self.codes.code(&hash, || (self.state as &dyn ReadState).code(&hash)))
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, CorruptState> {
        (self.state as &dyn ReadState).slot(&address, slot)
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, CorruptState> {
        let mut state = self.state.clone();
        Ok((&mut state as &mut dyn State).block_hash(number))
    }
}

/// What a transaction's place in the chain tells about it.
pub fn place(hash: B256, index: usize, block_hash: B256, number: u64) -> TransactionInfo {
    TransactionInfo {
        hash: Some(hash),
        index: Some(index as u64),
        block_hash: Some(block_hash),
        block_number: Some(number),
        ..TransactionInfo::default()
    }
}
