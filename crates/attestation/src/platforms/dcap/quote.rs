//! The layout of DCAP quotes, versions 3, 4 and 5. Integers little-endian, keys and signatures big-endian.

use crate::VerifyError;

const HEADER_BYTES: usize = 48;
const INTEL_VENDOR: [u8; 16] =
    [0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07];
const KEY_TYPE_P256: u16 = 2;
const TEE_SGX: u32 = 0;
const TEE_TDX: u32 = 0x81;
const ENCLAVE_REPORT_BYTES: usize = 384;
const TD_10_BYTES: usize = 584;
const TD_15_BYTES: usize = 648;
const TD_15EX_BYTES: usize = 885;
const CERTIFICATION_QE_REPORT: u16 = 6;
const CERTIFICATION_PCK_CHAIN: u16 = 5;
const AUTHENTICATION_DATA_MAX: usize = 1 << 10;

/// A quote taken apart. Nothing is verified.
pub struct Quote<'a> {
    pub version: u16,
    pub tee: Tee,
    /// Header and body: what the attestation key signed.
    pub signed: &'a [u8],
    pub body: &'a [u8],
    pub signature: &'a [u8],
    /// x then y.
    pub attestation_key: &'a [u8],
    pub qe_report: &'a [u8],
    pub qe_report_signature: &'a [u8],
    pub qe_authentication: &'a [u8],
    /// PEM: PCK, its CA, the root.
    pub certificates: &'a [u8],
    /// Where the quote ends; what follows is padding that nobody signed.
    pub len: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tee {
    Sgx,
    Tdx,
}

impl<'a> Quote<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, VerifyError> {
        let mut rest = Cursor { bytes, at: 0 };
        let version = rest.u16()?;
        if !matches!(version, 3..=5) {
            return Err(VerifyError::VersionUnsupported { found: version.into() });
        }
        let key_type = rest.u16()?;
        if key_type != KEY_TYPE_P256 {
            return Err(VerifyError::KeyTypeUnsupported { found: key_type });
        }
        let tee_type = rest.u32()?;
        let tee = match (tee_type, version) {
            (TEE_SGX, 3) => Tee::Sgx,
            (TEE_TDX, 4 | 5) => Tee::Tdx,
            (TEE_SGX, _) => return Err(VerifyError::VersionUnsupported { found: version.into() }),
            _ => return Err(VerifyError::TeeTypeMismatch { found: tee_type }),
        };
        rest.take(4)?;
        if rest.take(16)? != INTEL_VENDOR {
            return Err(VerifyError::VendorUnknown);
        }
        rest.take(HEADER_BYTES - 28)?;
        let len = body_len(version, tee, &mut rest)?;
        let body = rest.take(len)?;
        let signed = bytes.get(..rest.at).unwrap_or_default();
        let signature_len = rest.u32()? as usize;
        let end = rest.at.checked_add(signature_len).filter(|end| *end <= bytes.len());
        let end = end.ok_or(VerifyError::BadLength { found: bytes.len(), expected: rest.at + signature_len })?;
        let mut rest = Cursor { bytes: bytes.get(..end).unwrap_or_default(), at: rest.at };
        let quote = Self::parse_signature(version, tee, signed, body, &mut rest)?;
        if rest.at != end {
            return Err(VerifyError::TrailingBytes { count: end - rest.at });
        }
        Ok(quote)
    }

    fn parse_signature(
        version: u16,
        tee: Tee,
        signed: &'a [u8],
        body: &'a [u8],
        rest: &mut Cursor<'a>,
    ) -> Result<Self, VerifyError> {
        let signature = rest.take(64)?;
        let attestation_key = rest.take(64)?;
        if version > 3 {
            let kind = rest.u16()?;
            if kind != CERTIFICATION_QE_REPORT {
                return Err(VerifyError::CertificationDataUnsupported { found: kind });
            }
            let len = rest.u32()? as usize;
            if len != rest.remaining() {
                return Err(VerifyError::BadLength { found: rest.remaining(), expected: len });
            }
        }
        let qe_report = rest.take(ENCLAVE_REPORT_BYTES)?;
        let qe_report_signature = rest.take(64)?;
        let len = usize::from(rest.u16()?);
        if len > AUTHENTICATION_DATA_MAX {
            return Err(VerifyError::TooLarge { found: len, limit: AUTHENTICATION_DATA_MAX });
        }
        let qe_authentication = rest.take(len)?;
        let kind = rest.u16()?;
        if kind != CERTIFICATION_PCK_CHAIN {
            return Err(VerifyError::CertificationDataUnsupported { found: kind });
        }
        let len = rest.u32()? as usize;
        let certificates = rest.take(len)?;
        Ok(Self {
            version,
            tee,
            signed,
            body,
            signature,
            attestation_key,
            qe_report,
            qe_report_signature,
            qe_authentication,
            certificates,
            len: rest.at,
        })
    }

    /// What the guest put into its report.
    pub fn report_data(&self) -> [u8; 64] {
        match self.tee {
            Tee::Sgx => field(self.body, 320),
            Tee::Tdx => field(self.body, 520),
        }
    }

    /// Has a TD 1.5 report: a service TD may be bound.
    pub fn is_td_15(&self) -> bool {
        self.tee == Tee::Tdx && self.body.len() >= TD_15_BYTES
    }
}

/// The length of the body that follows; version 5 says it, and reading that is consumed.
fn body_len(version: u16, tee: Tee, rest: &mut Cursor<'_>) -> Result<usize, VerifyError> {
    if version < 5 {
        return Ok(if tee == Tee::Sgx { ENCLAVE_REPORT_BYTES } else { TD_10_BYTES });
    }
    let (kind, len) = (rest.u16()?, rest.u32()? as usize);
    let expected = match kind {
        2 => TD_10_BYTES,
        3 => TD_15_BYTES,
        4 => TD_15EX_BYTES,
        _ => return Err(VerifyError::TeeTypeMismatch { found: kind.into() }),
    };
    if len == expected { Ok(len) } else { Err(VerifyError::BadLength { found: len, expected }) }
}

/// A field of a body whose length was checked.
pub fn field<const N: usize>(body: &[u8], at: usize) -> [u8; N] {
    let field = body.get(at..).and_then(|rest| rest.first_chunk());
    *field.expect("every field is inside the body")
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], VerifyError> {
        let end = self.at.checked_add(len);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let expected = self.at.saturating_add(len);
        let taken = taken.ok_or(VerifyError::BadLength { found: self.bytes.len(), expected })?;
        self.at = expected;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, VerifyError> {
        Ok(u16::from_le_bytes(field(self.take(2)?, 0)))
    }

    fn u32(&mut self) -> Result<u32, VerifyError> {
        Ok(u32::from_le_bytes(field(self.take(4)?, 0)))
    }

    fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }
}
