//! Prove and check what code runs where.
//!
//! ```text
//!   EvidenceSource (node side)       verify (pure)                            appraise (pure)
//!   report_data ─▶ Evidence ────▶ verify(evidence, report_data, trust, at) ─▶ appraise(verified, policy, peers, at) ─▶ Decision
//!                                                        ▲                                ▲
//!                                        anchors, collateral: the ledger's        voted by the members
//! ```
//!
//! Verification answers "is this genuine?" and knows no clock, file or network; appraisal answers "do we accept it?" from what the
//! members voted, with every reason that speaks against. One file or folder per platform under `platforms/`.
//!
//! No secret is handled here but the nonce that a caller brings.

mod appraise;
mod binding;
mod certificate;
pub mod chain;
mod claims;
mod client;
pub mod cmw;
pub mod collateral;
mod der;
mod error;
mod evidence;
mod kind;
pub mod platforms;
pub mod policy;
mod rules;
pub mod sources;
mod time;
mod trust;
mod verify;

pub use appraise::{Decision, Peer, Reason, appraise, ear};
pub use binding::{Binding, BoundFacts, ReportData, fresh_report_data, program_report_data};
pub use certificate::{anchors_in, evidence_in, node_extension, service_extension};
pub use claims::{
    AzureClaims, CcaClaims, CcaComponent, Claims, DcapTcb, Details, Isolation, NitroClaims, SgxClaims, SnpClaims,
    SnpTcb, TdxClaims, UvmClaims, VbsClaims, VbsModule, Window,
};
pub use client::{ClientError, NodeAnswer, Verdict, verify_certificate, verify_node};
pub use error::{SourceError, VerifyError};
pub use evidence::{AUX_BYTES_MAX, Aux, EVIDENCE_BYTES_MAX, Evidence, EvidenceSource, SealingKey};
pub use kind::TeeKind;
pub use policy::Policy;
pub use rules::Rules;
pub use trust::{Anchors, CcaAnchor, Root, Trust};
pub use verify::{Moment, VerifiedEvidence, examine, verify};
