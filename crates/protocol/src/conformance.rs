//! What every protocol must pass, run against the protocol alone.
//!
//! A protocol's tests implement [`Fixture`] and call [`check`], which panics with the rule that is broken. The rules hold
//! for any protocol: they speak of submissions, state and reads, never of what these mean. A receipt's verification is the
//! ledger's matter and is checked there.

mod single_node;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};

use crate::{Caller, Gate, OpenGate, Protocol, Subject, Submitted};

pub use single_node::SingleNode;

/// A protocol and something to do with it.
pub trait Fixture {
    /// A fresh object, as another node would have it.
    fn protocol(&self) -> Arc<dyn Protocol>;

    fn genesis(&self) -> serde_json::Value;

    /// At least two submissions that can be executed in this order after genesis, and not in another order or twice.
    fn submissions(&self) -> Vec<Bytes>;

    /// Submissions that are well-formed and that the state after genesis does not allow.
    fn refused(&self) -> Vec<Bytes>;

    /// Bytes that are no submission.
    fn malformed(&self) -> Vec<Bytes>;

    /// Requests to the service whose answers disclose something that the submissions wrote, and nothing else that could have
    /// changed.
    fn reads(&self) -> Vec<Request<Bytes>>;

    /// `false` for a ledger whose submissions say "make it so": repeating one at once changes nothing, and the channel alone
    /// keeps third parties from repeating it later.
    fn refuses_replays(&self) -> bool {
        true
    }
}

/// Runs every rule.
///
/// # Panics
/// When a rule is broken, with the rule.
pub fn check(fixture: &dyn Fixture) {
    admission_refuses_what_it_cannot_decode(fixture);
    a_peers_admission_is_taken_over(fixture);
    names_begin_with_the_ledgers(fixture);
    a_rejection_leaves_no_trace(fixture);
    a_replay_is_refused_or_changes_nothing(fixture);
    what_is_not_committed_can_be_dropped(fixture);
    an_outcome_survives_a_restart(fixture);
    a_node_that_only_applies_writes_has_the_same_state(fixture);
    denied_equals_absent(fixture);
}

fn admission_refuses_what_it_cannot_decode(fixture: &dyn Fixture) {
    let protocol = fixture.protocol();
    for bytes in fixture.malformed() {
        assert!(protocol.admit(bytes.clone(), &Caller::Anonymous).is_err(), "malformed bytes were admitted: {bytes:?}");
    }
    for submission in fixture.submissions() {
        for end in 0..submission.len() {
            // Whatever it says, it must not panic.
            let _ = protocol.admit(submission.slice(..end), &Caller::Anonymous);
        }
        let mut extended = submission.to_vec();
        extended.push(0);
        let admitted = protocol.admit(extended.into(), &Caller::Anonymous);
        assert!(admitted.is_err(), "a submission with a byte too many was admitted");
    }
}

fn a_peers_admission_is_taken_over(fixture: &dyn Fixture) {
    let protocol = fixture.protocol();
    for submission in fixture.submissions() {
        let admitted = protocol.admit(submission, &Caller::Anonymous).expect("a sample submission is admitted");
        let again = fixture.protocol().readmit(admitted.raw.clone(), admitted.finding.clone(), admitted.caller.clone());
        let again = again.expect("what one node admitted is readmitted by another");
        assert_eq!((again.id, again.raw, again.finding), (admitted.id, admitted.raw, admitted.finding));
    }
}

fn names_begin_with_the_ledgers(fixture: &dyn Fixture) {
    let node = found(fixture, Arc::new(OpenGate));
    commit_all(&node, &fixture.submissions());
    let name = node.protocol().name();
    for map in node.state().into_keys() {
        let bare = map.as_str().strip_prefix("public:").unwrap_or(map.as_str());
        let bare = bare.strip_prefix("history:").unwrap_or(bare);
        let own = bare.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        assert!(own, "the map {map} is not called {name}.…");
    }
    for claims in node.claims() {
        assert_eq!(claims.protocol, name, "a receipt names another protocol");
    }
}

fn a_rejection_leaves_no_trace(fixture: &dyn Fixture) {
    let node = found(fixture, Arc::new(OpenGate));
    let (state, version) = (node.state(), node.version());
    for submission in fixture.refused() {
        let answers = node.submit_all(std::slice::from_ref(&submission));
        assert!(!committed(&answers), "a submission that the state does not allow was executed: {submission:?}");
        assert!(node.state() == state, "a rejected submission left a trace: {submission:?}");
        assert_eq!(node.version(), version, "a rejected submission has a transaction id: {submission:?}");
    }
    commit_all(&node, &fixture.submissions());
}

fn a_replay_is_refused_or_changes_nothing(fixture: &dyn Fixture) {
    let node = found(fixture, Arc::new(OpenGate));
    for submission in fixture.submissions() {
        commit_all(&node, std::slice::from_ref(&submission));
        let state = node.state();
        let replayed = node.submit_all(std::slice::from_ref(&submission));
        assert!(
            !(fixture.refuses_replays() && committed(&replayed)),
            "a submission was executed twice: {submission:?}"
        );
        assert!(node.state() == state, "a replayed submission changed the state: {submission:?}");
    }
    if fixture.refuses_replays() {
        for submission in fixture.submissions() {
            assert!(!committed(&node.submit_all(&[submission])), "an old submission was executed again");
        }
    }
}

fn what_is_not_committed_can_be_dropped(fixture: &dyn Fixture) {
    let node = found(fixture, Arc::new(OpenGate));
    let state = node.state();
    node.execute_uncommitted(&fixture.submissions());
    assert!(node.newest_state() != state, "the sample submissions write nothing");
    node.lose_leadership();
    assert!(node.state() == state && node.newest_state() == state, "what was not committed left a trace");
    commit_all(&node, &fixture.submissions());
    follow(fixture, &node);
}

fn an_outcome_survives_a_restart(fixture: &dyn Fixture) {
    let submissions = fixture.submissions();
    let (first, second) = submissions.split_at(submissions.len() / 2);
    let node = found(fixture, Arc::new(OpenGate));
    commit_all(&node, first);
    let restarted = node.restarted(fixture.protocol());
    assert!(restarted.state() == node.state(), "the state did not survive a restart");
    assert_eq!(answers(fixture, &restarted), answers(fixture, &node), "reads changed over a restart");
    commit_all(&node, second);
    commit_all(&restarted, second);
    assert!(restarted.state() == node.state(), "after a restart the same submissions had another outcome");
    assert_eq!(answers(fixture, &restarted), answers(fixture, &node), "reads changed over a restart");
}

fn a_node_that_only_applies_writes_has_the_same_state(fixture: &dyn Fixture) {
    let node = found(fixture, Arc::new(OpenGate));
    let submissions = fixture.submissions();
    submissions.chunks(1).for_each(|one| commit_all(&node, one));
    follow(fixture, &node);
}

fn denied_equals_absent(fixture: &dyn Fixture) {
    let before = found(fixture, Arc::new(OpenGate));
    let absent = answers(fixture, &before);
    commit_all(&before, &fixture.submissions());
    let present = answers(fixture, &before);
    for (request, (absent, present)) in fixture.reads().iter().zip(absent.iter().zip(&present)) {
        assert_ne!(absent, present, "this read discloses nothing that was written: {request:?}");
    }
    let closed = found(fixture, Arc::new(ClosedGate));
    commit_all(&closed, &fixture.submissions());
    for ((request, absent), denied) in fixture.reads().iter().zip(&absent).zip(answers(fixture, &closed)) {
        assert_eq!(*absent, denied, "a denied read can be told from an absent thing: {request:?}");
    }
}

/// Nobody may see anything.
struct ClosedGate;

impl Gate for ClosedGate {
    fn permits(&self, _caller: &Caller, _subject: &Subject<'_>) -> bool {
        false
    }
}

fn found(fixture: &dyn Fixture, gate: Arc<dyn Gate>) -> Arc<SingleNode> {
    SingleNode::found(fixture.protocol(), &fixture.genesis(), gate)
}

fn committed(answers: &[Submitted]) -> bool {
    answers.iter().any(|answer| matches!(answer, Submitted::Committed { .. }))
}

fn commit_all(node: &Arc<SingleNode>, submissions: &[Bytes]) {
    for (answer, submission) in node.submit_all(submissions).iter().zip(submissions) {
        let done = matches!(answer, Submitted::Committed { .. });
        assert!(done, "a sample submission was not executed: {answer:?}: {submission:?}");
    }
}

/// A second node takes every batch of `node` and must end where that is.
fn follow(fixture: &dyn Fixture, node: &Arc<SingleNode>) {
    let follower = node.follower(fixture.protocol());
    assert!(follower.state() == node.state(), "a node that applied the same writes has another state");
    assert_eq!(
        answers(fixture, &follower),
        answers(fixture, node),
        "a node that applied the same writes answers differently"
    );
}

/// Status, headers and body of every read.
fn answers(fixture: &dyn Fixture, node: &Arc<SingleNode>) -> Vec<(u16, String, Bytes)> {
    let comparable = |response: Response<Bytes>| {
        (response.status().as_u16(), format!("{:?}", response.headers()), response.into_body())
    };
    fixture.reads().into_iter().map(|request| comparable(node.call(request))).collect()
}
