//! The virtual platform: evidence that anyone can make. It exercises the whole path in development, and protects nothing.
//!
//! Format: the 32-byte measurement, then the 64 bytes of report data.

use coco_types::Digest;

use crate::{Claims, Evidence, EvidenceSource, ReportData, TeeKind, VerifyError};

/// Says of the running code what it is told to say.
pub struct VirtualTee {
    pub measurement: Digest,
}

impl EvidenceSource for VirtualTee {
    fn kind(&self) -> TeeKind {
        TeeKind::Virtual
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, VerifyError> {
        let raw = [&self.measurement.0[..], &report_data.0].concat();
        Ok(Evidence { kind: TeeKind::Virtual, raw })
    }
}

pub(crate) fn verify(raw: &[u8], expected: &ReportData) -> Result<Claims, VerifyError> {
    let malformed = |why: &str| VerifyError::Malformed { kind: TeeKind::Virtual, why: why.to_owned() };
    let (measurement, report_data) =
        raw.split_at_checked(32).ok_or_else(|| malformed("it is shorter than 32 bytes"))?;
    let report_data: [u8; 64] = report_data.try_into().map_err(|_| malformed("report data is not 64 bytes"))?;
    if ReportData(report_data) != *expected {
        return Err(VerifyError::ReportDataMismatch);
    }
    let measurement = Digest::try_from(measurement).map_err(|error| malformed(&error.to_string()))?;
    Ok(Claims { kind: TeeKind::Virtual, measurement })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify;

    const EXPECTED: ReportData = ReportData([1; 64]);
    const TEE: VirtualTee = VirtualTee { measurement: Digest([7; 32]) };

    #[test]
    fn evidence_verifies_for_what_it_was_made_for() {
        let evidence = TEE.evidence(&EXPECTED).unwrap();
        assert_eq!(verify(&evidence, &EXPECTED).unwrap().measurement, TEE.measurement);
        assert_eq!(verify(&evidence, &ReportData([2; 64])), Err(VerifyError::ReportDataMismatch));
    }

    #[test]
    fn truncated_extended_and_oversized_evidence_is_refused() {
        let evidence = TEE.evidence(&EXPECTED).unwrap();
        let with = |raw: Vec<u8>| verify(&Evidence { kind: TeeKind::Virtual, raw }, &EXPECTED);
        assert!(matches!(with(evidence.raw[..95].to_vec()), Err(VerifyError::Malformed { .. })));
        assert!(matches!(with([&evidence.raw[..], &[0]].concat()), Err(VerifyError::Malformed { .. })));
        assert!(matches!(with(vec![0; 3]), Err(VerifyError::Malformed { .. })));
        assert!(matches!(with(vec![0; 1 << 20]), Err(VerifyError::TooLarge { .. })));
    }
}
