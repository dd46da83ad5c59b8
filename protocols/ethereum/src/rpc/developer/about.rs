//! What tools ask to find out what they speak to.

use alloy_primitives::{B256, hex};

use crate::rpc::call::{Call, Method};
use crate::rpc::error::RpcError;
use crate::rpc::eth::{suggested_tip, upcoming_base_fee};
use crate::rpc::json::Json;
use crate::rpc::params::Params;
use crate::rpc::reply::Answer;
use crate::rpc::values::Hex;
use crate::state::{META, META_HEAD};

pub const METHODS: &[Method] = &[
    Method::read("hardhat_metadata", metadata).for_developers(),
    Method::read("anvil_metadata", metadata).for_developers(),
    Method::read("anvil_nodeInfo", node_info).for_developers(),
    Method::read("hardhat_setLoggingEnabled", accept).for_developers(),
    Method::read("anvil_setLoggingEnabled", accept).for_developers(),
    Method::read("anvil_enableTraces", accept).for_developers(),
    Method::read("hardhat_addCompilationResult", accept).for_developers(),
    Method::read("anvil_getBlobByHash", blob).for_developers(),
    Method::read("anvil_getBlobsByTransactionHash", blob).for_developers(),
    Method::read("anvil_getGenesisTime", genesis_time).for_developers(),
];

/// Nothing here depends on it; the answer is hardhat's.
fn accept(_: &Call<'_>, _: &Params<'_>) -> Answer {
    Ok(Json::bool(true))
}

/// Blobs come without sidecars, so that there are none.
fn blob(_: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(_): Hex<B256> = params.required(0)?;
    Ok(Json::null())
}

fn genesis_time(call: &Call<'_>, _: &Params<'_>) -> Answer {
    let first = call.chain().header(0)?.ok_or_else(RpcError::header_not_found)?;
    Ok(Json(first.timestamp.to_string()))
}

fn metadata(call: &Call<'_>, _: &Params<'_>) -> Answer {
    let chain = call.chain();
    let head = chain.head()?;
    let hash = chain.hash(head)?.unwrap_or_default();
    // The same for one chain, another for another: its first block and its configuration.
    let instance = chain.hash(0)?.unwrap_or_default();
    Ok(Json::object(|object| {
        object.string("clientVersion", &call.server.options.client_version);
        object.field("chainId").push_str(&call.server.ledger.chain_id().to_string());
        object.string("instanceId", &hex::encode_prefixed(instance));
        object.field("latestBlockNumber").push_str(&head.to_string());
        object.hash("latestBlockHash", &hash);
    }))
}

fn node_info(call: &Call<'_>, _: &Params<'_>) -> Answer {
    let chain = call.chain();
    let head = chain.head_header()?;
    let hash = chain.hash(head.number)?.unwrap_or_default();
    debug_assert!(call.reader().state().get(&META, META_HEAD).is_some());
    let network = call.server.ledger.network();
    let spec = network.schedule.spec(head.number, head.timestamp);
    let base_fee = upcoming_base_fee(call)?;
    let gas_price = u128::from(base_fee) + suggested_tip(call)?;
    Ok(Json::object(|object| {
        object.quantity("currentBlockNumber", head.number);
        object.field("currentBlockTimestamp").push_str(&head.timestamp.to_string());
        object.hash("currentBlockHash", &hash);
        object.string("hardFork", &spec.to_string().to_lowercase());
        object.string("transactionOrder", "fees");
        object.object("environment", |object| {
            object.quantity("baseFee", base_fee);
            object.field("chainId").push_str(&call.server.ledger.chain_id().to_string());
            object.quantity("gasLimit", call.server.ledger.chain.block_gas_limit());
            object.quantity("gasPrice", gas_price);
        });
        object.object("forkConfig", |object| {
            object.null("forkUrl");
            object.null("forkBlockNumber");
            object.null("forkRetryBackoff");
        });
    }))
}
