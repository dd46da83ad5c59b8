//! Windows VBS enclaves: the secure kernel's report, signed by a key that the measured boot log names, under a TPM's quote.
//!
//! ```text
//!   TPM vendor (anchor) ─▶ attestation key ─▶ quote over PCRs ─▶ boot log ─▶ identity signing key ─▶ report
//! ```
//!
//! Written to the formats in ntenclv.h and wbcl.h and tested on synthetic reports: no recorded one is public. Different in kind: the
//! hypervisor isolates, memory is not encrypted, whoever holds the machine is not kept out. Claims say so.

use coco_crypto::{Hash, Scheme, constant_time_eq, sha256};

use crate::chain::{self, Revocation};
use crate::claims::{Bound, Claims, Details, Isolation, VbsClaims, VbsModule};
use crate::platforms::boot_log::BootLog;
use crate::platforms::tpm::TpmQuote;
use crate::trust::{Root, Trust};
use crate::{Aux, Evidence, Moment, TeeKind, VerifyError};

const HEADER_BYTES: usize = 24;
const STATEMENT_BYTES_MIN: usize = 224;
const SCHEME_RSA_PSS_SHA256: u32 = 1;
const TYPE_VBS: u32 = 0x10;
const FLAG_FULL_DEBUG: u32 = 1;
const FLAG_DYNAMIC_DEBUG: u32 = 2;
const MODULE: u32 = 1;
const MODULE_BYTES_MIN: usize = 108;
const MODULES_MAX: usize = 64;
/// The platform's boot, and what Windows measures of itself.
const PCRS_REQUIRED: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14];

pub(crate) fn verify(evidence: &Evidence, trust: &Trust, at: Moment) -> Result<Claims, VerifyError> {
    let package = Package::parse(&evidence.raw)?;
    let report_data: [u8; 64] = package.array(8);
    let certificates = chain::from_pem(evidence.aux(Aux::Certificates)?)?;
    let leaf = certificates.first().ok_or_else(|| untrusted("there is no certificate"))?;
    let chain = chain::build(leaf.clone(), &certificates).map_err(|error| untrusted(&error.to_string()))?;
    let validity = chain::verify(&chain, Root::Tpm, Revocation::Unchecked, trust, at)
        .map_err(|error| untrusted(&error.to_string()))?;
    let quoted = TpmQuote::decode(evidence.aux(Aux::TpmQuote)?)?.verify(leaf.key(), &PCRS_REQUIRED)?;
    if !constant_time_eq(&quoted.extra_data, &sha256(&report_data).0) {
        return Err(VerifyError::TpmNonceMismatch);
    }
    let boot = BootLog::parse(evidence.aux(Aux::EventLog)?)?;
    boot.check_replay(&quoted.pcrs)?;
    let key = boot.identity_signing_key()?;
    key.verify(Scheme::RsaPss(Hash::Sha256), package.statement, package.signature)
        .map_err(|_| VerifyError::SignatureInvalid { what: "VBS report" })?;
    let flags = package.u32(212);
    Ok(Claims {
        kind: TeeKind::Vbs,
        debug: flags & (FLAG_FULL_DEBUG | FLAG_DYNAMIC_DEBUG) != 0,
        isolation: Isolation::Software,
        hardware_id: Some(format!("tpm-ak:{}", leaf.key().id())),
        validity,
        roots: chain.last().map(|root| root.fingerprint()).into_iter().collect(),
        bound: Bound::ReportData(report_data),
        details: Details::Vbs(Box::new(VbsClaims {
            secure_kernel_svn: package.u32(204),
            platform_svn: package.u32(208),
            enclave: VbsModule {
                unique_id: package.array(104),
                author_id: package.array(136),
                family_id: package.array(168),
                image_id: package.array(184),
                svn: package.u32(200),
                name: String::new(),
            },
            modules: package.modules()?,
            boot: boot.settings()?,
        })),
    })
}

/// A report whose frame was checked.
struct Package<'a> {
    statement: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Package<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, VerifyError> {
        let word = |at: usize| -> Result<u32, VerifyError> {
            let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
            word.map(|word| u32::from_le_bytes(*word)).ok_or_else(|| malformed("it is cut off"))
        };
        let (statement_len, signature_len) = (word(12)? as usize, word(16)? as usize);
        let sizes = HEADER_BYTES.checked_add(statement_len).and_then(|len| len.checked_add(signature_len));
        if word(0)? as usize != bytes.len() || sizes != Some(bytes.len()) || word(4)? != 1 || word(20)? != 0 {
            return Err(malformed("its sizes or version"));
        }
        let scheme = word(8)?;
        if scheme != SCHEME_RSA_PSS_SHA256 {
            return Err(VerifyError::SchemeUnsupported { found: scheme });
        }
        let (statement, signature) = bytes
            .get(HEADER_BYTES..)
            .and_then(|rest| rest.split_at_checked(statement_len))
            .filter(|(statement, _)| statement.len() >= STATEMENT_BYTES_MIN)
            .ok_or_else(|| malformed("its statement is too short"))?;
        let package = Self { statement, signature };
        if package.u32(0) as usize != statement_len || package.u32(4) != 1 || package.u32(220) != TYPE_VBS {
            return Err(malformed("its statement's size, version or type"));
        }
        Ok(package)
    }

    /// Blocks that tile the rest of the statement; sizes count their own header.
    fn modules(&self) -> Result<Vec<VbsModule>, VerifyError> {
        let mut modules = Vec::new();
        let mut rest = self.statement.get(STATEMENT_BYTES_MIN..).unwrap_or_default();
        while !rest.is_empty() {
            let kind = rest.first_chunk().map(|word| u32::from_le_bytes(*word));
            let len = rest.get(4..).and_then(<[u8]>::first_chunk).map(|word| u32::from_le_bytes(*word) as usize);
            let block = len.filter(|len| *len >= 8).and_then(|len| rest.split_at_checked(len));
            let (block, after) = block.ok_or_else(|| malformed("its blocks do not tile it"))?;
            if kind == Some(MODULE) {
                modules.push(module(block)?);
            }
            if modules.len() > MODULES_MAX {
                return Err(malformed("it has too many modules"));
            }
            rest = after;
        }
        Ok(modules)
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let field = self.statement.get(at..).and_then(|rest| rest.first_chunk());
        *field.expect("every fixed field is inside the statement")
    }
}

fn module(block: &[u8]) -> Result<VbsModule, VerifyError> {
    let name = block.get(MODULE_BYTES_MIN..).ok_or_else(|| malformed("a module is cut off"))?;
    fn field<const N: usize>(block: &[u8], at: usize) -> [u8; N] {
        *block.get(at..).and_then(|rest| rest.first_chunk()).expect("a module's length was checked")
    }
    let units: Vec<u16> = name.chunks_exact(2).map(|unit| u16::from_le_bytes(field(unit, 0))).collect();
    Ok(VbsModule {
        unique_id: field(block, 8),
        author_id: field(block, 40),
        family_id: field(block, 72),
        image_id: field(block, 88),
        svn: u32::from_le_bytes(field(block, 104)),
        name: String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned(),
    })
}

fn malformed(why: &'static str) -> VerifyError {
    VerifyError::VbsMalformed { why }
}

fn untrusted(why: &str) -> VerifyError {
    VerifyError::AkUntrusted { why: why.to_owned() }
}
