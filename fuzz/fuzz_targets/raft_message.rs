//! Consensus messages, as an endorsed replica that went mad would send them, and time passing between them.
//!
//! What it sends as a batch arrives at the ledger that a node keeps: bytes as they are, or a batch that it sealed behind the replica's own log, with
//! genuine signatures, and altered.
#![no_main]

use std::sync::Arc;

use coco_consensus::{Consensus, StartPoint};
use coco_disk::MemoryDisk;
use coco_fuzz::edit;
use coco_fuzz::node::{act_on, config, identity, open_ledger, seal_behind};
use coco_fuzz::service::{Service, writes};
use coco_ledger::{Batch, Primary};
use coco_node::identity::Identity;
use coco_node::ledger::NodeLedger;
use coco_types::{ReplicaId, Seqno, View};
use libfuzzer_sys::fuzz_target;

const OWN: ReplicaId = ReplicaId(1);
const PEER: ReplicaId = ReplicaId(2);

thread_local! {
    static SERVICE: (Service, Identity) = {
        let service = Service::new(1);
        let identity = identity(&service, OWN);
        (service, identity)
    };
}

fuzz_target!(|messages: Vec<Vec<u8>>| SERVICE.with(|(service, identity)| {
    let ledger = open_ledger(&MemoryDisk::new(), Seqno::ZERO, identity, service).expect("a new ledger can be opened");
    let start = StartPoint::genesis([OWN, PEER, ReplicaId(3)]);
    let mut drawn = 0;
    let random = Box::new(move || {
        drawn += 1;
        drawn
    });
    let consensus = Consensus::create(config(OWN), start, Arc::new(MemoryDisk::new()), ledger.batch_store(), random);
    let mut consensus = consensus.expect("a new log can be created");
    for message in messages {
        let _ = Batch::parse(&message).is_ok();
        let _ = match append(service, &ledger, &consensus, &message) {
            Some(made) => consensus.step(PEER, &made),
            None => consensus.step(PEER, &message),
        };
        consensus.tick();
        // An error ends the replica, and every step behind it is refused.
        let Ok(output) = consensus.take_output() else { continue };
        act_on(&mut consensus, &output);
        assert!(
            ledger.last_seqno() >= consensus.seqno_at(consensus.last_index()).unwrap_or_default(),
            "no batch is only in the log"
        );
    }
}));

/// No message begins with this wire type: what does is made here. How many entries back, the view beyond the own one, how many transactions, how
/// much is said to be committed; then edits of the batch.
const MADE: u8 = 7;

fn append(service: &Service, ledger: &NodeLedger, consensus: &Consensus, input: &[u8]) -> Option<Vec<u8>> {
    let &[mode, back, views, count, commit, ref edits @ ..] = input else { return None };
    if mode & 7 != MADE {
        return None;
    }
    let index = consensus.last_index().saturating_sub(back.into());
    let term = View(consensus.view().0 + u64::from(views % 4));
    let before = consensus.seqno_at(index)?;
    let tree = ledger.tree().frontier(before.next().0).ok()?;
    let primary = Primary { view: term, replica: PEER };
    let transactions: Vec<_> = (1..=u64::from(count % 4)).map(writes).collect();
    let mut batch = seal_behind(service, &tree, primary, mode & 8 != 0, &transactions)?;
    edit(&mut batch, edits);
    let mut entry = Vec::new();
    number(&mut entry, 2, term.0);
    number(&mut entry, 3, index + 1);
    string(&mut entry, 4, &batch);
    let mut message = Vec::new();
    let fields = [(1, 3), (2, OWN.0), (3, PEER.0), (4, term.0), (5, consensus.view_at(index)?.0), (6, index)];
    fields.into_iter().for_each(|(field, value)| number(&mut message, field, value));
    string(&mut message, 7, &entry);
    number(&mut message, 8, (index + 1).min(commit.into()));
    Some(message)
}

/// A field of a protobuf message.
fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn string(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
