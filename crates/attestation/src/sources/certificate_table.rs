//! The table in which an AMD host puts certificates beside a guest's report (AMD 56421, GHCB): rows of GUID, offset and length that end with a row of
//! zeros, then what they point to. Which certificate is which, the certificates themselves say.

use coco_crypto::encode_pem;

use super::answer;
use crate::SourceError;
use crate::chain::{CERTIFICATE_BYTES_MAX, CHAIN_MAX};

const ROW_BYTES: usize = 24;

/// The certificates in PEM; none if the host supplies nothing.
pub(super) fn pem(table: &[u8]) -> Result<String, SourceError> {
    let mut pem = String::new();
    for entry in table.chunks_exact(ROW_BYTES).take(CHAIN_MAX + 1) {
        let (guid, place) = entry.split_at(16);
        if guid.iter().all(|byte| *byte == 0) {
            return Ok(pem);
        }
        let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
        let (offset, len) = (word(place), word(place.get(4..).unwrap_or_default()));
        let der = offset.checked_add(len).and_then(|end| table.get(offset..end));
        let der = der.ok_or_else(|| answer("the table of certificates points outside itself"))?;
        // Other entries are no certificates: a revocation list, an extension's data.
        if len <= CERTIFICATE_BYTES_MAX && der.starts_with(&[0x30, 0x82]) {
            pem.push_str(&encode_pem("CERTIFICATE", der));
        }
    }
    if table.is_empty() { Ok(pem) } else { Err(answer("the table of certificates has no end")) }
}
