//! The consortium's facts: members, participants, nodes, service and policy, as rows of public maps.
//!
//! Map names and JSON follow CCF, so that its tools read them; what CCF lacks is under `public:ccf.gov.coco.`. Everything is
//! written through a `kv::Tx` and therefore a ledger transaction like any other. This crate holds the rows, the rules of
//! who may join, and how members decide: the constitution in a JavaScript sandbox, proposals and ballots.

mod admission;
mod alarm;
pub mod application;
pub mod attestation;
mod audit;
pub mod certificates;
mod closure;
pub mod constitution;
pub mod disclosure;
mod draft;
mod endorsement;
mod engine;
mod error;
#[cfg(test)]
mod fixture;
mod founding;
mod grant;
mod hosting;
pub mod jwt;
mod message;
mod news;
mod proposals;
mod recovery;
mod refusal;
mod resume;
pub mod rotation;
mod rows;
pub mod secrets;
mod service;
mod session;
mod shares;
pub mod tables;

pub use admission::{AWAITS_VOTE, Applicant, JOINED_BEFORE, Standing, Swap, admit, current_nodes, mark_gone, retire};
pub use alarm::record_alarm;
pub use audit::{Auditor, Decision, Event};
pub use closure::Closure;
pub use draft::Draft;
pub use endorsement::{Endorsement, EndorsementRow, endorsements, key_at};
pub use engine::{Facts, Failure};
pub use error::Error;
pub use founding::{Founding, FoundingActor, found, open};
pub use grant::{Disclosable, GrantOrder, GrantRow};
pub use hosting::{AddedLedger, LedgerCheck, added_ledgers, changes_hosting, hosted_ledgers, not_hosted};
pub use message::Message;
pub use news::{News, news};
pub use proposals::{Proposal, ProposalInfo, ProposalState};
pub use recovery::{Recovery, RecoveryRow, next_replica, recover};
pub use refusal::{Code, Refusal};
pub use resume::record_resume;
pub use rows::{
    Addresses, AlarmRow, MemberInfo, Network, NodeAdmission, NodeInfo, NodeRole, NodeRow, NodeStatus, ResumePolicy,
    ResumeRow, ServiceInfo, ServiceStatus, UserInfo,
};
pub use service::{CERTIFICATE_DAYS_MAX, ServiceConfig};
pub use session::{Ack, Answer, Change, Operation, Request, Session, Simulation};
pub use shares::{ShareHolders, SharesRow};
pub use tables::Read;
