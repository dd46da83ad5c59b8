//! Snapshot files, as a host's disk or another node gives them: the frames, and the content once it is unsealed.
#![no_main]

use std::sync::Arc;

use coco_crypto::SymmetricKey;
use coco_disk::{Disk, MemoryDisk};
use coco_ledger::{EntryKeys, SnapshotReader, check_snapshot};
use coco_types::Seqno;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    disk.write("snapshot", 0, bytes).expect("memory takes any bytes");
    let _ = check_snapshot(&disk, "snapshot");
    let mut keys = EntryKeys::new();
    keys.add_epoch(Seqno(1), &SymmetricKey::from_bytes([1; 32]));
    if let Ok(mut reader) = SnapshotReader::open(disk, "snapshot", &keys) {
        while let Ok(Some(_)) = reader.next_record() {}
    }
});
