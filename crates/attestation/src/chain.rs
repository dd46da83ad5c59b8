//! Chains of certificates from a leaf to an accepted anchor, with revocation, at one time.

use coco_crypto::{ForeignCertificate, RevocationList, Validity};

use crate::trust::{Root, Trust};
use crate::{Moment, VerifyError, Window};

/// Certificates of a chain.
pub const CHAIN_MAX: usize = 10;
/// One certificate, bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 8 << 10;

/// Which certificates of a chain must be covered by a revocation list of their issuer. A root is never.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Revocation {
    /// The vendor publishes none that are kept up.
    Unchecked,
    /// All but the leaf: AMD's leaves share the serial number 0.
    Authorities,
    All,
}

/// Checks a chain, leaf first and root last, and gives the time in which all of it is valid.
pub fn verify(
    chain: &[ForeignCertificate],
    root: Root,
    revocation: Revocation,
    trust: &Trust,
    at: Moment,
) -> Result<Window, VerifyError> {
    let anchor = chain.last().ok_or_else(|| broken("there is no certificate"))?;
    let accepted = trust.anchors.of(root).ok_or(VerifyError::AnchorMissing { root: root.as_str() })?;
    if !accepted.contains(&anchor.fingerprint()) {
        return Err(VerifyError::AnchorMismatch { root: root.as_str(), found: anchor.fingerprint() });
    }
    anchor.check_issued_by(anchor).map_err(|error| broken(&error.to_string()))?;
    for (certificate, issuer) in chain.iter().zip(chain.iter().skip(1)) {
        certificate.check_issued_by(issuer).map_err(|error| broken(&error.to_string()))?;
    }
    let mut window = Window::ALWAYS;
    for certificate in chain {
        check_validity(certificate, at.evidence)?;
        let Validity { not_before, not_after } = certificate.validity();
        window.narrow(not_before, not_after);
    }
    let first = match revocation {
        Revocation::Unchecked => return Ok(window),
        Revocation::Authorities => 1,
        Revocation::All => 0,
    };
    for (certificate, issuer) in chain.iter().zip(chain.iter().skip(1)).skip(first) {
        check_revocation(certificate, issuer, root, trust, at.collateral, &mut window)?;
    }
    Ok(window)
}

/// Orders certificates from `leaf` up to a self-issued one. What does not belong to the chain is ignored.
pub fn build(leaf: ForeignCertificate, others: &[ForeignCertificate]) -> Result<Vec<ForeignCertificate>, VerifyError> {
    let mut chain = vec![leaf];
    while let Some(last) = chain.last().filter(|last| !last.is_self_issued()) {
        if chain.len() == CHAIN_MAX {
            return Err(broken("it is too long"));
        }
        let issuer = others.iter().find(|other| other.subject_der() == last.issuer_der());
        let issuer = issuer.ok_or_else(|| broken(&format!("the issuer of {} was not supplied", last.subject())))?;
        chain.push(issuer.clone());
    }
    Ok(chain)
}

/// Reads certificates in PEM. A closing NUL, as Intel's quotes have it, is tolerated.
pub fn from_pem(bytes: &[u8]) -> Result<Vec<ForeignCertificate>, VerifyError> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("PEM is text"))?;
    let ders = coco_crypto::decode_pem_all("CERTIFICATE", text).map_err(|error| malformed(&error.to_string()))?;
    ders.iter().take(CHAIN_MAX + 1).map(|der| from_der(der)).collect()
}

pub fn from_der(der: &[u8]) -> Result<ForeignCertificate, VerifyError> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        return Err(malformed("it is too large"));
    }
    ForeignCertificate::from_der(der).map_err(|error| malformed(&error.to_string()))
}

/// Checks that a revocation list is its issuer's and holds at `at`.
pub fn check_list(list: &RevocationList, issuer: &ForeignCertificate, at: u64) -> Result<(), VerifyError> {
    let name = list.issuer().to_owned();
    list.check_issued_by(issuer).map_err(|_| VerifyError::CrlInvalid { issuer: name.clone() })?;
    if at < list.this_update {
        return Err(VerifyError::CrlNotYetValid { issuer: name, this_update: list.this_update, at });
    }
    if at > list.next_update {
        return Err(VerifyError::CrlExpired { issuer: name, next_update: list.next_update, at });
    }
    Ok(())
}

fn check_validity(certificate: &ForeignCertificate, at: u64) -> Result<(), VerifyError> {
    let Validity { not_before, not_after } = certificate.validity();
    let subject = || certificate.subject().to_owned();
    if at < not_before {
        return Err(VerifyError::CertificateNotYetValid { subject: subject(), not_before, at });
    }
    if at > not_after {
        return Err(VerifyError::CertificateExpired { subject: subject(), not_after, at });
    }
    Ok(())
}

fn check_revocation(
    certificate: &ForeignCertificate,
    issuer: &ForeignCertificate,
    root: Root,
    trust: &Trust,
    at: u64,
    window: &mut Window,
) -> Result<(), VerifyError> {
    let Some(list) = trust.collateral.crl(issuer.subject_der())? else {
        let tolerated = trust.crl_optional.contains(&root);
        let missing = VerifyError::CrlMissing { issuer: issuer.subject().to_owned() };
        return if tolerated { Ok(()) } else { Err(missing) };
    };
    check_list(&list, issuer, at)?;
    window.narrow(list.this_update, list.next_update);
    if certificate.is_revoked_by(&list) {
        return Err(VerifyError::Revoked { subject: certificate.subject().to_owned() });
    }
    Ok(())
}

pub fn broken(why: &str) -> VerifyError {
    VerifyError::ChainBroken { why: why.to_owned() }
}

fn malformed(why: &str) -> VerifyError {
    VerifyError::CertificateMalformed { why: why.to_owned() }
}
