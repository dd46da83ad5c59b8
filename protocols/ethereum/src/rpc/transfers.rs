//! Watches a simulated transaction: its logs in order and, if asked for, every movement of value as if it were a token's.

use alloy_primitives::{Address, B256, Log, U256, address, b256};
use revm::context::TxEnv;
use revm::context_interface::{ContextTr, JournalTr};
use revm::handler::MainnetContext;
use revm::inspector::{InspectEvm, Inspector};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::{CallInputs, CallOutcome, CreateInputs, CreateOutcome, InstructionResult, Interpreter};

use super::call::Deadline;
use super::error::RpcError;
use super::moved_precompiles::MovedPrecompiles;
use crate::execute::{CodeCache, Database, Environment, ExecuteError, Executed, evm};
use crate::state::State;

/// The address that value transfers seem to be logged by.
const TRANSFERS: Address = address!("eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee");
/// `Transfer(address,address,uint256)`.
const TRANSFER: B256 = b256!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");

/// Instructions between two looks at the clock.
const STEPS_PER_CHECK: u32 = 1 << 12;

pub struct Transfers {
    trace: bool,
    deadline: Deadline,
    steps: u32,
    expired: bool,
    logs: Vec<Log>,
    /// How many logs there were when each open frame began: a frame that fails takes its own back.
    frames: Vec<usize>,
}

/// An execution's end, `Err(None)` if it took too long, and its logs.
type Watched = (Result<Executed, Option<ExecuteError>>, Vec<Log>);

/// Executes; nothing is written.
pub fn run(
    state: &mut dyn State,
    codes: &CodeCache,
    environment: &Environment,
    tx: TxEnv,
    precompiles: MovedPrecompiles,
    watch: Transfers,
) -> Result<Watched, RpcError> {
    watch.deadline.check()?;
    let mut evm = evm(state, codes, environment, watch).with_precompiles(precompiles);
    let executed = evm.inspect_tx(tx).map_err(Some);
    let Transfers { expired, logs, .. } = evm.inspector;
    Ok((if expired { Err(None) } else { executed }, logs))
}

impl Transfers {
    pub fn new(trace: bool, deadline: Deadline) -> Self {
        Self { trace, deadline, steps: 0, expired: false, logs: Vec::new(), frames: Vec::new() }
    }

    fn transfer(&mut self, from: &Address, to: &Address, value: U256) {
        if self.trace && !value.is_zero() {
            let topics = vec![TRANSFER, from.into_word(), to.into_word()];
            self.logs.push(Log::new_unchecked(TRANSFERS, topics, value.to_be_bytes_vec().into()));
        }
    }

    fn end(&mut self, success: bool) {
        let before = self.frames.pop().unwrap_or(0);
        if !success {
            self.logs.truncate(before);
        }
    }
}

impl<'a> Inspector<MainnetContext<Database<'a>>, EthInterpreter> for Transfers {
    fn step(&mut self, interpreter: &mut Interpreter<EthInterpreter>, _: &mut MainnetContext<Database<'a>>) {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(STEPS_PER_CHECK) {
            self.expired |= self.deadline.passed();
        }
        if self.expired {
            interpreter.halt(InstructionResult::OutOfGas);
        }
    }

    fn log(&mut self, _: &mut MainnetContext<Database<'a>>, log: Log) {
        self.logs.push(log);
    }

    fn call(&mut self, _: &mut MainnetContext<Database<'a>>, inputs: &mut CallInputs) -> Option<CallOutcome> {
        self.frames.push(self.logs.len());
        if let Some(value) = inputs.value.transfer() {
            self.transfer(&inputs.caller, &inputs.target_address, value);
        }
        None
    }

    fn call_end(&mut self, _: &mut MainnetContext<Database<'a>>, _: &CallInputs, outcome: &mut CallOutcome) {
        self.end(outcome.result.is_ok());
    }

    fn create(
        &mut self,
        context: &mut MainnetContext<Database<'a>>,
        inputs: &mut CreateInputs,
    ) -> Option<CreateOutcome> {
        self.frames.push(self.logs.len());
        let creator = context.journal().evm_state().get(&inputs.caller());
        let nonce = creator.map_or(0, |account| account.info.nonce);
        self.transfer(&inputs.caller(), &inputs.created_address(nonce), inputs.value());
        None
    }

    fn create_end(&mut self, _: &mut MainnetContext<Database<'a>>, _: &CreateInputs, outcome: &mut CreateOutcome) {
        self.end(outcome.result.is_ok());
    }

    fn selfdestruct(&mut self, contract: Address, target: Address, value: U256) {
        self.transfer(&contract, &target, value);
    }
}
