//! Vendors that do not exist: evidence of every TEE, byte for byte in its real format, under roots of its own.
//!
//! The production verifiers run on it unchanged; only the anchors differ, and those come from a genesis or a vote. **For tests only**:
//! nothing that is shipped depends on this crate. Every root's name begins with `TEST`, and a network that accepts one says so wherever
//! it shows its anchors ([`coco_attestation::Anchors::foreign_roots`]).
//!
//! Keys are drawn afresh, so nothing here is deterministic; and nothing here is careful about input, which is always a test's own.

pub mod azure;
pub mod cca;
pub mod certificate;
pub mod der;
pub mod intel;
pub mod key;
pub mod machine;
pub mod nitro;
pub mod snp;
pub mod tpm;
pub mod vbs;
pub mod vtpm;

use coco_attestation::{Evidence, EvidenceSource, ReportData, SourceError, TeeKind};

/// A machine of a test: makes evidence as the closure says.
pub struct Minted<F> {
    pub kind: TeeKind,
    pub mint: F,
}

impl<F: Fn(&ReportData) -> Evidence + Send + Sync> EvidenceSource for Minted<F> {
    fn kind(&self) -> TeeKind {
        self.kind
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, SourceError> {
        Ok((self.mint)(report_data))
    }
}
