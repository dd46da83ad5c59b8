//! Calls that change nothing, for reads: with a gas cap from the caller and a way to interrupt them.

use revm::context::TxEnv;
use revm::inspector::{InspectEvm, Inspector};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::{CallInputs, CallOutcome, InstructionResult, Interpreter};

use super::{CodeCache, Database, Environment, ExecuteError, Executed, evm, fenced};
use crate::developer::console::Console;
use crate::state::State;

/// Asked now and then whether a call has run long enough. There is no clock in here.
pub type Deadline<'a> = &'a mut dyn FnMut() -> bool;

/// Instructions between two questions to the deadline: some microseconds.
const INSTRUCTIONS_PER_QUESTION: u32 = 1 << 12;

/// Executes on `state` without writing to it; `Ok(None)` if the deadline passed. What to check (balance, nonce, fees, code
/// of the sender) is the environment's `cfg`.
pub fn call(
    state: &mut dyn State,
    codes: &CodeCache,
    environment: &Environment,
    tx: TxEnv,
    deadline: Deadline<'_>,
) -> Result<Option<Executed>, ExecuteError> {
    let console = environment.console.then_some(Console);
    let clock = Clock { deadline, until_question: INSTRUCTIONS_PER_QUESTION, expired: false, console };
    fenced(|| {
        let mut evm = evm(state, codes, environment, clock);
        let executed = evm.inspect_tx(tx)?;
        Ok((!evm.inspector.expired).then_some(executed))
    })
}

/// An inspector that stops the EVM.
struct Clock<'a> {
    deadline: Deadline<'a>,
    until_question: u32,
    expired: bool,
    console: Option<Console>,
}

type CallContext<'a> = revm::handler::MainnetContext<Database<'a>>;

impl<'a> Inspector<CallContext<'a>, EthInterpreter> for Clock<'_> {
    fn step(&mut self, interpreter: &mut Interpreter<EthInterpreter>, _context: &mut CallContext<'a>) {
        self.until_question -= 1;
        if self.until_question == 0 {
            self.until_question = INSTRUCTIONS_PER_QUESTION;
            self.expired = self.expired || (self.deadline)();
        }
        if self.expired {
            interpreter.halt(InstructionResult::OutOfGas);
        }
    }

    fn call(&mut self, context: &mut CallContext<'a>, inputs: &mut CallInputs) -> Option<CallOutcome> {
        self.console.as_mut().and_then(|console| console.call(context, inputs))
    }
}
