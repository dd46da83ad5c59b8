//! How simulated nodes come and go: founding, admission by evidence, taking another's place, leaving.

use std::sync::Arc;

use coco_attestation::platforms::virtual_tee::VirtualTee;
use coco_attestation::{BoundFacts, EvidenceSource, TeeKind};
use coco_crypto::{Curve, SigningKey};
use coco_governance::attestation;
use coco_governance::secrets;
use coco_governance::{Applicant, NodeRole, NodeRow};
use coco_node::config::{Actor, Genesis};
use coco_node::events::ExecutorEvent;
use coco_node::executor::SystemCommand;
use coco_node::genesis::{self, Founder};
use coco_node::join::{self, Place};
use coco_protocol::{Outcome, Protocol, Rejection, RejectionReason, Submitted};
use coco_types::{Digest, NodeId, ReplicaId, TxId};

use crate::counter::Counter;
use crate::ethereum;
use crate::governing::Member;
use crate::invariants::Violation;
use crate::node::{MEASUREMENT, Options, SimNode, VALIDITY};
use crate::world::{Log, Waiter, World};

/// Short, so that a run sees many.
const SWAP_INTERVAL_MS: u64 = 500;

/// Waits for its admission.
pub struct Joiner {
    /// The primary that it asked.
    asked: ReplicaId,
    node: SimNode,
    /// The returning replica whose folder it keeps, and which ends with its admission.
    keeps: Option<ReplicaId>,
}

/// Simulated time within which a quiet network must admit one more node.
const ADMISSION_MS: u64 = 30_000;

impl World {
    /// A network of this many voters, without faults.
    pub fn quiet(seed: u64, voters: u32, options: Options) -> Result<Self, Violation> {
        Self::founded(seed, voters, options, None)
    }

    /// The same, with a reader of its trace.
    pub fn founded(seed: u64, voters: u32, options: Options, log: Option<Log>) -> Result<Self, Violation> {
        let mut world = Self::empty(seed, options, log);
        let key_seed = world.random.next();
        let first = world.setting.node(ReplicaId(1), 0, key_seed);
        world.genesis = world.genesis_commands(&first)?;
        world.nodes.insert(first.id, first);
        world.start(ReplicaId(1))?;
        world.run_until(ADMISSION_MS, "the first primary", Self::is_open)?;
        for index in 1..voters {
            world.admit(index)?;
            world.run_until(ADMISSION_MS, "a voter more", |world| {
                let membership = world.primary().map(|id| world.membership(id)).unwrap_or_default();
                membership.voters.len() > index as usize && !membership.is_joint()
            })?;
        }
        Ok(world)
    }

    /// Asks the primary to admit a fresh node at this place; if a node is there, the fresh one takes its place. It starts once it
    /// is admitted. Without a primary, its host has to try again.
    pub fn admit(&mut self, index: u32) -> Result<(), Violation> {
        self.admit_as(index, NodeRole::Voter)
    }

    /// The same, in this role.
    pub fn admit_as(&mut self, index: u32, role: NodeRole) -> Result<(), Violation> {
        let Some(primary) = self.primary() else {
            self.places_to_fill.push(index);
            return Ok(());
        };
        let seed = self.random.next();
        let mut node = self.setting.node(ReplicaId(0), index, seed);
        node.role = role;
        let command = self.admission(&node, None)?;
        let number = self.number();
        self.joiners.insert(number, Joiner { asked: primary, node, keeps: None });
        let reply = self.reply(primary, Waiter::Joiner(number));
        self.tell_executor(primary, ExecutorEvent::System { command, reply });
        Ok(())
    }

    /// A returning replica asks the primary to admit it as a fresh one, in its own place.
    pub(crate) fn swap(&mut self, old: ReplicaId, now_ms: u64) -> Result<(), Violation> {
        let refuse = |world: &mut Self| {
            let returning = world.node_mut(old).returning.as_mut();
            returning.into_iter().for_each(|returning| returning.swap_refused(now_ms));
        };
        let Some(primary) = self.primary().filter(|primary| self.is_heard_by(old, *primary)) else {
            refuse(self);
            return Ok(());
        };
        let service = self.nodes[&old].identity.service.keys();
        if let Err(error) = self.nodes[&old].check_folder(&service) {
            self.stop(old, &error.to_string());
            return Ok(());
        }
        let seed = self.random.next();
        let mut node = self.setting.node(ReplicaId(0), self.nodes[&old].index, seed);
        node.take_folder_of(&self.nodes[&old]);
        let command = self.admission(&node, Some(&self.nodes[&old].identity.node_key))?;
        let number = self.number();
        self.node_mut(old).joining = Some(number);
        self.joiners.insert(number, Joiner { asked: primary, node, keeps: Some(old) });
        let reply = self.reply(primary, Waiter::Joiner(number));
        self.tell_executor(primary, ExecutorEvent::System { command, reply });
        Ok(())
    }

    /// Governance votes a node out.
    pub fn retire(&mut self, id: ReplicaId) {
        let node = self.node(id).node_id();
        let Some(primary) = self.primary() else { return };
        let command: SystemCommand = Box::new(move |tx, _| {
            coco_governance::retire(tx, node).map_err(refused)?;
            Ok(Outcome::default())
        });
        let reply = self.reply(primary, Waiter::Nobody);
        self.tell_executor(primary, ExecutorEvent::System { command, reply });
    }

    /// What governance says of a node, as another shows it.
    pub fn standing(&self, on: ReplicaId, node: NodeId) -> Option<NodeRow> {
        let machines = self.node(on).machines.as_ref()?;
        NodeRow::read(&mut machines.visible.state(), node).ok().flatten()
    }

    /// A joiner that was not told that it is admitted gives up, and its key with it. Its host tries again with another.
    pub(crate) fn joiner_is_answered(&mut self, number: u64, answer: &Submitted) -> Result<(), Violation> {
        let Some(Joiner { node, keeps, asked }) = self.joiners.remove(&number) else { return Ok(()) };
        if let Some(old) = keeps {
            return self.swap_is_answered(old, number, asked, node, answer);
        }
        let Submitted::Committed { response, .. } = answer else {
            self.note(|| format!("a joiner gives up: {answer:?}"));
            self.places_to_fill.push(node.index);
            return Ok(());
        };
        let id = admitted_id(response)?;
        self.note(|| format!("{id} joins at place {}", node.index));
        let mut node = node.admitted_as(id);
        self.give_secrets(asked, &mut node);
        // The answer names the others.
        node.known = self.members();
        self.nodes.insert(id, node);
        self.swapping.insert(id);
        self.start(id)
    }

    /// The process that asked may be gone: then nobody has the fresh replica's keys.
    fn swap_is_answered(
        &mut self,
        old: ReplicaId,
        number: u64,
        asked: ReplicaId,
        mut node: SimNode,
        answer: &Submitted,
    ) -> Result<(), Violation> {
        if self.nodes[&old].joining != Some(number) {
            return Ok(());
        }
        let now_ms = self.now_ms();
        let returning = &mut self.node_mut(old).returning;
        let Submitted::Committed { response, .. } = answer else {
            returning.iter_mut().for_each(|returning| returning.swap_refused(now_ms));
            self.node_mut(old).joining = None;
            return Ok(());
        };
        let id = admitted_id(response)?;
        self.note(|| format!("{old} comes back as {id}"));
        self.node_mut(old).stop();
        self.node_mut(old).removed = true;
        self.give_secrets(asked, &mut node);
        let node = node.admitted_as(id);
        // Which of its two replicas a folder is of is in a sealed file, which nothing tears here.
        node.power().comes_back();
        if self.starved.remove(&old) {
            node.set_room(None);
        }
        let failed = |error: &dyn std::fmt::Display| Violation(format!("{old} cannot come back as {id}: {error}"));
        let mut log = node.resting_log().map_err(|error| failed(&error))?.log;
        log.hand_to_fresh_replica().map_err(|error| failed(&error))?;
        drop(log);
        self.nodes.insert(id, node);
        self.counts.came_back += 1;
        self.swapping.insert(id);
        self.run_machines(id)
    }

    /// The node that these joiners asked is gone, and its answer with it.
    pub(crate) fn joiners_lose(&mut self, asked: ReplicaId) {
        let now_ms = self.now_ms();
        let lost: Vec<_> = self.joiners.extract_if(.., |_, joiner| joiner.asked == asked).collect();
        for (number, Joiner { node, keeps, .. }) in lost {
            let Some(old) = keeps else {
                self.places_to_fill.push(node.index);
                continue;
            };
            let old = self.node_mut(old);
            if old.joining == Some(number) {
                old.joining = None;
                old.returning.iter_mut().for_each(|returning| returning.swap_refused(now_ms));
            }
        }
    }

    /// The members vote for a new ledger secret.
    pub fn rekey(&mut self) {
        let Some(primary) = self.primary() else { return };
        self.counts.rekeys += 1;
        let vault = self.node(primary).vault();
        let command: SystemCommand = Box::new(move |tx, context| {
            secrets::rekey(tx, &vault, context.txid, context.now_ms).map_err(refused)?;
            Ok(Outcome::default())
        });
        let reply = self.reply(primary, Waiter::Nobody);
        self.tell_executor(primary, ExecutorEvent::System { command, reply });
    }

    /// The answer to a joiner holds the secrets of every epoch.
    fn give_secrets(&self, asked: ReplicaId, node: &mut SimNode) {
        if let Some(machines) = &self.node(asked).machines {
            let mut epochs = machines.ledger.keys();
            epochs.truncate_after(machines.visible.txid().seqno.next());
            node.identity.service.epochs = epochs;
        }
    }

    /// A node keeps the ledger's secrets with its sealed identity.
    pub(crate) fn keep_epochs(&mut self, id: ReplicaId) {
        let node = self.node_mut(id);
        let Some(machines) = &node.machines else { return };
        node.identity.service.epochs = machines.ledger.kept_keys(machines.replica.committed().seqno);
    }

    /// What the shell does about [`coco_node::replica::Effect::Gone`].
    pub(crate) fn retire_gone(&mut self, on: ReplicaId, node: NodeId) {
        let vault = self.node(on).vault();
        let command: SystemCommand = Box::new(move |tx, context| {
            coco_governance::retire(tx, node).map_err(refused)?;
            let replaced = coco_governance::mark_gone(tx, node).map_err(refused)?;
            if !replaced {
                secrets::rekey_or_owe(tx, &vault, context.txid, context.now_ms).map_err(refused)?;
            }
            Ok(Outcome::default())
        });
        let reply = self.reply(on, Waiter::Nobody);
        self.tell_executor(on, ExecutorEvent::System { command, reply });
    }

    /// A primary writes down that a node was judged just now, for code that its evidence does not show.
    pub fn record_false_admission(&mut self, on: ReplicaId, of: ReplicaId) {
        let node = self.node(of).node_id();
        let command: SystemCommand = Box::new(move |tx, _| {
            let key = node.to_string().into_bytes();
            let row = tx.get(&attestation::APPRAISALS, &key).unwrap_or_default();
            let mut row: serde_json::Value = serde_json::from_slice(&row).unwrap_or_default();
            row["at"] = (row["at"].as_u64().unwrap_or_default() + 1).into();
            row["measurement"] = Digest([9; 32]).to_string().into();
            tx.put(&attestation::APPRAISALS, key, row.to_string());
            Ok(Outcome::default())
        });
        let reply = self.reply(on, Waiter::Nobody);
        self.tell_executor(on, ExecutorEvent::System { command, reply });
    }

    fn is_open(&self) -> bool {
        self.primary().is_some_and(|id| self.visible(id) > TxId::default())
    }

    fn genesis_commands(&mut self, first: &SimNode) -> Result<Vec<SystemCommand>, Violation> {
        let crypto = self.setting.crypto.clone();
        let crypto = crypto.as_ref();
        let member_key = SigningKey::generate(crypto, Curve::P384);
        let member = coco_crypto::self_signed_certificate(crypto, &member_key, "member", &[], VALIDITY, &[])
            .map_err(|error| Violation(error.to_string()))?;
        let pem = member.to_pem();
        let adds = self.setting.options.ethereum_by_vote.then(|| (coco_ethereum::NAME, ethereum::config()));
        self.member = Some(Member::new(member_key, member, adds));
        let mut genesis = Genesis {
            name: "sim".to_owned(),
            members: vec![Actor {
                certificate: pem,
                data: serde_json::Value::Null,
                encryption_public_key: None,
                recovery_role: None,
            }],
            participants: Vec::new(),
            recovery_threshold: None,
            virtual_measurements: vec![MEASUREMENT.to_string()],
            attestation: self.setting.options.attestation.clone(),
            constitution: None,
            opens_at_once: true,
            chunk_bytes: self.setting.options.chunk_bytes,
            resume: self.setting.options.resume_policy(),
            swap_interval_ms: SWAP_INTERVAL_MS,
            ledgers: [("counter".to_owned(), serde_json::Value::Null)].into(),
        };
        let mut protocols: Vec<Arc<dyn Protocol>> = vec![Arc::new(Counter::default())];
        if self.setting.options.ethereum {
            if !self.setting.options.ethereum_by_vote {
                genesis.ledgers.insert(coco_ethereum::NAME.to_owned(), ethereum::config());
            }
            protocols.push(ethereum::hosted());
        }
        let bound = BoundFacts { exchange_key: Vec::new(), service: None, config: Digest::ZERO, nonce: None };
        let report_data = bound.binding(first.identity.node_key.public_key(), TeeKind::Virtual).report_data();
        let founder = Founder {
            node: first.row(&report_data),
            bound,
            node_certificate: first.identity.node_certificate.to_pem(),
            service_certificate: self.setting.service_certificate.to_pem(),
        };
        let founding = genesis::founding(&genesis, founder).map_err(Violation)?;
        Ok(genesis::commands(genesis, founding, protocols, first.vault(), self.setting.ledger_secret.clone()))
    }

    /// What a node's join request leads to on the primary.
    fn admission(&self, node: &SimNode, before: Option<&SigningKey>) -> Result<SystemCommand, Violation> {
        let failed = |error: &dyn std::fmt::Display| Violation(format!("admission: {error}"));
        let crypto = self.setting.crypto.as_ref();
        let nonce = join::challenge(crypto, &self.setting.service_key, self.now_ms());
        let place = Place { index: node.index, addresses: node.addresses(), role: node.role };
        let virtual_tee = VirtualTee::running(MEASUREMENT);
        let tee = self.tees.get(&node.index).map_or(&virtual_tee as &dyn EvidenceSource, |tee| tee.as_ref());
        let service = self.setting.service_key.public_key();
        let new_key = node.identity.node_key.public_key();
        let mut request =
            join::request(tee, new_key, node.identity.exchange.public(), service, place, Digest::ZERO, nonce)
                .map_err(|error| failed(&error))?;
        request.swaps = before.map(|before| join::SwapClaim::new(crypto, before, new_key, &nonce));
        let body = serde_json::to_vec(&request).map_err(|error| failed(&error))?;
        let applicant: Applicant =
            join::applicant(&body, &self.setting.service_key, self.now_ms()).map_err(|error| failed(&error))?;
        let primary = self.primary().ok_or_else(|| failed(&"there is no primary"))?;
        let machines = self.node(primary).machines.as_ref().ok_or_else(|| failed(&"the primary is down"))?;
        let state = &mut machines.visible.state();
        let verified = attestation::verify_applicant(state, &applicant, service, self.now_ms() / 1000)
            .map_err(|error| failed(&error))?;
        let vault = self.node(primary).vault();
        let certificate = node.identity.node_certificate.to_pem();
        Ok(Box::new(move |tx, context| {
            let standing =
                coco_governance::admit(tx, &applicant, &verified, &certificate, context.now_ms).map_err(refused)?;
            let id = applicant.public_key.node_id();
            secrets::wrap_for_joiner(tx, &vault, id, &applicant.exchange_key).map_err(refused)?;
            Ok(Outcome { claims: None, response: standing.replica.0.to_be_bytes().to_vec().into() })
        }))
    }
}

fn admitted_id(response: &[u8]) -> Result<ReplicaId, Violation> {
    let id = response.first_chunk().map(|bytes| ReplicaId(u64::from_be_bytes(*bytes)));
    id.ok_or_else(|| Violation("an admission was answered without a replica id".to_owned()))
}

pub(crate) fn refused(error: impl std::fmt::Display) -> Rejection {
    Rejection::new(RejectionReason::Invalid, 0, error.to_string())
}
