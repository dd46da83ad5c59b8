//! Asks the primary's pool.

use coco_protocol::Caller;
use serde::de::DeserializeOwned;
use std::sync::Arc;

use super::error::RpcError;
use super::pool_questions::{PoolQuestion, PooledTransaction};
use super::server::Server;
use super::view::ChainView;
use crate::transaction::Transaction;

/// Puts a question, and hands the decoded answer on.
pub fn ask<T: DeserializeOwned>(
    server: &Arc<Server>,
    caller: &Caller,
    question: &PoolQuestion,
    then: impl FnOnce(Result<T, RpcError>) + Send + 'static,
) {
    let question = match serde_json::to_vec(question) {
        Ok(question) => question,
        Err(error) => return then(Err(RpcError::internal(error))),
    };
    let reply = move |answer: Result<bytes::Bytes, coco_protocol::Rejection>| {
        let answer = answer.map_err(RpcError::from);
        then(answer.and_then(|bytes| serde_json::from_slice(&bytes).map_err(RpcError::internal)));
    };
    server.handle.ask_primary(caller, question.into(), Box::new(reply));
}

/// A transaction of the pool, decoded, if the caller may see it.
pub fn pooled(server: &Server, caller: &Caller, known: &PooledTransaction) -> Option<Transaction> {
    let transaction = Transaction::readmit(known.raw.0.clone(), &known.finding).ok()?;
    let reader = server.handle.reader(caller);
    ChainView::new(server, &reader).discloses_transaction(&transaction).then_some(transaction)
}
