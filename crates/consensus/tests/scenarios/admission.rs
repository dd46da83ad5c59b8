//! What a replica must not take: the messages that make the raft crate panic or obey.

use bytes::Bytes;
use coco_consensus::{Consensus, Refused, Role};
use coco_types::{Seqno, View};
use protobuf::Message as _;
use raft::eraftpb::{ConfChangeTransition, ConfChangeV2, Entry, EntryType, Message, MessageType, Snapshot};

use coco_replicas::batches::seal;
use coco_replicas::network::{Network, Random, id};

/// 1 leads, 2 and 3 follow; one batch is committed.
fn network() -> Network {
    let mut network = Network::new(3, 1);
    network.elect_this(1);
    network.commit(b"one");
    network.settle();
    network
}

fn message(network: &mut Network, kind: MessageType) -> Message {
    let mut message = Message { from: 1, to: 2, term: network.core(2).view().0, ..Message::default() };
    message.set_msg_type(kind);
    message
}

/// An append of one entry behind 2's log.
fn append(network: &mut Network, entry_type: EntryType, data: Bytes) -> Message {
    let mut append = message(network, MessageType::MsgAppend);
    append.index = network.core(2).last_index();
    append.log_term = network.core(2).view_at(append.index).unwrap().0;
    let mut entry = Entry { index: append.index + 1, term: append.term, data, ..Entry::default() };
    entry.set_entry_type(entry_type);
    append.set_entries(vec![entry].into());
    append
}

fn step(network: &mut Network, message: &Message) -> Result<(), Refused> {
    let bytes = message.write_to_bytes().unwrap();
    let stepped = network.core(2).step(id(message.from), &bytes);
    network.collect(2);
    stepped
}

#[test]
fn types_that_nobody_may_send_are_refused() {
    // Finding 6: the primary would append a forwarded proposal, membership changes included.
    let mut network = network();
    for kind in [
        MessageType::MsgHup,
        MessageType::MsgBeat,
        MessageType::MsgPropose,
        MessageType::MsgUnreachable,
        MessageType::MsgSnapStatus,
        MessageType::MsgCheckQuorum,
        MessageType::MsgTransferLeader,
        MessageType::MsgReadIndex,
        MessageType::MsgReadIndexResp,
    ] {
        let message = message(&mut network, kind);
        assert_eq!(step(&mut network, &message), Err(Refused::Type), "{kind:?}");
    }
}

#[test]
fn a_forced_election_comes_only_from_the_current_primary() {
    let mut network = network();
    let mut takeover = message(&mut network, MessageType::MsgTimeoutNow);
    takeover.from = 3;
    assert_eq!(step(&mut network, &takeover), Err(Refused::NotFromPrimary));
    takeover.from = 1;
    takeover.term += 1;
    assert_eq!(step(&mut network, &takeover), Err(Refused::NotFromPrimary));
    takeover.term -= 1;
    assert_eq!(step(&mut network, &takeover), Ok(()));
    assert_eq!(network.core(2).role(), Role::Candidate);
}

#[test]
fn inputs_that_make_the_crate_panic_are_refused() {
    let mut network = network();
    let last = network.core(2).last_index();
    let mut heartbeat = message(&mut network, MessageType::MsgHeartbeat);
    heartbeat.commit = last + 1;
    assert_eq!(step(&mut network, &heartbeat), Err(Refused::Range { field: "commit" }));
    heartbeat.commit = last;
    heartbeat.set_context(Bytes::from(vec![0; 1 << 20]));
    assert_eq!(step(&mut network, &heartbeat), Err(Refused::Range { field: "context" }));

    let mut gap = append(&mut network, EntryType::EntryNormal, Bytes::new());
    gap.mut_entries()[0].index += 1;
    assert_eq!(step(&mut network, &gap), Err(Refused::Gap));
    let mut beyond = append(&mut network, EntryType::EntryNormal, Bytes::new());
    (beyond.index, beyond.log_term) = (last + 1, 0);
    beyond.mut_entries()[0].index = last + 2;
    assert_eq!(step(&mut network, &beyond), Err(Refused::Range { field: "log_term" }));
    let mut older = append(&mut network, EntryType::EntryNormal, Bytes::new());
    older.mut_entries()[0].term = 0;
    assert_eq!(step(&mut network, &older), Err(Refused::Gap));
    let mut newer = append(&mut network, EntryType::EntryNormal, Bytes::new());
    newer.mut_entries()[0].term += 1;
    assert_eq!(step(&mut network, &newer), Err(Refused::Gap));

    let mut snapshot = append(&mut network, EntryType::EntryNormal, Bytes::new());
    snapshot.set_snapshot(Snapshot::default());
    assert_eq!(step(&mut network, &snapshot), Err(Refused::Range { field: "snapshot" }));
    for field in ["term", "log_term", "index", "commit", "commit_term", "reject_hint"] {
        let mut ack = message(&mut network, MessageType::MsgAppendResponse);
        match field {
            "term" => ack.term = u64::MAX,
            "log_term" => ack.log_term = u64::MAX,
            "index" => ack.index = u64::MAX,
            "commit" => ack.commit = u64::MAX,
            "commit_term" => ack.commit_term = u64::MAX,
            _ => ack.reject_hint = u64::MAX,
        }
        assert_eq!(step(&mut network, &ack), Err(Refused::Range { field }));
    }
    let mut termless = message(&mut network, MessageType::MsgHeartbeat);
    termless.term = 0;
    assert_eq!(step(&mut network, &termless), Err(Refused::Range { field: "term" }));
    let mut last_term = message(&mut network, MessageType::MsgRequestVote);
    last_term.term = u64::MAX;
    last_term.set_context(Bytes::from_static(b"CampaignTransfer"));
    assert_eq!(step(&mut network, &last_term), Err(Refused::Range { field: "term" }));
}

#[test]
fn a_message_from_a_view_out_of_reach_does_not_end_the_elections() {
    const LEAP_MAX: u64 = 1 << 16;
    let mut network = network();
    let view = network.core(2).view();
    for kind in KINDS {
        for term in [view.0 + LEAP_MAX + 1, (1 << 31) - 1, 1 << 60] {
            let mut far = message(&mut network, kind);
            (far.from, far.term) = (3, term);
            assert_eq!(step(&mut network, &far), Err(Refused::Range { field: "term" }), "{kind:?}");
        }
    }
    network.run(10);
    assert_eq!((network.core(2).view(), network.primary()), (view, Some(1)));
    let mut near = message(&mut network, MessageType::MsgHeartbeat);
    (near.from, near.term) = (3, view.0 + LEAP_MAX);
    assert_eq!(step(&mut network, &near), Ok(()));
    let leads_on = |network: &mut Network| {
        let primary = network.primary();
        primary.is_some_and(|primary| network.core(primary).view().0 > near.term)
    };
    assert!(network.run_until(300, leads_on), "the others follow, and elect again");
}

#[test]
fn a_fresh_replica_follows_into_any_view() {
    let mut network = network();
    network.join_learner(4, 3);
    let mut heartbeat = message(&mut network, MessageType::MsgHeartbeat);
    (heartbeat.to, heartbeat.term) = (4, 1 << 31);
    let beyond = network.core(4).step(id(1), &heartbeat.write_to_bytes().unwrap());
    assert_eq!(beyond, Err(Refused::Range { field: "term" }), "the ledger cannot seal in it");
    heartbeat.term -= 1;
    assert_eq!(network.core(4).step(id(1), &heartbeat.write_to_bytes().unwrap()), Ok(()));
    assert_eq!(network.core(4).view(), View(heartbeat.term));
}

#[test]
fn a_vote_that_arrives_before_it_can_have_been_asked_for_is_refused() {
    // The crate asserts that a new primary's log is durable.
    let mut network = network();
    network.replicas.get_mut(&2).unwrap().sync_ticks = u64::MAX;
    network.propose(1, b"not durable on 2").unwrap();
    network.step();
    let mut takeover = message(&mut network, MessageType::MsgTimeoutNow);
    takeover.from = 1;
    step(&mut network, &takeover).unwrap();
    let mut vote = message(&mut network, MessageType::MsgRequestVoteResponse);
    assert_eq!(step(&mut network, &vote), Err(Refused::Unasked));
    vote.term -= 1;
    assert_eq!(step(&mut network, &vote), Ok(()), "of an older view: ignored");
}

#[test]
fn entries_of_other_kinds_are_refused() {
    let mut network = network();
    let first = append(&mut network, EntryType::EntryConfChange, Bytes::new());
    assert_eq!(step(&mut network, &first), Err(Refused::EntryKind));
    let unparsable = append(&mut network, EntryType::EntryConfChangeV2, Bytes::from_static(b"\xff\xff\xff"));
    assert_eq!(step(&mut network, &unparsable), Err(Refused::EntryKind));
    // The crate would leave an implicit joint configuration by an entry that nobody proposed.
    let mut implicit = ConfChangeV2::default();
    implicit.set_transition(ConfChangeTransition::Implicit);
    let implicit = append(&mut network, EntryType::EntryConfChangeV2, implicit.write_to_bytes().unwrap().into());
    assert_eq!(step(&mut network, &implicit), Err(Refused::EntryKind));
    let mut context = append(&mut network, EntryType::EntryNormal, Bytes::new());
    context.mut_entries()[0].set_context(Bytes::from_static(b"x"));
    assert_eq!(step(&mut network, &context), Err(Refused::EntryKind));
}

#[test]
fn batches_that_do_not_continue_the_ledger_are_refused() {
    let mut network = network();
    let view = network.core(2).view();
    let last = network.core(2).last_index();
    let before = network.core(2).seqno_at(last).unwrap();
    for batch in [
        Bytes::from_static(b"no batch"),
        seal(View(view.0 + 1), before, &[b"another view"]),
        seal(view, Seqno(before.0 + 1), &[b"a gap"]),
        seal(view, Seqno(before.0 - 1), &[b"again"]),
    ] {
        let append = append(&mut network, EntryType::EntryNormal, batch);
        assert!(matches!(step(&mut network, &append), Err(Refused::Batch { .. })));
    }
    let good = append(&mut network, EntryType::EntryNormal, seal(view, before, &[b"good"]));
    assert_eq!(step(&mut network, &good), Ok(()));
    assert_eq!(network.core(2).last_index(), last + 1);
    // Once stored it is not looked at again.
    assert_eq!(step(&mut network, &good), Ok(()));
    assert_eq!(network.core(2).last_index(), last + 1);
}

#[test]
fn an_append_below_the_commit_index_changes_nothing() {
    let mut network = network();
    let committed = network.core(2).committed();
    let mut conflict = append(&mut network, EntryType::EntryNormal, Bytes::new());
    conflict.term += 5;
    conflict.index = committed - 1;
    conflict.log_term = network.core(2).view_at(committed - 1).unwrap().0;
    conflict.mut_entries()[0].index = committed;
    conflict.mut_entries()[0].term = conflict.term;
    let view = network.core(2).view_at(committed);
    assert_eq!(step(&mut network, &conflict), Ok(()));
    assert_eq!((network.core(2).committed(), network.core(2).view_at(committed)), (committed, view));
}

#[test]
fn a_second_primary_of_a_view_is_refused() {
    let mut network = network();
    let view = network.core(2).view();
    for kind in [MessageType::MsgHeartbeat, MessageType::MsgAppend] {
        let mut second = message(&mut network, kind);
        second.from = 3;
        let refused = Refused::SecondPrimary { view, known: id(1), claimed: id(3) };
        assert_eq!(step(&mut network, &second), Err(refused));
    }
}

#[test]
fn a_false_address_is_refused() {
    let mut network = network();
    let heartbeat = message(&mut network, MessageType::MsgHeartbeat);
    let bytes = heartbeat.write_to_bytes().unwrap();
    assert_eq!(network.core(2).step(id(3), &bytes), Err(Refused::WrongAddress));
    assert_eq!(network.core(3).step(id(1), &bytes), Err(Refused::WrongAddress));
    assert_eq!(network.core(2).step(id(1), b"\xff\xff"), Err(Refused::Malformed));
}

#[test]
fn an_acknowledgement_beyond_the_log_or_of_a_stranger_is_refused() {
    let mut network = network();
    let last = network.core(1).last_index();
    let mut ack = message(&mut network, MessageType::MsgAppendResponse);
    (ack.from, ack.to) = (2, 1);
    ack.index = last + 1;
    let bytes = ack.write_to_bytes().unwrap();
    assert_eq!(network.core(1).step(id(2), &bytes), Err(Refused::Range { field: "index" }));
    (ack.from, ack.index) = (9, last);
    let bytes = ack.write_to_bytes().unwrap();
    assert_eq!(network.core(1).step(id(9), &bytes), Err(Refused::Stranger));
}

#[test]
fn a_message_of_countless_entries_is_refused_before_memory_is_spent() {
    let mut network = network();
    let bytes: Vec<u8> = [0x3a, 0x00].repeat(1 << 20);
    assert_eq!(network.core(2).step(id(1), &bytes), Err(Refused::Range { field: "entries" }));
}

#[test]
fn no_bytes_make_a_replica_panic() {
    let mut network = network();
    let mut random = Random(42);
    let view = network.core(2).view();
    let last = network.core(2).last_index();
    let before = network.core(2).seqno_at(last).unwrap();
    let good = append(&mut network, EntryType::EntryNormal, seal(view, before, &[b"good"])).write_to_bytes().unwrap();
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=random.below(3) {
            let at = usize::try_from(random.below(bytes.len() as u64)).unwrap();
            bytes[at] = random.draw().to_le_bytes()[0];
        }
        let cut = usize::try_from(random.below(bytes.len() as u64 * 4)).unwrap();
        bytes.truncate(cut.max(1));
        let _ = network.core(2).step(id(1), &bytes);
        let _ = network.core(2).take_output().unwrap();
    }
}

const KINDS: [MessageType; 9] = [
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgTimeoutNow,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
];

/// A message of a taken type with numbers around those of the receiver, and some far off.
fn arbitrary(random: &mut Random, receiver: &Consensus, from: u64) -> Message {
    let near = receiver.last_index();
    let view = receiver.view().0;
    let mut number = |around: u64| {
        if random.percent(2) { random.draw() } else { (around + random.below(7)).saturating_sub(3) }
    };
    let mut message = Message { from, to: receiver.id().0, ..Message::default() };
    message.set_msg_type(KINDS[usize::try_from(number(6) % 9).unwrap()]);
    (message.index, message.log_term) = (number(near), number(view));
    (message.commit, message.commit_term) = (number(near), number(view));
    (message.reject_hint, message.term) = (number(near), if number(3) < 5 { view } else { number(view) });
    message.reject = number(3) % 2 == 0;
    if message.get_msg_type() == MessageType::MsgAppend {
        let entries = (0..number(3) % 4).map(|position| {
            let mut entry =
                Entry { index: message.index.wrapping_add(1 + position), term: number(view), ..Entry::default() };
            match number(3) % 4 {
                0 => entry.set_entry_type(EntryType::EntryConfChangeV2),
                1 => {
                    entry.set_entry_type(EntryType::EntryConfChangeV2);
                    entry.data =
                        Bytes::from(vec![0x08, 0x02, 0x12, 0x04, 0x08, 0x01, 0x10, number(3).to_le_bytes()[0] % 9]);
                }
                _ => {}
            }
            entry
        });
        let entries: Vec<_> = entries.collect();
        message.set_entries(entries.into());
    }
    message
}

#[test]
fn no_message_makes_a_replica_panic_whatever_its_role() {
    for seed in 0..60 {
        let mut network = network();
        let mut random = Random(seed);
        let receiver = 1 + seed % 3;
        for round in 0..400 {
            let core = network.core(receiver);
            let from = 1 + random.below(5);
            let message = arbitrary(&mut random, core, from);
            let _ = core.step(id(from), &message.write_to_bytes().unwrap());
            if round % 3 == 0 {
                core.tick();
            }
            let output = core.take_output().unwrap();
            if let Some(committed) = output.committed.last() {
                core.applied(committed.index);
            }
            if let Some(persist) = output.persist.filter(|_| round % 5 != 0) {
                core.persisted(persist.number);
            }
        }
    }
}
