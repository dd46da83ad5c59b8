//! Calls that change nothing, for reads: with a gas cap from the caller and a way to interrupt them.
//!
//! To look at every instruction doubles what a call costs, so the clock is asked where execution can come back to: at jumps, calls and
//! creations. What lies between is as long as code at most.

use revm::bytecode::opcode;
use revm::context::TxEnv;
use revm::handler::{ExecuteEvm, MainnetContext};
use revm::inspector::InspectEvm;
use revm::interpreter::instructions::{contract, control};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::{Instruction, InstructionContext, InstructionExecResult, InstructionResult};

use super::{CodeCache, Database, Environment, ExecuteError, Executed, NetworkEvm, assembled, fenced};
use crate::developer::console::Console;
use crate::state::State;

/// Asked now and then whether a call has run long enough. There is no clock in here.
pub type Deadline<'a> = &'a mut dyn FnMut() -> bool;

/// Jumps and calls between two questions to the deadline: some tens of microseconds.
const JUMPS_PER_QUESTION: u32 = 1 << 10;

/// Executes on `state` without writing to it; `Ok(None)` if the deadline passed. What to check (balance, nonce, fees, code
/// of the sender) is the environment's `cfg`.
pub fn call(
    state: &mut dyn State,
    codes: &CodeCache,
    environment: &Environment,
    tx: TxEnv,
    deadline: Deadline<'_>,
) -> Result<Option<Executed>, ExecuteError> {
    let database = Database::new(state, codes).with_clock(Clock::new(deadline));
    if environment.console {
        return fenced(|| {
            let mut evm = interruptible(database, environment, Console);
            let executed = evm.inspect_tx(tx)?;
            Ok((!evm.ctx.journaled_state.database.has_expired()).then_some(executed))
        });
    }
    fenced(|| {
        let mut evm = interruptible(database, environment, ());
        let executed = evm.transact(tx)?;
        Ok((!evm.ctx.journaled_state.database.has_expired()).then_some(executed))
    })
}

/// How long a call may still run.
pub struct Clock<'a> {
    deadline: Deadline<'a>,
    until_question: u32,
    expired: bool,
}

impl<'a> Clock<'a> {
    fn new(deadline: Deadline<'a>) -> Self {
        Self { deadline, until_question: JUMPS_PER_QUESTION, expired: false }
    }

    pub fn expired(&self) -> bool {
        self.expired
    }

    /// Fails once the time is over, and from then on: the frames above end at their next jump.
    pub fn tick(&mut self) -> InstructionExecResult {
        self.until_question -= 1;
        if self.until_question == 0 {
            self.until_question = JUMPS_PER_QUESTION;
            self.expired = self.expired || (self.deadline)();
        }
        if self.expired { Err(InstructionResult::OutOfGas) } else { Ok(()) }
    }
}

/// An EVM whose jumps and calls look at the clock.
fn interruptible<'a, I>(database: Database<'a>, environment: &Environment, inspector: I) -> NetworkEvm<'a, I> {
    let mut evm = assembled(database, environment, inspector);
    let table = evm.instruction.instruction_table_mut();
    let ticking: [(u8, Instruction<_, _>); 8] = [
        (opcode::JUMP, Instruction::new(jump)),
        (opcode::JUMPI, Instruction::new(jump_if)),
        (opcode::CALL, Instruction::new(nested::<{ opcode::CALL }>)),
        (opcode::CALLCODE, Instruction::new(nested::<{ opcode::CALLCODE }>)),
        (opcode::DELEGATECALL, Instruction::new(nested::<{ opcode::DELEGATECALL }>)),
        (opcode::STATICCALL, Instruction::new(nested::<{ opcode::STATICCALL }>)),
        (opcode::CREATE, Instruction::new(create::<false>)),
        (opcode::CREATE2, Instruction::new(create::<true>)),
    ];
    for (opcode, instruction) in ticking {
        table[usize::from(opcode)] = instruction;
    }
    evm
}

type Step<'s, 'a> = InstructionContext<'s, MainnetContext<Database<'a>>, EthInterpreter>;

fn jump(step: Step<'_, '_>) -> InstructionExecResult {
    step.host.journaled_state.database.tick()?;
    control::jump(step)
}

fn jump_if(step: Step<'_, '_>) -> InstructionExecResult {
    step.host.journaled_state.database.tick()?;
    control::jumpi(step)
}

fn nested<const KIND: u8>(step: Step<'_, '_>) -> InstructionExecResult {
    step.host.journaled_state.database.tick()?;
    contract::call::<KIND, _, _>(step)
}

fn create<const IS_CREATE2: bool>(step: Step<'_, '_>) -> InstructionExecResult {
    step.host.journaled_state.database.tick()?;
    contract::create::<IS_CREATE2, _, _>(step)
}
