//! Tokens that an account is given: the slot in which a contract keeps a balance is found by looking which ones it reads.

use alloy_primitives::{Address, B256, U256};
use revm::context::result::ExecutionResult;

use super::operate;
use crate::developer::{AccountEdit, Operation};
use crate::rpc::access_list::access_list;
use crate::rpc::call::{Call, Method};
use crate::rpc::call_request::CallRequest;
use crate::rpc::error::RpcError;
use crate::rpc::params::Params;
use crate::rpc::reply::Responder;
use crate::rpc::simulation::{Simulation, Tried};
use crate::rpc::values::Hex;
use crate::state::{Undo, set_slot};

pub const METHODS: &[Method] = &[
    Method::later("anvil_dealERC20", deal).for_developers(),
    Method::later("hardhat_dealERC20", deal).for_developers(),
    Method::later("anvil_setERC20Balance", deal).for_developers(),
    Method::later("anvil_setERC20Allowance", allow).for_developers(),
];

/// `balanceOf(address)`.
const BALANCE_OF: [u8; 4] = [0x70, 0xa0, 0x82, 0x31];
/// `allowance(address,address)`.
const ALLOWANCE: [u8; 4] = [0xdd, 0x62, 0xed, 0x3e];

/// Account, token, amount.
fn deal(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let edit = || {
        let (Hex(holder), Hex(token)): (Hex<Address>, Hex<Address>) = (params.required(0)?, params.required(1)?);
        let Hex(amount) = params.required(2)?;
        set(call, token, &[&BALANCE_OF[..], holder.into_word().as_slice()].concat(), amount)
    };
    operate(call, edit(), responder);
}

/// Owner, spender, token, amount.
fn allow(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let edit = || {
        let (Hex(owner), Hex(spender)): (Hex<Address>, Hex<Address>) = (params.required(0)?, params.required(1)?);
        let (Hex(token), Hex(amount)): (Hex<Address>, Hex<U256>) = (params.required(2)?, params.required(3)?);
        let question = [&ALLOWANCE[..], owner.into_word().as_slice(), spender.into_word().as_slice()].concat();
        set(call, token, &question, amount)
    };
    operate(call, edit(), responder);
}

/// Sets the one slot that makes the token answer `question` with `amount`.
fn set(call: &Call<'_>, token: Address, question: &[u8], amount: U256) -> Result<Vec<Operation>, RpcError> {
    let input = Some(Hex(question.to_vec().into()));
    let request = CallRequest { to: Some(Hex(token)), input, ..CallRequest::default() };
    let mut simulation = Simulation::new(call, None, None, None)?;
    let gas = simulation.gas_for_call(&request)?;
    let tx = simulation.env(&request, gas)?;
    let (_, read) = access_list(&mut simulation, tx.clone())?;
    let before = simulation.overlay.clone();
    for (address, key) in read.0.iter().flat_map(|item| item.storage_keys.iter().map(|key| (item.address, *key))) {
        simulation.overlay = before.clone();
        let slot = U256::from_be_bytes(key.0);
        set_slot(&mut simulation.overlay, &address, slot, amount, &mut Undo::default());
        if let Tried::Done(ExecutionResult::Success { output, .. }) = simulation.run(tx.clone())?
            && output.data()[..] == B256::from(amount)[..]
        {
            return Ok(vec![Operation::Edit { address, edit: AccountEdit::Slot { slot, value: amount } }]);
        }
    }
    Err(RpcError::server(format!("no single storage slot of {token} makes it answer so")))
}
