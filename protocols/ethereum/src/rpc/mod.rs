//! Ethereum's JSON-RPC, over HTTP POST and WebSocket, for unmodified clients.
//!
//! ```text
//!   HTTP body / WebSocket text ──▶ request ──▶ server ──▶ a method of a namespace ──▶ reply ──▶ text
//!                                                │              │ reads: chain (committed state, history, newest blocks)
//!                                                │              │ asks the primary's pool: pool_questions
//!                                                └─ submissions of a message go to the primary in one piece
//!   events (every committed block) ──▶ filters, subscriptions, callers that wait for a receipt
//! ```
//!
//! To add a method, write a function in the file of its namespace and a line in that file's table.

mod access_list;
mod call;
mod call_request;
mod coco;
mod committed;
mod connection;
mod debug;
mod debug_trace;
mod developer;
mod entrusting;
mod error;
mod eth;
mod failures;
mod filters;
mod http;
mod json;
mod ledger;
mod limits;
mod log_search;
mod logs;
mod moved_precompiles;
mod namespaces;
mod net;
mod options;
mod ots;
mod params;
mod pool;
mod pool_questions;
mod replay;
mod reply;
mod request;
mod room;
mod server;
mod service;
pub(crate) mod signing;
mod simulation;
mod sourcify;
mod testing;
mod trace;
mod traces;
mod transfers;
mod turns;
mod txpool;
pub(crate) mod typed_data;
mod values;
mod view;
mod waiters;
mod web3;

#[cfg(test)]
mod tests;

pub use committed::{BlockHead, CommittedBlock};
pub use ledger::Ledger;
pub use options::{Options, Random};
pub use pool_questions::{Dropped, PoolContent, PoolCounts, PoolQuestion, PooledTransaction};
pub use service::RpcService;

use namespaces::methods;
