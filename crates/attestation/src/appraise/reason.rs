//! Why genuine evidence is not accepted: one variant for every rule.

use crate::TeeKind;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reason {
    #[error("the network accepts no {0} nodes")]
    PlatformNotAccepted(TeeKind),
    #[error("the code with measurement {0} is not in the network's policy")]
    MeasurementNotAccepted(String),
    #[error("the guest can be debugged by its host")]
    Debug,

    // SEV-SNP.
    #[error("the guest can be migrated by an agent")]
    MigrationAgent,
    #[error("{did} with the feed {feed} is not an accepted endorser")]
    EndorserNotAllowed { did: String, feed: String },
    #[error("the endorsed version {found} is below {minimum}")]
    UvmSvnTooLow { found: u64, minimum: u64 },
    #[error("the endorsement was signed at {found}, before {minimum}")]
    UvmSignedTooEarly { found: u64, minimum: u64 },
    #[error("host data {0} are not in the policy")]
    HostDataNotAccepted(String),
    #[error("privilege level {0} is not accepted")]
    VmplNotAccepted(u32),
    #[error("the {what} {found} is not in the policy")]
    IdentityNotAccepted { what: &'static str, found: String },
    #[error("the guest's version {found} is below {minimum}")]
    GuestSvnTooLow { found: u32, minimum: u32 },
    #[error("there is no minimum TCB for the product {0}")]
    ProductNotAccepted(String),
    #[error("the {which} TCB's {component} {found} is below {minimum}")]
    TcbTooLow { which: &'static str, component: &'static str, found: u8, minimum: u8 },
    #[error("reports of version 2 are not accepted for the product {0}")]
    ReportVersionNotAccepted(String),
    #[error("the signing key of {0} is not accepted")]
    CspNotAccepted(String),
    #[error("the platform has {0}")]
    PlatformSetting(&'static str),

    // Intel.
    #[error("the TCB status {0} is not accepted")]
    StatusNotAccepted(String),
    #[error("the TCB status {status} was accepted until {until}")]
    GraceOver { status: String, until: u64 },
    #[error("the platform is affected by {0}")]
    AdvisoryRejected(String),
    #[error("the TCB evaluation number {found} is below {minimum}")]
    EvaluationNumberTooLow { found: u32, minimum: u32 },
    #[error("the trust domain's attributes {found:#x} are not accepted: {why}")]
    AttributesNotAccepted { found: u64, why: &'static str },
    #[error("the SEAM module {0} is not in the policy")]
    SeamModuleNotAccepted(String),
    #[error("a service TD is bound: {0}")]
    ServiceTdNotAccepted(String),
    #[error("the enclave's configuration {0} is not in the policy")]
    ConfigNotAccepted(String),

    // Azure, Nitro, CCA, VBS.
    #[error("what booted behind the paravisor matches none of the accepted sets of PCRs")]
    BootNotAccepted,
    #[error("there is no boot log that says what was measured into PCR {pcr}")]
    BootLogMissing { pcr: u8 },
    #[error("{digest} was measured into PCR {pcr}, and is not in the policy")]
    BootEventNotAccepted { pcr: u8, digest: String },
    #[error("secure boot is off, or is not told")]
    SecureBootOff,
    #[error("the serial console is on, or is not told")]
    ConsoleOn,
    #[error("the platform's lifecycle {0:#06x} is not secured")]
    LifecycleNotSecured(u16),
    #[error("the firmware component {0} is not in the policy")]
    ComponentUnknown(String),
    #[error("the module {0} is not in the policy")]
    ModuleNotAccepted(String),
    #[error("the {what} version {found} is below {minimum}")]
    VersionTooLow { what: &'static str, found: u32, minimum: u32 },
    #[error("the boot setting {setting} is {found:?}, not {expected}")]
    BootSetting { setting: String, found: Option<u64>, expected: u64 },

    // The network.
    #[error("{count} nodes would be {kind}, at most {limit} may")]
    TooManyOfKind { kind: TeeKind, count: u32, limit: u32 },
    #[error("{count} nodes would trust {vendor}, at most {limit} may")]
    TooManyOfVendor { vendor: &'static str, count: u32, limit: u32 },
    #[error("the machine {id} runs node {node} already")]
    HardwareIdInUse { id: String, node: coco_types::NodeId },
    #[error("the machine {0} is not in the policy")]
    HardwareIdNotAllowed(String),
    #[error("the machine {0} is excluded")]
    HardwareDenied(String),
    #[error("the platform does not say on which machine it runs")]
    HardwareUnidentified,

    // Judging again.
    #[error("the evidence no longer verifies: {0}")]
    NoLongerGenuine(String),
    #[error("the evidence is {age_s} s old, at most {limit_s} s are allowed")]
    EvidenceTooOld { age_s: u64, limit_s: u64 },
}
