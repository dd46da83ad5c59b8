//! A TPM's quotes and boot logs, for Azure's paravisor and for Windows.

use std::collections::BTreeMap;

use coco_attestation::platforms::tpm::TpmQuote;
use coco_crypto::{Hash, Scheme, sha256};

use crate::key::Key;

/// A quote over these registers.
pub fn quote(key: &Key, pcrs: &BTreeMap<u8, [u8; 32]>, extra_data: &[u8]) -> TpmQuote {
    let mut bitmap = [0u8; 3];
    for pcr in pcrs.keys() {
        bitmap[usize::from(pcr / 8)] |= 1 << (pcr % 8);
    }
    let digest = sha256(&pcrs.values().copied().collect::<Vec<_>>().concat());
    let sized = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    let message = [
        &0xff54_4347u32.to_be_bytes()[..],
        &0x8018u16.to_be_bytes(),
        &sized(&[0; 34]),
        &sized(extra_data),
        &[0; 25],
        &1u32.to_be_bytes(),
        &0x000bu16.to_be_bytes(),
        &[3],
        &bitmap,
        &sized(&digest.0),
    ]
    .concat();
    let signature = key.sign(Scheme::RsaPkcs1(Hash::Sha256), &message);
    TpmQuote { message, signature, pcrs: pcrs.clone() }
}

/// A boot log under construction.
pub struct BootLog {
    bytes: Vec<u8>,
    pub pcrs: BTreeMap<u8, [u8; 32]>,
}

impl Default for BootLog {
    fn default() -> Self {
        let content = [
            &b"Spec ID Event03\0"[..],
            &[0, 0, 0, 0, 0, 2, 0, 2],
            &1u32.to_le_bytes(),
            &0x000bu16.to_le_bytes(),
            &32u16.to_le_bytes(),
            &[0],
        ]
        .concat();
        let bytes =
            [&0u32.to_le_bytes()[..], &3u32.to_le_bytes(), &[0; 20], &(content.len() as u32).to_le_bytes(), &content]
                .concat();
        Self { bytes, pcrs: (0..24).map(|pcr| (pcr, [0; 32])).collect() }
    }
}

impl BootLog {
    /// An event of a kind, measured.
    pub fn event(&mut self, pcr: u8, kind: u32, content: &[u8]) {
        let digest = sha256(content).0;
        self.event_with_digest(pcr, kind, content, digest);
    }

    pub fn event_with_digest(&mut self, pcr: u8, kind: u32, content: &[u8], digest: [u8; 32]) {
        let event = [
            &u32::from(pcr).to_le_bytes()[..],
            &kind.to_le_bytes(),
            &1u32.to_le_bytes(),
            &0x000bu16.to_le_bytes(),
            &digest,
            &(content.len() as u32).to_le_bytes(),
            content,
        ];
        self.bytes.extend(event.concat());
        let value = self.pcrs.entry(pcr).or_default();
        *value = sha256(&[*value, digest].concat()).0;
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A tag and its content, as Windows nests them.
pub fn tagged(tag: u32, content: &[u8]) -> Vec<u8> {
    [&tag.to_le_bytes()[..], &(content.len() as u32).to_le_bytes(), content].concat()
}
