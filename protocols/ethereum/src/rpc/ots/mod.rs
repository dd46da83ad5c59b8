//! `ots_`: what the block explorer Otterscan asks beside the usual methods. Numbers in its questions are JSON numbers.

mod blocks;
mod search;
mod transactions;

use super::call::{Call, Method};
use super::json::Json;
use super::params::Params;
use super::reply::Answer;

pub const TABLES: &[&[Method]] = &[METHODS, blocks::METHODS, search::METHODS, transactions::METHODS];

const METHODS: &[Method] = &[Method::read("ots_getApiLevel", api_level)];

/// Otterscan refuses less.
const API_LEVEL: u32 = 8;

fn api_level(_: &Call<'_>, _: &Params<'_>) -> Answer {
    Ok(Json(API_LEVEL.to_string()))
}
