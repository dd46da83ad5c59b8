//! Who asks. No read and no submission exists without one.

use bytes::Bytes;
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
    /// Somebody for whom a member's or participant's certificate, which is a CA's, stands: its SHA-256, and the subject's name (RFC 4514).
    User { organisation: String, subject: String },
    /// Somebody for whom an accepted issuer of tokens stands: its name, and the token's subject.
    Token { issuer: String, subject: String },
    /// An identity inside one protocol: an address, a public key, a legal name.
    Protocol { protocol: String, name: String },
}

/// Beside a request whose sender has a token: what it says, without the signature that makes it one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TokenClaims {
    /// The issuer whose key signed it, as the members accepted it.
    pub key_issuer: String,
    pub header: serde_json::Value,
    pub payload: serde_json::Value,
}

/// Beside a request: the certificate, in DER, whose key its sender proved to hold. Who vouches for it is another matter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificate(pub Bytes);

impl From<Vec<Identity>> for Caller {
    fn from(identities: Vec<Identity>) -> Self {
        if identities.is_empty() { Self::Anonymous } else { Self::Identified(identities) }
    }
}

impl Caller {
    pub fn identities(&self) -> &[Identity] {
        match self {
            Self::Anonymous => &[],
            Self::Identified(identities) => identities,
        }
    }

    /// Whether one of the members' own certificates was shown.
    pub fn is_member(&self) -> bool {
        self.identities().iter().any(|identity| matches!(identity, Identity::Member(_)))
    }

    /// As whom it acts for the network itself: what it proved first.
    pub fn principal(&self) -> Option<&Identity> {
        self.identities().iter().find(|identity| !matches!(identity, Identity::Protocol { .. }))
    }
}

impl Identity {
    /// The names by which rules may speak of it. A rule about an organisation, or about an issuer of tokens, is about all its users.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::Member(id) | Self::Participant(id) => vec![id.clone()],
            Self::User { organisation, subject } => vec![organisation.clone(), format!("{organisation}/{subject}")],
            Self::Token { issuer, subject } => vec![issuer.clone(), format!("{issuer}#{subject}")],
            Self::Protocol { name, .. } => vec![name.clone()],
        }
    }
}
