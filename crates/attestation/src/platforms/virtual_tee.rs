//! The virtual platform: evidence that anyone can make. It exercises the whole path in development, and protects nothing.
//!
//! Format: the 32-byte measurement, then the 64 bytes of report data, then the 32 bytes of host data if it was launched with any.

use coco_types::Digest;

use crate::claims::{Bound, Claims, Details, Isolation, Window};
use crate::{Evidence, EvidenceSource, ReportData, SourceError, TeeKind, VerifyError};

/// Says of the running code what it is told to say.
pub struct VirtualTee {
    pub measurement: Digest,
    /// What it says that it was launched with.
    pub host_data: Option<Digest>,
}

impl VirtualTee {
    /// Code that was launched with nothing.
    pub const fn running(measurement: Digest) -> Self {
        Self { measurement, host_data: None }
    }
}

impl EvidenceSource for VirtualTee {
    fn kind(&self) -> TeeKind {
        TeeKind::Virtual
    }

    fn evidence(&self, report_data: &ReportData) -> Result<Evidence, SourceError> {
        let host_data = self.host_data.as_ref().map_or(&[][..], |host_data| &host_data.0[..]);
        Ok(Evidence::bare(TeeKind::Virtual, [&self.measurement.0[..], &report_data.0, host_data].concat()))
    }
}

pub(crate) fn verify(raw: &[u8]) -> Result<Claims, VerifyError> {
    let malformed = |why: &str| VerifyError::Malformed { kind: TeeKind::Virtual, why: why.to_owned() };
    let (measurement, report_data) =
        raw.split_at_checked(32).ok_or_else(|| malformed("it is shorter than 32 bytes"))?;
    let (report_data, host_data) =
        report_data.split_first_chunk::<64>().ok_or_else(|| malformed("report data is not 64 bytes"))?;
    let digest = |bytes: &[u8]| Digest::try_from(bytes).map_err(|error| malformed(&error.to_string()));
    let measurement = digest(measurement)?;
    let host_data = if host_data.is_empty() { None } else { Some(digest(host_data)?) };
    Ok(Claims {
        kind: TeeKind::Virtual,
        debug: false,
        isolation: Isolation::None,
        hardware_id: None,
        validity: Window::ALWAYS,
        roots: Vec::new(),
        details: Details::Virtual { measurement, host_data },
        bound: Bound::ReportData(*report_data),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appraise::{Reason, appraise};
    use crate::{Policy, Trust, verify};

    const EXPECTED: ReportData = ReportData([1; 64]);
    const TEE: VirtualTee = VirtualTee::running(Digest([7; 32]));

    #[test]
    fn evidence_verifies_for_what_it_was_made_for() {
        let evidence = TEE.evidence(&EXPECTED).unwrap();
        let verified = verify(&evidence, &EXPECTED, &Trust::default(), 0).unwrap();
        assert_eq!(verified.claims().measurement(), TEE.measurement.to_string());
        let other = verify(&evidence, &ReportData([2; 64]), &Trust::default(), 0);
        assert_eq!(other.unwrap_err(), VerifyError::ReportDataMismatch);
    }

    #[test]
    fn host_data_are_judged_once_members_list_any() {
        let judged = |host_data, listed: &[Digest]| {
            let evidence = VirtualTee { host_data, ..TEE }.evidence(&EXPECTED).unwrap();
            let verified = verify(&evidence, &EXPECTED, &Trust::default(), 0).unwrap();
            let mut policy = Policy::for_virtual([TEE.measurement]);
            policy.virtual_tee.host_data = listed.iter().map(ToString::to_string).collect();
            appraise(&verified, &policy, &[], 0).reasons
        };
        let (one, other) = (Digest([1; 32]), Digest([2; 32]));
        assert_eq!(judged(None, &[]), []);
        assert_eq!(judged(Some(one), &[]), []);
        assert_eq!(judged(Some(one), &[other, one]), []);
        assert_eq!(judged(Some(one), &[other]), [Reason::HostDataNotAccepted(one.to_string())]);
        assert_eq!(judged(None, &[other]), [Reason::HostDataNotAccepted(String::new())]);
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
