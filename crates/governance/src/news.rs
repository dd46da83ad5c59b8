//! What members are told as it happens: proposals and what becomes of them, who may govern, what the service is.
//!
//! Told from the rows of one transaction alone, so that every node tells the same of it, and can tell it again years later from its ledger files. Texts of
//! proposals and ballots are not part of it: whoever may read them asks for them by the proposal's id.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use coco_types::{MapName, WriteSet};
use serde::{Deserialize, Serialize};

use crate::message::Message;
use crate::proposals::ProposalState;
use crate::rows::{MemberInfo, NodeInfo, NodeStatus, ServiceInfo, ServiceStatus};
use crate::tables;

/// Something that members want to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum News {
    ProposalCreated {
        proposal_id: String,
        proposer_id: String,
    },
    BallotSubmitted {
        proposal_id: String,
        member_id: String,
    },
    ProposalWithdrawn {
        proposal_id: String,
        member_id: String,
    },
    /// By its ballots.
    ProposalResolved {
        proposal_id: String,
        proposal_state: ProposalState,
        final_votes: BTreeMap<String, bool>,
    },
    /// It was made under rules that hold no more.
    ProposalDropped {
        proposal_id: String,
    },
    /// Somebody is a member, in whatever state.
    MemberSet {
        member_id: String,
        status: String,
    },
    MemberRemoved {
        member_id: String,
    },
    /// Somebody is a participant.
    UserSet {
        user_id: String,
    },
    UserRemoved {
        user_id: String,
    },
    NodeSet {
        node_id: String,
        status: NodeStatus,
    },
    NodeRemoved {
        node_id: String,
    },
    ConstitutionSet {
        /// SHA-256 of the text.
        digest: String,
    },
    ServiceSet {
        status: ServiceStatus,
    },
}

/// Of a proposal's row, what is told.
#[derive(Deserialize)]
struct Told {
    state: ProposalState,
    #[serde(default)]
    final_votes: Option<BTreeMap<String, bool>>,
}

/// What a transaction's public rows say, in the order in which it came about.
pub fn news(public: &WriteSet) -> Vec<News> {
    let mut told = Vec::from_iter(requested(public));
    told.extend(proposals(public));
    told.extend(members(public));
    told.extend(users(public));
    told.extend(nodes(public));
    told.extend(constitution(public));
    told.extend(service(public));
    told
}

/// What a member asked for, by its signed message.
fn requested(public: &WriteSet) -> Option<News> {
    let (_, row) = rows(public, &tables::COSE_HISTORY).find_map(|(id, row)| Some((id, row?)))?;
    let text: String = serde_json::from_slice(row).ok()?;
    let message = Message::decode(&BASE64.decode(text).ok()?).ok()?;
    let member_id = message.key_id;
    match (message.kind.as_deref()?, message.proposal_id) {
        ("proposal", _) => {
            let (proposal_id, _) = rows(public, &tables::PROPOSALS).find(|(_, row)| row.is_some())?;
            Some(News::ProposalCreated { proposal_id, proposer_id: member_id })
        }
        ("ballot", Some(proposal_id)) => Some(News::BallotSubmitted { proposal_id, member_id }),
        ("withdrawal", Some(proposal_id)) => Some(News::ProposalWithdrawn { proposal_id, member_id }),
        _ => None,
    }
}

fn proposals(public: &WriteSet) -> impl Iterator<Item = News> {
    rows(public, &tables::PROPOSALS_INFO).filter_map(|(proposal_id, row)| {
        let Told { state, final_votes } = serde_json::from_slice(row?).ok()?;
        match state {
            ProposalState::Open | ProposalState::Withdrawn => None,
            ProposalState::Dropped => Some(News::ProposalDropped { proposal_id }),
            ProposalState::Accepted | ProposalState::Rejected | ProposalState::Failed => {
                let final_votes = final_votes.unwrap_or_default();
                Some(News::ProposalResolved { proposal_id, proposal_state: state, final_votes })
            }
        }
    })
}

fn members(public: &WriteSet) -> impl Iterator<Item = News> {
    rows(public, &tables::MEMBER_INFO).filter_map(|(member_id, row)| match row {
        None => Some(News::MemberRemoved { member_id }),
        Some(row) => {
            let MemberInfo { status, .. } = serde_json::from_slice(row).ok()?;
            Some(News::MemberSet { member_id, status })
        }
    })
}

fn users(public: &WriteSet) -> impl Iterator<Item = News> {
    rows(public, &tables::USER_CERTS).map(|(user_id, row)| match row {
        None => News::UserRemoved { user_id },
        Some(_) => News::UserSet { user_id },
    })
}

fn nodes(public: &WriteSet) -> impl Iterator<Item = News> {
    rows(public, &tables::NODE_INFO).filter_map(|(node_id, row)| match row {
        None => Some(News::NodeRemoved { node_id }),
        Some(row) => {
            let NodeInfo { status, .. } = serde_json::from_slice(row).ok()?;
            Some(News::NodeSet { node_id, status })
        }
    })
}

fn constitution(public: &WriteSet) -> Option<News> {
    let text: String = serde_json::from_slice(public.get(&tables::CONSTITUTION, &tables::SINGLETON)??).ok()?;
    Some(News::ConstitutionSet { digest: coco_crypto::sha256(text.as_bytes()).to_string() })
}

fn service(public: &WriteSet) -> Option<News> {
    let info: ServiceInfo = serde_json::from_slice(public.get(&tables::SERVICE_INFO, &tables::SINGLETON)??).ok()?;
    Some(News::ServiceSet { status: info.status })
}

fn rows<'a>(public: &'a WriteSet, map: &MapName) -> impl Iterator<Item = (String, Option<&'a Bytes>)> + use<'a> {
    let rows = public.map(map).into_iter().flatten();
    rows.map(|(key, row)| (String::from_utf8_lossy(key).into_owned(), row.as_ref()))
}

#[cfg(test)]
mod tests {
    use coco_types::WriteSet;

    use super::*;

    fn written(rows: &[(&MapName, &str, Option<&str>)]) -> Vec<News> {
        let mut writes = WriteSet::new();
        for (map, key, row) in rows {
            let row = row.map(|row| Bytes::copy_from_slice(row.as_bytes()));
            writes.insert(map, Bytes::copy_from_slice(key.as_bytes()), row);
        }
        news(&writes)
    }

    #[test]
    fn rows_of_people_nodes_and_proposals_are_told_in_order() {
        let told = written(&[
            (&tables::MEMBER_INFO, "m", Some(r#"{"status": "Active", "member_data": {}}"#)),
            (&tables::MEMBER_INFO, "n", None),
            (&tables::USER_CERTS, "u", Some("PEM")),
            (&tables::USER_CERTS, "v", None),
            (&tables::PROPOSALS_INFO, "a", Some(r#"{"state": "Accepted", "final_votes": {"m": true}}"#)),
            (&tables::PROPOSALS_INFO, "b", Some(r#"{"state": "Dropped"}"#)),
            (&tables::PROPOSALS_INFO, "c", Some(r#"{"state": "Open"}"#)),
            (&tables::PROPOSALS_INFO, "d", None),
            (&tables::NODE_INFO, "x", None),
        ]);
        let [m, n, u, v, x] = ["m", "n", "u", "v", "x"].map(str::to_owned);
        let accepted = News::ProposalResolved {
            proposal_id: "a".to_owned(),
            proposal_state: ProposalState::Accepted,
            final_votes: [(m.clone(), true)].into(),
        };
        assert_eq!(
            told,
            [
                accepted,
                News::ProposalDropped { proposal_id: "b".to_owned() },
                News::MemberSet { member_id: m, status: "Active".to_owned() },
                News::MemberRemoved { member_id: n },
                News::UserSet { user_id: u },
                News::UserRemoved { user_id: v },
                News::NodeRemoved { node_id: x },
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_and_what_is_of_no_interest_is_not_told() {
        assert_eq!(written(&[]), []);
        let other = MapName::from_static("public:other");
        assert_eq!(written(&[(&other, "k", Some("v")), (&tables::COSE_HISTORY, "m", Some("?"))]), []);
        assert_eq!(written(&[(&tables::MEMBER_INFO, "m", Some("?")), (&tables::PROPOSALS_INFO, "p", Some("[]"))]), []);
    }
}
