//! Finds the accounts and slots that a transaction touches.

use std::collections::{BTreeMap, BTreeSet};

use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{Address, B256, TxKind};
use revm::bytecode::opcode;
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, InvalidTransaction};
use revm::handler::MainnetContext;
use revm::inspector::{InspectEvm, Inspector};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{InputsTr, Jumps};
use revm::interpreter::{InstructionResult, Interpreter};
use revm::precompile::{PrecompileSpecId, Precompiles};

use super::call::Deadline;
use super::error::RpcError;
use super::limits::READ_MS_MAX;
use super::simulation::Simulation;
use crate::execute::{Database, ExecuteError, evm};

/// Executes `tx` and lists what it touched beyond what is warm anyway: sender, recipient, coinbase and precompiles are listed
/// only for their slots.
pub fn access_list(simulation: &mut Simulation, tx: TxEnv) -> Result<(ExecutionResult, AccessList), RpcError> {
    simulation.deadline.check()?;
    let recipient = match tx.kind {
        TxKind::Call(to) => to,
        TxKind::Create => tx.caller.create(tx.nonce),
    };
    let precompiles = Precompiles::new(PrecompileSpecId::from_spec_id(simulation.environment.spec()));
    let mut warm: BTreeSet<Address> = precompiles.addresses().copied().collect();
    warm.extend([tx.caller, recipient, simulation.environment.block.beneficiary]);
    let touched = Touched { deadline: simulation.deadline.clone(), steps: 0, expired: false, slots: BTreeMap::new() };
    let mut evm = evm(&mut simulation.overlay, &simulation.codes, &simulation.environment, touched);
    let executed = evm.inspect_tx(tx.clone());
    let Touched { expired, mut slots, .. } = evm.inspector;
    if expired {
        return Err(RpcError::too_slow(READ_MS_MAX));
    }
    slots.retain(|address, keys| !keys.is_empty() || !warm.contains(address));
    let item = |(address, keys): (Address, BTreeSet<B256>)| AccessListItem {
        address,
        storage_keys: keys.into_iter().collect(),
    };
    let list = AccessList(slots.into_iter().map(item).collect());
    match executed {
        Ok(executed) => Ok((executed.result, list)),
        Err(ExecuteError::Transaction(InvalidTransaction::CallGasCostMoreThanGasLimit { .. })) => {
            Err(RpcError::server(format!("intrinsic gas too low: have {}", tx.gas_limit)))
        }
        Err(error) => Err(simulation.refused(error, &tx)),
    }
}

/// Watches the instructions that touch accounts and slots.
struct Touched {
    deadline: Deadline,
    steps: u32,
    expired: bool,
    slots: BTreeMap<Address, BTreeSet<B256>>,
}

/// Instructions between two looks at the clock.
const STEPS_PER_CHECK: u32 = 1 << 12;

impl<'a> Inspector<MainnetContext<Database<'a>>, EthInterpreter> for Touched {
    fn step(&mut self, interpreter: &mut Interpreter<EthInterpreter>, _: &mut MainnetContext<Database<'a>>) {
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(STEPS_PER_CHECK) {
            self.expired |= self.deadline.passed();
        }
        if self.expired {
            interpreter.halt(InstructionResult::OutOfGas);
            return;
        }
        let stack = interpreter.stack.data();
        let from_top =
            |position: usize| stack.len().checked_sub(position + 1).and_then(|index| stack.get(index)).copied();
        let address = |position: usize| from_top(position).map(|word| Address::from_word(B256::from(word)));
        match interpreter.bytecode.opcode() {
            opcode::SLOAD | opcode::SSTORE => {
                if let Some(slot) = from_top(0) {
                    let account = interpreter.input.target_address();
                    self.slots.entry(account).or_default().insert(B256::from(slot));
                }
            }
            opcode::BALANCE
            | opcode::EXTCODESIZE
            | opcode::EXTCODECOPY
            | opcode::EXTCODEHASH
            | opcode::SELFDESTRUCT => {
                self.account(address(0));
            }
            opcode::CALL | opcode::CALLCODE | opcode::DELEGATECALL | opcode::STATICCALL => self.account(address(1)),
            _ => {}
        }
    }
}

impl Touched {
    fn account(&mut self, address: Option<Address>) {
        if let Some(address) = address {
            self.slots.entry(address).or_default();
        }
    }
}
