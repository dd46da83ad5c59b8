//! What a developer's node answers for a transaction that is in a block and failed, if it was told to call that an error.
//!
//! Hardhat's node does so unless it is told otherwise, with these codes and words, and its users' tests look at them: they expect a
//! transaction to be refused because it reverted, without asking for its receipt. Anvil answers with the hash, and so does Coco by default.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use alloy_primitives::B256;
use coco_protocol::Caller;
use revm::context::result::{ExecutionResult, HaltReason};

use super::call::Call;
use super::error::RpcError;
use super::json::Json;
use super::limits::READ_MS_MAX;
use super::replay;
use super::reply::Responder;
use super::server::Server;
use super::simulation::{Reason, halted};
use super::traces::Subject;
use crate::execute::call as execute_call;

/// Answers with why a transaction failed: it is executed again, aside.
pub fn answer(server: &Arc<Server>, caller: Caller, hash: B256, responder: Responder) {
    let asked = server.clone();
    server.handle.aside(Box::new(move || {
        let holds = AtomicUsize::new(0);
        let call = Call::new(&asked, &caller, None, &holds, READ_MS_MAX);
        let failure = replay::transaction(&call, &hash, execute);
        responder.send(match failure {
            Ok(Some(result)) => result.map_or_else(|error| Err(error.of_transaction(hash)), |()| hash_json(&hash)),
            Ok(None) => hash_json(&hash),
            Err(error) => Err(error),
        });
    }));
}

fn hash_json(hash: &B256) -> Result<Json, RpcError> {
    Ok(Json::data(hash.as_slice()))
}

fn execute(subject: &mut Subject<'_>) -> Result<Result<(), RpcError>, RpcError> {
    let deadline = subject.deadline.clone();
    let tx = subject.tx.clone();
    let executed = execute_call(subject.state, subject.codes, subject.environment, tx, &mut || deadline.passed());
    let executed = executed.map_err(RpcError::internal)?.ok_or_else(|| RpcError::too_slow(READ_MS_MAX))?;
    Ok(match executed.result {
        ExecutionResult::Success { .. } => Ok(()),
        ExecutionResult::Revert { output, .. } => Err(reverted(&output)),
        ExecutionResult::Halt { reason, .. } => Err(stopped(&reason)),
    })
}

fn reverted(output: &[u8]) -> RpcError {
    let how = match Reason::read(output) {
        _ if output.is_empty() => {
            return RpcError::new(-32603, "Error: Transaction reverted without a reason string").with_data(output);
        }
        Some(Reason::Text(text)) => format!("reason string '{text}'"),
        Some(Reason::Panic(code)) => format!("panic code {code:#x} ({})", Reason::Panic(code)),
        None => {
            let output = alloy_primitives::hex::encode_prefixed(output);
            format!("an unrecognized custom error (return data: {output})")
        }
    };
    let message = format!("Error: VM Exception while processing transaction: reverted with {how}");
    RpcError::new(-32603, message).with_data(output)
}

fn stopped(reason: &HaltReason) -> RpcError {
    let error = match reason {
        HaltReason::OutOfGas(_) => RpcError::server("Transaction ran out of gas"),
        HaltReason::InvalidFEOpcode => {
            RpcError::new(-32603, "Error: VM Exception while processing transaction: invalid opcode")
        }
        reason => {
            let how = halted(reason).message;
            RpcError::new(-32603, format!("Error: VM Exception while processing transaction: {how}"))
        }
    };
    error.with_data(&[])
}
