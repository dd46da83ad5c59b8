//! `web3_` and `rpc_`: the client itself.

use alloy_primitives::{Bytes, keccak256};

use super::call::{Call, Method};
use super::json::Json;
use super::params::Params;
use super::reply::Answer;
use super::values::Hex;

pub const METHODS: &[Method] = &[
    Method::read("web3_clientVersion", client_version),
    Method::read("web3_sha3", sha3),
    Method::read("rpc_modules", modules),
];

fn client_version(call: &Call<'_>, _: &Params<'_>) -> Answer {
    Ok(Json::string(&call.server.options.client_version))
}

/// Named for what it was thought to become: it is keccak-256.
fn sha3(_: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(bytes): Hex<Bytes> = params.required(0)?;
    Ok(Json::data(keccak256(&bytes).as_slice()))
}

fn modules(_: &Call<'_>, _: &Params<'_>) -> Answer {
    Ok(Json::object(|object| {
        for name in ["coco", "debug", "eth", "net", "rpc", "txpool", "web3"] {
            object.string(name, "1.0");
        }
    }))
}
