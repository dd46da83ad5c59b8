//! Frames between nodes, the messages in them, and a conversation with a replica that comes back.
#![no_main]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use coco_attestation::collateral::CollateralItem;
use coco_consensus::{Consensus, Resume, StartPoint};
use coco_crypto::{Curve, ExchangeKey, SeededCrypto, SigningKey, SymmetricKey};
use coco_disk::MemoryDisk;
use coco_fuzz::node::{config, identity, open_ledger};
use coco_fuzz::service::Service;
use coco_governance::Addresses;
use coco_node::comeback::{Origin, Returning, Running, Snapshots, YourPlace, is_of_returning, running_reply};
use coco_node::identity::{Identity, ServiceSecrets};
use coco_node::join::{JoinAnswer, applicant, open_answer};
use coco_node::wire::{self, PieceAnswer, PieceRequest, SnapshotNote};
use coco_protocol::bindings::Statement;
use coco_rpc::channel::Frame;
use coco_types::{Digest, ReplicaId, Seqno};
use libfuzzer_sys::fuzz_target;

/// No frame begins with it: what follows is said to a replica that comes back, and by whom.
const CONVERSATION: u8 = 0xc0;
const OWN: ReplicaId = ReplicaId(1);
const TURN_MS: u64 = 100;

thread_local! {
    static SERVICE: (Service, Identity) = {
        let service = Service::new(1);
        let identity = identity(&service, OWN);
        (service, identity)
    };
    static KEYS: (SigningKey, ExchangeKey) = {
        let key = SigningKey::generate(&SeededCrypto::new(1), Curve::P256);
        (key, ExchangeKey::from_scalar(SymmetricKey::from_bytes([3; 32])))
    };
}

fuzz_target!(|bytes: &[u8]| {
    if let Some((&CONVERSATION, messages)) = bytes.split_first() {
        return converse(messages);
    }
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(frame) = Frame::decode(bytes.clone()) {
        assert_eq!(frame.encode(), bytes, "a frame has one form");
    }
    let _ = wire::decode_submissions(bytes.clone());
    if let Ok(answers) = wire::decode_answers(bytes.clone()) {
        // A rejection without data may name some all the same, and is written without.
        assert!(wire::decode_answers(wire::encode_answers(&answers)) == Ok(answers), "answers survive the wire");
    }
    if let Ok(question) = wire::decode_question(bytes.clone()) {
        assert_eq!(wire::encode_question(&question), bytes, "a question has one form");
    }
    let _ = wire::decode_result(bytes.clone());
    if let Ok((key, body)) = wire::decode_key(bytes.clone()) {
        assert_eq!(wire::encode_key(key, &body), bytes, "a key has one form");
    }
    if let Ok(request) = PieceRequest::decode(bytes.clone()) {
        assert_eq!(request.encode(), bytes, "a request for a piece has one form");
    }
    if let Ok(piece) = PieceAnswer::decode(bytes.clone()) {
        assert_eq!(piece.encode(), bytes, "a piece has one form");
    }
    if let Ok(note) = SnapshotNote::decode(bytes.clone()) {
        assert_eq!(note.encode(), bytes, "an offer has one form");
    }
    texts(&bytes);
    for from in 1..4 {
        let running = Running { primary: Some(OWN), resumed: None, you: YourPlace::Held };
        black_box(running_reply(ReplicaId(from), &bytes, running).is_ok());
    }
    black_box(is_of_returning(&bytes));
});

/// What nodes say in JSON.
fn texts(bytes: &[u8]) {
    black_box(serde_json::from_slice::<CollateralItem>(bytes).is_ok());
    black_box(serde_json::from_slice::<Statement>(bytes).is_ok());
    black_box(serde_json::from_slice::<JoinAnswer>(bytes).is_ok());
    black_box(ServiceSecrets::from_bytes(bytes).is_ok());
    KEYS.with(|(key, exchange)| {
        black_box(applicant(bytes, key, 0).is_ok());
        black_box(open_answer(exchange, bytes).is_ok());
    });
}

/// Each message: its length in two bytes, whose it is, and whether it asks or answers.
fn converse(mut rest: &[u8]) {
    SERVICE.with(|(service, identity)| {
        let disk = Arc::new(MemoryDisk::new());
        let open = || open_ledger(&MemoryDisk::new(), Seqno::ZERO, identity, service).expect("a new ledger can be opened");
        let batches = || open().batch_store();
        let start = StartPoint::genesis([OWN, ReplicaId(2), ReplicaId(3)]);
        let created = Consensus::create(config(OWN), start, disk.clone(), batches(), Box::new(|| 1));
        drop(created.expect("a new log can be created"));
        let log = Resume::open(OWN, disk, batches()).expect("a log that was just created");
        let (disk, service) = (Arc::new(MemoryDisk::new()), identity.service.keys());
        let snapshots = Snapshots { disk, ledger: open(), service, piece_bytes: 1_000 };
        let address = ([127, 0, 0, 1], 8100).into();
        let origin = Origin {
            replica: OWN,
            addresses: Addresses { api: address, peers: address },
            log: Some(log),
            rolled_back: Some(0),
            others: vec![ReplicaId(2), ReplicaId(3)],
            written: None,
            snapshots: Some(snapshots),
        };
        let mut returning = Returning::new(origin, Box::new(|| Digest([1; 32])));
        let mut now_ms = 0;
        while let Some((&[high, low, from, asks], behind)) = rest.split_first_chunk() {
            let length = usize::from(u16::from_be_bytes([high, low]));
            let (message, behind) = behind.split_at(length.min(behind.len()));
            let from = ReplicaId(from.into());
            if asks & 1 == 0 {
                black_box(returning.asked(from, message, now_ms).is_ok());
            } else {
                black_box(returning.answered(from, Bytes::copy_from_slice(message), now_ms).is_ok());
            }
            now_ms += TURN_MS * u64::from(asks >> 1);
            if returning.turn(now_ms).is_err() {
                return;
            }
            black_box((returning.way(now_ms), returning.primary(now_ms), returning.waits_for(now_ms)));
            rest = behind;
        }
    });
}
