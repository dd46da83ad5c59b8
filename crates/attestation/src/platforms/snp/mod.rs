//! AMD SEV-SNP: the processor's report, the chain up to AMD's root, and what a cloud endorses about its utility VM.
//!
//! ```text
//!   ARK (anchor, one a product) ─▶ ASK  ─▶ VCEK (one chip at one firmware version)  ─▶ report
//!                               └▶ ASVK ─▶ VLEK (one cloud at one firmware version) ─▶ report
//! ```
//!
//! The certificate's firmware version must *equal* the reported one: the key was derived from exactly that.

pub mod report;
pub mod uvm;

use coco_crypto::{ForeignCertificate, Hash, Scheme};

use crate::chain::{self, Revocation};
use crate::claims::{Bound, Claims, Details, Isolation, SnpClaims, SnpTcb};
use crate::trust::Trust;
use crate::{Aux, Evidence, Moment, TeeKind, VerifyError, Window, der};
use report::{Product, Report, Signer};

/// Extensions of AMD's leaf certificates (AMD 57230).
const OID_PRODUCT: &str = "1.3.6.1.4.1.3704.1.2";
const OID_BOOT_LOADER: &str = "1.3.6.1.4.1.3704.1.3.1";
const OID_TEE: &str = "1.3.6.1.4.1.3704.1.3.2";
const OID_SNP: &str = "1.3.6.1.4.1.3704.1.3.3";
const OID_MICROCODE: &str = "1.3.6.1.4.1.3704.1.3.8";
const OID_FMC: &str = "1.3.6.1.4.1.3704.1.3.9";
const OID_HARDWARE_ID: &str = "1.3.6.1.4.1.3704.1.4";
const OID_CSP_ID: &str = "1.3.6.1.4.1.3704.1.5";

const POLICY_DEBUG: u64 = 1 << 19;
const POLICY_MIGRATION_AGENT: u64 = 1 << 18;
/// Higher levels are the host's own.
const VMPL_MAX: u32 = 3;

pub(crate) fn verify(evidence: &Evidence, trust: &Trust, at: Moment) -> Result<Claims, VerifyError> {
    let certificates = chain::from_pem(evidence.aux(Aux::Certificates)?)?;
    let verified = verify_report(&evidence.raw, &certificates, trust, at)?;
    let uvm = match evidence.aux.get(&Aux::UvmEndorsement) {
        Some(cose) => Some(uvm::verify(cose, &verified.claims.measurement)?),
        None => None,
    };
    Ok(Claims {
        kind: TeeKind::SevSnp,
        debug: verified.claims.policy & POLICY_DEBUG != 0,
        isolation: Isolation::Hardware,
        hardware_id: verified.hardware_id,
        validity: verified.validity,
        roots: vec![verified.root],
        bound: Bound::ReportData(verified.report_data),
        details: Details::SevSnp(Box::new(SnpClaims { uvm, ..verified.claims })),
    })
}

/// A genuine report, wherever it was found.
pub(crate) struct VerifiedReport {
    pub claims: SnpClaims,
    pub report_data: [u8; 64],
    pub hardware_id: Option<String>,
    pub validity: Window,
    pub root: coco_types::Digest,
}

pub(crate) fn verify_report(
    raw: &[u8],
    certificates: &[ForeignCertificate],
    trust: &Trust,
    at: Moment,
) -> Result<VerifiedReport, VerifyError> {
    let report = Report::parse(raw)?;
    let leaf = Leaf::find(certificates)?;
    let product = match report.product()? {
        Some(product) if product != leaf.product => {
            return Err(VerifyError::ProductMismatch {
                report: product.as_str().to_owned(),
                certificate: leaf.product.as_str().to_owned(),
            });
        }
        // Version 2 does not name the processor: the certificate does, and policy must have named that product.
        _ => leaf.product,
    };
    if report.signer()? != leaf.signer {
        return Err(VerifyError::SigningKeyMismatch);
    }
    if report.chip_key_masked() {
        return Err(VerifyError::ChipKeyMasked);
    }
    let chain = chain::build(leaf.certificate.clone(), certificates)?;
    let validity = chain::verify(&chain, product.root(), Revocation::Authorities, trust, at)?;
    let scheme = Scheme::EcdsaFixed(Hash::Sha384);
    let signed = leaf.certificate.key().verify(scheme, report.signed(), &report.signature()?);
    signed.map_err(|_| VerifyError::SignatureInvalid { what: "report" })?;
    let reported_tcb = report.reported_tcb(product)?;
    check_tcb(&reported_tcb, &leaf.tcb)?;
    let hardware_id = leaf.check_chip(&report)?;
    if report.vmpl() > VMPL_MAX {
        return Err(VerifyError::HostMadeReport { vmpl: report.vmpl() });
    }
    Ok(VerifiedReport {
        claims: snp_claims(&report, product, reported_tcb, &leaf)?,
        report_data: report.report_data(),
        hardware_id,
        validity,
        root: chain.last().map(ForeignCertificate::fingerprint).unwrap_or_default(),
    })
}

fn snp_claims(
    report: &Report<'_>,
    product: Product,
    reported_tcb: SnpTcb,
    leaf: &Leaf,
) -> Result<SnpClaims, VerifyError> {
    let policy = report.policy();
    Ok(SnpClaims {
        version: report.version(),
        product: product.as_str().to_owned(),
        measurement: report.measurement(),
        host_data: report.host_data(),
        id_key_digest: report.id_key_digest(),
        author_key_digest: report.author_key_digest(),
        family_id: report.family_id(),
        image_id: report.image_id(),
        guest_svn: report.guest_svn(),
        vmpl: report.vmpl(),
        policy,
        platform_info: report.platform_info(),
        migration_agent: policy & POLICY_MIGRATION_AGENT != 0,
        reported_tcb,
        committed_tcb: report.committed_tcb(product)?,
        launch_tcb: report.launch_tcb(product)?,
        csp_id: leaf.csp_id.clone(),
        uvm: None,
    })
}

/// The certificate of the key that signed a report.
struct Leaf {
    certificate: ForeignCertificate,
    signer: Signer,
    product: Product,
    tcb: SnpTcb,
    hardware_id: Option<Vec<u8>>,
    csp_id: Option<String>,
}

impl Leaf {
    fn find(certificates: &[ForeignCertificate]) -> Result<Self, VerifyError> {
        let leaf = certificates.iter().find(|certificate| certificate.extension(OID_BOOT_LOADER).is_some());
        let leaf = leaf.ok_or_else(|| malformed("none of the certificates is a VCEK or VLEK"))?;
        let level = |oid: &str| -> Result<u8, VerifyError> {
            let content = leaf.extension(oid).ok_or_else(|| malformed("a firmware version is missing"))?;
            der::byte(content).ok_or_else(|| malformed("a firmware version is not a byte"))
        };
        let product = leaf.extension(OID_PRODUCT).and_then(ia5_string);
        let product = product.as_deref().and_then(Product::from_certificate);
        let product = product.ok_or_else(|| malformed("its product is unknown"))?;
        let csp_id = match leaf.extension(OID_CSP_ID) {
            Some(content) => Some(ia5_string(content).ok_or_else(|| malformed("its CSP id is not text"))?),
            None => None,
        };
        Ok(Self {
            signer: if csp_id.is_some() { Signer::Vlek } else { Signer::Vcek },
            product,
            tcb: SnpTcb {
                fmc: if product == Product::Turin { level(OID_FMC)? } else { 0 },
                boot_loader: level(OID_BOOT_LOADER)?,
                tee: level(OID_TEE)?,
                snp: level(OID_SNP)?,
                microcode: level(OID_MICROCODE)?,
            },
            // Raw bytes, not wrapped in DER.
            hardware_id: leaf.extension(OID_HARDWARE_ID).map(<[u8]>::to_vec),
            csp_id,
            certificate: leaf.clone(),
        })
    }

    /// A VCEK is one chip's. A VLEK is a cloud's, and says nothing about the chip.
    fn check_chip(&self, report: &Report<'_>) -> Result<Option<String>, VerifyError> {
        if self.signer == Signer::Vlek {
            return Ok(None);
        }
        let expected_len = if self.product == Product::Turin { 8 } else { 64 };
        let id = self.hardware_id.as_deref().filter(|id| id.len() == expected_len);
        let id = id.ok_or(VerifyError::HardwareIdMismatch)?;
        let chip = report.chip_id();
        let (reported, rest) = chip.split_at_checked(expected_len).ok_or(VerifyError::HardwareIdMismatch)?;
        if reported != id || rest.iter().any(|byte| *byte != 0) {
            return Err(VerifyError::HardwareIdMismatch);
        }
        Ok(Some(format!("amd-chip:{}", hex::encode(id))))
    }
}

fn check_tcb(report: &SnpTcb, certificate: &SnpTcb) -> Result<(), VerifyError> {
    let components = [
        ("fmc", report.fmc, certificate.fmc),
        ("boot_loader", report.boot_loader, certificate.boot_loader),
        ("tee", report.tee, certificate.tee),
        ("snp", report.snp, certificate.snp),
        ("microcode", report.microcode, certificate.microcode),
    ];
    match components.into_iter().find(|(_, report, certificate)| report != certificate) {
        Some((component, report, certificate)) => Err(VerifyError::TcbMismatch { component, report, certificate }),
        None => Ok(()),
    }
}

fn ia5_string(content: &[u8]) -> Option<String> {
    let value = der::only(content).filter(|value| value.tag == der::IA5_STRING)?;
    String::from_utf8(value.content.to_vec()).ok().filter(|text| text.is_ascii())
}

fn malformed(why: &str) -> VerifyError {
    VerifyError::CertificateMalformed { why: why.to_owned() }
}
