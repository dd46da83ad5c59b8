//! The attestation report's layout (AMD 56860, table "ATTESTATION_REPORT"). Offsets from its start, integers little-endian.

use crate::claims::SnpTcb;
use crate::trust::Root;
use crate::{TeeKind, VerifyError};

pub const REPORT_BYTES: usize = 1184;
/// The signed part.
const SIGNED_BYTES: usize = 0x2a0;
/// Half a signature in the report: little-endian and zero-extended.
const SIGNATURE_HALF_BYTES: usize = 72;
const ECDSA_P384_SHA384: u32 = 1;
/// What no version of the report has put to use; and the rest of the signature's field.
const RESERVED: [(usize, usize); 4] = [(0x04c, 0x050), (0x18b, 0x1a0), (0x208, 0x2a0), (0x330, 0x4a0)];

/// A report whose form was checked.
pub struct Report<'a> {
    bytes: &'a [u8; REPORT_BYTES],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Product {
    Milan,
    Genoa,
    Turin,
}

/// Which key the report says has signed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signer {
    Vcek,
    Vlek,
}

impl Product {
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    pub fn root(self) -> Root {
        match self {
            Self::Milan => Root::AmdMilan,
            Self::Genoa => Root::AmdGenoa,
            Self::Turin => Root::AmdTurin,
        }
    }

    /// The product's name in a certificate, which may carry a stepping: `Milan-B0`.
    pub fn from_certificate(name: &str) -> Option<Self> {
        let base = name.split_once('-').map_or(name, |(base, _)| base);
        Self::ALL.into_iter().find(|product| product.as_str() == base)
    }

    /// Milan and Genoa count four versions, Turin five and in another order.
    pub fn tcb(self, bytes: [u8; 8]) -> SnpTcb {
        let [b0, b1, b2, b3, _, _, b6, b7] = bytes;
        match self {
            Self::Milan | Self::Genoa => SnpTcb { fmc: 0, boot_loader: b0, tee: b1, snp: b6, microcode: b7 },
            Self::Turin => SnpTcb { fmc: b0, boot_loader: b1, tee: b2, snp: b3, microcode: b7 },
        }
    }

    /// Bytes of a TCB field that this product leaves zero.
    fn tcb_reserved(self) -> &'static [usize] {
        match self {
            Self::Milan | Self::Genoa => &[2, 3, 4, 5],
            Self::Turin => &[4, 5, 6],
        }
    }
}

impl<'a> Report<'a> {
    /// Length, version, algorithm and reserved fields.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, VerifyError> {
        let bad_length = VerifyError::BadLength { found: bytes.len(), expected: REPORT_BYTES };
        let report = Self { bytes: bytes.try_into().map_err(|_| bad_length)? };
        let version = report.version();
        if !matches!(version, 2 | 3 | 5) {
            return Err(VerifyError::VersionUnsupported { found: version });
        }
        for (from, to) in RESERVED {
            let nonzero = report.bytes.iter().take(to).skip(from).position(|byte| *byte != 0);
            if let Some(offset) = nonzero {
                return Err(VerifyError::ReservedNotZero { at: from + offset });
            }
        }
        let algorithm = report.algorithm();
        if algorithm != ECDSA_P384_SHA384 {
            return Err(VerifyError::AlgorithmUnsupported { found: algorithm.into() });
        }
        Ok(report)
    }

    pub fn version(&self) -> u32 {
        self.u32(0)
    }

    /// From the processor's family and model; version 2 does not say.
    pub fn product(&self) -> Result<Option<Product>, VerifyError> {
        if self.version() == 2 {
            return Ok(None);
        }
        let [family, model] = self.array(0x188);
        match (family, model) {
            (0x19, 0x00..=0x0f) => Ok(Some(Product::Milan)),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Ok(Some(Product::Genoa)),
            (0x1a, 0x00..=0x11) => Ok(Some(Product::Turin)),
            _ => Err(VerifyError::ProductUnknown { family, model }),
        }
    }

    pub fn signer(&self) -> Result<Signer, VerifyError> {
        match self.flags() >> 2 & 0b111 {
            0 => Ok(Signer::Vcek),
            1 => Ok(Signer::Vlek),
            _ => Err(VerifyError::SigningKeyMismatch),
        }
    }

    pub fn chip_key_masked(&self) -> bool {
        self.flags() & 0b10 != 0
    }

    /// How the key flags stand: whether there is an author's key, whether the chip's is masked, and which key signs, from bit 2 on.
    pub fn flags(&self) -> u32 {
        self.u32(0x048)
    }

    pub fn algorithm(&self) -> u32 {
        self.u32(0x034)
    }

    pub fn guest_svn(&self) -> u32 {
        self.u32(0x004)
    }

    pub fn policy(&self) -> u64 {
        u64::from_le_bytes(self.array(0x008))
    }

    pub fn family_id(&self) -> [u8; 16] {
        self.array(0x010)
    }

    pub fn image_id(&self) -> [u8; 16] {
        self.array(0x020)
    }

    pub fn vmpl(&self) -> u32 {
        self.u32(0x030)
    }

    /// The firmware that runs.
    pub fn current_tcb(&self, product: Product) -> Result<SnpTcb, VerifyError> {
        self.tcb(0x038, product)
    }

    pub fn platform_info(&self) -> u64 {
        u64::from_le_bytes(self.array(0x040))
    }

    pub fn report_data(&self) -> [u8; 64] {
        self.array(0x050)
    }

    pub fn measurement(&self) -> [u8; 48] {
        self.array(0x090)
    }

    pub fn host_data(&self) -> [u8; 32] {
        self.array(0x0c0)
    }

    pub fn id_key_digest(&self) -> [u8; 48] {
        self.array(0x0e0)
    }

    pub fn author_key_digest(&self) -> [u8; 48] {
        self.array(0x110)
    }

    pub fn report_id(&self) -> [u8; 32] {
        self.array(0x140)
    }

    /// Set if a migration agent is associated: all ones means none.
    pub fn report_id_ma(&self) -> [u8; 32] {
        self.array(0x160)
    }

    pub fn chip_id(&self) -> [u8; 64] {
        self.array(0x1a0)
    }

    /// Family, model and stepping of the processor; version 2 has zeros.
    pub fn cpuid(&self) -> [u8; 3] {
        self.array(0x188)
    }

    /// As one little-endian number.
    pub fn reported_tcb_bytes(&self) -> [u8; 8] {
        self.array(0x180)
    }

    pub fn reported_tcb(&self, product: Product) -> Result<SnpTcb, VerifyError> {
        self.tcb(0x180, product)
    }

    /// As the processor takes it back when a key is asked for.
    pub fn committed_tcb_bytes(&self) -> [u8; 8] {
        self.array(0x1e0)
    }

    pub fn committed_tcb(&self, product: Product) -> Result<SnpTcb, VerifyError> {
        self.tcb(0x1e0, product)
    }

    /// Build, minor and major version of the firmware that runs.
    pub fn current_version(&self) -> [u8; 3] {
        self.array(0x1e8)
    }

    /// Of the oldest that the firmware may be set back to.
    pub fn committed_version(&self) -> [u8; 3] {
        self.array(0x1ec)
    }

    pub fn launch_tcb(&self, product: Product) -> Result<SnpTcb, VerifyError> {
        self.tcb(0x1f0, product)
    }

    pub fn signed(&self) -> &'a [u8] {
        self.bytes.get(..SIGNED_BYTES).expect("the signed part is inside the report")
    }

    /// r and s as they stand there: little-endian, with zeros behind.
    pub fn signature_halves(&self) -> [[u8; SIGNATURE_HALF_BYTES]; 2] {
        [self.array(SIGNED_BYTES), self.array(SIGNED_BYTES + SIGNATURE_HALF_BYTES)]
    }

    /// r then s, big-endian, 48 bytes each.
    pub fn signature(&self) -> Result<[u8; 96], VerifyError> {
        let mut fixed = [0; 96];
        for (half, start) in fixed.chunks_exact_mut(48).zip([SIGNED_BYTES, SIGNED_BYTES + SIGNATURE_HALF_BYTES]) {
            let little: [u8; SIGNATURE_HALF_BYTES] = self.array(start);
            if let Some(offset) = little.iter().skip(48).position(|byte| *byte != 0) {
                return Err(VerifyError::ReservedNotZero { at: start + 48 + offset });
            }
            for (to, from) in half.iter_mut().rev().zip(little) {
                *to = from;
            }
        }
        Ok(fixed)
    }

    fn tcb(&self, at: usize, product: Product) -> Result<SnpTcb, VerifyError> {
        let bytes: [u8; 8] = self.array(at);
        match product.tcb_reserved().iter().find(|offset| bytes.get(**offset).is_some_and(|byte| *byte != 0)) {
            Some(offset) => Err(VerifyError::ReservedNotZero { at: at + offset }),
            None => Ok(product.tcb(bytes)),
        }
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let field = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        *field.expect("every field is inside the report")
    }
}

/// A report found inside another format.
pub fn split(kind: TeeKind, bytes: &[u8], at: usize) -> Result<&[u8], VerifyError> {
    let report = bytes.get(at..at + REPORT_BYTES);
    report.ok_or_else(|| VerifyError::Malformed { kind, why: "it is too short for its report".to_owned() })
}
