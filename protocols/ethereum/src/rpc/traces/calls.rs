//! `callTracer`: calls inside one another. What a call logged is not told if it, or one around it, was undone.

use std::ops::Range;

use alloy_primitives::{Address, Log, U256};
use revm::context::TxEnv;
use revm::context::result::ExecutionResult;
use revm::interpreter::{CallInputs, CallScheme, CreateInputs, InstructionResult, InterpreterResult};

use super::TracerConfig;
use crate::rpc::json::{Json, Object, push_data, push_object};
use crate::rpc::simulation::{halted, reverted};

/// Frames that are open, outermost first.
pub struct Calls {
    config: TracerConfig,
    open: Vec<Frame>,
    /// The outermost frame, once it ended.
    done: Option<Frame>,
    bytes: usize,
    /// Frames that are not told are counted, to know which end belongs to which beginning.
    untold: usize,
}

struct Frame {
    kind: &'static str,
    from: Address,
    to: Option<Address>,
    value: Option<U256>,
    gas: u64,
    input: alloy_primitives::Bytes,
    /// Finished calls inside, as JSON with commas between; how many, and where in it they tell of logs.
    calls: String,
    calls_count: usize,
    told_logs: Vec<Range<usize>>,
    logs: String,
    end: Option<InterpreterResult>,
}

impl Calls {
    pub(super) fn new(config: TracerConfig) -> Self {
        Self { config, open: Vec::new(), done: None, bytes: 0, untold: 0 }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn call(&mut self, inputs: &CallInputs, input: &alloy_primitives::Bytes) {
        let (kind, from, to) = match inputs.scheme {
            CallScheme::Call => ("CALL", inputs.caller, inputs.target_address),
            CallScheme::StaticCall => ("STATICCALL", inputs.caller, inputs.target_address),
            CallScheme::CallCode => ("CALLCODE", inputs.target_address, inputs.bytecode_address),
            CallScheme::DelegateCall => ("DELEGATECALL", inputs.target_address, inputs.bytecode_address),
        };
        let value = (inputs.scheme != CallScheme::StaticCall).then(|| inputs.value.get());
        self.begin(Frame::new(kind, from, Some(to), value, inputs.gas_limit, input.clone()));
    }

    pub fn create(&mut self, inputs: &CreateInputs) {
        let kind = match inputs.scheme() {
            revm::context_interface::CreateScheme::Create2 { .. } => "CREATE2",
            _ => "CREATE",
        };
        let (value, gas, code) = (Some(inputs.value()), inputs.gas_limit(), inputs.init_code().clone());
        self.begin(Frame::new(kind, inputs.caller(), None, value, gas, code));
    }

    fn begin(&mut self, frame: Frame) {
        if self.config.only_top_call && !self.open.is_empty() {
            self.untold += 1;
            return;
        }
        self.bytes += frame.input.len() * 2 + 400;
        self.open.push(frame);
    }

    /// The innermost frame ended; `created` is the address of a new contract.
    pub fn end(&mut self, result: &InterpreterResult, created: Option<Address>) {
        if self.untold > 0 {
            self.untold -= 1;
            return;
        }
        let Some(mut frame) = self.open.pop() else { return };
        self.bytes += result.output.len() * 2;
        frame.to = frame.to.or(created);
        frame.end = Some(result.clone());
        if !result.result.is_ok() {
            frame.forget_logs();
        }
        match self.open.last_mut() {
            Some(parent) => parent.tell_call(&frame),
            None => self.done = Some(frame),
        }
    }

    pub fn log(&mut self, log: &Log) {
        let Some(frame) = self.open.last_mut().filter(|_| self.config.with_log && self.untold == 0) else { return };
        if !frame.logs.is_empty() {
            frame.logs.push(',');
        }
        push_object(&mut frame.logs, |object| {
            object.address("address", &log.address);
            object.list("topics", log.topics(), |out, topic| push_data(out, topic.as_slice()));
            object.data("data", &log.data.data);
            object.quantity("position", frame.calls_count);
        });
        self.bytes += log.data.data.len() * 2 + 400;
    }

    pub fn selfdestruct(&mut self, contract: &Address, target: &Address, value: U256) {
        let Some(frame) = self.open.last_mut().filter(|_| !self.config.only_top_call) else { return };
        frame.tell_inside(|out| {
            push_object(out, |object| {
                object.address("from", contract);
                object.quantity("gas", 0u64);
                object.quantity("gasUsed", 0u64);
                object.address("to", target);
                object.data("input", &[]);
                object.quantity("value", value);
                object.string("type", "SELFDESTRUCT");
            });
        });
    }

    /// The outermost call has the gas of the whole transaction.
    pub fn finish(self, result: &ExecutionResult, tx: &TxEnv) -> Json {
        let gas = (tx.gas_limit, result.tx_gas_used());
        match self.done {
            Some(frame) => Json::object(|object| drop(frame.fill(object, Some(gas)))),
            None => Json::null(),
        }
    }
}

impl Frame {
    fn new(
        kind: &'static str,
        from: Address,
        to: Option<Address>,
        value: Option<U256>,
        gas: u64,
        input: alloy_primitives::Bytes,
    ) -> Self {
        Self {
            kind,
            from,
            to,
            value,
            gas,
            input,
            calls: String::new(),
            calls_count: 0,
            told_logs: Vec::new(),
            logs: String::new(),
            end: None,
        }
    }

    fn tell_inside(&mut self, push: impl FnOnce(&mut String)) {
        if !self.calls.is_empty() {
            self.calls.push(',');
        }
        push(&mut self.calls);
        self.calls_count += 1;
    }

    /// A call inside ended.
    fn tell_call(&mut self, call: &Frame) {
        let mut told_logs = Vec::new();
        self.tell_inside(|out| push_object(out, |object| told_logs = call.fill(object, None)));
        self.told_logs.append(&mut told_logs);
    }

    /// This call was undone, with all that those inside did.
    fn forget_logs(&mut self) {
        self.logs.clear();
        for told in self.told_logs.drain(..).rev() {
            self.calls.replace_range(told, "");
        }
    }

    /// `whole`: limit and use of gas by the transaction, instead of the frame's own. Gives where it tells of logs, its own and those inside.
    fn fill(&self, object: &mut Object<'_>, whole: Option<(u64, u64)>) -> Vec<Range<usize>> {
        let used = self.end.as_ref().map_or(0, |end| end.gas.total_gas_spent());
        let (gas, used) = whole.unwrap_or((self.gas, used));
        object.address("from", &self.from);
        object.quantity("gas", gas);
        object.quantity("gasUsed", used);
        if let Some(to) = &self.to {
            object.address("to", to);
        }
        object.data("input", &self.input);
        if let Some(end) = &self.end {
            self.fill_end(object, end);
        }
        let mut told_logs = Vec::new();
        if !self.calls.is_empty() {
            object.json("calls", &format!("[{}]", self.calls));
            // The calls end before the bracket.
            let begin = object.written() - 1 - self.calls.len();
            told_logs.extend(self.told_logs.iter().map(|told| begin + told.start..begin + told.end));
        }
        if !self.logs.is_empty() {
            let begin = object.written();
            object.json("logs", &format!("[{}]", self.logs));
            told_logs.push(begin..object.written());
        }
        if let Some(value) = self.value {
            object.quantity("value", value);
        }
        object.string("type", self.kind);
        told_logs
    }

    fn fill_end(&self, object: &mut Object<'_>, end: &InterpreterResult) {
        if !end.output.is_empty() {
            object.data("output", &end.output);
        }
        if end.result.is_ok() {
            return;
        }
        if end.result == InstructionResult::Revert {
            object.string("error", "execution reverted");
            if let Some(reason) = reverted(&end.output).message.strip_prefix("execution reverted: ") {
                object.string("revertReason", reason);
            }
            return;
        }
        let reason = revm::interpreter::SuccessOrHalt::from(end.result);
        object.string("error", &reason.to_halt().map_or("execution failed".into(), |reason| halted(&reason).message));
    }
}
