//! `sawtooth_settings` 1.0: settings proposed and voted on by the keys that a setting lists.

use crate::limits::CANDIDATES_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use coco_crypto::sha256;
use prost::Message as _;

use super::{Call, Facts, Invalid, invalid};
use crate::messages::family::{
    Setting, SettingCandidate, SettingCandidates, SettingProposal, SettingVote, SettingsPayload, VoteRecord,
};
use crate::settings::{APPROVAL_THRESHOLD, AUTHORIZED_KEYS, PROPOSALS, address, row_with};

const PROPOSE: i32 = 1;
const VOTE: i32 = 2;
const ACCEPT: i32 = 1;
const REJECT: i32 = 2;

pub fn apply(call: &mut Call<'_>, _facts: &Facts) -> Result<(), Invalid> {
    let payload: SettingsPayload = decode(call.payload, "payload")?;
    let keys = authorized_keys(call)?;
    let signer = call.header.signer_public_key.clone();
    if !keys.is_empty() && !keys.contains(&signer) {
        return invalid(format!("{signer} is not authorized to change settings"));
    }
    match payload.action {
        PROPOSE => propose(call, &keys, signer, &payload.data),
        VOTE => vote(call, &keys, signer, &payload.data),
        _ => invalid("'action' must be one of {PROPOSE, VOTE} in 'Ballot' payload"),
    }
}

fn propose(call: &mut Call<'_>, keys: &[String], signer: String, data: &Bytes) -> Result<(), Invalid> {
    let proposal: SettingProposal = decode(data, "proposal")?;
    let id = sha256(data).to_string();
    let threshold = threshold(call)?;
    check(keys, &proposal)?;
    if threshold <= 1 {
        return write(call, &proposal.setting, &proposal.value);
    }
    let mut open = candidates(call)?;
    if open.candidates.iter().any(|candidate| candidate.proposal_id == id) {
        return invalid(format!("Duplicate proposal for {}", proposal.setting));
    }
    if open.candidates.len() >= CANDIDATES_MAX {
        return invalid(format!("at most {CANDIDATES_MAX} proposals are open at once"));
    }
    let votes = vec![VoteRecord { public_key: signer, vote: ACCEPT }];
    open.candidates.push(SettingCandidate { proposal_id: id, proposal: Some(proposal), votes });
    save(call, &open)
}

fn vote(call: &mut Call<'_>, keys: &[String], signer: String, data: &Bytes) -> Result<(), Invalid> {
    let vote: SettingVote = decode(data, "vote")?;
    let mut open = candidates(call)?;
    let at = open.candidates.iter().position(|candidate| candidate.proposal_id == vote.proposal_id);
    let at = at.ok_or_else(|| Invalid(format!("Proposal {} does not exist.", vote.proposal_id)))?;
    let candidate = &mut open.candidates[at];
    if candidate.votes.iter().any(|record| record.public_key == signer) {
        return invalid(format!("{signer} has already voted"));
    }
    if !matches!(vote.vote, ACCEPT | REJECT) {
        return invalid("a vote is ACCEPT or REJECT");
    }
    candidate.votes.push(VoteRecord { public_key: signer, vote: vote.vote });
    let count = |kind| candidate.votes.iter().filter(|record| record.vote == kind).count() as u64;
    let (accepted, rejected, voted) = (count(ACCEPT), count(REJECT), candidate.votes.len());
    let threshold = threshold(call)?;
    if accepted >= threshold {
        let candidate = open.candidates.remove(at);
        let proposal = candidate.proposal.unwrap_or_default();
        write(call, &proposal.setting, &proposal.value)?;
    } else if rejected >= threshold || voted >= keys.len() {
        open.candidates.remove(at);
    }
    save(call, &open)
}

/// What may be proposed.
fn check(keys: &[String], proposal: &SettingProposal) -> Result<(), Invalid> {
    let SettingProposal { setting, value, .. } = proposal;
    if keys.is_empty() && setting != AUTHORIZED_KEYS {
        return invalid(format!("Cannot set {setting} until authorized_keys is set."));
    }
    match setting.as_str() {
        AUTHORIZED_KEYS if split(value).next().is_none() => invalid("authorized_keys must not be empty."),
        APPROVAL_THRESHOLD => match value.parse::<usize>() {
            Ok(threshold) if threshold > keys.len() => invalid(format!(
                "approval_threshold must be less than or equal to number of authorized_keys: {threshold} is greater than {}",
                keys.len()
            )),
            Ok(_) => Ok(()),
            Err(_) => invalid("approval_threshold must be an integer"),
        },
        PROPOSALS => invalid(format!("Setting {PROPOSALS} is read-only")),
        "" => invalid("the proposal names no setting"),
        _ => Ok(()),
    }
}

fn authorized_keys(call: &mut Call<'_>) -> Result<Vec<String>, Invalid> {
    let value = value(call, AUTHORIZED_KEYS)?.unwrap_or_default();
    Ok(split(&value).map(str::to_owned).collect())
}

fn split(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|key| !key.is_empty())
}

fn threshold(call: &mut Call<'_>) -> Result<u64, Invalid> {
    Ok(value(call, APPROVAL_THRESHOLD)?.and_then(|value| value.parse().ok()).unwrap_or(1))
}

fn candidates(call: &mut Call<'_>) -> Result<SettingCandidates, Invalid> {
    let Some(text) = value(call, PROPOSALS)? else { return Ok(SettingCandidates::default()) };
    let bytes = BASE64.decode(text).map_err(|_| Invalid("the open proposals are damaged".into()))?;
    decode(&bytes.into(), "open proposals")
}

fn save(call: &mut Call<'_>, open: &SettingCandidates) -> Result<(), Invalid> {
    write(call, PROPOSALS, &BASE64.encode(open.encode_to_vec()))
}

fn value(call: &mut Call<'_>, key: &str) -> Result<Option<String>, Invalid> {
    let Some(row) = call.get_value(&address(key))? else { return Ok(None) };
    let row: Setting = decode(&row, "setting")?;
    Ok(row.entries.into_iter().find(|entry| entry.key == key).map(|entry| entry.value))
}

fn write(call: &mut Call<'_>, key: &str, value: &str) -> Result<(), Invalid> {
    let address = address(key);
    let row = call.get_value(&address)?;
    call.set(&address, row_with(row, key, value))?;
    call.event("settings/update", "updated", key)
}

fn decode<M: prost::Message + Default>(bytes: &Bytes, what: &str) -> Result<M, Invalid> {
    M::decode(bytes.clone()).map_err(|_| Invalid(format!("the {what} does not decode")))
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;

    fn proposal(setting: &str, value: &str) -> Vec<u8> {
        let proposal = SettingProposal { setting: setting.into(), value: value.into(), nonce: "n".into() };
        SettingsPayload { action: PROPOSE, data: proposal.encode_to_vec().into() }.encode_to_vec()
    }

    fn ballot(proposal: &[u8], vote: i32) -> Vec<u8> {
        let data = SettingsPayload::decode(proposal).unwrap().data;
        let vote = SettingVote { proposal_id: sha256(&data).to_string(), vote };
        SettingsPayload { action: VOTE, data: vote.encode_to_vec().into() }.encode_to_vec()
    }

    fn setting(world: &mut World, key: &str) -> Option<String> {
        crate::settings::value(world, key)
    }

    #[test]
    fn the_first_setting_is_who_may_set_others() {
        let mut world = World::default();
        assert!(world.apply(apply, "a", proposal("x.y", "1")).unwrap_err().contains("authorized_keys"));
        assert!(world.apply(apply, "a", proposal(AUTHORIZED_KEYS, " , ")).is_err());
        let events = world.apply(apply, "a", proposal(AUTHORIZED_KEYS, "a, b")).unwrap();
        assert_eq!(
            (events[0].event_type.as_str(), events[0].attributes[0].value.as_str()),
            ("settings/update", AUTHORIZED_KEYS)
        );
        assert!(world.apply(apply, "c", proposal("x.y", "1")).unwrap_err().contains("not authorized"));
        world.apply(apply, "b", proposal("x.y", "1")).unwrap();
        assert_eq!(setting(&mut world, "x.y").as_deref(), Some("1"));
        assert!(world.apply(apply, "b", proposal(PROPOSALS, "1")).is_err());
        assert!(world.apply(apply, "b", proposal(APPROVAL_THRESHOLD, "3")).is_err());
        assert!(world.apply(apply, "b", proposal(APPROVAL_THRESHOLD, "many")).is_err());
        assert!(world.apply(apply, "b", b"\x08".to_vec()).is_err());
    }

    #[test]
    fn above_a_threshold_of_one_a_setting_is_voted_on() {
        let mut world = World::default();
        world.apply(apply, "a", proposal(AUTHORIZED_KEYS, "a,b,c")).unwrap();
        world.apply(apply, "a", proposal(APPROVAL_THRESHOLD, "2")).unwrap();
        let wanted = proposal("x.y", "1");
        world.apply(apply, "a", wanted.clone()).unwrap();
        assert_eq!(setting(&mut world, "x.y"), None);
        assert!(world.apply(apply, "a", wanted.clone()).unwrap_err().contains("Duplicate"));
        assert!(world.apply(apply, "a", ballot(&wanted, ACCEPT)).unwrap_err().contains("already voted"));
        world.apply(apply, "b", ballot(&wanted, REJECT)).unwrap();
        world.apply(apply, "c", ballot(&wanted, ACCEPT)).unwrap();
        assert_eq!(setting(&mut world, "x.y").as_deref(), Some("1"));
        assert_eq!(setting(&mut world, PROPOSALS).as_deref(), Some(""));
        assert!(world.apply(apply, "c", ballot(&wanted, ACCEPT)).unwrap_err().contains("does not exist"));
    }
}
