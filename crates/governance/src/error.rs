//! What can be wrong with governance.

use coco_types::{MapName, NodeId};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A row that this software did not write, or damage.
    #[error("the row {key} of {map} is not readable: {why}")]
    UnreadableRow { map: MapName, key: String, why: String },
    #[error("the network has no constitution")]
    NoConstitution,
    /// A founding fact that is not usable.
    #[error("genesis: {0}")]
    Founding(String),
    #[error("the collateral is not taken: {0}")]
    CollateralRefused(String),
    #[error("not admitted: {0}")]
    NotAdmitted(String),
    /// Ledger secrets, recovery shares or endorsements that cannot be made or opened.
    #[error("{0}")]
    Secrets(String),
    /// Keys of a token issuer.
    #[error("the issuer's keys are not usable: {0}")]
    Jwks(String),
    #[error("the service was not opened: {0}")]
    NotOpened(String),
    /// An audit was given transactions out of order.
    #[error("a transaction is missing or out of order: {0}")]
    NotInOrder(String),
    /// A ledger that cannot be added, or not taken away.
    #[error("{0}")]
    Hosting(String),
    #[error("there is no node {0}")]
    UnknownNode(NodeId),
}
