//! The consensus's log as a file: records with the checksums that make a reader look into them.

#[path = "../../crates/consensus/src/checksum.rs"]
mod checksum;

use checksum::checksum;

const MAGIC: &[u8; 16] = b"coco-raft-log-1\n";
const MARKER: &[u8; 4] = b"\xc0C\xc0R";

/// Of a batch, as the record of its entry has it.
pub fn batch_checksum(batch: &[u8]) -> u64 {
    checksum(0, batch)
}

/// A log of these records: of each its kind, what was known to be synced, and its fields.
pub fn log<'a>(bodies: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    for body in bodies {
        let (offset, length) = (file.len() as u64, u32::try_from(body.len()).expect("a record is short"));
        file.extend_from_slice(MARKER);
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(&checksum(offset, body).to_le_bytes());
        file.extend_from_slice(body);
    }
    file
}
