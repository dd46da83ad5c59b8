//! Proposals and ballots, as committed.

use bytes::Bytes;
use coco_governance::{Code, ProposalInfo, Refusal, disclosure, tables};
use coco_kv::Snapshot;
use http::Response;

use super::{Answer, Told, error, listing, told, unreadable};
use crate::endpoints::request::{content, json};

pub(super) fn all(state: &mut Snapshot, _names: &[String]) -> Answer {
    let proposals = ProposalInfo::all(state).map_err(|error| unreadable(&error))?;
    let answers: Vec<_> = proposals.iter().map(|(id, info)| serde_json::json!(info.answer(id))).collect();
    Ok(listing(&answers))
}

pub(super) fn one(state: &mut Snapshot, names: &[String]) -> Answer {
    let (id, info) = proposal(state, names)?;
    Ok(json(&info.answer(&id)))
}

pub(super) fn actions(state: &mut Snapshot, names: &[String], told: &Told<'_>) -> Answer {
    let (id, info) = proposal(state, names)?;
    check_told(told, &info, &id)?;
    let text = state.get(&tables::PROPOSALS, id.as_bytes()).unwrap_or_default();
    Ok(content("application/json", text))
}

pub(super) fn ballot(state: &mut Snapshot, names: &[String], told: &Told<'_>) -> Answer {
    let (id, info) = proposal(state, names)?;
    check_told(told, &info, &id)?;
    let ballot = names.get(1).and_then(|member| info.ballots.get(member));
    let ballot = ballot.ok_or_else(|| error(Code::VoteNotFound, "this member has not voted on this proposal"))?;
    Ok(javascript(ballot))
}

/// Its text is its proposer's own.
fn check_told(told: &Told<'_>, info: &ProposalInfo, id: &str) -> Result<(), coco_protocol::ApiError> {
    if told.of(disclosure::PROPOSAL, &info.proposer_id) {
        return Ok(());
    }
    Err(error(Code::ResourceNotFound, format!("the members tell outsiders nothing of what the proposal {id} says")))
}

pub(super) fn javascript(text: &str) -> Response<Bytes> {
    content("text/javascript", Bytes::copy_from_slice(text.as_bytes()))
}

fn proposal(state: &mut Snapshot, names: &[String]) -> Result<(String, ProposalInfo), coco_protocol::ApiError> {
    let id = names.first().cloned().unwrap_or_default();
    let info = ProposalInfo::read(state, &id).map_err(|error| unreadable(&error))?;
    let info = info.ok_or_else(|| told(Refusal::no_proposal(&id)))?;
    Ok((id, info))
}
