//! The consortium's facts: members, participants, nodes, service and policy, as rows of public maps.
//!
//! Map names and JSON follow CCF, so that its tools read them; what CCF lacks is under `public:ccf.gov.coco.`. Everything is
//! written through a `kv::Tx` and therefore a ledger transaction like any other. This crate holds the rows and the rules of who may
//! join; proposals and votes over them are built on top.

mod admission;
mod error;
mod founding;
mod rows;
pub mod tables;

pub use admission::{Applicant, Standing, admit, applicant_claims, current_nodes, mark_gone, policy, retire};
pub use error::Error;
pub use founding::{Founding, FoundingActor, found, open};
pub use rows::{Addresses, MemberInfo, Network, NodeInfo, NodeRow, NodeStatus, ServiceInfo, ServiceStatus, UserInfo};
pub use tables::Read;
