//! Why a governance request was refused, in CCF's codes, which its tools know.

use serde::{Deserialize, Serialize};

use crate::Error;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub code: Code,
    pub message: String,
}

/// The codes that `/gov` answers with. Their names are the wire's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Code {
    AuthorizationFailed,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InternalError,
    InvalidAuthenticationInfo,
    InvalidCreatedAt,
    InvalidHeaderValue,
    InvalidInput,
    InvalidQueryParameterValue,
    InvalidResourceName,
    MissingApiVersionParameter,
    PrimaryNotFound,
    ProposalCreatedTooLongAgo,
    ProposalFailedToValidate,
    ProposalNotFound,
    ProposalNotOpen,
    ProposalReplay,
    ResourceNotFound,
    ServiceNotWaitingForRecoveryShares,
    StateDigestMismatch,
    TransactionReplicationFailed,
    UnsupportedApiVersionValue,
    UnsupportedHttpVerb,
    VoteAlreadyExists,
    VoteNotFound,
}

impl Code {
    /// Every code, by name.
    pub const ALL: &[Self] = &[
        Self::AuthorizationFailed,
        Self::IdempotencyKeyInUse,
        Self::IdempotencyKeyReused,
        Self::InternalError,
        Self::InvalidAuthenticationInfo,
        Self::InvalidCreatedAt,
        Self::InvalidHeaderValue,
        Self::InvalidInput,
        Self::InvalidQueryParameterValue,
        Self::InvalidResourceName,
        Self::MissingApiVersionParameter,
        Self::PrimaryNotFound,
        Self::ProposalCreatedTooLongAgo,
        Self::ProposalFailedToValidate,
        Self::ProposalNotFound,
        Self::ProposalNotOpen,
        Self::ProposalReplay,
        Self::ResourceNotFound,
        Self::ServiceNotWaitingForRecoveryShares,
        Self::StateDigestMismatch,
        Self::TransactionReplicationFailed,
        Self::UnsupportedApiVersionValue,
        Self::UnsupportedHttpVerb,
        Self::VoteAlreadyExists,
        Self::VoteNotFound,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::AuthorizationFailed => "AuthorizationFailed",
            Self::IdempotencyKeyInUse => "IdempotencyKeyInUse",
            Self::IdempotencyKeyReused => "IdempotencyKeyReused",
            Self::InternalError => "InternalError",
            Self::InvalidAuthenticationInfo => "InvalidAuthenticationInfo",
            Self::InvalidCreatedAt => "InvalidCreatedAt",
            Self::InvalidHeaderValue => "InvalidHeaderValue",
            Self::InvalidInput => "InvalidInput",
            Self::InvalidQueryParameterValue => "InvalidQueryParameterValue",
            Self::InvalidResourceName => "InvalidResourceName",
            Self::MissingApiVersionParameter => "MissingApiVersionParameter",
            Self::PrimaryNotFound => "PrimaryNotFound",
            Self::ProposalCreatedTooLongAgo => "ProposalCreatedTooLongAgo",
            Self::ProposalFailedToValidate => "ProposalFailedToValidate",
            Self::ProposalNotFound => "ProposalNotFound",
            Self::ProposalNotOpen => "ProposalNotOpen",
            Self::ProposalReplay => "ProposalReplay",
            Self::ResourceNotFound => "ResourceNotFound",
            Self::ServiceNotWaitingForRecoveryShares => "ServiceNotWaitingForRecoveryShares",
            Self::StateDigestMismatch => "StateDigestMismatch",
            Self::TransactionReplicationFailed => "TransactionReplicationFailed",
            Self::UnsupportedApiVersionValue => "UnsupportedApiVersionValue",
            Self::UnsupportedHttpVerb => "UnsupportedHttpVerb",
            Self::VoteAlreadyExists => "VoteAlreadyExists",
            Self::VoteNotFound => "VoteNotFound",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidAuthenticationInfo => 401,
            Self::AuthorizationFailed | Self::ServiceNotWaitingForRecoveryShares => 403,
            Self::ProposalNotFound | Self::ResourceNotFound | Self::VoteNotFound => 404,
            Self::UnsupportedHttpVerb => 405,
            Self::IdempotencyKeyInUse => 409,
            Self::IdempotencyKeyReused => 422,
            Self::InternalError => 500,
            Self::PrimaryNotFound | Self::TransactionReplicationFailed => 503,
            _ => 400,
        }
    }
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The live state keeps no others: see `forget_settled`.
    pub fn no_proposal(id: &str) -> Self {
        let message = format!(
            "there is no proposal {id}; only open ones and the one settled last are here, older ones are in the ledger"
        );
        Self::new(Code::ProposalNotFound, message)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::new(Code::InternalError, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The derived reader names every variant when it meets an unknown one.
    #[test]
    fn all_codes_are_listed_in_order_under_their_own_names() {
        let unknown = serde_json::from_str::<Code>("\"?\"").unwrap_err().to_string();
        let variants: Vec<_> = unknown.split('`').skip(3).step_by(2).collect();
        let listed: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(listed, variants);
        assert!(listed.is_sorted());
    }
}
