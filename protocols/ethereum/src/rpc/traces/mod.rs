//! Executes a transaction again and tells what it did.
//!
//! What is told is written while the EVM runs and bounded in size, so that a long trace costs no more memory than its answer.

mod calls;
pub mod recorded;
mod steps;

use std::collections::BTreeMap;

use alloy_consensus::transaction::TransactionInfo;
use revm::context::TxEnv;
use revm::context::result::ExecutionResult;
use revm::handler::MainnetContext;
use revm::inspector::{InspectEvm, Inspector};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::{CallInputs, CallOutcome, CreateInputs, CreateOutcome, InstructionResult, Interpreter};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::call::Deadline;
use super::error::RpcError;
use super::json::Json;
use super::limits::{RESPONSE_BYTES_MAX, TRACE_MS_MAX};
use crate::execute::{CodeCache, Database, Environment, ExecuteError, evm, refusal};
use crate::state::Overlay;
use calls::Calls;
use steps::Steps;

/// What a client wants to be told.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TraceConfig {
    tracer: Option<String>,
    /// Each tracer has its own.
    tracer_config: Value,
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

/// A transaction about to be traced.
pub struct Subject<'a> {
    pub state: &'a mut Overlay,
    pub codes: &'a CodeCache,
    pub environment: &'a Environment,
    pub tx: &'a TxEnv,
    pub info: TransactionInfo,
    pub deadline: Deadline,
}

impl Subject<'_> {
    fn refused(&self, error: ExecuteError) -> RpcError {
        match error {
            error @ ExecuteError::Transaction(_) => {
                RpcError::server(refusal(error, self.tx, self.environment).to_string())
            }
            broken => RpcError::internal(broken),
        }
    }
}

impl From<Stopped> for RpcError {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::TooSlow => Self::too_slow(TRACE_MS_MAX),
            Stopped::TooLarge => Self::response_too_large(),
        }
    }
}

/// Traces one transaction; nothing is kept.
pub fn trace(subject: &mut Subject<'_>, config: &TraceConfig) -> Result<Json, RpcError> {
    match config.tracer.as_deref() {
        Some("prestateTracer") => recorded::prestate(subject, &options(&config.tracer_config)?),
        Some("4byteTracer") => recorded::four_byte(subject),
        Some("flatCallTracer") => {
            recorded::flat_calls(subject, &options(&config.tracer_config)?).and_then(|calls| recorded::json(&calls))
        }
        Some("muxTracer") => several(subject, &config.tracer_config),
        _ => told(subject, config),
    }
}

/// Several tracers, one after the other.
fn several(subject: &mut Subject<'_>, tracers: &Value) -> Result<Json, RpcError> {
    let tracers: BTreeMap<String, Value> = options(tracers)?;
    let mut answers = Vec::new();
    let mut bytes = 0;
    for (name, tracer_config) in tracers {
        if name == "muxTracer" {
            return Err(RpcError::server("muxTracer inside of muxTracer"));
        }
        let config = TraceConfig { tracer: Some(name.clone()), tracer_config, ..TraceConfig::default() };
        let answer = trace(subject, &config)?;
        bytes += answer.0.len();
        if bytes > RESPONSE_BYTES_MAX {
            return Err(RpcError::response_too_large());
        }
        answers.push((name, answer));
    }
    Ok(Json::object(|object| answers.iter().for_each(|(name, answer)| object.json(name, &answer.0))))
}

/// A tracer's own configuration; nothing is the same as an empty one.
fn options<T: DeserializeOwned>(config: &Value) -> Result<T, RpcError> {
    let config = if config.is_null() { Value::Object(serde_json::Map::new()) } else { config.clone() };
    serde_json::from_value(config).map_err(|error| RpcError::invalid_params(format!("tracerConfig: {error}")))
}

fn told(subject: &mut Subject<'_>, config: &TraceConfig) -> Result<Json, RpcError> {
    let traced = Traced { tracer: Tracer::new(config)?, deadline: subject.deadline.clone(), steps: 0, stopped: None };
    let mut evm = evm(subject.state, subject.codes, subject.environment, traced);
    let executed = evm.inspect_tx(subject.tx.clone());
    let Traced { tracer, stopped, .. } = evm.inspector;
    match (stopped, executed) {
        (Some(stopped), _) => Err(stopped.into()),
        (None, Ok(executed)) => Ok(tracer.finish(&executed.result, subject.tx)),
        (None, Err(error)) => Err(subject.refused(error)),
    }
}

impl Tracer {
    fn new(config: &TraceConfig) -> Result<Self, RpcError> {
        match config.tracer.as_deref() {
            None | Some("") => Ok(Self::Steps(Box::new(Steps::new(config)))),
            Some("callTracer") => Ok(Self::Calls(Box::new(Calls::new(options(&config.tracer_config)?)))),
            Some("noopTracer") => Ok(Self::Nothing),
            Some(other) => {
                let shown: String = other.chars().take(40).collect();
                Err(RpcError::server(format!(
                    "tracer {shown} is not offered: use the default, callTracer, prestateTracer, 4byteTracer, flatCallTracer, muxTracer or noopTracer"
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
