//! `eth_subscribe`: what is told over a WebSocket as it happens.
//!
//! Blocks are told when they are committed, a header before the logs of its block: subscriptions for logs listen later,
//! whichever was made first.

use std::sync::{Arc, Weak};

use crate::events::{Channel, Event, Keep, Listener};
use crate::rpc::call::{Call, Method};
use crate::rpc::committed::{CommittedBlock, push_transaction};
use crate::rpc::connection::Connection;
use crate::rpc::error::RpcError;
use crate::rpc::json::Json;
use crate::rpc::limits::LOG_CHOICES_ALL_MAX;
use crate::rpc::logs::LogQuery;
use crate::rpc::params::Params;
use crate::rpc::reply::Answer;
use crate::rpc::room::Share;
use crate::rpc::server::Server;
use crate::rpc::view::ChainView;
use crate::transaction::Transaction;

pub const METHODS: &[Method] =
    &[Method::read("eth_subscribe", subscribe), Method::read("eth_unsubscribe", unsubscribe)];

/// What a subscription tells.
enum Topic {
    NewHeads,
    Logs {
        query: LogQuery,
        /// Of [`Server::log_choices`].
        _share: Share,
    },
    PendingTransactions {
        full: bool,
    },
    /// A committed chain is never behind itself: this is accepted, and stays silent.
    Syncing,
}

/// One subscription, as its listener knows it. The node's parts are held weakly: they own the listener.
struct Subscription {
    id: String,
    topic: Topic,
    server: Weak<Server>,
    connection: Weak<Connection>,
}

fn subscribe(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Some(connection) = call.connection else {
        return Err(RpcError::new(-32601, "notifications not supported"));
    };
    let topic = match params.required::<String>(0)?.as_str() {
        "newHeads" => Topic::NewHeads,
        "logs" => logs(call, params.optional(1)?.unwrap_or_else(LogQuery::everything))?,
        "newPendingTransactions" => Topic::PendingTransactions { full: params.optional(1)?.unwrap_or(false) },
        "syncing" => Topic::Syncing,
        other => {
            let shown: String = other.chars().take(40).collect();
            return Err(RpcError::invalid_params(format!("no \"{shown}\" subscription in eth namespace")));
        }
    };
    let id = call.server.fresh_id();
    let channel = match topic {
        Topic::NewHeads | Topic::Syncing => Channel::Blocks,
        Topic::Logs { .. } => Channel::BlocksLater,
        Topic::PendingTransactions { .. } => Channel::Pending,
    };
    let subscription = Subscription {
        id: id.clone(),
        topic,
        server: Arc::downgrade(call.server),
        connection: Arc::downgrade(connection),
    };
    call.hold(connection);
    let listener: Listener = Arc::new(move |event| subscription.hear(event));
    connection.subscribe(&id, channel, listener)?;
    Ok(Json::string(&id))
}

fn logs(call: &Call<'_>, query: LogQuery) -> Result<Topic, RpcError> {
    let share = call.server.log_choices.take(query.choices());
    let too_many =
        || RpcError::limit(format!("{LOG_CHOICES_ALL_MAX} addresses and topics of one node's subscriptions"));
    Ok(Topic::Logs { query, _share: share.ok_or_else(too_many)? })
}

fn unsubscribe(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let id: String = params.required(0)?;
    match call.connection {
        Some(connection) if connection.unsubscribe(&id) => Ok(Json::bool(true)),
        Some(_) => Err(RpcError::server("subscription not found")),
        None => Err(RpcError::new(-32601, "notifications not supported")),
    }
}

impl Subscription {
    fn hear(&self, event: &Event) -> Keep {
        let (Some(server), Some(connection)) = (self.server.upgrade(), self.connection.upgrade()) else {
            return Keep::No;
        };
        match (&self.topic, event) {
            (Topic::NewHeads, Event::Block(block)) => self.tell_head(&server, &connection, block),
            (Topic::Logs { query, .. }, Event::Block(block)) => self.tell_logs(&server, &connection, query, block),
            (Topic::PendingTransactions { full }, Event::Pending(transaction)) => {
                self.tell_pending(&server, &connection, *full, transaction)
            }
            _ => Keep::Yes,
        }
    }

    fn tell_head(&self, server: &Server, connection: &Connection, block: &CommittedBlock) -> Keep {
        let reader = server.handle.reader(&connection.caller);
        match ChainView::new(server, &reader).discloses_block(&block.head.hash) {
            true => connection.notify(&self.id, block.head_json()),
            false => Keep::Yes,
        }
    }

    fn tell_logs(&self, server: &Server, connection: &Connection, query: &LogQuery, block: &CommittedBlock) -> Keep {
        if !query.may_match(&block.head.header.logs_bloom) {
            return Keep::Yes;
        }
        let reader = server.handle.reader(&connection.caller);
        let chain = ChainView::new(server, &reader);
        for (included, index, position, log) in block.logs() {
            if !query.matches(log.into()) || !chain.discloses_log(&included.transaction, log.into()) {
                continue;
            }
            let mut out = String::with_capacity(512);
            block.head.push_log(&mut out, &included.log_place(index, position), log.into());
            if connection.notify(&self.id, &out) == Keep::No {
                return Keep::No;
            }
        }
        Keep::Yes
    }

    fn tell_pending(&self, server: &Server, connection: &Connection, full: bool, transaction: &Transaction) -> Keep {
        let reader = server.handle.reader(&connection.caller);
        if !ChainView::new(server, &reader).discloses_transaction(transaction) {
            return Keep::Yes;
        }
        let json = match full {
            true => {
                let mut out = String::with_capacity(1_024);
                push_transaction(&mut out, transaction, None);
                Json(out)
            }
            false => Json::data(transaction.hash.as_slice()),
        };
        connection.notify(&self.id, &json.0)
    }
}
