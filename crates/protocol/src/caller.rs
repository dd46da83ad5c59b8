//! Who asks. No read and no submission exists without one.

use serde::{Deserialize, Serialize};

/// The identities bound to a requester.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Caller {
    /// Nobody proved anything.
    #[default]
    Anonymous,
    /// Each of these was proved on the connection or by the request's own signature.
    Identified(Vec<Identity>),
}

/// One proved identity.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Identity {
    /// A member of the consortium, by the SHA-256 of its certificate.
    Member(String),
    /// A participant, by the SHA-256 of its certificate.
    Participant(String),
    /// An identity inside one protocol: an address, a public key, a legal name.
    Protocol { protocol: String, name: String },
}

impl Caller {
    pub fn identities(&self) -> &[Identity] {
        match self {
            Self::Anonymous => &[],
            Self::Identified(identities) => identities,
        }
    }
}
