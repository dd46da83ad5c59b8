//! Intel SGX and TDX through DCAP: a quote, the processor's chain, and Intel's signed word on which versions are good.
//!
//! ```text
//!   Intel root (anchor) ─▶ PCK CA ─▶ PCK ─▶ report of the quoting enclave ─▶ attestation key ─▶ quote
//!                       └▶ TCB signing ─▶ TCB info (by FMSPC), QE identity
//! ```
//!
//! Each check of the chain is made here, in order, with a reason of its own. Then `dcap-qvl` verifies the same quote from the start and
//! judges levels and statuses; both must agree. A status is a claim: which ones are acceptable is policy's. *Revoked* never is.

mod pck;
pub mod quote;
mod qvl;

use coco_crypto::{ForeignCertificate, ForeignKey, Hash, Scheme, constant_time_eq, sha256};
use dcap_qvl::QuoteCollateralV3;
use serde::Deserialize;

use crate::chain::{self, Revocation};
use crate::claims::{Bound, Claims, DcapTcb, Details, Isolation, SgxClaims, TdxClaims};
use crate::collateral::{SignedText, TextHead};
use crate::trust::{Root, Trust};
use crate::{Evidence, Moment, TeeKind, VerifyError, Window, time};
use pck::Pck;
use quote::{Quote, Tee, field};

const ECDSA: Scheme = Scheme::EcdsaFixed(Hash::Sha256);
/// What `dcap-qvl` says of attributes that no policy may allow, and what it means.
const UNSAFE_ATTRIBUTES: [(&str, &str); 3] = [
    ("Reserved bits in TD attributes", "a reserved one is set"),
    ("TD migration is enabled", "it can be migrated"),
    ("SEPT_VE_DISABLE is not enabled", "its host can inject page faults"),
];
const TD_DEBUG: u64 = 0xff;
const SGX_DEBUG: u64 = 1 << 1;

pub(crate) fn verify(evidence: &Evidence, trust: &Trust, at: Moment) -> Result<Claims, VerifyError> {
    let (expected, found) = match evidence.kind {
        TeeKind::Sgx => (Tee::Sgx, 0x81),
        _ => (Tee::Tdx, 0),
    };
    let quote = Quote::parse(&evidence.raw)?;
    if quote.tee != expected {
        return Err(VerifyError::TeeTypeMismatch { found });
    }
    if quote.len != evidence.raw.len() {
        return Err(VerifyError::TrailingBytes { count: evidence.raw.len() - quote.len });
    }
    let verified = verify_quote(&quote, &evidence.raw, trust, at)?;
    Ok(Claims {
        kind: evidence.kind,
        debug: verified.debug,
        isolation: Isolation::Hardware,
        hardware_id: Some(verified.hardware_id),
        validity: verified.validity,
        roots: vec![verified.root],
        bound: Bound::ReportData(quote.report_data()),
        details: verified.details,
    })
}

/// A quote without the bytes that some sources leave behind it, which nobody signed.
pub fn trimmed(mut quote: Vec<u8>) -> Vec<u8> {
    if let Ok(len) = Quote::parse(&quote).map(|quote| quote.len) {
        quote.truncate(len);
    }
    quote
}

/// Chain and signatures alone, without revocation and Intel's word on versions: gives the FMSPC, by which that word is looked up.
pub fn check_signed(quote: &Quote<'_>, trust: &Trust, at: u64) -> Result<String, VerifyError> {
    let chain = chain::from_pem(quote.certificates)?;
    chain::verify(&chain, Root::Intel, Revocation::Unchecked, trust, at.into())?;
    let pck = chain.first().ok_or_else(|| chain::broken("there is no certificate"))?;
    check_signatures(quote, pck)?;
    Ok(Pck::read(pck)?.fmspc)
}

pub(crate) struct VerifiedQuote {
    pub details: Details,
    pub debug: bool,
    pub hardware_id: String,
    pub validity: Window,
    pub root: coco_types::Digest,
}

/// `raw` is the whole quote.
pub(crate) fn verify_quote(
    quote: &Quote<'_>,
    raw: &[u8],
    trust: &Trust,
    at: Moment,
) -> Result<VerifiedQuote, VerifyError> {
    // Processors' certificates outlive collateral by far, and `dcap-qvl` knows one time.
    let at = at.collateral;
    let chain = chain::from_pem(quote.certificates)?;
    let mut validity = chain::verify(&chain, Root::Intel, Revocation::All, trust, at.into())?;
    let [pck_certificate, pck_ca, .., root] = chain.as_slice() else {
        return Err(chain::broken("a processor's chain has at least three certificates"));
    };
    let pck = Pck::read(pck_certificate)?;
    let collateral = Found::look_up(quote.tee, &pck, trust)?;
    let (info, window) = collateral.tcb_info.verify("TCB info", trust, at)?;
    validity.narrow(window.not_before, window.not_after);
    let (identity, window) = collateral.qe_identity.verify("QE identity", trust, at)?;
    validity.narrow(window.not_before, window.not_after);
    check_kinds(quote.tee, &info, &identity)?;
    check_signatures(quote, pck_certificate)?;
    check_platform(&pck, &info)?;
    let v3 = collateral.for_qvl(pck_ca, root, trust)?;
    let report = qvl::verify(raw, &v3, root.der(), at).map_err(|why| explain(quote, collateral, why))?;
    let tcb = DcapTcb {
        status: report.status.clone(),
        newest_level_date: newest_level_date(&info, collateral.tcb_info),
        advisories: report.advisory_ids.clone(),
        evaluation_number: info.tcb_evaluation_data_number.min(identity.tcb_evaluation_data_number),
        fmspc: pck.fmspc.clone(),
        dynamic_platform: pck.dynamic_platform,
        cached_keys: pck.cached_keys,
        smt: pck.smt,
    };
    let (details, debug) = body_claims(quote, tcb);
    Ok(VerifiedQuote { details, debug, hardware_id: pck.hardware_id(), validity, root: root.fingerprint() })
}

/// The collateral of one platform.
#[derive(Clone, Copy)]
struct Found<'a> {
    tcb_info: &'a SignedText,
    qe_identity: &'a SignedText,
}

impl<'a> Found<'a> {
    fn look_up(tee: Tee, pck: &Pck, trust: &'a Trust) -> Result<Self, VerifyError> {
        let (info, identity) = ids(tee);
        let missing = |what: String| VerifyError::CollateralMissing { what };
        Ok(Self {
            tcb_info: trust
                .collateral
                .tcb_info(info, &pck.fmspc)
                .ok_or_else(|| missing(format!("{info} TCB info of {}", pck.fmspc)))?,
            qe_identity: trust
                .collateral
                .qe_identity(identity)
                .ok_or_else(|| missing(format!("{identity} identity")))?,
        })
    }

    fn for_qvl(
        &self,
        pck_ca: &ForeignCertificate,
        root: &ForeignCertificate,
        trust: &Trust,
    ) -> Result<QuoteCollateralV3, VerifyError> {
        let list = |issuer: &ForeignCertificate| -> Result<Vec<u8>, VerifyError> {
            let list = trust.collateral.crl(issuer.subject_der())?;
            let missing = VerifyError::CrlMissing { issuer: issuer.subject().to_owned() };
            list.map(|list| list.der().to_vec()).ok_or(missing)
        };
        Ok(QuoteCollateralV3 {
            pck_crl_issuer_chain: String::new(),
            root_ca_crl: list(root)?,
            pck_crl: list(pck_ca)?,
            tcb_info_issuer_chain: self.tcb_info.chain.clone(),
            tcb_info: self.tcb_info.text.clone(),
            tcb_info_signature: self.tcb_info.signature.clone(),
            qe_identity_issuer_chain: self.qe_identity.chain.clone(),
            qe_identity: self.qe_identity.text.clone(),
            qe_identity_signature: self.qe_identity.signature.clone(),
            pck_certificate_chain: None,
        })
    }
}

fn ids(tee: Tee) -> (&'static str, &'static str) {
    match tee {
        Tee::Sgx => ("SGX", "QE"),
        Tee::Tdx => ("TDX", "TD_QE"),
    }
}

fn check_kinds(tee: Tee, info: &TextHead, identity: &TextHead) -> Result<(), VerifyError> {
    let (info_id, identity_id) = ids(tee);
    if info.id != info_id || info.version != 3 {
        let found = format!("{} version {}", info.id, info.version);
        return Err(VerifyError::CollateralWrongKind { what: "TCB info", found });
    }
    if identity.id != identity_id || identity.version != 2 {
        let found = format!("{} version {}", identity.id, identity.version);
        return Err(VerifyError::CollateralWrongKind { what: "QE identity", found });
    }
    Ok(())
}

/// Processor's key ─▶ quoting enclave's report ─▶ attestation key ─▶ quote.
fn check_signatures(quote: &Quote<'_>, pck: &ForeignCertificate) -> Result<(), VerifyError> {
    let qe = pck.key().verify(ECDSA, quote.qe_report, quote.qe_report_signature);
    qe.map_err(|_| VerifyError::QeSignatureInvalid)?;
    let bound = sha256(&[quote.attestation_key, quote.qe_authentication].concat());
    let report_data: [u8; 64] = field(quote.qe_report, 320);
    if !constant_time_eq(&report_data, &[&bound.0[..], &[0; 32]].concat()) {
        return Err(VerifyError::QeBindingMismatch);
    }
    let (x, y) = quote.attestation_key.split_at_checked(32).ok_or(VerifyError::KeyInvalid { why: "its length" })?;
    let key = ForeignKey::from_point(x, y)
        .map_err(|_| VerifyError::KeyInvalid { why: "the attestation key is not on its curve" })?;
    key.verify(ECDSA, quote.signed, quote.signature).map_err(|_| VerifyError::SignatureInvalid { what: "quote" })
}

fn check_platform(pck: &Pck, info: &TextHead) -> Result<(), VerifyError> {
    for (field, processor, tcb_info) in [("FMSPC", &pck.fmspc, &info.fmspc), ("PCEID", &pck.pce_id, &info.pce_id)] {
        if !processor.eq_ignore_ascii_case(tcb_info) {
            return Err(VerifyError::FmspcMismatch { field, processor: processor.clone(), tcb_info: tcb_info.clone() });
        }
    }
    Ok(())
}

/// As much of the collateral's content as names a refusal.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    mrsigner: String,
    #[serde(default)]
    isvprodid: u16,
    attributes: String,
    attributes_mask: String,
    #[serde(default)]
    miscselect: String,
    #[serde(default)]
    miscselect_mask: String,
    #[serde(default)]
    tcb_levels: Vec<IdentityLevel>,
}

#[derive(Deserialize)]
struct IdentityLevel {
    tcb: IdentityTcb,
}

#[derive(Deserialize)]
struct IdentityTcb {
    isvsvn: u16,
}

/// Which of the remaining checks refused: the identities of quoting enclave and module, or the level.
fn explain(quote: &Quote<'_>, collateral: Found<'_>, why: String) -> VerifyError {
    if why.contains("Revoked") {
        return VerifyError::TcbRevoked;
    }
    for (found, unsafe_for) in UNSAFE_ATTRIBUTES {
        if why.contains(found) {
            return VerifyError::TdAttributesUnsafe { why: unsafe_for };
        }
    }
    if let Some(error) = qe_fault(quote, &collateral.qe_identity.text).or_else(|| module_fault(quote, collateral)) {
        return error;
    }
    if why.contains("No matching TCB level") { VerifyError::TcbLevelNotFound } else { VerifyError::DcapRefused { why } }
}

fn qe_fault(quote: &Quote<'_>, identity: &str) -> Option<VerifyError> {
    let identity: Identity = serde_json::from_str(identity).ok()?;
    let mismatch = |field| Some(VerifyError::QeIdentityMismatch { field });
    let report = quote.qe_report;
    if !is_hex_of(&identity.mrsigner, &field::<32>(report, 128)) {
        return mismatch("mrsigner");
    }
    if identity.isvprodid != u16::from_le_bytes(field(report, 256)) {
        return mismatch("isvprodid");
    }
    if !matches_masked(&identity.attributes, &identity.attributes_mask, &field::<16>(report, 48)) {
        return mismatch("attributes");
    }
    let mut misc_select: [u8; 4] = field(report, 16);
    // Intel writes it as a big-endian number.
    misc_select.reverse();
    if !matches_masked(&identity.miscselect, &identity.miscselect_mask, &misc_select) {
        return mismatch("miscselect");
    }
    let isvsvn = u16::from_le_bytes(field(report, 258));
    let below_all = identity.tcb_levels.iter().all(|level| level.tcb.isvsvn > isvsvn);
    below_all.then_some(VerifyError::QeTcbUnsupported { isvsvn })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Modules {
    tdx_module: Option<Identity>,
    #[serde(default)]
    tdx_module_identities: Vec<NamedIdentity>,
}

#[derive(Deserialize)]
struct NamedIdentity {
    id: String,
    #[serde(flatten)]
    identity: Identity,
}

fn module_fault(quote: &Quote<'_>, collateral: Found<'_>) -> Option<VerifyError> {
    if quote.tee == Tee::Sgx {
        return None;
    }
    let modules: Modules = serde_json::from_str(&collateral.tcb_info.text).ok()?;
    let [_, version]: [u8; 2] = field(quote.body, 0);
    let identity = if version == 0 {
        modules.tdx_module
    } else {
        let id = format!("TDX_{version:02X}");
        modules
            .tdx_module_identities
            .into_iter()
            .find(|named| named.id.eq_ignore_ascii_case(&id))
            .map(|named| named.identity)
    };
    let Some(identity) = identity else { return Some(VerifyError::TdxModuleUnknown { version }) };
    if !is_hex_of(&identity.mrsigner, &field::<48>(quote.body, 64)) {
        return Some(VerifyError::TdxModuleMismatch { field: "mrsigner" });
    }
    let attributes = matches_masked(&identity.attributes, &identity.attributes_mask, &field::<8>(quote.body, 112));
    (!attributes).then_some(VerifyError::TdxModuleMismatch { field: "seamattributes" })
}

fn is_hex_of(text: &str, bytes: &[u8]) -> bool {
    hex::decode(text).is_ok_and(|decoded| decoded == bytes)
}

fn matches_masked(expected: &str, mask: &str, found: &[u8]) -> bool {
    let (Ok(expected), Ok(mask)) = (hex::decode(expected), hex::decode(mask)) else { return false };
    let same_len = expected.len() == found.len() && mask.len() == found.len();
    same_len && expected.iter().zip(&mask).zip(found).all(|((expected, mask), found)| expected & mask == found & mask)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Levels {
    #[serde(default)]
    tcb_levels: Vec<Level>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Level {
    tcb_date: String,
}

fn newest_level_date(info: &TextHead, text: &SignedText) -> u64 {
    let levels = serde_json::from_str::<Levels>(&text.text).map(|levels| levels.tcb_levels).unwrap_or_default();
    let dates = levels.iter().filter_map(|level| time::rfc3339(&level.tcb_date));
    dates.max().or_else(|| time::rfc3339(&info.issue_date)).unwrap_or(0)
}

fn body_claims(quote: &Quote<'_>, tcb: DcapTcb) -> (Details, bool) {
    let body = quote.body;
    match quote.tee {
        Tee::Sgx => {
            let attribute_flags = u64::from_le_bytes(field(body, 48));
            let claims = SgxClaims {
                mrenclave: field(body, 64),
                mrsigner: field(body, 128),
                config_id: field(body, 192),
                isv_prod_id: u16::from_le_bytes(field(body, 256)),
                isv_svn: u16::from_le_bytes(field(body, 258)),
                config_svn: u16::from_le_bytes(field(body, 260)),
                misc_select: u32::from_le_bytes(field(body, 16)),
                attribute_flags,
                xfrm: u64::from_le_bytes(field(body, 56)),
                tcb,
            };
            (Details::Sgx(Box::new(claims)), attribute_flags & SGX_DEBUG != 0)
        }
        Tee::Tdx => {
            let td_attributes = u64::from_le_bytes(field(body, 120));
            let claims = TdxClaims {
                mrtd: field(body, 136),
                rtmrs: [field(body, 328), field(body, 376), field(body, 424), field(body, 472)],
                mrconfigid: field(body, 184),
                mrowner: field(body, 232),
                mrownerconfig: field(body, 280),
                mrseam: field(body, 16),
                mrservicetd: quote.is_td_15().then(|| field(body, 600)),
                td_attributes,
                xfam: u64::from_le_bytes(field(body, 128)),
                tcb,
            };
            (Details::Tdx(Box::new(claims)), td_attributes & TD_DEBUG != 0)
        }
    }
}
