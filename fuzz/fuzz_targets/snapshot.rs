//! Snapshot files, as a host's disk or another node gives them: the frames; and what they hold, sealed here, as a faulty node that has
//! the key would write it.
#![no_main]

use std::sync::Arc;

use coco_crypto::{AeadKey, Domain, NONCE_BYTES, Nonce, SymmetricKey, hkdf_sha256, sha256};
use coco_disk::{Disk, MemoryDisk};
use coco_fuzz::service::Service;
use coco_ledger::{Entry, EntryKeys, ServiceKeys, SnapshotReader, check_snapshot};
use coco_types::TxId;
use libfuzzer_sys::fuzz_target;

const FILE: &str = "snapshot";
const MAGIC: &[u8; 16] = b"coco-snapshot-1\n";
const FILE_ID: [u8; 16] = [7; 16];
const DOMAIN: Domain = Domain::new("coco snapshot");
const LAST: u32 = 1 << 31;

thread_local! {
    static GENUINE: Genuine = Genuine::new();
}

fuzz_target!(|bytes: &[u8]| GENUINE.with(|genuine| {
    genuine.read(bytes);
    if let Some((&mode, content)) = bytes.split_first() {
        genuine.read(&genuine.seal(mode, content));
    }
}));

struct Genuine {
    secret: SymmetricKey,
    keys: EntryKeys,
    service: ServiceKeys,
    place: TxId,
    head: Vec<u8>,
}

impl Genuine {
    fn new() -> Self {
        let service = Service::new(1);
        let place = service.files.last_txid();
        let signature = service.files.reader().read(place.seqno, place.seqno).expect("it is held");
        // The primary; voters, outgoing voters, learners, learners to be, removed; the signature transaction.
        let mut head = 7u64.to_le_bytes().to_vec();
        for set in [&[7u64, 8][..], &[], &[9], &[], &[3]] {
            head.extend_from_slice(&(set.len() as u32).to_le_bytes());
            set.iter().for_each(|id| head.extend_from_slice(&id.to_le_bytes()));
        }
        head.extend_from_slice(&(signature.len() as u32).to_le_bytes());
        head.extend_from_slice(&signature);
        let keys = service.keys.clone();
        let present = service.service_certificate.public_key().clone();
        Self { secret: service.secret, keys, service: ServiceKeys::new(present, Default::default()), place, head }
    }

    fn read(&self, bytes: &[u8]) {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        disk.write(FILE, 0, bytes).expect("memory takes any bytes");
        let checked = check_snapshot(&disk, FILE);
        let Ok(mut reader) = SnapshotReader::open(disk.clone(), FILE, &self.keys) else { return };
        let end = loop {
            match reader.next_record() {
                Ok(Some(_)) => {}
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        assert!(!end || checked.is_ok(), "what is read to its end is whole");
        let frontier = reader.head().frontier().expect("the head was checked");
        assert_eq!(frontier.leaves(), reader.head().place.txid.seqno.0 + 1, "the tree ends with the snapshot");
        if let Ok(reader) = SnapshotReader::open(disk, FILE, &self.keys) {
            let _ = reader.verify(&self.service).is_ok();
        }
    }

    /// Seals the content in pieces of a size that the mode says, behind a head that is genuine, or as its own.
    fn seal(&self, mode: u8, content: &[u8]) -> Vec<u8> {
        let head = if mode & 1 == 0 { &self.head[..] } else { &[] };
        let content = [head, content].concat();
        // The signature transaction must be at the snapshot's place: it says where that is, behind what is before it.
        let place = place_of(&content).unwrap_or(self.place);
        let mut file = [&MAGIC[..], &FILE_ID].concat();
        for number in [9, place.view.0, place.seqno.0] {
            file.extend_from_slice(&number.to_le_bytes());
        }
        let header = file.clone();
        let key = AeadKey::new(&hkdf_sha256(&self.secret, DOMAIN, &FILE_ID));
        let piece_bytes = match mode >> 1 {
            0 => content.len().max(1),
            bytes => usize::from(bytes) * 8,
        };
        let mut pieces: Vec<_> = content.chunks(piece_bytes).collect();
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        for (number, piece) in pieces.iter().enumerate() {
            let is_last = number + 1 == pieces.len();
            let mut nonce = [0; NONCE_BYTES];
            nonce[..8].copy_from_slice(&(number as u64).to_le_bytes());
            let mut sealed = piece.to_vec();
            let tag = key.seal(Nonce(nonce), &[&header[..], &[u8::from(is_last)]].concat(), &mut sealed);
            let length = sealed.len() as u32 | if is_last { LAST } else { 0 };
            [&length.to_le_bytes()[..], &tag, &sealed].into_iter().for_each(|part| file.extend_from_slice(part));
        }
        let digest = sha256(&file);
        file.extend_from_slice(digest.as_bytes());
        file
    }
}

/// Behind the primary and five sets.
fn place_of(head: &[u8]) -> Option<TxId> {
    let mut rest = head.get(8..)?;
    for _ in 0..5 {
        let (count, ids) = rest.split_first_chunk()?;
        rest = ids.get(8 * u32::from_le_bytes(*count) as usize..)?;
    }
    Entry::split_first(rest.get(4..)?).ok().map(|(entry, _)| entry.txid())
}
