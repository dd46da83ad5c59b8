//! `txpool_`: what waits in the primary's pool.

use std::collections::BTreeMap;

use alloy_consensus::Transaction as _;
use alloy_primitives::Address;

use super::call::{Call, Method};
use super::committed::push_transaction;
use super::error::RpcError;
use super::json::{Json, Object, push_string};
use super::params::Params;
use super::pool::{ask, pooled};
use super::pool_questions::{PoolContent, PoolCounts, PoolQuestion, PooledTransaction};
use super::reply::Responder;
use super::values::Hex;
use crate::transaction::Transaction;

pub const METHODS: &[Method] = &[
    Method::later("txpool_status", status),
    Method::later("txpool_content", content),
    Method::later("txpool_contentFrom", content_from),
    Method::later("txpool_inspect", inspect),
    Method::later("eth_pendingTransactions", pending),
];

/// Transactions by sender, then nonce.
type BySender = BTreeMap<Address, BTreeMap<u64, Transaction>>;

fn status(call: &Call<'_>, _: &Params<'_>, responder: Responder) {
    let json = |counts: PoolCounts| {
        Json::object(|object| {
            object.quantity("pending", counts.pending);
            object.quantity("queued", counts.queued);
        })
    };
    if !call.chain().discloses_pool() {
        return responder.send(Ok(json(PoolCounts::default())));
    }
    ask(call.server, call.caller, &PoolQuestion::Counts, move |counts: Result<PoolCounts, RpcError>| {
        responder.send(counts.map(json));
    });
}

fn content(call: &Call<'_>, _: &Params<'_>, responder: Responder) {
    show(call, None, responder, |object, transactions| {
        by_sender(object, transactions, |out, transaction| push_transaction(out, transaction, None));
    });
}

/// What could be in the next block, in one list.
fn pending(call: &Call<'_>, _: &Params<'_>, responder: Responder) {
    let (server, caller) = (call.server.clone(), call.caller.clone());
    ask_content(call, None, responder, move |content| {
        let shown = content.pending.iter().filter_map(|known| pooled(&server, &caller, known));
        Json::list(shown, |out, transaction| push_transaction(out, &transaction, None))
    });
}

fn content_from(call: &Call<'_>, params: &Params<'_>, responder: Responder) {
    match params.required(0) {
        Err(error) => responder.send(Err(error)),
        Ok(Hex(sender)) => show(call, Some(sender), responder, move |object, transactions| {
            if let Some(own) = transactions.get(&sender) {
                by_nonce(object, own, |out, transaction| push_transaction(out, transaction, None));
            }
        }),
    }
}

fn inspect(call: &Call<'_>, _: &Params<'_>, responder: Responder) {
    show(call, None, responder, |object, transactions| {
        by_sender(object, transactions, |out, transaction| {
            let envelope = &transaction.envelope;
            let to = envelope.to().map_or("contract creation".to_owned(), |to| to.to_checksum(None));
            let (value, gas, price) = (envelope.value(), envelope.gas_limit(), envelope.max_fee_per_gas());
            push_string(out, &format!("{to}: {value} wei + {gas} gas × {price} wei"));
        });
    });
}

/// Answers with `pending` and `queued`, each filled by `fill`.
fn show(
    call: &Call<'_>,
    sender: Option<Address>,
    responder: Responder,
    fill: impl Fn(&mut Object<'_>, &BySender) + Send + 'static,
) {
    let (server, caller) = (call.server.clone(), call.caller.clone());
    ask_content(call, sender, responder, move |content| {
        let sort = |known: Vec<PooledTransaction>| {
            let mut sorted = BySender::new();
            for transaction in known.iter().filter_map(|known| pooled(&server, &caller, known)) {
                sorted.entry(transaction.sender).or_default().insert(transaction.envelope.nonce(), transaction);
            }
            sorted
        };
        Json::object(|object| {
            object.object("pending", |object| fill(object, &sort(content.pending)));
            object.object("queued", |object| fill(object, &sort(content.queued)));
        })
    });
}

/// Asks for what waits, of one sender or of all. Each answer is large, and the primary's executor writes it: a node asks for a few at once, and
/// for the next when one has left.
fn ask_content(
    call: &Call<'_>,
    sender: Option<Address>,
    responder: Responder,
    json: impl FnOnce(PoolContent) -> Json + Send + 'static,
) {
    let room = if sender.is_some() { &call.server.pool_senders } else { &call.server.pool_contents };
    let Some(share) = room.take(1) else {
        return responder.send(Err(RpcError::limit("too many questions about the pool at once, ask again")));
    };
    ask(call.server, call.caller, &PoolQuestion::Content(sender), move |content: Result<PoolContent, RpcError>| {
        responder.send(content.map(json));
        drop(share);
    });
}

/// Senders are written with their checksum here, unlike everywhere else: so other clients do.
fn by_sender(object: &mut Object<'_>, transactions: &BySender, push: impl Fn(&mut String, &Transaction)) {
    for (sender, own) in transactions {
        object.object(&sender.to_checksum(None), |object| by_nonce(object, own, &push));
    }
}

fn by_nonce(object: &mut Object<'_>, own: &BTreeMap<u64, Transaction>, push: impl Fn(&mut String, &Transaction)) {
    for (nonce, transaction) in own {
        push(object.field(&nonce.to_string()), transaction);
    }
}
