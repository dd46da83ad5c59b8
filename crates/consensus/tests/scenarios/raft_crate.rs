//! What the raft crate does by itself, where Coco's guards rest on it: a change of version must not change it unseen.

use std::panic::{AssertUnwindSafe, catch_unwind};

use protobuf::Message as _;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, Entry, EntryType, Message, MessageType,
};
use raft::storage::MemStorage;
use raft::{RawNode, StateRole};

fn node(id: u64, voters: &[u64]) -> RawNode<MemStorage> {
    let storage = MemStorage::new_with_conf_state((voters.to_vec(), Vec::new()));
    let config = raft::Config {
        id,
        election_tick: 10,
        heartbeat_tick: 2,
        check_quorum: true,
        pre_vote: true,
        ..raft::Config::default()
    };
    RawNode::new(&config, storage, &slog::Logger::root(slog::Discard, slog::o!())).unwrap()
}

/// Handles everything that is ready, as if the disk were instant.
fn pump(node: &mut RawNode<MemStorage>) -> Vec<Message> {
    let mut sent = Vec::new();
    while node.has_ready() {
        let mut ready = node.ready();
        sent.extend(ready.take_messages());
        node.mut_store().wl().append(ready.entries()).unwrap();
        if let Some(state) = ready.hs() {
            node.mut_store().wl().set_hardstate(state.clone());
        }
        sent.extend(ready.take_persisted_messages());
        let mut committed = ready.take_committed_entries();
        let mut light = node.advance_append(ready);
        sent.extend(light.take_messages());
        committed.extend(light.take_committed_entries());
        for entry in committed {
            if entry.get_entry_type() == EntryType::EntryConfChangeV2 {
                let change = ConfChangeV2::parse_from_bytes(&entry.data).unwrap();
                node.apply_conf_change(&change).unwrap();
            }
            node.advance_apply_to(entry.index);
        }
    }
    sent
}

fn leader() -> RawNode<MemStorage> {
    let mut node = node(1, &[1]);
    node.campaign().unwrap();
    pump(&mut node);
    assert_eq!(node.raft.state, StateRole::Leader);
    node
}

fn change(transition: ConfChangeTransition, changes: &[(u64, ConfChangeType)]) -> ConfChangeV2 {
    let mut change = ConfChangeV2::default();
    change.set_transition(transition);
    for (id, kind) in changes {
        let mut single = ConfChangeSingle { node_id: *id, ..ConfChangeSingle::default() };
        single.set_change_type(*kind);
        change.mut_changes().push(single);
    }
    change
}

fn message(kind: MessageType, from: u64, term: u64) -> Message {
    let mut message = Message::default();
    message.set_msg_type(kind);
    (message.from, message.to, message.term) = (from, 1, term);
    message
}

#[test]
fn a_backup_says_yes_to_a_proposal_and_forwards_it() {
    let mut node = node(1, &[1, 2, 3]);
    node.step(message(MessageType::MsgHeartbeat, 2, 1)).unwrap();
    assert!(node.propose(Vec::new(), b"batch".to_vec()).is_ok());
    assert!(pump(&mut node).iter().any(|sent| sent.get_msg_type() == MessageType::MsgPropose && sent.to == 2));
}

#[test]
fn a_primary_appends_a_forwarded_proposal() {
    let mut node = leader();
    let last = node.raft.raft_log.last_index();
    let mut forwarded = message(MessageType::MsgPropose, 2, 0);
    forwarded.set_entries(vec![Entry::default()].into());
    node.step(forwarded).unwrap();
    assert_eq!(node.raft.raft_log.last_index(), last + 1);
}

#[test]
fn a_refused_membership_change_becomes_an_empty_entry() {
    let mut node = leader();
    let learner = change(ConfChangeTransition::Auto, &[(2, ConfChangeType::AddLearnerNode)]);
    node.propose_conf_change(Vec::new(), learner).unwrap();
    assert!(node.raft.has_pending_conf());
    let second = change(ConfChangeTransition::Auto, &[(3, ConfChangeType::AddLearnerNode)]);
    assert!(node.propose_conf_change(Vec::new(), second).is_ok());
    let last = node.raft.raft_log.unstable_entries().last().unwrap().clone();
    assert_eq!((last.get_entry_type(), last.data.len()), (EntryType::EntryNormal, 0));
    pump(&mut node);
    // A leave when not joint: the same.
    assert!(node.propose_conf_change(Vec::new(), ConfChangeV2::default()).is_ok());
    let last = node.raft.raft_log.unstable_entries().last().unwrap();
    assert_eq!(last.get_entry_type(), EntryType::EntryNormal);
}

#[test]
fn a_joint_configuration_does_not_count_as_pending_and_its_leave_has_no_bytes() {
    let mut node = leader();
    let learner = change(ConfChangeTransition::Auto, &[(2, ConfChangeType::AddLearnerNode)]);
    node.propose_conf_change(Vec::new(), learner).unwrap();
    pump(&mut node);
    let joint = change(ConfChangeTransition::Explicit, &[(2, ConfChangeType::RemoveNode)]);
    node.propose_conf_change(Vec::new(), joint).unwrap();
    pump(&mut node);
    assert!(!node.raft.has_pending_conf());
    assert!(!node.raft.prs().conf().to_conf_state().get_voters_outgoing().is_empty());
    node.propose_conf_change(Vec::new(), ConfChangeV2::default()).unwrap();
    let last = node.raft.raft_log.unstable_entries().last().unwrap();
    assert_eq!((last.get_entry_type(), last.data.len()), (EntryType::EntryConfChangeV2, 0));
}

#[test]
fn a_sole_voter_sends_before_its_term_is_durable() {
    let mut node = leader();
    let learner = change(ConfChangeTransition::Auto, &[(2, ConfChangeType::AddLearnerNode)]);
    node.propose_conf_change(Vec::new(), learner).unwrap();
    pump(&mut node);
    let term = node.raft.term;
    node.raft.become_follower(term, 0);
    pump(&mut node);
    node.campaign().unwrap();
    let mut ready = node.ready();
    assert_eq!(ready.hs().unwrap().term, term + 1);
    let sent = ready.take_messages();
    assert!(sent.iter().any(|sent| sent.get_msg_type() == MessageType::MsgAppend), "nothing was persisted yet");
}

#[test]
fn an_applied_index_above_the_durable_commit_index_panics() {
    let storage = MemStorage::new_with_conf_state((vec![1], Vec::new()));
    let config = raft::Config { id: 1, election_tick: 10, heartbeat_tick: 2, applied: 5, ..raft::Config::default() };
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    assert!(catch_unwind(AssertUnwindSafe(|| RawNode::new(&config, storage, &logger).is_ok())).is_err());
}

#[test]
fn hostile_messages_panic() {
    let mut heartbeat = message(MessageType::MsgHeartbeat, 2, 9);
    heartbeat.commit = 99;
    for (hostile, leads) in [(heartbeat, false), (message(MessageType::MsgPropose, 2, 0), true)] {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut node = if leads { leader() } else { node(1, &[1, 2, 3]) };
            let _ = node.step(hostile);
        }));
        assert!(panicked.is_err());
    }
}
