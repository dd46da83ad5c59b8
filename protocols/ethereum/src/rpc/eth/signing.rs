//! `eth_` and `personal_`: accounts whose keys the node holds. There are none outside of development.

use alloy_primitives::{Address, Bytes};
use coco_protocol::Caller;
use secp256k1::SecretKey;
use std::sync::Arc;

use super::execution::estimate;
use super::fees::{suggested_tip, upcoming_base_fee};
use crate::developer::Settings;
use crate::rpc::call::{Call, Method};
use crate::rpc::call_request::CallRequest;
use crate::rpc::error::RpcError;
use crate::rpc::json::{Json, push_data};
use crate::rpc::limits::RECEIPT_WAIT_MS;
use crate::rpc::params::Params;
use crate::rpc::pool::ask;
use crate::rpc::pool_questions::PoolQuestion;
use crate::rpc::reply::{Answer, Responder};
use crate::rpc::server::{Server, Submission};
use crate::rpc::signing::{Filled, Signer, address, personal_hash, sign_hash, sign_request};
use crate::rpc::simulation::Simulation;
use crate::rpc::typed_data::TypedData;
use crate::rpc::values::{BlockParam, Hex};
use crate::rpc::waiters::Wants;
use crate::state::ReadState;
use crate::transaction::Transaction;

pub const METHODS: &[Method] = &[
    Method::read("eth_accounts", accounts),
    Method::read("eth_requestAccounts", accounts),
    Method::later("eth_sendTransaction", send_transaction).for_developers().long(),
    Method::later("eth_sendUnsignedTransaction", send_unsigned).for_developers().long(),
    Method::later("eth_sendTransactionSync", send_and_wait).for_developers().long(),
    Method::later("eth_signTransaction", sign_transaction).for_developers().long(),
    Method::later("eth_fillTransaction", fill_transaction).long(),
    Method::read("eth_sign", sign).for_developers(),
    Method::read("personal_sign", personal_sign).for_developers(),
    Method::read("eth_signTypedData", sign_typed_data).for_developers(),
    Method::read("eth_signTypedData_v3", sign_typed_data).for_developers(),
    Method::read("eth_signTypedData_v4", sign_typed_data).for_developers(),
];

fn accounts(call: &Call<'_>, _: &Params<'_>) -> Answer {
    let addresses = call.server.options.unlocked.iter().map(address);
    Ok(Json::list(addresses, |out, address| push_data(out, address.as_slice())))
}

fn key(server: &Server, wanted: &Address) -> Result<SecretKey, RpcError> {
    let known = server.options.unlocked.iter().find(|key| address(key) == *wanted);
    known.copied().ok_or_else(|| RpcError::server("unknown account"))
}

/// The key of an account, or a developer's wish to send in its name.
fn signer(call: &Call<'_>, wanted: &Address) -> Result<Signer, RpcError> {
    let unknown = match key(call.server, wanted) {
        Ok(key) => return Ok(Signer::Key(key)),
        Err(unknown) => unknown,
    };
    let settings = Settings::committed(call.reader().state() as &dyn ReadState);
    let impersonated = settings.impersonates_all || settings.impersonated.contains(wanted);
    if impersonated { Ok(Signer::Impersonated(*wanted)) } else { Err(unknown) }
}

fn send_transaction(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let caller = call.caller.clone();
    let find = |request: &CallRequest| signer(call, &request.sender());
    send(call, params, responder, find, move |server, submission| server.submit(&caller, vec![submission]));
}

/// In anybody's name.
fn send_unsigned(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let caller = call.caller.clone();
    let find = |request: &CallRequest| Ok(Signer::Impersonated(request.sender()));
    send(call, params, responder, find, move |server, submission| server.submit(&caller, vec![submission]));
}

/// Answers with the receipt once the transaction is in a block.
fn send_and_wait(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let caller = call.caller.clone();
    let find = |request: &CallRequest| signer(call, &request.sender());
    send(call, params, responder, find, move |server, submission| {
        let again = server.clone();
        server.hand_in(vec![submission], move |transaction, responder| {
            let wants = Wants::Receipt { timeout_ms: RECEIPT_WAIT_MS };
            again.answer_in_block(&caller, &transaction, responder, wants, RECEIPT_WAIT_MS);
        });
    });
}

fn send(
    call: &Call<'_>,
    params: &Params<'_>,
    responder: Responder,
    find: impl FnOnce(&CallRequest) -> Result<Signer, RpcError>,
    then: impl FnOnce(&Arc<Server>, Submission) + Send + 'static,
) {
    let caller = call.caller.clone();
    signed(call, params, responder, find, move |server, signer, raw, responder| {
        let admitted = match signer {
            Signer::Key(_) => server.admit(raw, &caller),
            Signer::Impersonated(sender) => server.admit_impersonated(raw, sender, &caller),
            Signer::Nobody => Err(RpcError::server("unknown account")),
        };
        match admitted {
            Ok(admitted) => then(server, Submission { admitted, responder }),
            Err(error) => responder.send(Err(error)),
        }
    });
}

fn sign_transaction(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let find = |request: &CallRequest| key(call.server, &request.sender()).map(Signer::Key);
    signed(call, params, responder, find, |_, _, raw, responder| {
        let answer = Transaction::recover(raw).map_err(RpcError::internal).map(|transaction| {
            Json::object(|object| {
                object.data("raw", &transaction.raw);
                crate::rpc::committed::push_transaction(object.field("tx"), &transaction, None);
            })
        });
        responder.send(answer);
    });
}

/// What the transaction would be, for somebody else to sign: an answer like that of `eth_signTransaction`, with an empty signature.
fn fill_transaction(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let disclosed = |request: &CallRequest| {
        let (chain, sender) = (call.chain(), request.sender());
        let seen =
            chain.discloses_call(&sender, request.to.as_ref().map(|Hex(to)| to)) && chain.discloses_account(&sender);
        if seen { Ok(Signer::Nobody) } else { Err(RpcError::new(4100, "unauthorized")) }
    };
    signed(call, params, responder, disclosed, |_, _, raw, responder| {
        let answer = Transaction::unsigned(raw).map_err(RpcError::internal).map(|transaction| {
            Json::object(|object| {
                object.data("raw", &transaction.raw);
                crate::rpc::committed::push_transaction(object.field("tx"), &transaction, None);
            })
        });
        responder.send(answer);
    });
}

/// Fills in what the request leaves open, signs it, and hands the bytes on.
fn signed(
    call: &Call<'_>,
    params: &Params<'_>,
    responder: Responder,
    find: impl FnOnce(&CallRequest) -> Result<Signer, RpcError>,
    then: impl FnOnce(&Arc<Server>, Signer, bytes::Bytes, Responder) + Send + 'static,
) {
    let read = || {
        let request: CallRequest = params.required(0)?;
        let signer = find(&request)?;
        let filled = fill(call, &request)?;
        Ok((request, signer, filled))
    };
    let (request, signer, filled) = match read() {
        Ok(read) => read,
        Err(error) => return responder.send(Err(error)),
    };
    let (server, sender, nonce) = (call.server.clone(), request.sender(), request.nonce);
    let sign = move |nonce: Result<u64, RpcError>, server: &Arc<Server>| match nonce
        .and_then(|nonce| sign_request(&signer, &request, Filled { nonce, ..filled }))
    {
        Ok(raw) => then(server, signer, raw, responder),
        Err(error) => responder.send(Err(error)),
    };
    match nonce {
        Some(Hex(nonce)) => sign(Ok(nonce), &server),
        None => {
            let caller: &Caller = call.caller;
            let (asking, caller) = (server.clone(), caller.clone());
            call.server.turns.take(sender, move |turn| {
                ask(&asking, &caller, &PoolQuestion::NextNonce(sender), move |next| {
                    sign(next, &server);
                    drop(turn);
                });
            });
        }
    }
}

fn fill(call: &Call<'_>, request: &CallRequest) -> Result<Filled, RpcError> {
    let gas = match request.gas {
        Some(Hex(gas)) => gas,
        None => estimate(&mut Simulation::new(call, Some(BlockParam::Pending), None, None)?, request)?,
    };
    Ok(Filled {
        chain_id: call.server.ledger.chain_id(),
        nonce: 0,
        gas,
        base_fee: upcoming_base_fee(call)?,
        tip: suggested_tip(call)?,
    })
}

/// `address, message`.
fn sign(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let (Hex(signer), Hex(message)): (_, Hex<Bytes>) = (params.required(0)?, params.required(1)?);
    signature(call, &signer, personal_hash(&message))
}

/// `message, address`.
fn personal_sign(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let (Hex(message), Hex(signer)): (Hex<Bytes>, _) = (params.required(0)?, params.required(1)?);
    signature(call, &signer, personal_hash(&message))
}

/// `address, typed data` (EIP-712), as an object or as text that holds one.
fn sign_typed_data(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(signer) = params.required(0)?;
    let data: TypedData = params.required(1)?;
    let hash = data.hash().map_err(|fault| RpcError::invalid_argument(1, fault))?;
    signature(call, &signer, hash)
}

/// Sixty-five bytes: r, s, and 27 or 28.
fn signature(call: &Call<'_>, signer: &Address, hash: alloy_primitives::B256) -> Answer {
    let key = key(call.server, signer)?;
    Ok(Json::data(&sign_hash(&key, hash).as_bytes()))
}
