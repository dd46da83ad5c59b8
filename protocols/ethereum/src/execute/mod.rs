//! One transaction on the EVM.
//!
//! The EVM is assembled anew for each transaction: it borrows the ledger transaction that it reads, and building it costs
//! about a tenth of the cheapest transfer. What is expensive to build is kept: analysed code ([`CodeCache`]), and the EVM's
//! own tables of instructions, prices and precompiles, which are static. Frames, with a stack of 32 KiB each, are made as calls nest.

mod call;
mod coco;
mod code_cache;
mod database;
mod environment;
mod precompiles;
mod refusal;

#[cfg(test)]
mod tests;

use alloy_primitives::{Address, Bytes};
use revm::context::result::{EVMError, ExecResultAndState, ExecutionResult, InvalidTransaction};
use revm::context::{Context, Evm, FrameStack, Journal, JournalTr, LocalContext, TxEnv};
use revm::handler::instructions::EthInstructions;
use revm::handler::{EthFrame, ExecuteEvm, MainnetContext, SystemCallEvm};
use revm::inspector::InspectEvm;
use revm::interpreter::interpreter::EthInterpreter;
use revm::state::EvmState;

use crate::developer::console::Console;
use crate::state::{CorruptState, State};

pub use call::{Clock, Deadline, call};
pub use coco::{COCO, Coco, Told};
pub use code_cache::CodeCache;
pub use database::Database;
pub use environment::Environment;
pub use precompiles::{Forged, NetworkPrecompiles};
pub(crate) use refusal::refusal;

/// A result, and the changes that lead to it.
pub type Executed = ExecResultAndState<ExecutionResult, EvmState>;

/// The transaction is invalid, or the state is broken.
pub type ExecuteError = EVMError<CorruptState, InvalidTransaction>;

/// Executes a transaction without writing anything; also gives what the Coco precompile told it, if it was asked.
pub fn transact(
    state: &mut dyn State,
    codes: &CodeCache,
    environment: &Environment,
    tx: TxEnv,
) -> Result<(Executed, Option<Told>), ExecuteError> {
    if environment.console {
        return fenced(|| {
            let mut evm = evm(state, codes, environment, Console);
            let executed = evm.inspect_tx(tx)?;
            Ok((executed, evm.precompiles.coco.as_ref().and_then(Coco::told)))
        });
    }
    fenced(|| {
        let mut evm = evm(state, codes, environment, ());
        let executed = evm.transact(tx)?;
        Ok((executed, evm.precompiles.coco.as_ref().and_then(Coco::told)))
    })
}

/// Guest code must not take the node down with it: a panic inside the EVM refuses the transaction. Execution writes nothing, so
/// that there is nothing to repair.
fn fenced<T>(execute: impl FnOnce() -> Result<T, ExecuteError>) -> Result<T, ExecuteError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(execute))
        .unwrap_or_else(|_| Err(ExecuteError::Custom("the EVM failed on this transaction".to_owned())))
}

/// Calls a contract as the system, outside of any transaction's gas and fees. Only the contract's own account may change.
pub fn system_call(
    state: &mut dyn State,
    codes: &CodeCache,
    environment: &Environment,
    contract: Address,
    input: Bytes,
) -> Result<Executed, ExecuteError> {
    let mut executed = fenced(|| evm(state, codes, environment, ()).system_call(contract, input))?;
    executed.state.retain(|address, _| *address == contract);
    Ok(executed)
}

/// The EVM of a network over a state.
pub type NetworkEvm<'a, I> = Evm<
    MainnetContext<Database<'a>>,
    I,
    EthInstructions<EthInterpreter, MainnetContext<Database<'a>>>,
    NetworkPrecompiles,
    EthFrame<EthInterpreter>,
>;

/// The EVM over `state`, for callers that bring an inspector.
pub fn evm<'a, I>(
    state: &'a mut dyn State,
    codes: &'a CodeCache,
    environment: &Environment,
    inspector: I,
) -> NetworkEvm<'a, I> {
    assembled(Database::new(state, codes), environment, inspector)
}

fn assembled<'a, I>(database: Database<'a>, environment: &Environment, inspector: I) -> NetworkEvm<'a, I> {
    let mut ctx = Context {
        block: environment.block.clone(),
        tx: TxEnv::default(),
        cfg: environment.cfg.clone(),
        journaled_state: Journal::new(database),
        chain: (),
        local: LocalContext::default(),
        error: Ok(()),
    };
    // The journal takes over what concerns it.
    ctx.modify_cfg(|_| {});
    Evm {
        ctx,
        inspector,
        instruction: EthInstructions::new_mainnet_with_spec(environment.spec()),
        precompiles: NetworkPrecompiles::new(environment.spec(), environment.coco)
            .with_forged(environment.forged.clone()),
        frame_stack: FrameStack::new(),
    }
}
