//! Why a governance request was refused, in CCF's codes, which its tools know.

use crate::Error;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub code: Code,
    pub message: String,
}

/// The codes that requests of `/gov` can meet. Their names are the wire's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
    ResourceNotFound,
    ServiceNotWaitingForRecoveryShares,
    StateDigestMismatch,
    VoteAlreadyExists,
    VoteNotFound,
}

impl Code {
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidAuthenticationInfo => 401,
            Self::AuthorizationFailed | Self::ServiceNotWaitingForRecoveryShares => 403,
            Self::ProposalNotFound | Self::ResourceNotFound | Self::VoteNotFound => 404,
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
