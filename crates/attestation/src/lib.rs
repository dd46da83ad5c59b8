//! Prove and check what code runs where.
//!
//! ```text
//!   EvidenceSource (node side)          verify (pure)                     appraise (pure)
//!   report_data ─▶ Evidence ────▶ verify(evidence, report_data) ─▶ Claims ─▶ appraise(claims, policy) ─▶ Decision
//! ```
//!
//! Verification answers "is this genuine?" and knows no clock, file or network; appraisal answers "do we accept it?" from what the
//! members voted, with every reason that speaks against. One file per platform under `platforms/`.
//!
//! Only the *virtual* platform is here so far: it has the whole path and no protection.

mod appraise;
mod binding;
mod evidence;
pub mod platforms;

pub use appraise::{Decision, Policy, Reason, appraise};
pub use binding::{Binding, ReportData};
pub use evidence::{Claims, Evidence, EvidenceSource, TeeKind, VerifyError, verify};
