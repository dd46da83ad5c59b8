//! The error object of JSON-RPC. Clients look at codes and at the words of messages, so both are written here once.
//!
//! What went wrong inside the node never reaches a client: an internal error carries its cause aside, for the log, and the
//! client gets a reference to that log line.

use std::borrow::Cow;
use std::fmt::Display;

use alloy_primitives::{B256, hex};
use coco_protocol::{HistoryError, Rejection, Submitted};

use crate::state::HistoricError;

/// Why a request failed, as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcError {
    pub code: i64,
    pub message: Cow<'static, str>,
    /// A string for the `data` member: revert bytes or a transaction hash, in hex.
    pub data: Option<String>,
    /// The transaction that failed, for developers: `data` is an object with it then, as hardhat's node has it.
    pub transaction: Option<Box<B256>>,
    /// The cause of an internal error: for the log only.
    pub(super) cause: Option<String>,
}

const METHOD_NAME_SHOWN_MAX: usize = 100;

impl RpcError {
    pub fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), data: None, transaction: None, cause: None }
    }

    /// The general failure of an otherwise valid request.
    pub fn server(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(-32000, message)
    }

    pub fn parse() -> Self {
        Self::new(-32700, "parse error")
    }

    pub fn invalid_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(-32600, message)
    }

    pub fn invalid_params(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(-32602, message)
    }

    pub fn invalid_argument(position: usize, fault: impl Display) -> Self {
        Self::invalid_params(format!("invalid argument {position}: {fault}"))
    }

    pub fn missing_argument(position: usize) -> Self {
        Self::invalid_params(format!("missing value for required argument {position}"))
    }

    pub fn unknown_method(name: &str) -> Self {
        let shown: String = name.chars().take(METHOD_NAME_SHOWN_MAX).collect();
        Self::new(-32601, format!("the method {shown} does not exist/is not available"))
    }

    pub fn header_not_found() -> Self {
        Self::server("header not found")
    }

    pub fn filter_not_found() -> Self {
        Self::server("filter not found")
    }

    pub fn limit(message: impl Display) -> Self {
        Self::new(-32005, format!("limit exceeded: {message}"))
    }

    pub fn is_limit(&self) -> bool {
        self.code == -32005
    }

    pub fn too_slow(limit_ms: u64) -> Self {
        Self::server(format!("execution aborted (timeout = {}s)", limit_ms / 1000))
    }

    pub fn response_too_large() -> Self {
        Self::new(-32003, "response too large")
    }

    /// Something broke that the client did not cause. `cause` stays in this node's log.
    pub fn internal(cause: impl Display) -> Self {
        Self {
            code: -32603,
            message: "internal error".into(),
            data: None,
            transaction: None,
            cause: Some(cause.to_string()),
        }
    }

    pub fn unavailable() -> Self {
        Self::new(-32603, "the network has no primary at the moment; nothing was executed")
    }

    #[must_use]
    pub fn with_data(mut self, bytes: &[u8]) -> Self {
        self.data = Some(hex::encode_prefixed(bytes));
        self
    }

    #[must_use]
    pub fn of_transaction(mut self, hash: B256) -> Self {
        self.transaction = Some(Box::new(hash));
        self
    }
}

impl From<Rejection> for RpcError {
    fn from(rejection: Rejection) -> Self {
        let error = Self::new(rejection.code, rejection.message);
        match rejection.data {
            Some(data) => error.with_data(&data),
            None => error,
        }
    }
}

/// `Ok` when the submission is in the pool or on the ledger.
pub fn accepted(submitted: Submitted) -> Result<(), RpcError> {
    match submitted {
        Submitted::Accepted | Submitted::Committed { .. } => Ok(()),
        Submitted::Rejected(rejection) => Err(rejection.into()),
        Submitted::Unknown(Some(txid)) => Err(RpcError::server(format!("outcome unknown, ledger transaction {txid}"))),
        Submitted::Unknown(None) => Err(RpcError::server("outcome unknown: the primary did not answer")),
        Submitted::Unavailable => Err(RpcError::unavailable()),
    }
}

impl From<HistoryError> for RpcError {
    fn from(error: HistoryError) -> Self {
        Self::internal(error)
    }
}

impl From<HistoricError> for RpcError {
    fn from(error: HistoricError) -> Self {
        match error {
            HistoricError::NotIndexed { .. } => {
                Self::server(format!("this node is still indexing its history: {error}"))
            }
            HistoricError::Missing(_) | HistoricError::Store(_) => Self::internal(error),
        }
    }
}
