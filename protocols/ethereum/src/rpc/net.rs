//! `net_`: the network, as old clients ask for it.

use super::call::{Call, Method};
use super::json::Json;
use super::params::Params;
use super::reply::Answer;

pub const METHODS: &[Method] = &[
    Method::read("net_version", version),
    Method::read("eth_networkId", version),
    Method::read("net_listening", listening),
    Method::read("net_peerCount", peer_count),
];

/// The chain id in decimal.
fn version(call: &Call<'_>, _: &Params<'_>) -> Answer {
    Ok(Json::string(&call.server.ledger.chain_id().to_string()))
}

fn listening(_: &Call<'_>, _: &Params<'_>) -> Answer {
    Ok(Json::bool(true))
}

fn peer_count(call: &Call<'_>, _: &Params<'_>) -> Answer {
    Ok(Json::quantity(call.server.handle.status().peers))
}
