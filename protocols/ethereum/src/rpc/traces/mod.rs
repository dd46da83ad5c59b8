//! Executes a transaction again and tells what it did.
//!
//! What is told is written while the EVM runs and bounded in size, so that a long trace costs no more memory than its answer.

mod calls;
mod steps;

use revm::context::TxEnv;
use revm::context::result::ExecutionResult;
use revm::handler::{MainBuilder, MainnetContext};
use revm::inspector::{InspectEvm, Inspector};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::{CallInputs, CallOutcome, CreateInputs, CreateOutcome, InstructionResult, Interpreter};
use serde::Deserialize;

use super::call::Deadline;
use super::error::RpcError;
use super::json::Json;
use super::limits::{RESPONSE_BYTES_MAX, TRACE_MS_MAX};
use crate::execute::{CodeCache, Database, Environment, ExecuteError, context, refusal};
use crate::state::State;
use calls::Calls;
use steps::Steps;

/// What a client wants to be told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TraceConfig {
    tracer: Option<String>,
    tracer_config: Option<TracerConfig>,
    disable_stack: bool,
    disable_storage: bool,
    enable_memory: bool,
    enable_return_data: bool,
    /// Steps that are told; 0 for all.
    limit: usize,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TracerConfig {
    only_top_call: bool,
    with_log: bool,
}

type TraceContext<'a> = MainnetContext<Database<'a>>;

/// One of the tracers, and what stops it.
struct Traced {
    tracer: Tracer,
    deadline: Deadline,
    steps: u32,
    stopped: Option<Stopped>,
}

enum Tracer {
    Steps(Box<Steps>),
    Calls(Box<Calls>),
    Nothing,
}

#[derive(Clone, Copy)]
enum Stopped {
    TooSlow,
    TooLarge,
}

/// Instructions between two looks at the clock.
const STEPS_PER_CHECK: u32 = 1 << 12;

/// Traces one transaction; nothing is kept.
pub fn trace(
    state: &mut dyn State,
    codes: &CodeCache,
    environment: &Environment,
    tx: &TxEnv,
    config: &TraceConfig,
    deadline: Deadline,
) -> Result<Json, RpcError> {
    let traced = Traced { tracer: Tracer::new(config)?, deadline, steps: 0, stopped: None };
    let mut evm = context(state, codes, environment).build_mainnet_with_inspector(traced);
    let executed = evm.inspect_tx(tx.clone());
    let Traced { tracer, stopped, .. } = evm.inspector;
    match stopped {
        Some(Stopped::TooSlow) => return Err(RpcError::too_slow(TRACE_MS_MAX)),
        Some(Stopped::TooLarge) => return Err(RpcError::response_too_large()),
        None => {}
    }
    match executed {
        Ok(executed) => Ok(tracer.finish(&executed.result, tx)),
        Err(error @ ExecuteError::Transaction(_)) => Err(RpcError::server(refusal(error, tx, environment).to_string())),
        Err(broken) => Err(RpcError::internal(broken)),
    }
}

impl Tracer {
    fn new(config: &TraceConfig) -> Result<Self, RpcError> {
        match config.tracer.as_deref() {
            None | Some("") => Ok(Self::Steps(Box::new(Steps::new(config)))),
            Some("callTracer") => Ok(Self::Calls(Box::new(Calls::new(config.tracer_config.unwrap_or_default())))),
            Some("noopTracer") => Ok(Self::Nothing),
            Some(other) => {
                let shown: String = other.chars().take(40).collect();
                Err(RpcError::server(format!(
                    "tracer {shown} is not offered: use the default, callTracer or noopTracer"
                )))
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Steps(steps) => steps.bytes(),
            Self::Calls(calls) => calls.bytes(),
            Self::Nothing => 0,
        }
    }

    fn finish(self, result: &ExecutionResult, tx: &TxEnv) -> Json {
        match self {
            Self::Steps(steps) => steps.finish(result),
            Self::Calls(calls) => calls.finish(result, tx),
            Self::Nothing => Json("{}".to_owned()),
        }
    }
}

impl<'a> Inspector<TraceContext<'a>, EthInterpreter> for Traced {
    fn step(&mut self, interpreter: &mut Interpreter<EthInterpreter>, context: &mut TraceContext<'a>) {
        self.steps = self.steps.wrapping_add(1);
        if self.stopped.is_none() && self.steps.is_multiple_of(STEPS_PER_CHECK) && self.deadline.passed() {
            self.stopped = Some(Stopped::TooSlow);
        }
        if self.stopped.is_none() && self.tracer.bytes() > RESPONSE_BYTES_MAX {
            self.stopped = Some(Stopped::TooLarge);
        }
        match &mut self.tracer {
            _ if self.stopped.is_some() => interpreter.halt(InstructionResult::OutOfGas),
            Tracer::Steps(steps) => steps.step(interpreter, context),
            Tracer::Calls(_) | Tracer::Nothing => {}
        }
    }

    fn step_end(&mut self, interpreter: &mut Interpreter<EthInterpreter>, _: &mut TraceContext<'a>) {
        if let Tracer::Steps(steps) = &mut self.tracer {
            steps.step_end(interpreter);
        }
    }

    fn log(&mut self, _: &mut TraceContext<'a>, log: alloy_primitives::Log) {
        if let Tracer::Calls(calls) = &mut self.tracer {
            calls.log(&log);
        }
    }

    fn call(&mut self, context: &mut TraceContext<'a>, inputs: &mut CallInputs) -> Option<CallOutcome> {
        if let Tracer::Calls(calls) = &mut self.tracer {
            let input = inputs.input.bytes(context);
            calls.call(inputs, &input);
        }
        None
    }

    fn call_end(&mut self, _: &mut TraceContext<'a>, _: &CallInputs, outcome: &mut CallOutcome) {
        if let Tracer::Calls(calls) = &mut self.tracer {
            calls.end(&outcome.result, None);
        }
    }

    fn create(&mut self, _: &mut TraceContext<'a>, inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        if let Tracer::Calls(calls) = &mut self.tracer {
            calls.create(inputs);
        }
        None
    }

    fn create_end(&mut self, _: &mut TraceContext<'a>, _: &CreateInputs, outcome: &mut CreateOutcome) {
        if let Tracer::Calls(calls) = &mut self.tracer {
            calls.end(&outcome.result, outcome.address);
        }
    }

    fn selfdestruct(
        &mut self,
        contract: alloy_primitives::Address,
        target: alloy_primitives::Address,
        value: alloy_primitives::U256,
    ) {
        if let Tracer::Calls(calls) = &mut self.tracer {
            calls.selfdestruct(&contract, &target, value);
        }
    }
}
