//! Members and participants, as committed.

use coco_governance::{Ack, Code, MemberInfo, SharesRow, UserInfo, disclosure, tables};
use coco_kv::Snapshot;
use coco_types::MapName;
use serde_json::{Value, json as value};

use super::{Answer, Told, error, listing, unreadable};
use crate::endpoints::request::json;

pub(super) fn members(state: &mut Snapshot, _names: &[String], told: &Told<'_>) -> Answer {
    let members = MemberInfo::all(state).map_err(|error| unreadable(&error))?;
    let shown: Vec<_> = members.iter().map(|(id, info)| member_json(state, id, info, told)).collect();
    Ok(listing(&shown))
}

pub(super) fn member(state: &mut Snapshot, names: &[String], told: &Told<'_>) -> Answer {
    let id = names.first().map(String::as_str).unwrap_or_default();
    let info = MemberInfo::read(state, id).map_err(|error| unreadable(&error))?;
    let info = info.ok_or_else(|| error(Code::ResourceNotFound, format!("there is no member {id}")))?;
    Ok(json(&member_json(state, id, &info, told)))
}

pub(super) fn digest(state: &mut Snapshot, names: &[String]) -> Answer {
    let id = names.first().map(String::as_str).unwrap_or_default();
    let ack = Ack::read(state, id).map_err(|error| unreadable(&error))?;
    let ack = ack.ok_or_else(|| error(Code::ResourceNotFound, format!("member {id} was given no state digest")))?;
    Ok(json(&value!({"memberId": id, "stateDigest": ack.state_digest})))
}

pub(super) fn share(state: &mut Snapshot, names: &[String]) -> Answer {
    let id = names.first().map(String::as_str).unwrap_or_default();
    let row = SharesRow::read(state).map_err(|error| unreadable(&error))?;
    let share = row.as_ref().and_then(|row| row.encrypted_shares.get(id));
    let share = share.ok_or_else(|| error(Code::ResourceNotFound, format!("member {id} holds no recovery share")))?;
    Ok(json(&value!({"memberId": id, "encryptedShare": share})))
}

pub(super) fn users(state: &mut Snapshot, _names: &[String], told: &Told<'_>) -> Answer {
    let ids: Vec<_> =
        state.iter(&tables::USER_CERTS).map(|(id, _)| String::from_utf8_lossy(&id).into_owned()).collect();
    let shown: Result<Vec<_>, _> = ids.iter().map(|id| user_json(state, id, told)).collect();
    Ok(listing(&shown?.into_iter().flatten().collect::<Vec<_>>()))
}

pub(super) fn user(state: &mut Snapshot, names: &[String], told: &Told<'_>) -> Answer {
    let id = names.first().map(String::as_str).unwrap_or_default();
    let shown = user_json(state, id, told)?;
    Ok(json(&shown.ok_or_else(|| error(Code::ResourceNotFound, format!("there is no participant {id}")))?))
}

/// That somebody is a member, its id and its role are for everyone: votes are theirs.
fn member_json(state: &Snapshot, id: &str, info: &MemberInfo, told: &Told<'_>) -> Value {
    let encryption_key = pem(state, &tables::MEMBER_ENCRYPTION_KEYS, id);
    let role = info.recovery_role.clone().unwrap_or_else(|| {
        let default = if encryption_key.is_some() { "Participant" } else { "NonParticipant" };
        default.to_owned()
    });
    let certificate = pem(state, &tables::MEMBER_CERTS, id);
    let certificate = certificate.filter(|_| told.of(disclosure::MEMBER_CERTIFICATE, id));
    let mut shown = value!({
        "memberId": id,
        "status": info.status,
        "memberData": told.of(disclosure::MEMBER_DATA, id).then_some(&info.member_data),
        "certificate": certificate.unwrap_or_default(),
        "recoveryRole": role,
    });
    if let Some(key) = encryption_key.filter(|_| told.of(disclosure::MEMBER_ENCRYPTION_KEY, id)) {
        shown["publicEncryptionKey"] = key.into();
    }
    shown
}

/// Who may not know is told what would be said if there were nobody.
fn user_json(state: &mut Snapshot, id: &str, told: &Told<'_>) -> Result<Option<Value>, coco_protocol::ApiError> {
    let certificate = pem(state, &tables::USER_CERTS, id).filter(|_| told.of(disclosure::PARTICIPANT, id));
    let Some(certificate) = certificate else { return Ok(None) };
    let info = UserInfo::read(state, id).map_err(|error| unreadable(&error))?;
    let data = info.map(|info| info.user_data).unwrap_or_default();
    Ok(Some(value!({"userId": id, "certificate": certificate, "userData": data})))
}

fn pem(state: &Snapshot, map: &MapName, id: &str) -> Option<String> {
    state.get(map, id.as_bytes()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
