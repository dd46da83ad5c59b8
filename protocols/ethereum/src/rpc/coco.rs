//! `coco_`: what only Coco has.

use alloy_primitives::B256;

use super::call::{Call, Method};
use super::json::Json;
use super::params::Params;
use super::reply::Responder;
use super::values::Hex;
use super::view::Placed;

pub const METHODS: &[Method] = &[Method::later("coco_getReceipt", receipt)];

/// The signed receipt of the ledger transaction that a transaction was executed in: COSE, to be verified without the network.
/// `null` if there is no such transaction.
fn receipt(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let found = params.required::<Hex<B256>>(0).and_then(|Hex(hash)| call.chain().transaction(&hash));
    let placed = match &found {
        Ok(placed) => placed.as_ref().and_then(Placed::parts),
        Err(error) => return responder.send(Err(error.clone())),
    };
    let Some((_, included)) = placed else { return responder.send(Ok(Json::null())) };
    let (txid, hash) = (included.txid, included.transaction.hash);
    let reply = move |receipt: Option<bytes::Bytes>| {
        responder.send(Ok(Json::object(|object| {
            object.hash("transactionHash", &hash);
            object.string("transactionId", &txid.to_string());
            object.optional_data("receipt", receipt.as_deref());
        })));
    };
    call.server.handle.receipt(call.caller, txid, Box::new(reply));
}
