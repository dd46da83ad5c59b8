//! Proposing, withdrawing, voting.

use coco_crypto::sha256_of;
use coco_types::Digest;
use serde::Deserialize;

use super::{Answer, Session, check_path};
use crate::constitution;
use crate::message::{CREATED_AT_MAX, Message};
use crate::proposals::{ProposalInfo, ProposalState, Standing};
use crate::refusal::{Code, Refusal};
use crate::service::ServiceConfig;
use crate::tables::{self, Read};

/// How far a member's clock may be ahead of the primary's. One message from the far future would otherwise make all others look old.
const CREATED_AHEAD_MAX_S: u64 = 3_600;
/// One ballot's text, bytes: every member's is kept with the proposal while it is open.
const BALLOT_BYTES_MAX: usize = 64 << 10;

#[derive(Deserialize)]
struct BallotPayload {
    ballot: String,
}

impl Session {
    pub(super) fn propose(&self, bytes: &[u8]) -> Result<Answer, Refusal> {
        let signed = self.signed_by_active(bytes, "proposal")?;
        let message = &signed.message;
        let Ok(text) = std::str::from_utf8(&message.payload) else {
            return Err(Refusal::new(Code::InvalidInput, "the proposal is not UTF-8 text"));
        };
        let module = constitution::read(&mut *self.world.tx.borrow_mut())?;
        let verdict = constitution::validate(&self.world, &module, text)
            .map_err(|failure| Refusal::new(Code::InternalError, format!("validate: {}", failure.reason)))?;
        if !verdict.valid {
            return Err(Refusal::new(Code::ProposalFailedToValidate, verdict.description));
        }
        let id = self.proposal_id(message).to_string();
        self.check_replay(message, &id)?;
        let info = ProposalInfo {
            proposer_id: message.key_id.clone(),
            state: ProposalState::Open,
            ballots: Default::default(),
            final_votes: None,
            vote_failures: None,
            failure: None,
            exceeded: Default::default(),
        };
        self.world.tx.borrow_mut().put(&tables::PROPOSALS, id.clone().into_bytes(), message.payload.clone());
        self.write_proposal(&id, &info);
        self.record(&signed, bytes);
        let info = self.settle(&id, info, &module, None)?;
        Ok(self.answer(&info.answer(&id)))
    }

    pub(super) fn withdraw(&self, bytes: &[u8], id: &str) -> Result<Answer, Refusal> {
        let signed = self.signed_by_active(bytes, "withdrawal")?;
        check_path("the proposal", signed.message.proposal_id.as_deref(), id)?;
        let Some(mut info) = self.read_proposal(id)? else { return Ok(Answer { body: None, wrote: false }) };
        if info.proposer_id != signed.message.key_id {
            return Err(Refusal::new(Code::AuthorizationFailed, "only its proposer can withdraw a proposal"));
        }
        match info.state {
            ProposalState::Withdrawn => return Ok(Answer { wrote: false, ..self.answer(&info.answer(id)) }),
            ProposalState::Open => info.state = ProposalState::Withdrawn,
            state => return Err(not_open(state)),
        }
        self.write_proposal(id, &info);
        self.forget_settled(id)?;
        self.record(&signed, bytes);
        Ok(self.answer(&info.answer(id)))
    }

    pub(super) fn vote(&self, bytes: &[u8], id: &str, member: &str) -> Result<Answer, Refusal> {
        let signed = self.signed_by_active(bytes, "ballot")?;
        check_path("the proposal", signed.message.proposal_id.as_deref(), id)?;
        check_path("the member", Some(&signed.message.key_id), member)?;
        let Some(mut info) = self.read_proposal(id)? else { return Err(Refusal::no_proposal(id)) };
        let ballot = ballot(&signed.message.payload)?;
        if info.ballots.get(member) == Some(&ballot) {
            return Ok(Answer { wrote: false, ..self.answer(&info.answer(id)) });
        }
        if info.state != ProposalState::Open {
            return Err(not_open(info.state));
        }
        if info.ballots.contains_key(member) {
            return Err(Refusal::new(Code::VoteAlreadyExists, "the member has voted otherwise on this proposal"));
        }
        info.ballots.insert(member.to_owned(), ballot);
        self.write_proposal(id, &info);
        self.record(&signed, bytes);
        let module = constitution::read(&mut *self.world.tx.borrow_mut())?;
        let info = self.settle(id, info, &module, Some(member))?;
        Ok(self.answer(&info.answer(id)))
    }

    pub(super) fn read_proposal(&self, id: &str) -> Result<Option<ProposalInfo>, Refusal> {
        Ok(ProposalInfo::read(&mut *self.world.tx.borrow_mut(), id)?)
    }

    pub(super) fn write_proposal(&self, id: &str, info: &ProposalInfo) {
        tables::write(&mut self.world.tx.borrow_mut(), &tables::PROPOSALS_INFO, id.as_bytes(), info);
    }

    /// Once a proposal is settled, those settled before leave the live state; the ledger keeps them.
    pub(super) fn forget_settled(&self, except: &str) -> Result<(), Refusal> {
        let mut tx = self.world.tx.borrow_mut();
        for (id, standing) in Standing::all(&mut *tx as &mut dyn Read)? {
            if id != except && standing.state != ProposalState::Open {
                tx.remove(&tables::PROPOSALS, &id);
                tx.remove(&tables::PROPOSALS_INFO, &id);
            }
        }
        Ok(())
    }

    /// Binds the proposal to the state that its proposer's network was in, and to the proposer's signature.
    fn proposal_id(&self, message: &Message) -> Digest {
        let root = self.world.facts.root.unwrap_or(Digest::ZERO);
        sha256_of(&[root.as_bytes(), message.digest.as_bytes()])
    }

    /// A proposal is taken once: its time and digest enter a window of recent ones, and it must not be older than half of them.
    fn check_replay(&self, message: &Message, id: &str) -> Result<(), Refusal> {
        let now_s = self.world.facts.now_s;
        if message.created_at > CREATED_AT_MAX || message.created_at > now_s.saturating_add(CREATED_AHEAD_MAX_S) {
            return Err(Refusal::new(
                Code::InvalidCreatedAt,
                format!("the proposal is dated {}, and it is {now_s} (Unix seconds)", message.created_at),
            ));
        }
        let key = serde_json::to_vec(&format!("{:010}:{}", message.created_at, message.digest)).expect("text is JSON");
        let mut tx = self.world.tx.borrow_mut();
        let window = ServiceConfig::read(&mut *tx)?.proposals_window();
        let mut recent: Vec<_> = tx.rows(&tables::COSE_RECENT_PROPOSALS).into_iter().map(|(key, _)| key).collect();
        if recent.iter().any(|known| **known == *key) {
            return Err(Refusal::new(Code::ProposalReplay, "this proposal was submitted before"));
        }
        if recent.get(recent.len() / 2).is_some_and(|middle| time_of(&key) < time_of(middle)) {
            return Err(Refusal::new(
                Code::ProposalCreatedTooLongAgo,
                "the proposal is older than half of the recent ones: sign it anew",
            ));
        }
        tables::write(&mut tx, &tables::COSE_RECENT_PROPOSALS, &key, &id);
        recent.push(key.into());
        recent.sort();
        for old in recent.iter().take(recent.len().saturating_sub(window)) {
            tx.remove(&tables::COSE_RECENT_PROPOSALS, old);
        }
        Ok(())
    }
}

/// The time in a key of the window: a quotation mark, then ten digits. Proposals of the same second are equally old.
fn time_of(key: &[u8]) -> &[u8] {
    key.get(1..11).unwrap_or_default()
}

fn ballot(payload: &[u8]) -> Result<String, Refusal> {
    let parsed: Result<BallotPayload, _> = serde_json::from_slice(payload);
    let ballot = parsed.map_err(|error| Refusal::new(Code::InvalidInput, format!("no ballot: {error}")))?.ballot;
    if ballot.len() > BALLOT_BYTES_MAX {
        return Err(Refusal::new(Code::InvalidInput, format!("a ballot has at most {BALLOT_BYTES_MAX} bytes")));
    }
    Ok(ballot)
}

fn not_open(state: ProposalState) -> Refusal {
    Refusal::new(Code::ProposalNotOpen, format!("the proposal is {state:?}: it takes no votes and cannot be withdrawn"))
}
