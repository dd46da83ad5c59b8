//! `eth_`: about the network and this node.

use crate::rpc::call::{Call, Method};
use crate::rpc::json::Json;
use crate::rpc::params::Params;
use crate::rpc::reply::Answer;

pub const METHODS: &[Method] = &[
    Method::read("eth_chainId", chain_id),
    Method::read("eth_blockNumber", block_number),
    Method::read("eth_syncing", syncing),
    Method::read("eth_coinbase", coinbase),
    Method::read("eth_mining", mining),
    Method::read("eth_hashrate", hashrate),
    Method::read("eth_protocolVersion", protocol_version),
    Method::read("eth_capabilities", capabilities),
];

fn chain_id(call: &Call<'_>, _: &Params<'_>) -> Answer {
    Ok(Json::quantity(call.server.ledger.chain_id()))
}

fn block_number(call: &Call<'_>, _: &Params<'_>) -> Answer {
    call.chain().head().map(Json::quantity)
}

fn syncing(call: &Call<'_>, _: &Params<'_>) -> Answer {
    if call.server.handle.status().caught_up {
        return Ok(Json::bool(false));
    }
    // A node that is behind does not know by how many blocks.
    let head = call.chain().head().unwrap_or(0);
    Ok(Json::object(|object| {
        object.quantity("startingBlock", 0u64);
        object.quantity("currentBlock", head);
        object.quantity("highestBlock", head);
    }))
}

fn coinbase(call: &Call<'_>, _: &Params<'_>) -> Answer {
    let chain = call.chain();
    let header = chain.head_header()?;
    Ok(Json::data(header.beneficiary.as_slice()))
}

fn mining(_: &Call<'_>, _: &Params<'_>) -> Answer {
    Ok(Json::bool(false))
}

fn hashrate(_: &Call<'_>, _: &Params<'_>) -> Answer {
    Ok(Json::quantity(0u64))
}

/// Clients of old ask for the version of the peer-to-peer protocol, which is not spoken here.
fn protocol_version(_: &Call<'_>, _: &Params<'_>) -> Answer {
    Ok(Json::quantity(0x44u64))
}

fn capabilities(call: &Call<'_>, _: &Params<'_>) -> Answer {
    let chain = call.chain();
    let number = chain.head()?;
    let hash = chain.hash(number)?.unwrap_or_default();
    Ok(Json::object(|object| {
        object.object("head", |object| {
            object.quantity("number", number);
            object.hash("hash", &hash);
        });
        for name in ["state", "tx", "logs", "receipts", "blocks", "stateproofs"] {
            object.object(name, |object| {
                object.bool("disabled", false);
                object.quantity("oldestBlock", 0u64);
            });
        }
    }))
}
