//! The virtual platform: evidence that anyone can make. It exercises the whole path in development, and protects nothing.
//!
//! Format: the 32-byte measurement, then the 64 bytes of report data.

use coco_types::Digest;

use crate::claims::{Bound, Claims, Details, Isolation, Window};
use crate::{Evidence, EvidenceSource, ReportData, SourceError, TeeKind, VerifyError};

/// Says of the running code what it is told to say.
pub struct VirtualTee {
    pub measurement: Digest,
}

impl EvidenceSource for VirtualTee {
    fn kind(&self) -> TeeKind {
        TeeKind::Virtual
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, SourceError> {
        Ok(Evidence::bare(TeeKind::Virtual, [&self.measurement.0[..], &report_data.0].concat()))
    }
}

pub(crate) fn verify(raw: &[u8]) -> Result<Claims, VerifyError> {
    let malformed = |why: &str| VerifyError::Malformed { kind: TeeKind::Virtual, why: why.to_owned() };
    let (measurement, report_data) =
        raw.split_at_checked(32).ok_or_else(|| malformed("it is shorter than 32 bytes"))?;
    let report_data: [u8; 64] = report_data.try_into().map_err(|_| malformed("report data is not 64 bytes"))?;
    let measurement = Digest::try_from(measurement).map_err(|error| malformed(&error.to_string()))?;
    Ok(Claims {
        kind: TeeKind::Virtual,
        debug: false,
        isolation: Isolation::None,
        hardware_id: None,
        validity: Window::ALWAYS,
        roots: Vec::new(),
        details: Details::Virtual { measurement },
        bound: Bound::ReportData(report_data),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Trust, verify};

    const EXPECTED: ReportData = ReportData([1; 64]);
    const TEE: VirtualTee = VirtualTee { measurement: Digest([7; 32]) };

    #[test]
    fn evidence_verifies_for_what_it_was_made_for() {
        let evidence = TEE.evidence(&EXPECTED).unwrap();
        let verified = verify(&evidence, &EXPECTED, &Trust::default(), 0).unwrap();
        assert_eq!(verified.claims().measurement(), TEE.measurement.to_string());
        let other = verify(&evidence, &ReportData([2; 64]), &Trust::default(), 0);
        assert_eq!(other.unwrap_err(), VerifyError::ReportDataMismatch);
    }

    #[test]
    fn truncated_extended_and_oversized_evidence_is_refused() {
        let evidence = TEE.evidence(&EXPECTED).unwrap();
        let with = |raw: Vec<u8>| verify(&Evidence::bare(TeeKind::Virtual, raw), &EXPECTED, &Trust::default(), 0);
        assert!(matches!(with(evidence.raw[..95].to_vec()), Err(VerifyError::Malformed { .. })));
        assert!(matches!(with([&evidence.raw[..], &[0]].concat()), Err(VerifyError::Malformed { .. })));
        assert!(matches!(with(vec![0; 3]), Err(VerifyError::Malformed { .. })));
        assert!(matches!(with(vec![0; 1 << 20]), Err(VerifyError::TooLarge { .. })));
    }
}
