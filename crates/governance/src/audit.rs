//! Replays governance from the ledger alone: each request's signature, and what the constitution made of it.
//!
//! ```text
//!   transaction ─▶ signed request in it? ─▶ authenticate and handle it on the state before ─▶ the same rows? ─▶ Decision
//! ```
//!
//! Needs the public maps only. The auditor's state is what the transactions wrote, never what the replay would have written, so that one
//! difference does not hide the next. Rows that only members' requests may write are noticed when anything else wrote them. What cannot be
//! replayed: that a script was stopped by the wall clock, and `Math.random` in `apply`; both show as a difference.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use coco_crypto::{Certificate, sha256_of};
use coco_kv::{Snapshot, Store};
use coco_types::{Digest, MapName, Seqno, TxId, WriteSet};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::attestation;
use crate::message::Message;
use crate::proposals::{ProposalInfo, ProposalState};
use crate::recovery::RecoveryRow;
use crate::rows::{MemberInfo, ServiceInfo, ServiceStatus};
use crate::secrets::{self, Order};
use crate::session::{Ack, Operation, Request, Session};
use crate::tables;
use crate::{Error, Facts, Refusal};

/// Where nodes write by themselves: what they are, make and notice. Every other map of governance is written by the founding and by members'
/// requests alone.
const NODES_OWN: &[MapName] = &[
    tables::NODE_INFO,
    tables::NODE_CERTS,
    tables::EPOCHS,
    tables::LAST_REPLICA,
    tables::RESUMES,
    tables::ALARMS,
    tables::RECOVERY,
    tables::PREVIOUS_SERVICE_IDENTITY,
    tables::ENDORSEMENTS,
    tables::ROTATION_DUE,
    tables::ROTATIONS,
    tables::VIEW,
    tables::COMMITTED,
    attestation::COLLATERAL,
    attestation::APPRAISALS,
];
const GOVERNANCE: &str = "public:ccf.gov.";

/// The ledger's signatures over its root, as far as a replay needs them.
const SIGNATURES: MapName = MapName::from_static("public:ccf.internal.signatures");

/// Something that governance did.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    Founded {
        txid: TxId,
        members: usize,
    },
    /// `opens_at_once` of the genesis: the service was opened behind the founding, before any member asked for anything.
    OpenedByFounder {
        txid: TxId,
    },
    Decision(Decision),
    /// A new service took over the ledger, after its nodes were lost.
    Recovered {
        txid: TxId,
        /// Everything up to here is the old service's.
        recovered_to: TxId,
    },
    /// The service got another identity, as members had voted before.
    Rotated {
        txid: TxId,
    },
    /// A member handed in its recovery share.
    ShareSubmitted {
        txid: TxId,
        member_ids: Vec<String>,
    },
    /// Enough recovery shares were there.
    OpenedByShares {
        txid: TxId,
    },
    /// These maps were written by no member's request.
    Unexplained {
        txid: TxId,
        maps: Vec<String>,
    },
}

/// A member's request and what it led to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Decision {
    pub txid: TxId,
    pub member_id: String,
    /// `member_data.name`, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member_name: Option<String>,
    /// `proposal`, `ballot`, `withdrawal`, `ack`, `state_digest`.
    pub kind: String,
    /// Unix seconds, by the member's clock.
    pub created_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposal_id: Option<String>,
    /// Names of the proposal's actions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// The proposal's state afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ProposalState>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub final_votes: BTreeMap<String, bool>,
    /// Why the replay does not confirm it; `None`: the signature is the member's and the constitution says the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
}

/// See the module's text.
#[derive(Default)]
pub struct Auditor {
    store: Store,
    /// Roots that were signed, with the transaction that signed them.
    roots: BTreeMap<Digest, TxId>,
    newest_root: Option<Digest>,
    /// Members have asked for another identity of the service, and it is not there yet.
    rotation_due: bool,
    /// Some member has asked for something.
    asked: bool,
}

#[derive(Deserialize)]
struct SignedRoot {
    root: Digest,
}

impl Auditor {
    /// Takes in the next transaction, in the order of the ledger, beginning with the first.
    pub fn transaction(&mut self, txid: TxId, public: &WriteSet) -> Result<Option<Event>, Error> {
        let before = self.store.newest_snapshot();
        let event = if txid.seqno == Seqno(1) {
            let members = public.map(&tables::MEMBER_CERTS).map_or(0, |rows| rows.len());
            Some(Event::Founded { txid, members })
        } else if let Some((member, request)) = request(public) {
            let decision = self.decision(txid, &before, &member, &request, public);
            self.rotation_due &= !rotates(public);
            self.asked = true;
            Some(Event::Decision(decision))
        } else if self.rotation_due && rotates(public) && only_rotates(&before, public) {
            self.rotation_due = false;
            Some(Event::Rotated { txid })
        } else {
            recovering(txid, &before, public).or_else(|| {
                unexplained(public).map(|maps| match maps.as_slice() {
                    [only] if !self.asked && only == tables::SERVICE_INFO.as_str() => {
                        // Not twice.
                        self.asked = true;
                        Event::OpenedByFounder { txid }
                    }
                    _ => Event::Unexplained { txid, maps },
                })
            })
        };
        self.remember_root(txid, public);
        self.store.apply(txid.seqno, &governance_part(public)).map_err(|error| Error::NotInOrder(error.to_string()))?;
        self.store.commit(txid.seqno);
        Ok(event)
    }

    fn decision(&mut self, txid: TxId, before: &Snapshot, member: &str, request: &[u8], public: &WriteSet) -> Decision {
        let info = MemberInfo::read(&mut before.clone(), member).ok().flatten();
        let name = info.and_then(|info| info.member_data["name"].as_str().map(str::to_owned));
        let mut decision = Decision {
            txid,
            member_id: member.to_owned(),
            member_name: name,
            kind: String::new(),
            created_at: 0,
            proposal_id: None,
            actions: Vec::new(),
            state: None,
            final_votes: BTreeMap::new(),
            differs: None,
        };
        let message = match Message::decode(request) {
            Ok(message) => message,
            Err(refusal) => return Decision { differs: Some(refusal.message), ..decision },
        };
        decision.kind = message.kind.clone().unwrap_or_default();
        decision.created_at = message.created_at;
        decision.proposal_id = message.proposal_id.clone().or_else(|| created_proposal(public));
        if let Some(id) = &decision.proposal_id {
            decision.actions = actions(before, public, id);
            if let Some(info) = written_proposal(public, id) {
                decision.state = Some(info.state);
                decision.final_votes = info.final_votes.unwrap_or_default();
            }
        }
        decision.differs = match self.replay(before, &message, request, public) {
            Ok(orders) => {
                self.rotation_due |= orders.contains(&Order::Rotate);
                None
            }
            Err(why) => Some(why),
        };
        decision
    }

    /// Handles the request again on the state before it. An error says what is not as it was.
    fn replay(
        &self,
        before: &Snapshot,
        message: &Message,
        request: &[u8],
        public: &WriteSet,
    ) -> Result<Vec<Order>, String> {
        let root = self.root_of(message, public);
        let signature_json = root.and_then(|root| {
            let txid = self.roots.get(&root)?;
            Some(serde_json::json!({"root": root, "view": txid.view, "seqno": txid.seqno}).to_string())
        });
        let facts =
            Facts { signature_json, root, now_s: message.created_at, seed: [0; 32], vault: None, ledgers: None };
        let session = Session::new(self.store.begin_tracked(before), facts, None);
        let operation = operation(message).ok_or_else(|| format!("{:?} is no request", message.kind))?;
        let request = Request { operation, message: Bytes::copy_from_slice(request) };
        let refused = |refusal: Refusal| format!("the replay refuses it: {}", refusal.message);
        session.handle(&request).map_err(refused)?;
        let (orders, tx) = (session.orders(), session.into_tx());
        if public.map(&tables::EPOCHS).is_some() && !orders.contains(&Order::Rekey) {
            return Err("the ledger's secret was changed, and nobody asked for it".to_owned());
        }
        let granted = orders.iter().any(|order| matches!(order, Order::Grant(_)));
        if public.map(&tables::AUDIT_GRANTS).is_some() && !granted {
            return Err("an epoch was disclosed, and nobody asked for it".to_owned());
        }
        let asked = |what: fn(&Order) -> bool| orders.iter().any(what);
        let rotated = rotates(public);
        if rotated && !asked(|order| *order == Order::Rotate) {
            return Err("the service's identity was changed, and nobody asked for it".to_owned());
        }
        let mut made = secrets::MADE_BY_NODES.to_vec();
        if rotated || asked(|order| matches!(order, Order::RenewNodes { .. })) {
            made.push(tables::NODE_CERTS);
        }
        if rotated || asked(|order| matches!(order, Order::RenewService(_))) {
            made.push(tables::SERVICE_INFO);
            let asked_for = tx.writes().get(&tables::SERVICE_INFO, &tables::SINGLETON).flatten().cloned();
            let asked_for = asked_for.or_else(|| before.get(&tables::SERVICE_INFO, &tables::SINGLETON));
            if !only_identity_differs(asked_for, public, rotated) {
                return Err("the service changed in more than its certificate".to_owned());
            }
        }
        let mut replayed = tx.writes().clone();
        for order in &orders {
            if let Order::Endorse(endorsing) = order {
                endorsing.accept(&mut replayed, public, &service_of(before, public)?)?;
            }
        }
        match difference(&replayed, public, &made) {
            None => Ok(orders),
            Some(map) => Err(format!("the replay writes other rows to {map}")),
        }
    }

    /// The root that the request was handled on: what it left tells which, if that matters at all.
    fn root_of(&self, message: &Message, public: &WriteSet) -> Option<Digest> {
        let created = created_proposal(public).filter(|_| message.kind.as_deref() == Some("proposal"));
        if let Some(id) = created {
            let of_id = |root: &&Digest| sha256_of(&[root.as_bytes(), message.digest.as_bytes()]).to_string() == id;
            return self.roots.keys().find(of_id).copied();
        }
        let acks = public.map(&tables::MEMBER_ACKS).into_iter().flatten();
        let digests = acks.filter_map(|(_, row)| serde_json::from_slice::<Ack>(row.as_deref()?).ok());
        let known = digests.filter_map(|ack| ack.state_digest.parse().ok()).find(|root| self.roots.contains_key(root));
        known.or(self.newest_root)
    }

    fn remember_root(&mut self, txid: TxId, public: &WriteSet) {
        let row = public.get(&SIGNATURES, &tables::SINGLETON).flatten();
        if let Some(SignedRoot { root }) = row.and_then(|row| serde_json::from_slice(row).ok()) {
            self.roots.insert(root, txid);
            self.newest_root = Some(root);
        }
    }
}

/// The member and the signed request that a transaction records.
fn request(public: &WriteSet) -> Option<(String, Vec<u8>)> {
    let (member, row) = public.map(&tables::COSE_HISTORY)?.iter().find_map(|(key, row)| Some((key, row.as_ref()?)))?;
    let text: String = serde_json::from_slice(row).unwrap_or_default();
    Some((String::from_utf8_lossy(member).into_owned(), BASE64.decode(text).unwrap_or_default()))
}

fn operation(message: &Message) -> Option<Operation> {
    let member = message.key_id.clone();
    let proposal = message.proposal_id.clone();
    match message.kind.as_deref()? {
        "proposal" => Some(Operation::Propose),
        "ballot" => Some(Operation::Vote { proposal: proposal?, member }),
        "withdrawal" => Some(Operation::Withdraw { proposal: proposal? }),
        "ack" => Some(Operation::Acknowledge { member }),
        "state_digest" => Some(Operation::UpdateDigest { member }),
        "recovery_share" => Some(Operation::SubmitShare { member }),
        _ => None,
    }
}

fn unexplained(public: &WriteSet) -> Option<Vec<String>> {
    let is_members = |map: &MapName| map.as_str().starts_with(GOVERNANCE) && !NODES_OWN.contains(map);
    let written = public.iter().filter(|(map, rows)| is_members(map) && !rows.is_empty());
    let maps: Vec<_> = written.map(|(map, _)| map.to_string()).collect();
    (!maps.is_empty()).then_some(maps)
}

/// Applications' public maps can be large, and governance never reads them.
fn governance_part(public: &WriteSet) -> WriteSet {
    let of_governance =
        public.iter().filter(|(map, _)| map.as_str().starts_with(GOVERNANCE) || secrets::MADE_BY_NODES.contains(map));
    of_governance.map(|(map, writes)| (map.clone(), writes.clone())).collect()
}

/// The id of the proposal whose text this transaction stored.
fn created_proposal(public: &WriteSet) -> Option<String> {
    let rows = public.map(&tables::PROPOSALS)?;
    let (id, _) = rows.iter().find(|(_, row)| row.is_some())?;
    Some(String::from_utf8_lossy(id).into_owned())
}

fn written_proposal(public: &WriteSet, id: &str) -> Option<ProposalInfo> {
    let row = public.get(&tables::PROPOSALS_INFO, id.as_bytes())??;
    serde_json::from_slice(row).ok()
}

fn actions(before: &Snapshot, public: &WriteSet, id: &str) -> Vec<String> {
    let written = public.get(&tables::PROPOSALS, id.as_bytes()).flatten().cloned();
    let text = written.or_else(|| before.get(&tables::PROPOSALS, id.as_bytes())).unwrap_or_default();
    let parsed: Value = serde_json::from_slice(&text).unwrap_or_default();
    let names = parsed["actions"].as_array().into_iter().flatten().filter_map(|action| action["name"].as_str());
    names.map(str::to_owned).collect()
}

/// What belongs to a recovery: it is the nodes' part of what members voted for, and no request is recorded for it.
fn recovering(txid: TxId, before: &Snapshot, public: &WriteSet) -> Option<Event> {
    let submitted = public.map(&tables::SUBMITTED_SHARES);
    let Some(maps) = unexplained(public) else {
        let ids = submitted?.iter().filter(|(_, row)| row.is_some());
        let member_ids = ids.map(|(id, _)| String::from_utf8_lossy(id).into_owned()).collect();
        return Some(Event::ShareSubmitted { txid, member_ids });
    };
    if maps != [tables::SERVICE_INFO.as_str()] {
        return None;
    }
    let row = |map: &MapName| public.get(map, &tables::SINGLETON).flatten();
    let after: ServiceInfo = serde_json::from_slice(row(&tables::SERVICE_INFO)?).ok()?;
    let was = ServiceInfo::read(&mut before.clone()).ok()??;
    let counted = was.recovery_count + 1 == after.recovery_count;
    match (after.status, row(&tables::RECOVERY)) {
        (ServiceStatus::Recovering, Some(recovery)) if counted => {
            let recovery: RecoveryRow = serde_json::from_slice(recovery).ok()?;
            Some(Event::Recovered { txid, recovered_to: recovery.recovered_to })
        }
        (ServiceStatus::Open, None)
            if was.status == ServiceStatus::WaitingForRecoveryShares && was.cert == after.cert =>
        {
            Some(Event::OpenedByShares { txid })
        }
        _ => None,
    }
}

/// Whether this transaction gave the service another identity.
fn rotates(public: &WriteSet) -> bool {
    public.map(&tables::ROTATIONS).is_some_and(|rows| rows.iter().any(|(_, row)| row.is_some()))
}

/// A rotation that waited for a node to leave is part of the transaction that records that it has gone.
fn only_rotates(before: &Snapshot, public: &WriteSet) -> bool {
    unexplained(public).is_some_and(|maps| maps == [tables::SERVICE_INFO.as_str()])
        && only_identity_differs(before.get(&tables::SERVICE_INFO, &tables::SINGLETON), public, true)
}

/// Of the service's row: its certificate; the transaction that created it too, where it is another identity, and else the key stays.
fn only_identity_differs(before: Option<Bytes>, public: &WriteSet, rotated: bool) -> bool {
    let info = |row: Option<&Bytes>| row.and_then(|row| serde_json::from_slice::<ServiceInfo>(row).ok());
    let after = info(public.get(&tables::SERVICE_INFO, &tables::SINGLETON).flatten());
    let was = info(before.as_ref());
    let (Some(mut after), Some(was)) = (after, was) else { return false };
    let keys = [&after, &was].map(|info| secrets::service_certificate(info).map(|cert| cert.public_key().clone()).ok());
    let same_key = keys[0].is_some() && keys[0] == keys[1];
    if rotated {
        after.current_service_create_txid = was.current_service_create_txid;
    }
    after.cert.clone_from(&was.cert);
    after == was && same_key != rotated
}

/// The certificate of the service that this transaction was made by: the one that it gave it, if it did.
fn service_of(before: &Snapshot, public: &WriteSet) -> Result<Certificate, String> {
    let written = public.get(&tables::SERVICE_INFO, &tables::SINGLETON).flatten().cloned();
    let row = written.or_else(|| before.get(&tables::SERVICE_INFO, &tables::SINGLETON)).unwrap_or_default();
    let info: ServiceInfo = serde_json::from_slice(&row).map_err(|error| format!("the service's row: {error}"))?;
    secrets::service_certificate(&info).map_err(|error| error.to_string())
}

/// The first map in which the two differ. What nodes make differs each time; that it was asked for is checked elsewhere.
fn difference(a: &WriteSet, b: &WriteSet, made: &[MapName]) -> Option<String> {
    let maps = a.iter().chain(b).map(|(map, _)| map).filter(|map| !made.contains(map));
    maps.into_iter().find(|map| a.map(map) != b.map(map)).map(ToString::to_string)
}

#[cfg(test)]
mod tests;
