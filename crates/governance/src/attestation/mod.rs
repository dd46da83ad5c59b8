//! What the ledger knows about code and platforms: policy, anchors, collateral, and the judgement of every node.
//!
//! Members vote policy and anchors; collateral is signed by its vendor and may come from anyone. Every admission keeps what it was judged
//! from, so that [`PublicState`] can judge it again from the ledger alone.

mod appraisal;
mod audit;
mod ccf_rows;
mod decisions;
mod policy;
mod program;
mod reappraisal;

pub use appraisal::{Appraisal, AppraisalState, VerifiedApplicant, bound_facts, verify_applicant};
pub use audit::{Audited, PublicState, admits, audit_admissions};
pub use ccf_rows::{snp_host_data, snp_tcb_versions};
pub use decisions::{DECISIONS, PolicyDecision, decisions};
pub use policy::{
    ANCHORS, APPRAISALS, COLLATERAL, JudgedCollateral, POLICY, anchors, in_force, judge_collateral, policy,
    submit_collateral, trust, write_founding,
};
pub use program::{meets, verify_program};
pub use reappraisal::{
    Reappraised, Verified, apply, current_basis, judged_at, next_deadline, renew, renewal_due, verify_all, would_change,
};

pub(crate) use appraisal::{admit_appraised, founder};
pub(crate) use decisions::record;
