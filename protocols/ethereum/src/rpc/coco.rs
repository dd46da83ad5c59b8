//! `coco_`: what only Coco has.

use alloy_primitives::B256;

use super::call::{Call, Method};
use super::json::Json;
use super::params::Params;
use super::reply::Responder;
use super::values::Hex;

pub const METHODS: &[Method] = &[Method::later("coco_getReceipt", receipt)];

/// The signed receipt of the ledger transaction that a transaction was executed in: COSE, to be verified without the network.
/// `null` if there is no such transaction.
fn receipt(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let found = params.required::<Hex<B256>>(0).and_then(|Hex(hash)| call.chain().transaction(&hash));
    let placed = match found {
        Ok(Some(placed)) => placed,
        Ok(None) => return responder.send(Ok(Json::null())),
        Err(error) => return responder.send(Err(error)),
    };
    let (txid, hash) = (placed.included.txid, placed.included.transaction.hash);
    let reply = move |receipt: Option<bytes::Bytes>| {
        responder.send(Ok(Json::object(|object| {
            object.hash("transactionHash", &hash);
            object.string("transactionId", &txid.to_string());
            object.optional_data("receipt", receipt.as_deref());
        })));
    };
    call.server.handle.receipt(call.caller, txid, Box::new(reply));
}
