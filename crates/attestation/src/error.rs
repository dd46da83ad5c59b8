//! Why evidence is not genuine, or not about this node: one variant for every check.

use crate::TeeKind;

/// Times are Unix seconds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    // Any platform.
    #[error("evidence of {found} bytes is larger than the limit of {limit}")]
    TooLarge { found: usize, limit: usize },
    #[error("malformed {kind} evidence: {why}")]
    Malformed { kind: TeeKind, why: String },
    #[error("evidence of {found} bytes, {expected} expected")]
    BadLength { found: usize, expected: usize },
    #[error("{count} bytes follow the evidence")]
    TrailingBytes { count: usize },
    #[error("the evidence is about another node, configuration or challenge (report data mismatch)")]
    ReportDataMismatch,
    #[error("nothing to verify the evidence with: {what} was not supplied")]
    AuxMissing { what: &'static str },
    #[error("version {found} of the evidence is not supported")]
    VersionUnsupported { found: u32 },
    #[error("a reserved field at byte {at} is not zero")]
    ReservedNotZero { at: usize },
    #[error("signature algorithm {found} is not supported")]
    AlgorithmUnsupported { found: i64 },
    #[error("the signature of the {what} does not verify")]
    SignatureInvalid { what: &'static str },

    // Chains of certificates and revocation lists.
    #[error("malformed certificate: {why}")]
    CertificateMalformed { why: String },
    #[error("the chain of certificates is broken: {why}")]
    ChainBroken { why: String },
    #[error("no anchor is accepted for {root}")]
    AnchorMissing { root: &'static str },
    #[error("the root {found} is not an accepted anchor of {root}")]
    AnchorMismatch { root: &'static str, found: coco_types::Digest },
    #[error("the certificate of {subject} expired at {not_after}, before {at}")]
    CertificateExpired { subject: String, not_after: u64, at: u64 },
    #[error("the certificate of {subject} is not valid until {not_before}, after {at}")]
    CertificateNotYetValid { subject: String, not_before: u64, at: u64 },
    #[error("there is no revocation list of {issuer}")]
    CrlMissing { issuer: String },
    #[error("the revocation list of {issuer} expired at {next_update}, before {at}")]
    CrlExpired { issuer: String, next_update: u64, at: u64 },
    #[error("the revocation list of {issuer} is not valid until {this_update}, after {at}")]
    CrlNotYetValid { issuer: String, this_update: u64, at: u64 },
    #[error("the revocation list of {issuer} is not genuine")]
    CrlInvalid { issuer: String },
    #[error("the certificate of {subject} is revoked")]
    Revoked { subject: String },

    // AMD SEV-SNP.
    #[error("the processor (family {family:#x}, model {model:#x}) is of no known product")]
    ProductUnknown { family: u8, model: u8 },
    #[error("the report is of a {report}, the certificate of a {certificate}")]
    ProductMismatch { report: String, certificate: String },
    #[error("the report says that another kind of key signed it")]
    SigningKeyMismatch,
    #[error("the report hides its chip's key")]
    ChipKeyMasked,
    #[error("the firmware version {component} is {report} in the report and {certificate} in the certificate")]
    TcbMismatch { component: &'static str, report: u8, certificate: u8 },
    #[error("the report is of another chip than the certificate")]
    HardwareIdMismatch,
    #[error("the report was made by the host (privilege level {vmpl})")]
    HostMadeReport { vmpl: u32 },

    // Endorsements of utility VMs.
    #[error("malformed UVM endorsement: {why}")]
    UvmMalformed { why: String },
    #[error("the UVM endorsement is of an unsupported form: {why}")]
    UvmFormatUnsupported { why: String },
    #[error("the UVM endorsement's issuer does not match its certificates: {why}")]
    UvmDidMismatch { why: String },
    #[error("the UVM endorsement's chain is broken: {why}")]
    UvmChainBroken { why: String },
    #[error("the UVM endorsement's signature does not verify")]
    UvmSignatureInvalid,
    #[error("the UVM endorsement is of another measurement")]
    UvmMeasurementMismatch,

    // Intel DCAP.
    #[error("attestation key type {found} is not supported")]
    KeyTypeUnsupported { found: u16 },
    #[error("the quote is of another kind of TEE ({found:#x})")]
    TeeTypeMismatch { found: u32 },
    #[error("the quote is by another quoting enclave than Intel's")]
    VendorUnknown,
    #[error("certification data of type {found} is not supported")]
    CertificationDataUnsupported { found: u16 },
    #[error("there is no {what} on the ledger")]
    CollateralMissing { what: String },
    #[error("the {what} is not readable: {why}")]
    CollateralMalformed { what: &'static str, why: String },
    #[error("the signature of the {what} does not verify")]
    CollateralSignatureInvalid { what: &'static str },
    #[error("the {what} is of another kind or version: {found}")]
    CollateralWrongKind { what: &'static str, found: String },
    #[error("the {what} expired at {next_update}, before {at}")]
    CollateralExpired { what: &'static str, next_update: u64, at: u64 },
    #[error("the {what} is not valid until {issued}, after {at}")]
    CollateralNotYetValid { what: &'static str, issued: u64, at: u64 },
    #[error("the quoting enclave's report does not verify under the processor's certificate")]
    QeSignatureInvalid,
    #[error("the quoting enclave's report is about another attestation key")]
    QeBindingMismatch,
    #[error("the quoting enclave is not Intel's: its {field} differs")]
    QeIdentityMismatch { field: &'static str },
    #[error("the quoting enclave's version {isvsvn} is below every level of its identity")]
    QeTcbUnsupported { isvsvn: u16 },
    #[error("the processor's {field} is {processor}, the TCB info's {tcb_info}")]
    FmspcMismatch { field: &'static str, processor: String, tcb_info: String },
    #[error("the TDX module's {field} is not what Intel says")]
    TdxModuleMismatch { field: &'static str },
    #[error("TDX module version {version} is unknown to the TCB info")]
    TdxModuleUnknown { version: u8 },
    #[error("the platform's TCB is below every level of the TCB info")]
    TcbLevelNotFound,
    #[error("the platform's TCB level is revoked")]
    TcbRevoked,
    #[error("the trust domain's attributes are not safe: {why}")]
    TdAttributesUnsafe { why: &'static str },
    #[error("the quote is refused by the DCAP verifier: {why}")]
    DcapRefused { why: String },

    // COSE: Nitro, CCA.
    #[error("malformed COSE message: {why}")]
    CoseMalformed { why: &'static str },
    #[error("malformed attestation document: {why}")]
    DocumentMalformed { why: String },
    #[error("the document's time {timestamp} is outside its chain's validity")]
    TimestampOutsideChain { timestamp: u64 },
    #[error("malformed token: {why}")]
    TokenMalformed { why: String },
    #[error("the claim {claim} appears twice")]
    DuplicateClaim { claim: String },
    #[error("the claim {claim} is missing")]
    ClaimMissing { claim: i64 },
    #[error("the profile of the {token} token is not acceptable: {found}")]
    ProfileMismatch { token: &'static str, found: String },
    #[error("no anchor is accepted for the instance {instance}")]
    AnchorUnknown { instance: String },
    #[error("a key is not valid: {why}")]
    KeyInvalid { why: &'static str },
    #[error("the realm token's signature does not verify")]
    RealmSignatureInvalid,
    #[error("the platform token does not bind the realm's key")]
    RealmBindingMismatch,

    // Azure's paravisor, and TPMs.
    #[error("malformed HCL report: {why}")]
    HclMalformed { why: String },
    #[error("the HCL report's hash type {found} is not supported")]
    HclHashTypeUnsupported { found: u32 },
    #[error("the hardware report does not bind the HCL's runtime data")]
    HclBindingMismatch,
    #[error("the runtime data name no attestation key, or several")]
    AkMissing,
    #[error("the trust domain's quote is of another report than the HCL's")]
    QuoteReportMismatch,
    #[error("malformed TPM quote: {why}")]
    TpmMalformed { why: &'static str },
    #[error("the TPM quote was not made by a TPM (magic {found:#x})")]
    TpmMagicWrong { found: u32 },
    #[error("the TPM attested something other than a quote ({found:#x})")]
    TpmTypeWrong { found: u16 },
    #[error("the TPM quote's signature does not verify")]
    TpmSignatureInvalid,
    #[error("the TPM quote answers another challenge")]
    TpmNonceMismatch,
    #[error("the PCR values are not those that the TPM quoted")]
    PcrDigestMismatch,
    #[error("the TPM quote does not cover PCR {missing}")]
    PcrSelectionIncomplete { missing: u8 },

    // Windows VBS.
    #[error("malformed VBS report: {why}")]
    VbsMalformed { why: &'static str },
    #[error("the VBS report's signature scheme {found} is not supported")]
    SchemeUnsupported { found: u32 },
    #[error("malformed event log: {why}")]
    EventLogMalformed { why: &'static str },
    #[error("the event log does not lead to the quoted value of PCR {pcr}")]
    EventLogPcrMismatch { pcr: u8 },
    #[error("the TPM's attestation key is not certified by an accepted anchor: {why}")]
    AkUntrusted { why: String },
    #[error("the boot log carries no VSM identity signing key")]
    IdksMissing,
    #[error("the boot log carries several VSM identity signing keys")]
    IdksAmbiguous,
}

/// Why a machine gives no evidence.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{what}: {source}")]
    Device { what: String, source: std::io::Error },
    #[error("the device's answer is not usable: {why}")]
    Answer { why: String },
    #[error("this platform's evidence cannot be made here: {why}")]
    Unsupported { why: String },
}
