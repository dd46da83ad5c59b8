//! Audits of what a consortium did, and of what it did not.

use coco_crypto::{Curve, SeededCrypto};
use coco_types::{Seqno, View};
use serde_json::json;

use super::*;
use crate::fixture::{self, Actor, NOW_S, ROOT};
use crate::{Draft, constitution};

const YES: &str = "export function vote() { return true }";

/// A network of one member whose transactions are kept.
struct Kept {
    crypto: SeededCrypto,
    member: Actor,
    store: Store,
    ledger: Vec<WriteSet>,
}

impl Kept {
    fn new() -> Self {
        let crypto = SeededCrypto::new(1);
        let member = Actor::new(&crypto, Curve::P384, "member");
        let store = fixture::founded(&crypto, &[&member], constitution::DEFAULT);
        let state = store.snapshot();
        let rows = state.maps().into_iter().map(|map| {
            let rows = state.iter(&map).map(|(key, value)| (key, Some(value))).collect();
            (map, rows)
        });
        let genesis = rows.collect();
        let mut kept = Self { crypto, member, store, ledger: vec![genesis] };
        kept.sign();
        kept
    }

    /// The ledger's signature transaction: its rows are not in the store.
    fn sign(&mut self) {
        let mut writes = WriteSet::new();
        let row = json!({"root": ROOT, "seqno": self.next(), "view": 1}).to_string();
        writes.insert(&SIGNATURES, Bytes::from_static(&tables::SINGLETON), Some(row.into()));
        self.store.apply(self.next(), &WriteSet::new()).unwrap();
        self.ledger.push(writes);
    }

    fn next(&self) -> Seqno {
        self.store.newest().next()
    }

    fn send(&mut self, kind: &str, proposal: Option<&str>, operation: Operation, payload: &str) -> Value {
        let draft = Draft {
            key_id: self.member.id(),
            kind: kind.to_owned(),
            proposal_id: proposal.map(str::to_owned),
            created_at: NOW_S,
            payload: payload.as_bytes().to_vec(),
        };
        let message = draft.sign(&self.crypto, &self.member.key).into();
        let session = fixture::session(&self.store);
        let answer = session.handle(&Request { operation, message }).unwrap();
        let writes = session.into_tx().writes().clone();
        self.store.apply(self.next(), &writes).unwrap();
        self.ledger.push(writes);
        answer.body.unwrap_or_default()
    }

    /// Acknowledges, proposes a name for the member, votes for it.
    fn decide(&mut self) {
        let member = self.member.id();
        self.send("state_digest", None, Operation::UpdateDigest { member: member.clone() }, "");
        let ack = json!({ "stateDigest": ROOT }).to_string();
        self.send("ack", None, Operation::Acknowledge { member: member.clone() }, &ack);
        let args = json!({"member_id": member, "member_data": {"name": "Bank"}});
        let actions = json!({"actions": [{"name": "set_member_data", "args": args}]}).to_string();
        let proposal = self.send("proposal", None, Operation::Propose, &actions);
        let proposal = proposal["proposalId"].as_str().unwrap().to_owned();
        let vote = Operation::Vote { proposal: proposal.clone(), member };
        self.send("ballot", Some(&proposal), vote, &json!({ "ballot": YES }).to_string());
    }

    fn audit(&self) -> Vec<Event> {
        let mut auditor = Auditor::default();
        let events = self
            .ledger
            .iter()
            .enumerate()
            .map(|(at, writes)| auditor.transaction(TxId::new(View(1), Seqno(at as u64 + 1)), writes).unwrap());
        events.flatten().collect()
    }

    fn decisions(&self) -> Vec<Decision> {
        let decision = |event| match event {
            Event::Decision(decision) => Some(decision),
            _ => None,
        };
        self.audit().into_iter().filter_map(decision).collect()
    }
}

#[test]
fn what_was_decided_is_confirmed_from_the_transactions_alone() {
    let mut kept = Kept::new();
    kept.decide();
    assert_eq!(kept.audit()[0], Event::Founded { txid: TxId::new(View(1), Seqno(1)), members: 1 });
    let decisions = kept.decisions();
    let kinds: Vec<_> = decisions.iter().map(|decision| decision.kind.as_str()).collect();
    assert_eq!(kinds, ["state_digest", "ack", "proposal", "ballot"]);
    for decision in &decisions {
        assert_eq!(decision.differs, None, "{decision:?}");
    }
    assert_eq!(decisions[2].state, Some(ProposalState::Open));
    assert_eq!(decisions[3].state, Some(ProposalState::Accepted));
    assert_eq!(decisions[3].actions, ["set_member_data"]);
    assert_eq!(decisions[3].final_votes, [(kept.member.id(), true)].into());
}

#[test]
fn an_outcome_that_the_constitution_does_not_give_is_found() {
    let mut kept = Kept::new();
    kept.decide();
    let row = json!({"status": "Active", "member_data": {"name": "Thief"}}).to_string();
    kept.ledger.last_mut().unwrap().insert(&tables::MEMBER_INFO, kept.member.id().into(), Some(row.into()));
    let differs = kept.decisions().pop().unwrap().differs.unwrap();
    assert!(differs.contains("other rows to public:ccf.gov.members.info"), "{differs}");
}

#[test]
fn a_request_that_its_member_did_not_sign_is_found() {
    let mut kept = Kept::new();
    kept.decide();
    let forged = kept.ledger.last_mut().unwrap().map_mut(&tables::COSE_HISTORY);
    let row = forged.values_mut().next().unwrap().as_mut().unwrap();
    let mut bytes = BASE64.decode(serde_json::from_slice::<String>(row).unwrap()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    *row = json!(BASE64.encode(bytes)).to_string().into();
    let differs = kept.decisions().pop().unwrap().differs.unwrap();
    assert!(differs.contains("signature does not verify"), "{differs}");
}

#[test]
fn members_rows_that_no_request_wrote_are_found() {
    let mut kept = Kept::new();
    kept.decide();
    let mut writes = WriteSet::new();
    writes.insert(&tables::MEMBER_INFO, Bytes::from_static(b"x"), Some(Bytes::from_static(b"{}")));
    kept.ledger.push(writes);
    let maps = vec![tables::MEMBER_INFO.to_string()];
    assert_eq!(kept.audit().pop(), Some(Event::Unexplained { txid: TxId::new(View(1), Seqno(7)), maps }));
}

#[test]
fn a_founder_may_open_the_service_once_and_before_any_member_asked_for_anything() {
    let opening = || {
        let mut writes = WriteSet::new();
        writes.insert(&tables::SERVICE_INFO, tables::SINGLETON.to_vec().into(), Some(Bytes::from_static(b"{}")));
        writes
    };
    let mut kept = Kept::new();
    // A signature lies between: the founding ended its batch.
    kept.ledger.extend([opening(), opening()]);
    let [_, opened, again] = kept.audit().try_into().unwrap();
    let at = |seqno| TxId::new(View(1), Seqno(seqno));
    assert_eq!(opened, Event::OpenedByFounder { txid: at(3) });
    assert!(matches!(again, Event::Unexplained { .. }), "{again:?}");
    let mut kept = Kept::new();
    kept.decide();
    kept.ledger.push(opening());
    assert!(matches!(kept.audit().pop(), Some(Event::Unexplained { .. })));
}

#[test]
fn transactions_out_of_order_are_refused() {
    let second = Auditor::default().transaction(TxId::new(View(1), Seqno(2)), &WriteSet::new());
    assert!(matches!(second, Err(Error::NotInOrder(_))));
}
