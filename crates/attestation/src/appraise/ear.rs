//! A judgement as relying parties of other systems read it: an attestation result in the shape of EAR (draft-ietf-rats-ear), with the trustworthiness
//! vector of AR4SI (draft-ietf-rats-ar4si), in RFC 9334's roles. Both are drafts, so this claims no profile, and it is not signed: whoever
//! wants a signed one signs what they have checked themselves.

use serde_json::{Map, Value, json};

use super::{Decision, Reason};
use crate::claims::{Claims, Details, Isolation};
use crate::{TeeKind, VerifyError};

/// AR4SI's tiers, and the values within them that are used here.
const NO_CLAIM: u8 = 0;
const AFFIRMING: u8 = 2;
const WARNING: u8 = 32;
const CONTRAINDICATED: u8 = 96;
/// Cryptographic validation of the evidence failed.
const NOT_GENUINE: u8 = 99;
/// Seen from whoever shares the machine: visible to all of it.
const VISIBLE: u8 = 96;

/// What a reason speaks against.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Aspect {
    InstanceIdentity,
    Configuration,
    Executables,
    Hardware,
    RuntimeOpaque,
}

const ASPECTS: [(Aspect, &str); 5] = [
    (Aspect::InstanceIdentity, "instance-identity"),
    (Aspect::Configuration, "configuration"),
    (Aspect::Executables, "executables"),
    (Aspect::Hardware, "hardware"),
    (Aspect::RuntimeOpaque, "runtime-opaque"),
];
/// Nothing that is verified here says anything about these.
const UNCLAIMED: [&str; 3] = ["file-system", "storage-opaque", "sourced-data"];

/// Evidence of `kind` that was judged at `at`, Unix seconds.
pub fn ear(kind: TeeKind, judged: Result<(&Claims, &Decision), &VerifyError>, at: u64) -> Value {
    let vector: Map<String, Value> = match judged {
        Ok((claims, decision)) => named(|aspect| value(aspect, claims, decision)),
        Err(_) => named(|_| NOT_GENUINE),
    };
    let worst = vector.values().filter_map(Value::as_u64).max().unwrap_or_default();
    json!({
        "iat": at,
        "ear.verifier-id": { "developer": env!("CARGO_PKG_REPOSITORY"), "build": concat!("coco ", env!("CARGO_PKG_VERSION")) },
        "submods": { (kind.as_str()): { "ear.status": status(worst), "ear.trustworthiness-vector": vector } },
    })
}

fn named(value: impl Fn(Aspect) -> u8) -> Map<String, Value> {
    let claimed = ASPECTS.iter().map(|(aspect, name)| ((*name).to_owned(), value(*aspect).into()));
    claimed.chain(UNCLAIMED.iter().map(|name| ((*name).to_owned(), NO_CLAIM.into()))).collect()
}

fn value(aspect: Aspect, claims: &Claims, decision: &Decision) -> u8 {
    if decision.reasons.iter().any(|reason| reason.aspect() == aspect) {
        return CONTRAINDICATED;
    }
    match aspect {
        Aspect::Hardware if claims.isolation == Isolation::None => NO_CLAIM,
        Aspect::Hardware if has_known_weakness(&claims.details) => WARNING,
        Aspect::InstanceIdentity if claims.hardware_id.is_none() => NO_CLAIM,
        Aspect::RuntimeOpaque => match claims.isolation {
            Isolation::None => VISIBLE,
            Isolation::Software => WARNING,
            Isolation::Hardware | Isolation::HardwareWithParavisor => AFFIRMING,
        },
        _ => AFFIRMING,
    }
}

/// Accepted by a vote, and not what its maker calls up to date.
fn has_known_weakness(details: &Details) -> bool {
    match details {
        Details::Tdx(tdx) => tdx.tcb.status != "UpToDate",
        Details::Sgx(sgx) => sgx.tcb.status != "UpToDate",
        Details::Azure(azure) => has_known_weakness(&azure.hardware),
        _ => false,
    }
}

fn status(worst: u64) -> &'static str {
    match worst {
        0..=1 => "none",
        2..=31 => "affirming",
        32..=95 => "warning",
        _ => "contraindicated",
    }
}

impl Reason {
    pub(super) fn aspect(&self) -> Aspect {
        match self {
            Self::MeasurementNotAccepted(_)
            | Self::EndorserNotAllowed { .. }
            | Self::UvmSvnTooLow { .. }
            | Self::UvmSignedTooEarly { .. }
            | Self::HostDataNotAccepted(_)
            | Self::IdentityNotAccepted { .. }
            | Self::GuestSvnTooLow { .. }
            | Self::BootNotAccepted
            | Self::BootLogMissing { .. }
            | Self::BootEventNotAccepted { .. }
            | Self::ModuleNotAccepted(_)
            | Self::ServiceTdNotAccepted(_) => Aspect::Executables,
            Self::MigrationAgent
            | Self::VmplNotAccepted(_)
            | Self::PlatformSetting(_)
            | Self::AttributesNotAccepted { .. }
            | Self::ConfigNotAccepted(_)
            | Self::SecureBootOff
            | Self::ConsoleOn
            | Self::BootSetting { .. } => Aspect::Configuration,
            Self::PlatformNotAccepted(_)
            | Self::ProductNotAccepted(_)
            | Self::TcbTooLow { .. }
            | Self::ReportVersionNotAccepted(_)
            | Self::CspNotAccepted(_)
            | Self::StatusNotAccepted(_)
            | Self::GraceOver { .. }
            | Self::AdvisoryRejected(_)
            | Self::EvaluationNumberTooLow { .. }
            | Self::SeamModuleNotAccepted(_)
            | Self::LifecycleNotSecured(_)
            | Self::ComponentUnknown(_)
            | Self::VersionTooLow { .. }
            | Self::NoLongerGenuine(_) => Aspect::Hardware,
            Self::TooManyOfKind { .. }
            | Self::TooManyOfVendor { .. }
            | Self::HardwareIdInUse { .. }
            | Self::HardwareIdNotAllowed(_)
            | Self::HardwareDenied(_)
            | Self::HardwareUnidentified
            | Self::EvidenceTooOld { .. } => Aspect::InstanceIdentity,
            Self::Debug => Aspect::RuntimeOpaque,
        }
    }
}

#[cfg(test)]
mod tests {
    use coco_types::Digest;

    use super::*;
    use crate::claims::{Bound, Window};

    fn claims(isolation: Isolation, hardware_id: Option<&str>) -> Claims {
        Claims {
            kind: TeeKind::SevSnp,
            debug: false,
            isolation,
            hardware_id: hardware_id.map(str::to_owned),
            validity: Window::ALWAYS,
            roots: Vec::new(),
            details: Details::Virtual { measurement: Digest::ZERO, host_data: None },
            bound: Bound::ReportData([0; 64]),
        }
    }

    fn judged(claims: &Claims, reasons: Vec<Reason>) -> Value {
        let decision = Decision { reasons, passed: Vec::new() };
        ear(TeeKind::SevSnp, Ok((claims, &decision)), 7)["submods"]["sev_snp"].clone()
    }

    #[test]
    fn a_node_that_nothing_speaks_against_is_affirmed_and_what_is_not_known_is_not_claimed() {
        let result = judged(&claims(Isolation::Hardware, Some("chip")), Vec::new());
        assert_eq!(result["ear.status"], "affirming");
        let vector = &result["ear.trustworthiness-vector"];
        assert_eq!((&vector["hardware"], &vector["executables"]), (&json!(2), &json!(2)));
        assert_eq!((&vector["file-system"], vector.as_object().unwrap().len()), (&json!(0), 8));
        let nameless = judged(&claims(Isolation::Hardware, None), Vec::new());
        assert_eq!(nameless["ear.trustworthiness-vector"]["instance-identity"], 0);
    }

    #[test]
    fn a_reason_counts_against_what_it_is_about() {
        let reasons = vec![Reason::MeasurementNotAccepted("ab".to_owned()), Reason::ConsoleOn];
        let result = judged(&claims(Isolation::Hardware, Some("chip")), reasons);
        assert_eq!(result["ear.status"], "contraindicated");
        let vector = &result["ear.trustworthiness-vector"];
        assert_eq!([&vector["executables"], &vector["configuration"], &vector["hardware"]], [96, 96, 2]);
    }

    #[test]
    fn software_isolation_is_a_warning_and_none_is_no_secret() {
        assert_eq!(judged(&claims(Isolation::Software, Some("tpm")), Vec::new())["ear.status"], "warning");
        assert_eq!(judged(&claims(Isolation::None, None), Vec::new())["ear.status"], "contraindicated");
        let forged = ear(TeeKind::Tdx, Err(&VerifyError::SignatureInvalid { what: "quote" }), 7);
        assert_eq!(forged["submods"]["tdx"]["ear.trustworthiness-vector"]["hardware"], 99);
    }
}
