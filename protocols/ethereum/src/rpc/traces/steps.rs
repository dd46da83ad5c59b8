//! The default tracer: every instruction with what it found, as `structLogs`.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256};
use revm::bytecode::opcode::{self, OpCode};
use revm::context::result::ExecutionResult;
use revm::context_interface::{ContextTr, JournalTr};
use revm::interpreter::Interpreter;
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{InputsTr, Jumps, MemoryTr, ReturnData};

use super::{TraceConfig, TraceContext};
use crate::rpc::json::{Json, push_data, push_list, push_object, push_quantity};

pub struct Steps {
    config: TraceConfig,
    out: String,
    told: usize,
    /// Begun, its cost not known yet.
    open: Option<Step>,
    /// Slots that were read or written so far, of each contract.
    storage: BTreeMap<Address, BTreeMap<B256, B256>>,
}

struct Step {
    pc: usize,
    op: u8,
    gas: u64,
    depth: usize,
    contract: Address,
    /// The slot that an instruction on storage names.
    slot: Option<U256>,
    /// The remaining fields, each with a comma before it.
    fields: String,
}

impl Steps {
    pub fn new(config: &TraceConfig) -> Self {
        Self { config: config.clone(), out: String::new(), told: 0, open: None, storage: BTreeMap::new() }
    }

    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    pub fn step(&mut self, interpreter: &Interpreter<EthInterpreter>, context: &mut TraceContext<'_>) {
        if self.config.limit > 0 && self.told >= self.config.limit {
            return;
        }
        let stack = interpreter.stack.data();
        let op = interpreter.bytecode.opcode();
        let contract = interpreter.input.target_address();
        let slot = matches!(op, opcode::SLOAD | opcode::SSTORE).then(|| stack.last().copied()).flatten();
        if let (opcode::SSTORE, Some(slot), [.., value, _]) = (op, slot, &stack[..]) {
            self.storage.entry(contract).or_default().insert(slot.into(), (*value).into());
        }
        let mut fields = String::new();
        if !self.config.disable_stack {
            fields.push_str(",\"stack\":");
            push_list(&mut fields, stack, |out, word| push_quantity(out, *word));
        }
        let size = interpreter.memory.size();
        if self.config.enable_memory && size > 0 {
            fields.push_str(",\"memory\":");
            let offset = interpreter.memory.local_memory_offset();
            let memory = interpreter.memory.global_slice(offset..offset + size);
            push_list(&mut fields, memory.chunks(32), push_data);
        }
        let returned = interpreter.return_data.buffer();
        if self.config.enable_return_data && !returned.is_empty() {
            fields.push_str(",\"returnData\":");
            push_data(&mut fields, returned);
        }
        let depth = context.journal().depth();
        let (pc, gas) = (interpreter.bytecode.pc(), interpreter.gas.remaining());
        self.open = Some(Step { pc, op, gas, depth, contract, slot, fields });
    }

    pub fn step_end(&mut self, interpreter: &Interpreter<EthInterpreter>) {
        let Some(step) = self.open.take() else { return };
        if let (opcode::SLOAD, Some(slot), Some(value)) = (step.op, step.slot, interpreter.stack.data().last()) {
            self.storage.entry(step.contract).or_default().insert(slot.into(), (*value).into());
        }
        self.tell(&step, step.gas.saturating_sub(interpreter.gas.remaining()));
    }

    fn tell(&mut self, step: &Step, cost: u64) {
        if self.told > 0 {
            self.out.push(',');
        }
        self.told += 1;
        let name =
            OpCode::new(step.op).map_or_else(|| format!("opcode 0x{:x} not defined", step.op), |op| op.to_string());
        let Step { pc, gas, depth, fields, .. } = step;
        let head =
            format!("{{\"pc\":{pc},\"op\":\"{name}\",\"gas\":{gas},\"gasCost\":{cost},\"depth\":{depth}{fields}");
        self.out.push_str(&head);
        if let Some(slots) =
            self.storage.get(&step.contract).filter(|_| step.slot.is_some() && !self.config.disable_storage)
        {
            self.out.push_str(",\"storage\":");
            push_object(&mut self.out, |object| {
                for (slot, value) in slots {
                    object.hash(&slot.to_string(), value);
                }
            });
        }
        self.out.push('}');
    }

    pub fn finish(mut self, result: &ExecutionResult) -> Json {
        if let Some(step) = self.open.take() {
            self.tell(&step, 0);
        }
        Json::object(|object| {
            object.field("gas").push_str(&result.tx_gas_used().to_string());
            object.bool("failed", !result.is_success());
            object.data("returnValue", result.output().map_or(&[], |output| output));
            let logs = object.field("structLogs");
            logs.push('[');
            logs.push_str(&self.out);
            logs.push(']');
        })
    }
}
