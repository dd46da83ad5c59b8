//! Taking transactions out of the pool.

use alloy_primitives::{Address, B256};

use crate::rpc::Dropped;
use crate::rpc::call::{Call, Method};
use crate::rpc::error::RpcError;
use crate::rpc::json::Json;
use crate::rpc::params::Params;
use crate::rpc::pool::ask;
use crate::rpc::pool_questions::PoolQuestion;
use crate::rpc::reply::Responder;
use crate::rpc::values::Hex;

pub const METHODS: &[Method] = &[
    Method::later("hardhat_dropTransaction", drop_one).for_developers(),
    Method::later("anvil_dropTransaction", drop_one).for_developers(),
    Method::later("anvil_dropAllTransactions", drop_all).for_developers(),
    Method::later("hardhat_dropAllTransactions", drop_all).for_developers(),
    Method::later("anvil_removePoolTransactions", drop_of).for_developers(),
    Method::later("hardhat_removePoolTransactions", drop_of).for_developers(),
];

fn drop_asked(
    call: &Call<'_>,
    which: Result<Dropped, RpcError>,
    responder: Responder,
    answer: impl FnOnce(bool) -> Json + Send + 'static,
) {
    match which {
        Ok(which) => {
            let server = call.server.clone();
            ask(call.server, call.caller, &PoolQuestion::Drop(which), move |dropped: Result<bool, _>| {
                server.ledger.held.clear();
                responder.send(dropped.map(answer));
            });
        }
        Err(error) => responder.send(Err(error)),
    }
}

/// Whether it was there: as hardhat says it.
fn drop_one(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let which = params.required(0).map(|Hex(hash): Hex<B256>| Dropped::One(hash));
    drop_asked(call, which, responder, Json::bool);
}

fn drop_all(call: &Call<'_>, _: &Params<'_>, responder: Responder) {
    drop_asked(call, Ok(Dropped::All), responder, |_| Json::null());
}

fn drop_of(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let which = params.required(0).map(|Hex(sender): Hex<Address>| Dropped::Of(sender));
    drop_asked(call, which, responder, |_| Json::null());
}
