//! Governance as it is in a simulated network: a member signs requests, the primary's governor runs the constitution's JavaScript on them, and at the end
//! an auditor replays every decision from the ledger files alone.
//!
//! The member acts in turns: it becomes active, proposes, votes for what it proposed, proposes again. It sends a request until what it asked for shows in the
//! committed state, whatever became of the primary that it sent it to (in another second it is another
//! proposal of the same text). So a decision that was lost keeps it from going on, and one that was carried out
//! twice, or on a state that nobody voted on, is found by the auditor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coco_crypto::{Certificate, SigningKey};
use coco_disk::Disk;
use coco_governance::{
    Ack, Auditor, Draft, Event, MemberInfo, Operation, ProposalInfo, ProposalState, Request, tables,
};
use coco_kv::Snapshot;
use coco_ledger::{DecodedTransaction, EntryKeys};
use coco_node::events::ExecutorEvent;
use coco_node::governor::{Evaluation, Governor};
use coco_types::{Digest, ReplicaId, TxId};
use serde_json::{Value, json};

use crate::invariants::{Violation, holds};
use crate::world::{Waiter, World};

const YES: &str = "export function vote() { return true }";

/// The network's only member.
pub struct Member {
    key: SigningKey,
    certificate: Certificate,
    /// In hex.
    id: String,
    /// The proposal that it is about to make, or has made and votes for, by its number.
    turn: u64,
    /// Which turn's proposals it voted for, by their ids.
    voted: BTreeMap<String, u64>,
    /// A ledger, with its genesis, that its first proposal adds.
    adds: Option<(&'static str, Value)>,
}

impl Member {
    pub fn new(key: SigningKey, certificate: Certificate, adds: Option<(&'static str, Value)>) -> Self {
        let id = certificate.fingerprint().to_string();
        Self { key, certificate, id, turn: 1, voted: BTreeMap::new(), adds }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Each proposal has a text of its own; every other one asks for a new ledger secret too.
    fn proposal(&self) -> String {
        let data = json!({ "member_id": self.id, "member_data": { "turn": self.turn } });
        let mut actions = vec![json!({ "name": "set_member_data", "args": data })];
        if let Some((ledger, genesis)) = self.adds.as_ref().filter(|_| self.turn == 1) {
            actions.push(json!({ "name": "add_ledger", "args": { "ledger": ledger, "genesis": genesis } }));
        }
        if self.turn.is_multiple_of(2) {
            actions.push(json!({ "name": "trigger_ledger_rekey", "args": null }));
        }
        json!({ "actions": actions }).to_string()
    }

    pub(crate) fn draft(&self, kind: &str, proposal_id: Option<String>, created_at: u64, payload: String) -> Draft {
        Draft { key_id: self.id.clone(), kind: kind.to_owned(), proposal_id, created_at, payload: payload.into_bytes() }
    }

    /// What there is to do in this state, and how it is asked for.
    fn next(&mut self, state: &mut Snapshot, now_s: u64) -> Result<(Operation, Draft), Violation> {
        if let Some(request) = self.to_become_active(state, now_s)? {
            return Ok(request);
        }
        loop {
            if let Some((operation, draft)) = self.to_decide(state, now_s, self.proposal())? {
                if let Operation::Vote { proposal, .. } = &operation {
                    self.voted.insert(proposal.clone(), self.turn);
                }
                return Ok((operation, draft));
            }
            self.turn += 1;
        }
    }

    /// `None`: it is active.
    pub(crate) fn to_become_active(
        &self,
        state: &mut Snapshot,
        now_s: u64,
    ) -> Result<Option<(Operation, Draft)>, Violation> {
        let member = self.id.clone();
        let info = MemberInfo::read(state, &member).map_err(failed)?;
        if info.is_some_and(|info| info.status == "Active") {
            return Ok(None);
        }
        Ok(Some(match Ack::read(state, &member).map_err(failed)? {
            Some(ack) if !ack.state_digest.is_empty() => {
                let payload = json!({ "stateDigest": ack.state_digest }).to_string();
                (Operation::Acknowledge { member }, self.draft("ack", None, now_s, payload))
            }
            _ => (Operation::UpdateDigest { member }, self.draft("state_digest", None, now_s, String::new())),
        }))
    }

    /// What leads to the acceptance of a proposal of this text; `None`: one is accepted.
    pub(crate) fn to_decide(
        &self,
        state: &mut Snapshot,
        now_s: u64,
        text: String,
    ) -> Result<Option<(Operation, Draft)>, Violation> {
        let mut open = None;
        for proposal in proposals_with(state, &text) {
            let info = ProposalInfo::read(state, &proposal).map_err(failed)?;
            match info.ok_or_else(|| Violation(format!("the proposal {proposal} has no state")))?.state {
                ProposalState::Accepted => return Ok(None),
                ProposalState::Open => open = Some(proposal),
                settled => return Err(Violation(format!("the proposal {proposal} is {settled:?}"))),
            }
        }
        let Some(proposal) = open else {
            return Ok(Some((Operation::Propose, self.draft("proposal", None, now_s, text))));
        };
        let ballot = json!({ "ballot": YES }).to_string();
        let draft = self.draft("ballot", Some(proposal.clone()), now_s, ballot);
        Ok(Some((Operation::Vote { proposal, member: self.id.clone() }, draft)))
    }
}

fn failed(error: coco_governance::Error) -> Violation {
    Violation(error.to_string())
}

fn proposals_with(state: &Snapshot, text: &str) -> Vec<String> {
    let found = state.iter(&tables::PROPOSALS).filter(|(_, row)| **row == *text.as_bytes());
    found.map(|(id, _)| String::from_utf8_lossy(&id).into_owned()).collect()
}

impl World {
    /// The member's next request, by chance.
    pub(crate) fn govern_sometimes(&mut self) -> Result<(), Violation> {
        if !self.setting.options.governed || !self.random.one_in(50) {
            return Ok(());
        }
        let Some(primary) = self.primary() else { return Ok(()) };
        self.govern(primary)
    }

    fn govern(&mut self, to: ReplicaId) -> Result<(), Violation> {
        let now_s = self.now_ms() / 1_000;
        let (Some(member), Some(node)) = (&mut self.member, self.nodes.get(&to)) else { return Ok(()) };
        let Some(machines) = &node.machines else { return Ok(()) };
        let (operation, draft) = member.next(&mut machines.visible.state(), now_s)?;
        self.ask(to, operation, &draft);
        Ok(())
    }

    /// The member signs a request, and sends it to this node.
    pub(crate) fn ask(&mut self, to: ReplicaId, operation: Operation, draft: &Draft) {
        let (Some(member), Some(node)) = (&self.member, self.nodes.get(&to)) else { return };
        let Some(machines) = &node.machines else { return };
        let message = draft.sign(self.setting.crypto.as_ref(), &member.key).into();
        let governor = Governor {
            store: machines.store.clone(),
            ledger: machines.ledger.clone(),
            visible: machines.visible.clone(),
            crypto: node.crypto.clone(),
            clock: node.clock.clone(),
            vault: node.vault(),
            protocols: machines.protocols.clone(),
        };
        self.note(|| format!("{to} is asked to {operation:?}"));
        match governor.evaluate(&Request { operation, message }) {
            Evaluation::Changed(effect) => {
                let Governor { store, vault, ledger, protocols, .. } = governor;
                let command = effect.command(store, vault, ledger, protocols, None, |_| {});
                let reply = self.reply(to, Waiter::Nobody);
                self.tell_executor(to, ExecutorEvent::System { command, reply });
            }
            // The same request, or its effect, is under way.
            Evaluation::Refused { refusal, .. } => self.note(|| format!("{to} refuses: {refusal}")),
            Evaluation::Unchanged { .. } => {}
        }
    }

    /// At the end of a run: the ledger's files explain every decision, and what was decided holds. `audited` is what an auditor found in
    /// the files of another node, if any was audited: the rest must hold the same.
    pub(crate) fn check_governance(
        &self,
        id: ReplicaId,
        last: TxId,
        state: &mut Snapshot,
        audited: &mut Option<Audited>,
    ) -> Result<(), Violation> {
        let Some(member) = self.member.as_ref().filter(|_| self.setting.options.governed) else { return Ok(()) };
        let failed = |error: &dyn std::fmt::Display| Violation(format!("{id}: {error}"));
        // A chunk that is complete gets its name with the next sync.
        let ledger = self.nodes[&id].machines.as_ref().map(|machines| machines.ledger.clone());
        ledger.map_or(Ok(()), |ledger| ledger.sync()).map_err(|error| failed(&error))?;
        let disk: Arc<dyn Disk> = Arc::new(self.nodes[&id].ledger_disk.clone());
        let mut transactions = Vec::new();
        for transaction in coco_ledger::transactions(disk, EntryKeys::new()).map_err(|error| failed(&error))? {
            let transaction = transaction.map_err(|error| failed(&error))?;
            if transaction.txid.seqno > last.seqno {
                break;
            }
            transactions.push(transaction);
        }
        let accepted = match audited {
            Some(audited) => {
                let same = transactions.iter().map(content).eq(audited.contents.iter().copied());
                holds(same, || format!("{id} does not hold the ledger that was audited on another node"))?;
                &audited.accepted
            }
            None => {
                let accepted = explained(id, member, &transactions)?;
                let contents = transactions.iter().map(content).collect();
                &audited.insert(Audited { contents, accepted }).accepted
            }
        };
        let info = MemberInfo::read(state, &member.id).map_err(|error| failed(&error))?;
        let turn = info.and_then(|info| info.member_data["turn"].as_u64()).unwrap_or(0);
        holds(accepted.iter().copied().eq(1..=turn), || {
            format!("{id}: {accepted:?} were accepted, and the newest that holds is {turn}")
        })
    }

    /// The member gets another decision, once all is quiet.
    pub(crate) fn decide_once_more(&mut self, until_ms: u64) -> Result<(), Violation> {
        let before = self.decided();
        while self.setting.options.governed && self.decided() == before {
            holds(self.now_ms() < until_ms, || "a member waits in vain for a decision".to_owned())?;
            self.govern_sometimes()?;
            self.step()?;
            self.check_stopped()?;
        }
        Ok(())
    }

    /// Proposals that the member knows to be settled.
    pub(crate) fn decided(&self) -> u64 {
        self.member.as_ref().map_or(0, |member| member.turn - 1)
    }
}

/// What an auditor found in one node's ledger files.
pub(crate) struct Audited {
    contents: Vec<(TxId, Digest, Digest)>,
    /// Proposals that were accepted, by their numbers.
    accepted: BTreeSet<u64>,
}

/// All that two transactions have in common if they are the same.
fn content(transaction: &DecodedTransaction) -> (TxId, Digest, Digest) {
    (transaction.txid, transaction.write_set_digest, transaction.claims_digest)
}

/// An auditor replays all decisions: the proposals that were accepted.
fn explained(id: ReplicaId, member: &Member, transactions: &[DecodedTransaction]) -> Result<BTreeSet<u64>, Violation> {
    let (mut auditor, mut accepted) = (Auditor::default(), BTreeSet::new());
    for DecodedTransaction { txid, public, .. } in transactions {
        let event = auditor.transaction(*txid, public).map_err(|error| Violation(format!("{id}: {error}")))?;
        match event {
            Some(Event::Decision(decision)) => {
                let differs = decision.differs.as_ref();
                holds(differs.is_none(), || format!("{id}: the decision at {txid} differs: {differs:?}"))?;
                let proposal = decision.proposal_id.filter(|_| decision.state == Some(ProposalState::Accepted));
                accepted.extend(proposal.and_then(|id| member.voted.get(&id).copied()));
            }
            Some(Event::Unexplained { .. }) => {
                return Err(Violation(format!("{id}: nothing explains what governance wrote at {txid}: {event:?}")));
            }
            _ => {}
        }
    }
    Ok(accepted)
}
