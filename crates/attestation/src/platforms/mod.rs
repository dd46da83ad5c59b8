//! One file or folder per platform. To add one: its verifier here, a kind in `kind.rs`, a section in `policy/`.

pub mod azure;
pub mod boot_log;
pub mod cca;
pub mod dcap;
pub mod nitro;
pub mod snp;
pub mod tpm;
pub mod vbs;
pub mod virtual_tee;

use crate::claims::Claims;
use crate::trust::Trust;
use crate::{Evidence, Moment, TeeKind, VerifyError};

/// Genuine at `at`, whatever it was made for.
pub(crate) fn verify(evidence: &Evidence, trust: &Trust, at: Moment) -> Result<Claims, VerifyError> {
    match evidence.kind {
        TeeKind::Virtual => virtual_tee::verify(&evidence.raw),
        TeeKind::SevSnp => snp::verify(evidence, trust, at),
        TeeKind::Tdx | TeeKind::Sgx => dcap::verify(evidence, trust, at),
        TeeKind::AzureSnp | TeeKind::AzureTdx => azure::verify(evidence, trust, at),
        TeeKind::Nitro => nitro::verify(evidence, trust, at),
        TeeKind::Cca => cca::verify(evidence, trust),
        TeeKind::Vbs => vbs::verify(evidence, trust, at),
    }
}
