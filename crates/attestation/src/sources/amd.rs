//! The certificates that belong to a report of SEV-SNP, where the host may supply them, or a container's folder, or whoever runs the node. One of them
//! must: a verifier fetches nothing. AMD's service has them for everybody, at an address that the report spells out.

use super::{Devices, answer, container};
use crate::platforms::snp::report::{Product, Report, Signer};
use crate::{Aux, Evidence, SourceError};

const SERVICE: &str = "https://kdsintf.amd.com/vcek/v1";

/// Adds what the host left out.
pub(super) fn complete(devices: &dyn Devices, evidence: Evidence) -> Result<Evidence, SourceError> {
    let mut evidence = container::complete(devices, evidence)?;
    if evidence.aux.get(&Aux::Certificates).is_none_or(Vec::is_empty) {
        let what = "the file that amd_certificates names".to_owned();
        let beside = devices.amd_certificates().map_err(|source| SourceError::Device { what, source })?;
        let Some(pem) = beside else { return Err(missing(&evidence.raw)) };
        evidence.aux.insert(Aux::Certificates, pem);
    }
    Ok(evidence)
}

fn missing(report: &[u8]) -> SourceError {
    let place = address(report).map(|address| format!(" at {address}")).unwrap_or_default();
    answer(&format!(
        "the host supplies no certificate of its processor: AMD has it{place}; name a file with it and its authorities, in PEM, as amd_certificates"
    ))
}

/// Where AMD has the certificate of the chip that signed this report (AMD 57230); the authorities lie beside it, as `cert_chain`.
fn address(report: &[u8]) -> Option<String> {
    let report = Report::parse(report).ok()?;
    let product = report.product().ok().flatten()?;
    if report.signer().ok()? != Signer::Vcek {
        return None;
    }
    let (chip, tcb) = (report.chip_id(), report.reported_tcb(product).ok()?);
    let (chip, fmc) = match product {
        Product::Turin => (hex::encode(chip.get(..8)?), format!("fmcSPL={:02}&", tcb.fmc)),
        Product::Milan | Product::Genoa => (hex::encode(chip), String::new()),
    };
    Some(format!(
        "{SERVICE}/{}/{chip}?{fmc}blSPL={:02}&teeSPL={:02}&snpSPL={:02}&ucodeSPL={:02}",
        product.as_str(),
        tcb.boot_loader,
        tcb.tee,
        tcb.snp,
        tcb.microcode
    ))
}
