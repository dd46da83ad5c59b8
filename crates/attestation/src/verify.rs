//! The two ways to look at evidence: for somebody who made a binding, and without one.

use coco_crypto::{constant_time_eq, sha256};

use crate::claims::{Bound, Claims};
use crate::{Evidence, ReportData, Trust, VerifyError, platforms};

/// When things must hold, Unix seconds. At an admission both are the same. A node that is judged again later had its certificates judged
/// when it joined (a Nitro leaf lives three hours), while revocation and TCB are judged now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// For the certificates that came with the evidence.
    pub evidence: u64,
    /// For revocation lists and other collateral.
    pub collateral: u64,
}

impl From<u64> for Moment {
    fn from(at: u64) -> Self {
        Self { evidence: at, collateral: at }
    }
}

/// Evidence that is genuine and is about what it should be. Only [`verify`] makes one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedEvidence(Claims);

impl VerifiedEvidence {
    pub fn claims(&self) -> &Claims {
        &self.0
    }
}

/// Checks that evidence is genuine at `at` (Unix seconds, or two of them) and covers `expected`. Pure and bounded: the same inputs give the same
/// answer on every node and in ten years. Whether it is acceptable is for [`crate::appraise`].
pub fn verify(
    evidence: &Evidence,
    expected: &ReportData,
    trust: &Trust,
    at: impl Into<Moment>,
) -> Result<VerifiedEvidence, VerifyError> {
    let claims = examine(evidence, trust, at)?;
    check_binding(&claims.bound, expected)?;
    Ok(VerifiedEvidence(claims))
}

/// As [`verify`], for evidence of which nobody knows what it should cover: for tools that explain it. Admits nobody.
pub fn examine(evidence: &Evidence, trust: &Trust, at: impl Into<Moment>) -> Result<Claims, VerifyError> {
    evidence.check_size()?;
    platforms::verify(evidence, trust, at.into())
}

fn check_binding(bound: &Bound, expected: &ReportData) -> Result<(), VerifyError> {
    let same = match bound {
        Bound::ReportData(found) => constant_time_eq(found, &expected.0),
        Bound::UserData(found) => found.as_deref().is_some_and(|found| constant_time_eq(found, &expected.0)),
        Bound::Vtpm { user_data, extra_data } => {
            // 32 bytes: a TPM takes no more than its largest hash.
            if !constant_time_eq(extra_data, &sha256(&expected.0).0) {
                return Err(VerifyError::TpmNonceMismatch);
            }
            user_data.as_deref().is_none_or(|found| constant_time_eq(found, &expected.0))
        }
    };
    if same { Ok(()) } else { Err(VerifyError::ReportDataMismatch) }
}
