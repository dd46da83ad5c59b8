//! Why a governance request was refused, in CCF's codes, which its tools know.

use serde::{Deserialize, Serialize};

use crate::Error;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub code: Code,
    pub message: String,
}

/// The codes that requests of `/gov` can meet. Their names are the wire's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Code {
    AuthorizationFailed,
    InternalError,
    InvalidAuthenticationInfo,
    InvalidCreatedAt,
    InvalidInput,
    InvalidResourceName,
    ProposalCreatedTooLongAgo,
    ProposalFailedToValidate,
    ProposalNotFound,
    ProposalNotOpen,
    ProposalReplay,
    ServiceNotWaitingForRecoveryShares,
    StateDigestMismatch,
    VoteAlreadyExists,
}

impl Code {
    pub fn name(self) -> &'static str {
        match self {
            Self::AuthorizationFailed => "AuthorizationFailed",
            Self::InternalError => "InternalError",
            Self::InvalidAuthenticationInfo => "InvalidAuthenticationInfo",
            Self::InvalidCreatedAt => "InvalidCreatedAt",
            Self::InvalidInput => "InvalidInput",
            Self::InvalidResourceName => "InvalidResourceName",
            Self::ProposalCreatedTooLongAgo => "ProposalCreatedTooLongAgo",
            Self::ProposalFailedToValidate => "ProposalFailedToValidate",
            Self::ProposalNotFound => "ProposalNotFound",
            Self::ProposalNotOpen => "ProposalNotOpen",
            Self::ProposalReplay => "ProposalReplay",
            Self::ServiceNotWaitingForRecoveryShares => "ServiceNotWaitingForRecoveryShares",
            Self::StateDigestMismatch => "StateDigestMismatch",
            Self::VoteAlreadyExists => "VoteAlreadyExists",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidAuthenticationInfo => 401,
            Self::AuthorizationFailed | Self::ServiceNotWaitingForRecoveryShares => 403,
            Self::ProposalNotFound => 404,
            Self::InternalError => 500,
            _ => 400,
        }
    }
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::new(Code::InternalError, error.to_string())
    }
}
