//! `testing_`: blocks that could come next, in the form in which a consensus layer would get them, for developers. Nothing is kept.

use std::sync::Arc;

use alloy_consensus::Transaction as _;
use alloy_eips::eip4895::Withdrawal;
use alloy_primitives::{Address, B256, Bytes};
use coco_protocol::Caller;
use coco_types::TxId;
use serde::Deserialize;

use super::call::{Call, Method};
use super::error::RpcError;
use super::eth::trie_at;
use super::json::{Json, Object, push_data, push_object};
use super::params::Params;
use super::pool::{ask, pooled};
use super::pool_questions::{PoolContent, PoolQuestion};
use super::reply::{Answer, Responder};
use super::server::Server;
use super::values::{BlockParam, Hex};
use crate::block::{BlockAttributes, OpenBlock, SealedBlock};
use crate::state::Overlay;
use crate::transaction::Transaction;

pub const METHODS: &[Method] = &[Method::later("testing_buildBlockV1", build).for_developers()];

/// Where the gas limit of built blocks moves to, whatever the network's own is: other clients' target.
const GAS_LIMIT_TARGET: u64 = 30_000_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    timestamp: Hex<u64>,
    prev_randao: Hex<B256>,
    suggested_fee_recipient: Hex<Address>,
    #[serde(default)]
    withdrawals: Vec<Withdrawal>,
    #[serde(default)]
    parent_beacon_block_root: Hex<B256>,
}

/// What is built.
struct Wanted {
    parent: B256,
    attributes: Attributes,
    extra_data: Bytes,
}

/// Parent, attributes, transactions (`null` for those of the pool), extra data.
fn build(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    let read = || -> Result<_, RpcError> {
        let Hex(parent) = params.required(0)?;
        let attributes = params.required(1)?;
        let transactions: Option<Vec<Hex<Bytes>>> = params.optional(2)?;
        let extra_data = params.optional::<Hex<Bytes>>(3)?.unwrap_or_default().0;
        if extra_data.len() > 32 {
            return Err(RpcError::invalid_argument(3, "extra data above 32 bytes"));
        }
        if !call.chain().discloses_pool() {
            return Err(RpcError::new(4100, "unauthorized"));
        }
        Ok((Wanted { parent, attributes, extra_data }, transactions))
    };
    let (wanted, transactions) = match read() {
        Ok(read) => read,
        Err(error) => return responder.send(Err(error)),
    };
    if let Some(transactions) = transactions {
        let recover = |Hex(raw): Hex<Bytes>| Transaction::recover(raw.0);
        let transactions: Result<Vec<_>, _> = transactions.into_iter().map(recover).collect();
        return responder.send(match transactions {
            Ok(transactions) => built(call.server, call.caller, wanted, &transactions, true),
            Err(error) => Err(RpcError::invalid_argument(2, error)),
        });
    }
    let (server, caller) = (call.server.clone(), call.caller.clone());
    ask(call.server, call.caller, &PoolQuestion::Content(None), move |content: Result<PoolContent, _>| {
        responder.send(content.and_then(|content| {
            let mut pending: Vec<_> =
                content.pending.iter().filter_map(|known| pooled(&server, &caller, known)).collect();
            pending.sort_by_key(|transaction| (transaction.sender, transaction.nonce()));
            built(&server, &caller, wanted, &pending, false)
        }));
    });
}

/// Each of the transactions has to be valid if they were `named`; otherwise those that are not are left out.
fn built(server: &Arc<Server>, caller: &Caller, wanted: Wanted, transactions: &[Transaction], named: bool) -> Answer {
    let holds = Default::default();
    let call = Call::new(server, caller, None, &holds, super::limits::READ_MS_MAX);
    let chain = call.chain();
    let number = chain.number(BlockParam::Hash(wanted.parent))?.ok_or_else(|| RpcError::server("unknown parent"))?;
    let parent = chain.header(number)?.ok_or_else(RpcError::header_not_found)?;
    let Attributes { timestamp, prev_randao, suggested_fee_recipient, withdrawals, parent_beacon_block_root } =
        wanted.attributes;
    if timestamp.0 <= parent.timestamp {
        return Err(RpcError::invalid_params("the timestamp is not above the parent's"));
    }
    let step = (parent.gas_limit / 1_024).saturating_sub(1);
    let attributes = BlockAttributes {
        timestamp: timestamp.0,
        mix_hash: prev_randao.0,
        beneficiary: suggested_fee_recipient.0,
        gas_limit: GAS_LIMIT_TARGET.clamp(parent.gas_limit.saturating_sub(step), parent.gas_limit.saturating_add(step)),
        parent_beacon_block_root: parent_beacon_block_root.0,
        extra_data: wanted.extra_data,
        withdrawals: withdrawals.into(),
        ..BlockAttributes::default()
    };
    let (mut overlay, trie) = (Overlay::new(chain.state_at(number)?), trie_at(&call, number)?);
    let (network, codes) = (server.ledger.network(), server.ledger.chain.codes());
    let on = (&parent, wanted.parent);
    let open = OpenBlock::open(&mut overlay, codes, &network.schedule, on, trie, attributes);
    let mut open = open.map_err(RpcError::internal)?;
    let deadline = call.deadline();
    for (index, transaction) in transactions.iter().enumerate() {
        deadline.check()?;
        // A failed attempt may have written to the overlay, but only what its sender's next attempt would write again.
        let mut attempt = overlay.clone();
        match open.execute(&mut attempt, codes, transaction, TxId::default(), None) {
            Ok(_) => overlay = attempt,
            Err(error) if named => return Err(RpcError::server(format!("transaction {index}: {error}"))),
            Err(_) => {}
        }
    }
    Ok(envelope(&open.seal(&mut overlay, codes, 0).map_err(RpcError::internal)?))
}

fn envelope(sealed: &SealedBlock) -> Json {
    let base_fee = sealed.header.base_fee_per_gas.unwrap_or(0);
    let value = |included: &crate::block::Included| {
        let tip = included.transaction.envelope.effective_tip_per_gas(base_fee).unwrap_or(0);
        tip.saturating_mul(u128::from(included.gas_used))
    };
    let value: u128 = sealed.included.iter().map(value).fold(0, u128::saturating_add);
    Json::object(|object| {
        object.object("executionPayload", |object| payload(object, sealed));
        object.quantity("blockValue", value);
        object.object("blobsBundle", |object| {
            for name in ["commitments", "proofs", "blobs"] {
                object.json(name, "[]");
            }
        });
        object.list("executionRequests", sealed.requests.iter(), |out, request| push_data(out, request));
        object.bool("shouldOverrideBuilder", false);
    })
}

fn payload(object: &mut Object<'_>, sealed: &SealedBlock) {
    let header = &sealed.header;
    object.hash("parentHash", &header.parent_hash);
    object.address("feeRecipient", &header.beneficiary);
    object.hash("stateRoot", &header.state_root);
    object.hash("receiptsRoot", &header.receipts_root);
    object.data("logsBloom", header.logs_bloom.as_slice());
    object.hash("prevRandao", &header.mix_hash);
    object.quantity("blockNumber", header.number);
    object.quantity("gasLimit", header.gas_limit);
    object.quantity("gasUsed", header.gas_used);
    object.quantity("timestamp", header.timestamp);
    object.data("extraData", &header.extra_data);
    object.quantity("baseFeePerGas", header.base_fee_per_gas.unwrap_or(0));
    object.hash("blockHash", &sealed.hash);
    object.list("transactions", &sealed.included, |out, included| push_data(out, &included.transaction.raw));
    object.list("withdrawals", sealed.record.withdrawals().unwrap_or_default().iter(), |out, withdrawal| {
        push_object(out, |object| {
            object.quantity("index", withdrawal.index);
            object.quantity("validatorIndex", withdrawal.validator_index);
            object.address("address", &withdrawal.address);
            object.quantity("amount", withdrawal.amount);
        });
    });
    object.quantity("blobGasUsed", header.blob_gas_used.unwrap_or(0));
    object.quantity("excessBlobGas", header.excess_blob_gas.unwrap_or(0));
}
