//! Members at work, and members at odds with the rules.

use coco_crypto::{Curve, SeededCrypto};
use coco_kv::Store;
use serde_json::{Value, json};

use super::*;
use crate::constitution;
use crate::fixture::{self, Actor, NOW_S, ROOT};
use crate::{Draft, ProposalInfo, ProposalState};

const YES: &str = "export function vote() { return true }";
const NO: &str = "export function vote() { return false }";

struct Consortium {
    crypto: SeededCrypto,
    members: Vec<Actor>,
    store: Store,
}

impl Consortium {
    /// Three members, none of them active.
    fn new() -> Self {
        Self::with(constitution::DEFAULT)
    }

    fn with(constitution: &str) -> Self {
        let crypto = SeededCrypto::new(1);
        let members: Vec<_> =
            [Curve::P384, Curve::P256, Curve::P384].map(|curve| Actor::new(&crypto, curve, "member")).into();
        let store = fixture::founded(&crypto, &members.iter().collect::<Vec<_>>(), constitution);
        Self { crypto, members, store }
    }

    fn active() -> Self {
        let consortium = Self::new();
        consortium.activate_all();
        consortium
    }

    fn activate_all(&self) {
        for member in 0..self.members.len() {
            self.activate(member);
        }
    }

    fn activate(&self, member: usize) {
        let id = self.id(member);
        let update = Operation::UpdateDigest { member: id.clone() };
        let digest = self.send(member, "state_digest", None, update, b"").unwrap();
        assert_eq!(digest, json!({"memberId": id, "stateDigest": ROOT}));
        let payload = json!({"stateDigest": ROOT}).to_string();
        let acknowledged = self.send(member, "ack", None, Operation::Acknowledge { member: id }, payload.as_bytes());
        assert_eq!(acknowledged, Ok(Value::Null));
    }

    fn id(&self, member: usize) -> String {
        self.members[member].id()
    }

    fn draft(&self, member: usize, kind: &str, proposal: Option<&str>, payload: &[u8]) -> Draft {
        Draft {
            key_id: self.id(member),
            kind: kind.to_owned(),
            proposal_id: proposal.map(str::to_owned),
            created_at: NOW_S,
            payload: payload.to_vec(),
        }
    }

    fn sign(&self, member: usize, draft: &Draft) -> Bytes {
        draft.sign(&self.crypto, &self.members[member].key).into()
    }

    fn send(
        &self,
        member: usize,
        kind: &str,
        proposal: Option<&str>,
        operation: Operation,
        payload: &[u8],
    ) -> Result<Value, Refusal> {
        let message = self.sign(member, &self.draft(member, kind, proposal, payload));
        self.handle(&Request { operation, message })
    }

    /// Commits what the request wrote; nothing if it was refused.
    fn handle(&self, request: &Request) -> Result<Value, Refusal> {
        let session = fixture::session(&self.store);
        let answer = session.handle(request)?;
        assert_eq!(answer.wrote, !session.world.tx.borrow().writes().is_empty());
        fixture::commit(&self.store, session);
        Ok(answer.body.unwrap_or(Value::Null))
    }

    fn propose(&self, member: usize, actions: &Value) -> Result<Value, Refusal> {
        let text = json!({ "actions": actions }).to_string();
        self.send(member, "proposal", None, Operation::Propose, text.as_bytes())
    }

    fn proposed(&self, actions: &Value) -> String {
        self.propose(0, actions).unwrap()["proposalId"].as_str().unwrap().to_owned()
    }

    fn vote(&self, member: usize, proposal: &str, ballot: &str) -> Result<Value, Refusal> {
        let operation = Operation::Vote { proposal: proposal.to_owned(), member: self.id(member) };
        let payload = json!({ "ballot": ballot }).to_string();
        self.send(member, "ballot", Some(proposal), operation, payload.as_bytes())
    }

    fn withdraw(&self, member: usize, proposal: &str) -> Result<Value, Refusal> {
        let operation = Operation::Withdraw { proposal: proposal.to_owned() };
        self.send(member, "withdrawal", Some(proposal), operation, b"")
    }

    fn stored(&self, proposal: &str) -> Option<ProposalInfo> {
        ProposalInfo::read(&mut self.store.snapshot(), proposal).unwrap()
    }
}

fn describe_member(consortium: &Consortium, member: usize, name: &str) -> Value {
    json!([{"name": "set_member_data", "args": {"member_id": consortium.id(member), "member_data": {"name": name}}}])
}

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Code {
    result.unwrap_err().code
}

#[test]
fn a_majority_carries_a_proposal_and_its_effect_is_there_at_once() {
    let consortium = Consortium::active();
    let id = consortium.proposed(&describe_member(&consortium, 2, "Bank C"));
    let open = consortium.vote(0, &id, YES).unwrap();
    assert_eq!((&open["proposalState"], &open["ballotCount"]), (&json!("Open"), &json!(1)));
    assert_eq!(open.get("finalVotes"), None);
    let carried = consortium.vote(1, &id, YES).unwrap();
    assert_eq!(carried["proposalState"], "Accepted");
    assert_eq!(carried["finalVotes"], json!({consortium.id(0): true, consortium.id(1): true}));
    let row = consortium.store.snapshot().get(&tables::MEMBER_INFO, consortium.id(2).as_bytes()).unwrap();
    assert!(String::from_utf8_lossy(&row).contains("Bank C"));
    assert_eq!(code(consortium.vote(2, &id, YES)), Code::ProposalNotOpen);
}

#[test]
fn a_row_of_policy_names_the_vote_that_made_it_and_loses_the_name_with_the_row() {
    let consortium = Consortium::active();
    let carry = |name: &str, args: Value| {
        let id = consortium.proposed(&json!([{ "name": name, "args": args }]));
        consortium.vote(0, &id, NO).unwrap();
        consortium.vote(1, &id, YES).unwrap();
        assert_eq!(consortium.vote(2, &id, YES).unwrap()["proposalState"], "Accepted");
        id
    };
    let decisions = || crate::attestation::decisions(&mut consortium.store.snapshot()).unwrap();
    assert!(decisions().is_empty(), "the genesis is no vote");
    let policy = carry("set_attestation_policy", json!({ "section": "nitro", "policy": { "images": [] } }));
    let measurement = json!({ "measurement": "ab".repeat(48) });
    let added = carry("add_snp_measurement", measurement.clone());
    let votes = [(0, false), (1, true), (2, true)].map(|(member, vote)| (consortium.id(member), vote)).into();
    let decision = crate::attestation::PolicyDecision { proposal: policy, proposer: consortium.id(0), votes };
    assert_eq!(decisions()["public:ccf.gov.coco.attestation.policy/nitro"], decision);
    let row = format!("public:ccf.gov.nodes.snp.measurements/{}", "ab".repeat(48));
    assert_eq!(decisions()[&row].proposal, added);
    carry("remove_snp_measurement", measurement);
    assert_eq!(decisions().len(), 1);
}

#[test]
fn a_majority_against_it_rejects_a_proposal_for_good() {
    let consortium = Consortium::active();
    let id = consortium.proposed(&describe_member(&consortium, 2, "Bank C"));
    consortium.vote(0, &id, NO).unwrap();
    assert_eq!(consortium.vote(1, &id, NO).unwrap()["proposalState"], "Rejected");
    assert_eq!(code(consortium.withdraw(0, &id)), Code::ProposalNotOpen);
}

#[test]
fn a_member_votes_once_and_may_repeat_itself() {
    let consortium = Consortium::active();
    let id = consortium.proposed(&describe_member(&consortium, 2, "Bank C"));
    consortium.vote(0, &id, YES).unwrap();
    assert_eq!(consortium.vote(0, &id, YES).unwrap()["ballotCount"], 1);
    assert_eq!(code(consortium.vote(0, &id, NO)), Code::VoteAlreadyExists);
    assert_eq!(consortium.stored(&id).unwrap().ballots[&consortium.id(0)], YES);
}

#[test]
fn a_member_without_acknowledgement_or_membership_decides_nothing() {
    let consortium = Consortium::new();
    let actions = describe_member(&consortium, 2, "Bank C");
    assert_eq!(code(consortium.propose(0, &actions)), Code::InvalidAuthenticationInfo);
    consortium.activate(0);
    consortium.activate(1);
    let removal = json!([{"name": "remove_member", "args": {"member_id": consortium.id(1)}}]);
    let id = consortium.proposed(&removal);
    consortium.vote(0, &id, YES).unwrap();
    consortium.vote(1, &id, YES).unwrap();
    assert_eq!(code(consortium.propose(1, &actions)), Code::InvalidAuthenticationInfo);
}

#[test]
fn a_digest_is_acknowledged_by_the_member_that_it_was_given_to() {
    let consortium = Consortium::new();
    let acknowledge = |member: usize, of: usize, digest: &str| {
        let payload = json!({ "stateDigest": digest }).to_string();
        let operation = Operation::Acknowledge { member: consortium.id(of) };
        consortium.send(member, "ack", None, operation, payload.as_bytes())
    };
    assert_eq!(code(acknowledge(0, 0, &ROOT.to_string())), Code::AuthorizationFailed);
    let update = |member: usize, of: usize| {
        consortium.send(member, "state_digest", None, Operation::UpdateDigest { member: consortium.id(of) }, b"")
    };
    assert_eq!(code(update(0, 1)), Code::InvalidAuthenticationInfo);
    update(0, 0).unwrap();
    assert_eq!(code(acknowledge(0, 0, "00")), Code::StateDigestMismatch);
    assert_eq!(code(acknowledge(1, 0, &ROOT.to_string())), Code::InvalidAuthenticationInfo);
    acknowledge(0, 0, &ROOT.to_string()).unwrap();
    let garbage = Operation::Acknowledge { member: consortium.id(0) };
    assert_eq!(code(consortium.send(0, "ack", None, garbage, b"[]")), Code::InvalidInput);
}

#[test]
fn only_its_proposer_withdraws_a_proposal() {
    let consortium = Consortium::active();
    let id = consortium.proposed(&describe_member(&consortium, 2, "Bank C"));
    assert_eq!(code(consortium.withdraw(1, &id)), Code::AuthorizationFailed);
    assert_eq!(consortium.withdraw(0, &id).unwrap()["proposalState"], "Withdrawn");
    assert_eq!(consortium.withdraw(0, &id).unwrap()["proposalState"], "Withdrawn");
    assert_eq!(consortium.withdraw(0, &"0".repeat(64)), Ok(Value::Null));
    assert_eq!(code(consortium.vote(1, &id, YES)), Code::ProposalNotOpen);
    assert_eq!(code(consortium.vote(1, &"0".repeat(64), YES)), Code::ProposalNotFound);
}

#[test]
fn settled_proposals_leave_when_another_is_settled() {
    let consortium = Consortium::active();
    let ids: Vec<_> =
        ["A", "B", "C"].iter().map(|name| consortium.proposed(&describe_member(&consortium, 2, name))).collect();
    consortium.withdraw(0, &ids[0]).unwrap();
    consortium.withdraw(0, &ids[1]).unwrap();
    assert_eq!(consortium.stored(&ids[0]), None);
    assert_eq!(consortium.stored(&ids[1]).unwrap().state, ProposalState::Withdrawn);
    assert_eq!(consortium.stored(&ids[2]).unwrap().state, ProposalState::Open);
}

#[test]
fn a_changed_rule_drops_what_was_proposed_under_the_old_one() {
    let consortium = Consortium::active();
    let other = consortium.proposed(&describe_member(&consortium, 2, "Bank C"));
    let rule = consortium.proposed(&json!([{"name": "set_voting_policy", "args": {"policy": "unanimous"}}]));
    consortium.vote(0, &rule, YES).unwrap();
    assert_eq!(consortium.vote(1, &rule, YES).unwrap()["proposalState"], "Accepted");
    assert_eq!(code(consortium.vote(1, &other, YES)), Code::ProposalNotFound);
    let next = consortium.proposed(&describe_member(&consortium, 2, "Bank D"));
    consortium.vote(0, &next, YES).unwrap();
    assert_eq!(consortium.vote(1, &next, YES).unwrap()["proposalState"], "Open");
}

#[test]
fn a_proposal_is_taken_once_and_only_while_its_date_is_believable() {
    let consortium = Consortium::active();
    let text = |name: &str| json!({ "actions": describe_member(&consortium, 2, name) }).to_string().into_bytes();
    let dated = |name: &str, created_at: u64| {
        let draft = Draft { created_at, ..consortium.draft(0, "proposal", None, &text(name)) };
        let message = consortium.sign(0, &draft);
        consortium.handle(&Request { operation: Operation::Propose, message })
    };
    dated("A", NOW_S).unwrap();
    assert_eq!(code(dated("A", NOW_S)), Code::ProposalReplay);
    assert_eq!(code(dated("B", NOW_S + 3_601)), Code::InvalidCreatedAt);
    assert_eq!(code(dated("B", 10_000_000_000)), Code::InvalidCreatedAt);
    dated("C", NOW_S + 10).unwrap();
    dated("D", NOW_S + 20).unwrap();
    assert_eq!(code(dated("E", NOW_S - 1)), Code::ProposalCreatedTooLongAgo);
    dated("E", NOW_S + 11).unwrap();
}

#[test]
fn the_window_of_recent_proposals_keeps_its_size() {
    let consortium = Consortium::active();
    let resize = json!([{"name": "set_service_configuration", "args": {"recent_cose_proposals_window_size": 2}}]);
    let id = consortium.proposed(&resize);
    consortium.vote(0, &id, YES).unwrap();
    consortium.vote(1, &id, YES).unwrap();
    for name in ["A", "B", "C"] {
        consortium.propose(0, &describe_member(&consortium, 2, name)).unwrap();
    }
    let recent = consortium.store.snapshot().iter(&tables::COSE_RECENT_PROPOSALS).count();
    assert_eq!(recent, 2);
}

#[test]
fn what_throws_is_refused_whole() {
    let consortium = Consortium::active();
    let stranger = "a".repeat(64);
    let failing = json!([
        {"name": "set_member_data", "args": {"member_id": consortium.id(2), "member_data": {"name": "half"}}},
        {"name": "set_member_data", "args": {"member_id": stranger, "member_data": {}}},
    ]);
    let id = consortium.proposed(&failing);
    consortium.vote(0, &id, YES).unwrap();
    let refusal = consortium.vote(1, &id, YES).unwrap_err();
    assert_eq!(refusal.code, Code::InternalError);
    assert!(refusal.message.contains("there is no member"), "{}", refusal.message);
    let stored = consortium.stored(&id).unwrap();
    assert_eq!((stored.state, stored.ballots.len()), (ProposalState::Open, 1));
}

#[test]
fn a_throwing_resolve_and_a_senseless_decision_are_refused() {
    let constitution = |resolve: &str| {
        format!(
            "export function validate(p) {{ return {{ valid: true, description: '' }}; }}
             export function resolve(p, by, votes) {{ {resolve} }}
             export function apply(p, id) {{}}"
        )
    };
    for (resolve, why) in [
        ("throw new Error('undecided')", "resolve: Error: undecided"),
        ("return 'Perhaps'", "no decision"),
        ("while (true) {}", "longer than it may"),
    ] {
        let consortium = Consortium::with(&constitution(resolve));
        consortium.activate(0);
        let refusal = consortium.propose(0, &json!([])).unwrap_err();
        assert!(refusal.code == Code::InternalError && refusal.message.contains(why), "{refusal}");
    }
    let at_once = Consortium::with(&constitution("return 'Accepted'"));
    at_once.activate(0);
    assert_eq!(at_once.propose(0, &json!([])).unwrap()["proposalState"], "Accepted");
}

/// Needs more steps than one, and far fewer than it may take.
fn takes_time(vote: bool) -> String {
    format!("export function vote() {{ for (let i = 0; i < 100000; i++) {{}} return {vote} }}")
}

impl Consortium {
    /// Votes while the primary stands still for longer than a ballot may take, in the middle of the first ballot.
    fn vote_on_a_paused_primary(&self, member: usize, proposal: &str, ballot: &str) -> Result<Value, Refusal> {
        let operation = Operation::Vote { proposal: proposal.to_owned(), member: self.id(member) };
        let payload = json!({ "ballot": ballot }).to_string();
        let message = self.sign(member, &self.draft(member, "ballot", Some(proposal), payload.as_bytes()));
        let asked = std::cell::Cell::new(0);
        let wall = Rc::new(move || {
            asked.set(asked.get() + 1);
            // The resolution begins, then the ballot, then comes its first step.
            if asked.get() < 3 { 0 } else { 600 }
        });
        let facts = fixture::session(&self.store).world.facts.clone();
        let session = Session::new(self.store.begin(), facts, Some(wall));
        let answer = session.handle(&Request { operation, message })?;
        fixture::commit(&self.store, session);
        Ok(answer.body.unwrap_or(Value::Null))
    }
}

#[test]
fn a_primary_that_stood_still_costs_nobody_a_ballot() {
    let consortium = Consortium::active();
    let id = consortium.proposed(&describe_member(&consortium, 2, "Bank C"));
    let refusal = consortium.vote_on_a_paused_primary(0, &id, &takes_time(true)).unwrap_err();
    assert!(refusal.message.contains("try again later"), "{refusal}");
    let stored = consortium.stored(&id).unwrap();
    assert!(stored.ballots.is_empty() && stored.exceeded.is_empty());
    assert_eq!(consortium.vote(0, &id, &takes_time(true)).unwrap()["ballotCount"], 1);
}

#[test]
fn what_hangs_on_a_ballot_that_the_clock_stopped_is_not_decided_and_what_does_not_is() {
    let consortium = Consortium::active();
    let mut members = [0, 1, 2];
    members.sort_by_key(|member| consortium.id(*member));
    let [slow, second, third] = members;
    let id = consortium.proposed(&describe_member(&consortium, 2, "Bank C"));
    consortium.vote(slow, &id, &takes_time(false)).unwrap();
    let refusal = consortium.vote_on_a_paused_primary(second, &id, YES).unwrap_err();
    assert!(refusal.message.contains("the decision hangs on") && refusal.message.contains(&consortium.id(slow)));
    assert_eq!(consortium.stored(&id).unwrap().ballots.len(), 1);
    assert_eq!(consortium.vote(second, &id, YES).unwrap()["proposalState"], "Open");
    let carried = consortium.vote_on_a_paused_primary(third, &id, YES).unwrap();
    assert_eq!(carried["proposalState"], "Accepted");
    assert!(consortium.stored(&id).unwrap().exceeded.is_empty());
}

#[test]
fn ballots_that_throw_or_never_end_are_failures_and_not_votes() {
    let consortium = Consortium::active();
    let id = consortium.proposed(&describe_member(&consortium, 2, "Bank C"));
    consortium.vote(0, &id, "export function vote() { while (true) {} }").unwrap();
    let stored = consortium.stored(&id).unwrap();
    assert!(stored.exceeded[&consortium.id(0)].exceeded);
    consortium.vote(1, &id, "export function vote() { throw new Error('unsure') }").unwrap();
    let open = consortium.vote(2, &id, YES).unwrap();
    assert_eq!(open["proposalState"], "Open");
    assert_eq!(consortium.stored(&id).unwrap().exceeded.len(), 1);
}

#[test]
fn a_ballot_is_run_again_on_the_state_of_each_resolution() {
    let consortium = Consortium::active();
    let id = consortium.proposed(&describe_member(&consortium, 2, "Bank C"));
    let once_two_voted = "export function vote() {
        let ballots = 0;
        ccf.kv['public:ccf.gov.proposals_info'].forEach((info) => {
            ballots = Object.keys(ccf.bufToJsonCompatible(info).ballots).length;
        });
        return ballots > 1;
    }";
    consortium.vote(0, &id, once_two_voted).unwrap();
    assert_eq!(consortium.vote(1, &id, YES).unwrap()["proposalState"], "Accepted");
}

#[test]
fn an_invalid_proposal_says_all_that_is_wrong_with_it() {
    let consortium = Consortium::active();
    let refusal =
        consortium.propose(0, &json!([{"name": "rob_bank"}, {"name": "set_member", "args": {}}])).unwrap_err();
    assert_eq!(refusal.code, Code::ProposalFailedToValidate);
    assert!(refusal.message.contains("rob_bank") && refusal.message.contains("cert is missing"), "{refusal}");
    let throws = Consortium::with(
        "export function validate(p) { throw new Error('no') }
        export function resolve(p, by, votes) {} export function apply(p, id) {}",
    );
    throws.activate(0);
    assert_eq!(code(throws.propose(0, &json!([]))), Code::InternalError);
    assert_eq!(code(consortium.send(0, "proposal", None, Operation::Propose, &[0xff])), Code::InvalidInput);
}

#[test]
fn the_last_member_cannot_be_removed() {
    let consortium = Consortium::active();
    let removals: Vec<_> =
        (0..3).map(|member| json!({"name": "remove_member", "args": {"member_id": consortium.id(member)}})).collect();
    let id = consortium.proposed(&json!(removals));
    consortium.vote(0, &id, YES).unwrap();
    let refusal = consortium.vote(1, &id, YES).unwrap_err();
    assert!(refusal.message.contains("no member would be left"), "{refusal}");
}

#[test]
fn paths_and_messages_must_mean_the_same() {
    let consortium = Consortium::active();
    let id = consortium.proposed(&describe_member(&consortium, 2, "Bank C"));
    let other = consortium.proposed(&describe_member(&consortium, 2, "Bank D"));
    let payload = json!({ "ballot": YES }).to_string();
    let vote = |path: &str, member: usize| Operation::Vote { proposal: path.to_owned(), member: consortium.id(member) };
    let send =
        |kind: &str, signed: Option<&str>, operation| consortium.send(0, kind, signed, operation, payload.as_bytes());
    assert_eq!(code(send("ballot", Some(&other), vote(&id, 0))), Code::InvalidResourceName);
    assert_eq!(code(send("ballot", None, vote(&id, 0))), Code::InvalidResourceName);
    assert_eq!(code(send("ballot", Some(&id), vote(&id, 1))), Code::InvalidResourceName);
    assert_eq!(code(send("proposal", Some(&id), vote(&id, 0))), Code::InvalidAuthenticationInfo);
    let no_ballot = consortium.send(0, "ballot", Some(&id), vote(&id, 0), b"{\"ballot\": 7}");
    assert_eq!(code(no_ballot), Code::InvalidInput);
    let long = "x".repeat(100_000);
    assert_eq!(code(consortium.vote(0, &id, &long)), Code::InvalidInput);
}

#[test]
fn malformed_altered_or_foreign_messages_are_not_authenticated() {
    let consortium = Consortium::active();
    let draft = consortium.draft(0, "proposal", None, b"{}");
    let good = consortium.sign(0, &draft);
    let handle = |message: Bytes| consortium.handle(&Request { operation: Operation::Propose, message });
    for len in 0..good.len() {
        assert_eq!(code(handle(good.slice(..len))), Code::InvalidAuthenticationInfo, "{len}");
    }
    let mut altered = good.to_vec();
    *altered.last_mut().unwrap() ^= 1;
    assert_eq!(code(handle(altered.into())), Code::InvalidAuthenticationInfo);
    assert_eq!(code(handle([&good[..], &[0]].concat().into())), Code::InvalidAuthenticationInfo);
    let by_another = consortium.sign(1, &draft);
    assert_eq!(code(handle(by_another)), Code::InvalidAuthenticationInfo);
    let nobody = Draft { key_id: "f".repeat(64), ..draft };
    assert_eq!(code(handle(consortium.sign(0, &nobody))), Code::InvalidAuthenticationInfo);
}

#[test]
fn headers_that_are_doubled_critical_or_missing_are_not_authenticated() {
    let consortium = Consortium::active();
    let key = &consortium.members[0].key;
    let signed = |protected: &str| {
        let protected = hex::decode(protected).unwrap();
        let signature = coco_crypto::cose::sign(&consortium.crypto, key, &protected, b"{}");
        let message = coco_crypto::cose::Sign1 {
            protected: &protected,
            unprotected: &[0xa0],
            payload: Some(b"{}"),
            signature: &signature,
        };
        let message = message.encode().into();
        consortium.handle(&Request { operation: Operation::Propose, message })
    };
    for protected in ["", "a0", "a10138", "a101382201", "a2013822013822", "a1028101", "bf013822ff", "a1613820"] {
        assert_eq!(code(signed(protected)), Code::InvalidAuthenticationInfo, "{protected}");
    }
}

#[test]
fn a_simulation_says_what_would_change_and_changes_nothing() {
    let consortium = Consortium::active();
    let text = |actions: Value| json!({ "actions": actions }).to_string();
    let simulate = |text: &str| fixture::session(&consortium.store).simulate(text).unwrap();
    let good = simulate(&text(describe_member(&consortium, 2, "Bank C")));
    assert!(good.valid && good.failure.is_none());
    assert!(good.actions[0].contains("Bank C"), "{:?}", good.actions);
    assert_eq!(good.changes.len(), 1);
    assert_eq!(good.changes[0].map, "public:ccf.gov.members.info");
    assert!(good.changes[0].after.as_ref().unwrap().contains("Bank C"));
    let missing = json!([{"name": "set_member_data", "args": {"member_id": "a".repeat(64), "member_data": {}}}]);
    assert!(simulate(&text(missing)).failure.unwrap().contains("there is no member"));
    assert!(!simulate("{}").valid);
    let rule = json!([{"name": "set_voting_policy", "args": {"policy": "unanimous"}}]);
    consortium.proposed(&rule);
    let maps: Vec<_> = simulate(&text(rule)).changes.into_iter().map(|change| change.map).collect();
    assert_eq!(maps, ["public:ccf.gov.coco.voting_policy"], "a proposal does not drop itself");
    assert_eq!(consortium.store.newest(), consortium.store.committed());
}

#[test]
fn the_service_opens_by_vote_and_only_under_its_own_name() {
    let consortium = Consortium::active();
    let mut state = consortium.store.snapshot();
    let cert = crate::ServiceInfo::read(&mut state).unwrap().unwrap().cert;
    let opening = |cert: &str| json!([{"name": "transition_service_to_open", "args": {"next_service_identity": cert}}]);
    let wrong = consortium.proposed(&opening(&consortium.members[0].certificate.to_pem()));
    consortium.vote(0, &wrong, YES).unwrap();
    assert!(consortium.vote(1, &wrong, YES).unwrap_err().message.contains("another service"));
    let right = consortium.proposed(&opening(&cert));
    consortium.vote(0, &right, YES).unwrap();
    assert_eq!(consortium.vote(1, &right, YES).unwrap()["proposalState"], "Accepted");
    let service = crate::ServiceInfo::read(&mut consortium.store.snapshot()).unwrap().unwrap();
    assert_eq!(service.status, crate::ServiceStatus::Open);
}

#[test]
fn ballots_of_one_text_are_run_once_and_one_that_loops_is_never_run_again() {
    let crypto = SeededCrypto::new(5);
    let members: Vec<_> = (0..30).map(|_| Actor::new(&crypto, Curve::P256, "member")).collect();
    let store = fixture::founded(&crypto, &members.iter().collect::<Vec<_>>(), constitution::DEFAULT);
    let consortium = Consortium { crypto, members, store };
    consortium.activate_all();
    let id = consortium.proposed(&describe_member(&consortium, 2, "Bank C"));
    let texts = ["A", "B", "C"].map(|name| format!("export function vote() {{ console.log('{name}'); return true }}"));
    let looping = "export function vote() { console.log('looping'); for (;;) {} }";
    let said = |member: usize, ballot: &str| {
        let operation = Operation::Vote { proposal: id.clone(), member: consortium.id(member) };
        let payload = json!({ "ballot": ballot }).to_string();
        let message = consortium.sign(member, &consortium.draft(member, "ballot", Some(&id), payload.as_bytes()));
        let session = fixture::session(&consortium.store);
        session.handle(&Request { operation, message }).unwrap();
        let said = session.console();
        fixture::commit(&consortium.store, session);
        said
    };
    assert_eq!(said(0, looping), ["info: looping"]);
    for member in 1..13 {
        let mut runs = said(member, &texts[member % 3]);
        runs.sort();
        let expected = ["info: A", "info: B", "info: C"];
        assert_eq!(runs.len(), member.min(3), "{runs:?}");
        assert!(runs.iter().all(|run| expected.contains(&run.as_str())), "{runs:?}");
    }
}

#[test]
fn a_constitution_that_loops_recurses_hoards_or_reaches_beyond_governance_changes_nothing() {
    let with = |validate: &str, apply: &str| {
        format!(
            "export function validate(p) {{ {validate}; return {{ valid: true, description: '' }}; }}
             export function resolve(p, by, votes) {{ return 'Accepted'; }}
             export function apply(p, id) {{ {apply} }}"
        )
    };
    let key = "ccf.strToBuf('x')";
    for (validate, apply, why) in [
        ("for (;;) {}", "", "longer than it may"),
        ("const f = () => f() + 1; f()", "", "stack"),
        ("const a = []; for (;;) a.push(new Uint8Array(1 << 22))", "", "memory"),
        ("", "for (;;) {}", "longer than it may"),
        ("", "const f = () => f() + 1; f()", "stack"),
        ("", "ccf.kv['records'].set(KEY, KEY)", "cannot be written"),
        ("", "ccf.kv['public:ccf.internal.signatures'].set(KEY, KEY)", "cannot be written"),
        ("", "ccf.kv['public:ccf.gov.coco.epochs'].delete(KEY)", "cannot be written"),
        ("", "ccf.kv['public:history:blocks'].set(KEY, KEY)", "cannot be written"),
        ("", "ccf.kv['public:records'].get(KEY)", "cannot be read"),
        ("ccf.kv['public:ccf.gov.members.info'].clear()", "", "cannot be written"),
        ("", "ccf.kv['public:ccf.gov.members.info'].clear()", "no member would be left"),
        (
            "",
            "for (let i = 0; ; i++) ccf.kv['public:ccf.gov.x'].set(ccf.strToBuf(`${i}`), new ArrayBuffer(1 << 20))",
            "too much",
        ),
    ] {
        let consortium = Consortium::with(&with(validate, &apply.replace("KEY", key)));
        consortium.activate(0);
        let before = consortium.store.newest();
        let refusal = consortium.propose(0, &json!([])).unwrap_err();
        assert!(refusal.code == Code::InternalError && refusal.message.contains(why), "{validate}{apply}: {refusal}");
        assert_eq!(consortium.store.newest(), before);
    }
}

#[test]
fn a_chain_of_fifty_certificates_is_read_and_a_longer_one_is_none() {
    let consortium = Consortium::active();
    let certificate = consortium.members[0].certificate.to_pem();
    let verdict = |count: usize| {
        let args = json!({"cert": certificate.repeat(count)});
        consortium.propose(0, &json!([{"name": "set_user", "args": args}]))
    };
    assert!(verdict(1).is_ok());
    assert!(verdict(50).is_ok());
    let refusal = verdict(51).unwrap_err();
    assert!(refusal.code == Code::ProposalFailedToValidate && refusal.message.contains("X.509"), "{refusal}");
}
