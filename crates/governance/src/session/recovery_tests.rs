//! Ledger secrets and recovery shares, from the founding over rekeys to a recovery by a new service.

use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use coco_attestation::platforms::virtual_tee::VirtualTee;
use coco_attestation::{EvidenceSource, TeeKind};
use coco_crypto::{Crypto, Curve, DecryptionKey, ExchangeKey, SeededCrypto, SigningKey, SymmetricKey, sha256};
use coco_kv::Store;
use coco_types::{Digest, NodeId, Seqno, TxId, View, WriteSet};
use serde_json::{Value, json};

use super::*;
use crate::constitution;
use crate::fixture::{self, Actor, NOW_S, ROOT};
use crate::secrets::{self, Vault};
use crate::{
    Code, Disclosable, Draft, Endorsement, NodeInfo, NodeRow, NodeStatus, Recovery, ServiceInfo, ServiceStatus,
    SharesRow,
};
use coco_attestation::BoundFacts;

/// What a ledger would make of an epoch.
fn disclose(epoch: &Disclosable) -> Vec<u8> {
    format!("{} to {}", epoch.first, epoch.until).into_bytes()
}

const YES: &str = "export function vote() { return true }";

/// A network of one node and as many members as keys, and its state.
struct Network {
    crypto: Arc<dyn Crypto>,
    members: Vec<(Actor, DecryptionKey)>,
    store: Store,
    vault: Vault,
    /// What each transaction wrote.
    ledger: Vec<WriteSet>,
}

impl Network {
    fn new(members: usize, threshold: u64) -> Self {
        let seeded = SeededCrypto::new(7);
        let member = |at: usize| (Actor::new(&seeded, Curve::P256, "member"), decryption_key(at));
        let members: Vec<_> = (0..members).map(member).collect();
        let keys: Vec<_> = members.iter().map(|(_, key)| key.public_pem()).collect();
        let actors: Vec<_> = members.iter().map(|(actor, _)| actor).collect();
        let founded = fixture::founded_with(&seeded, &actors, &keys, threshold);
        let crypto: Arc<dyn Crypto> = Arc::new(SeededCrypto::new(8));
        let vault = Vault {
            node: founded.node,
            exchange: Arc::new(founded.exchange),
            service_key: Arc::new(founded.service_key),
            crypto: crypto.clone(),
            disclose,
        };
        let mut network = Self { crypto, members, store: Store::new(), vault, ledger: Vec::new() };
        let secret = SymmetricKey::generate(network.crypto.as_ref());
        let (founding, vault) = (founded.founding, network.vault.clone());
        network.transaction(|tx, txid| {
            crate::found(tx, &founding, NOW_S).unwrap();
            secrets::begin(tx, &vault, &secret, txid, 0).unwrap();
        });
        network
    }

    fn open(members: usize, threshold: u64) -> Self {
        let mut network = Self::new(members, threshold);
        (0..members).for_each(|member| network.activate(member));
        network.carry(
            json!([{"name": "transition_service_to_open", "args": {"next_service_identity": network.service().cert}}]),
        );
        network
    }

    fn transaction(&mut self, write: impl FnOnce(&mut coco_kv::Tx, TxId)) {
        let mut tx = self.store.begin();
        let txid = TxId::new(View(2), self.store.newest().next());
        write(&mut tx, txid);
        self.store.apply(txid.seqno, tx.writes()).unwrap();
        self.store.commit(txid.seqno);
        self.ledger.push(tx.writes().clone());
    }

    fn send(
        &mut self,
        member: usize,
        kind: &str,
        id: Option<&str>,
        operation: Operation,
        payload: &[u8],
    ) -> Result<Value, Refusal> {
        let (actor, _) = &self.members[member];
        let draft = Draft {
            key_id: actor.id(),
            kind: kind.to_owned(),
            proposal_id: id.map(str::to_owned),
            created_at: NOW_S + self.ledger.len() as u64,
            payload: payload.to_vec(),
        };
        let message = draft.sign(self.crypto.as_ref(), &actor.key).into();
        let signature = json!({ "root": ROOT, "seqno": 1, "view": 1 }).to_string();
        let facts = Facts {
            signature_json: Some(signature),
            root: Some(ROOT),
            now_s: NOW_S,
            seed: [1; 32],
            vault: Some(self.vault.clone()),
            ledgers: None,
        };
        let session = Session::new(self.store.begin(), facts, None);
        let answer = session.handle(&Request { operation, message })?;
        let orders = session.orders();
        let mut tx = session.into_tx();
        let txid = TxId::new(View(2), self.store.newest().next());
        if answer.wrote {
            for order in orders {
                secrets::carry_out(&mut tx, &self.vault, &order, txid, 1_000).unwrap();
            }
            self.store.apply(txid.seqno, tx.writes()).unwrap();
            self.store.commit(txid.seqno);
            self.ledger.push(tx.writes().clone());
        }
        Ok(answer.body.unwrap_or_default())
    }

    fn activate(&mut self, member: usize) {
        let id = self.members[member].0.id();
        self.send(member, "state_digest", None, Operation::UpdateDigest { member: id.clone() }, b"").unwrap();
        let payload = json!({"stateDigest": ROOT}).to_string();
        self.send(member, "ack", None, Operation::Acknowledge { member: id }, payload.as_bytes()).unwrap();
    }

    /// Everybody votes for it.
    fn carry(&mut self, actions: Value) {
        let proposed =
            self.send(0, "proposal", None, Operation::Propose, json!({"actions": actions}).to_string().as_bytes());
        let mut answer = proposed.unwrap();
        let id = answer["proposalId"].as_str().unwrap().to_owned();
        for member in 0..self.members.len() {
            if answer["proposalState"] == "Open" {
                let ballot = json!({"ballot": YES}).to_string();
                let operation = Operation::Vote { proposal: id.clone(), member: self.members[member].0.id() };
                answer = self.send(member, "ballot", Some(&id), operation, ballot.as_bytes()).unwrap();
            }
        }
        assert_eq!(answer["proposalState"], "Accepted", "{answer}");
    }

    fn service(&self) -> ServiceInfo {
        ServiceInfo::read(&mut self.store.snapshot()).unwrap().unwrap()
    }

    /// What the newest row says, as the member decrypts it.
    fn share(&self, member: usize) -> Option<String> {
        let (actor, key) = &self.members[member];
        let row = SharesRow::read(&mut self.store.snapshot()).unwrap()?;
        let encrypted = BASE64.decode(row.encrypted_shares.get(&actor.id())?).unwrap();
        Some(BASE64.encode(&*key.decrypt(&encrypted).unwrap()))
    }

    fn submit(&mut self, member: usize, share: &str) -> Result<Value, Refusal> {
        let id = self.members[member].0.id();
        let payload = json!({ "share": share }).to_string();
        self.send(member, "recovery_share", None, Operation::SubmitShare { member: id }, payload.as_bytes())
    }

    /// All secrets, as the node opens them.
    fn secrets(&self) -> Vec<(Seqno, SymmetricKey)> {
        let mut state = self.store.snapshot();
        let newest = secrets::current(&mut state, &self.vault).unwrap();
        secrets::earlier(&mut state, newest).unwrap()
    }

    /// The node is lost: another one takes the ledger over.
    fn lose_and_recover(&mut self) -> Vec<(Seqno, SymmetricKey)> {
        // The signature that ends the last batch.
        self.transaction(|_, _| ());
        let lost = self.secrets();
        let crypto = self.crypto.clone();
        let [node_key, service_key] =
            [Curve::P256, Curve::P384].map(|curve| SigningKey::generate(crypto.as_ref(), curve));
        let service =
            coco_crypto::self_signed_service_certificate(crypto.as_ref(), &service_key, "new", fixture::VALIDITY, &[]);
        let exchange = ExchangeKey::generate(crypto.as_ref());
        let bound =
            BoundFacts { exchange_key: exchange.public().to_vec(), service: None, config: Digest::ZERO, nonce: None };
        let report_data = bound.binding(node_key.public_key(), TeeKind::Virtual).report_data();
        let node = node_key.public_key().node_id();
        let address = ([127, 0, 0, 1], 2).into();
        let info = NodeInfo {
            status: NodeStatus::Trusted,
            public_key: node_key.public_key().to_pem(),
            replica: crate::next_replica(&mut self.store.snapshot()).unwrap(),
            index: 0,
            addresses: crate::Addresses { api: address, peers: address },
            encryption_pub_key: hex::encode(exchange.public()),
            certificate_signing_request: None,
            quote_info: VirtualTee::running(sha256(b"code")).evidence(&report_data).unwrap(),
            replaces: None,
            swaps: None,
            retired_committed: false,
            role: Default::default(),
            admitted_ms: 0,
            owner: None,
            node_data: Default::default(),
        };
        let recovery = Recovery {
            recovered_to: TxId::new(View(2), self.store.newest()),
            last_root: ROOT,
            node: NodeRow { id: node, info },
            bound,
            node_certificate: "certificate".to_owned(),
            service_certificate: service.unwrap().to_pem(),
        };
        let (exchange, service_key) = (Arc::new(exchange), Arc::new(service_key));
        self.vault = Vault { node, exchange, service_key, crypto: crypto.clone(), disclose };
        let (vault, secret) = (self.vault.clone(), SymmetricKey::generate(crypto.as_ref()));
        self.transaction(|tx, txid| {
            crate::recover(tx, &recovery, NOW_S).unwrap();
            secrets::begin(tx, &vault, &secret, txid, 0).unwrap();
        });
        lost
    }

    /// Only so many transactions are left of the ledger.
    fn cut_back_to(&mut self, transactions: usize) {
        self.ledger.truncate(transactions);
        self.store = Store::new();
        for (at, writes) in self.ledger.iter().enumerate() {
            let seqno = Seqno(at as u64 + 1);
            self.store.apply(seqno, writes).unwrap();
            self.store.commit(seqno);
        }
    }

    fn vote_to_recover(&mut self) {
        let previous = crate::RecoveryRow::read(&mut self.store.snapshot()).unwrap().unwrap().previous_service;
        let args = json!({"next_service_identity": self.service().cert, "previous_service_identity": previous});
        self.carry(json!([{"name": "transition_service_to_open", "args": args}]));
        assert_eq!(self.service().status, ServiceStatus::WaitingForRecoveryShares);
    }

    fn rekey(&mut self) {
        self.carry(json!([{"name": "trigger_ledger_rekey", "args": null}]));
    }
}

/// RSA keys take long to make: the tests share them.
fn decryption_key(at: usize) -> DecryptionKey {
    static KEYS: OnceLock<Vec<String>> = OnceLock::new();
    let generated = |_| DecryptionKey::generate().unwrap().to_pem().to_string();
    DecryptionKey::from_pem(&KEYS.get_or_init(|| (0..6).map(generated).collect())[at]).unwrap()
}

fn key_of(pem: &str) -> coco_crypto::PublicKey {
    coco_crypto::Certificate::from_pem(pem).unwrap().public_key().clone()
}

#[test]
fn a_rekey_gives_the_nodes_a_new_secret_that_opens_those_before_it() {
    let mut network = Network::open(1, 1);
    assert_eq!(network.secrets().len(), 1);
    network.rekey();
    network.rekey();
    let secrets = network.secrets();
    assert_eq!(secrets.len(), 3);
    assert!(secrets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1));
    // Each is in force behind the transaction that wrote it, and only this node opens it.
    let (version, secret) = &secrets[2];
    let writes = &network.ledger[usize::try_from(version.0).unwrap() - 2];
    let opened = secrets::unwrap(writes, network.vault.node, &network.vault.exchange).unwrap();
    assert!(opened == Some((*version, secret.clone())));
    assert!(secrets::unwrap(writes, NodeId(Digest([9; 32])), &network.vault.exchange).unwrap().is_none());
    let other = ExchangeKey::generate(network.crypto.as_ref());
    assert!(secrets::unwrap(writes, network.vault.node, &other).is_err());
}

#[test]
fn shares_change_with_the_secret_with_the_threshold_and_when_asked_for() {
    let mut network = Network::open(2, 1);
    let mut seen = vec![network.share(0).unwrap()];
    for actions in [
        json!([{"name": "trigger_ledger_rekey"}]),
        json!([{"name": "trigger_recovery_shares_refresh"}]),
        json!([{"name": "set_recovery_threshold", "args": {"recovery_threshold": 2}}]),
    ] {
        network.carry(actions);
        let share = network.share(0).unwrap();
        assert!(!seen.contains(&share));
        seen.push(share);
    }
    assert_eq!(SharesRow::read(&mut network.store.snapshot()).unwrap().unwrap().threshold, 2);
}

#[test]
fn a_removed_holder_has_no_share_and_the_ledger_a_new_secret() {
    let mut network = Network::open(3, 2);
    let removed = network.members[2].0.id();
    network.carry(json!([{"name": "remove_member", "args": {"member_id": removed}}]));
    assert_eq!(network.secrets().len(), 2);
    assert_eq!(network.share(2), None);
    assert!(network.share(0).is_some());
}

#[test]
fn a_secret_that_cannot_be_made_when_a_node_is_removed_is_owed_and_made_once_enough_hold_shares() {
    let mut network = Network::open(2, 2);
    // Its second holder has not acknowledged yet.
    let late = network.members[1].0.id();
    let row = network.store.snapshot().get(&crate::tables::MEMBER_INFO, late.as_bytes()).unwrap();
    let accepted = String::from_utf8_lossy(&row).replace("Active", "Accepted");
    network.transaction(|tx, _| tx.put(&crate::tables::MEMBER_INFO, late.clone().into_bytes(), accepted.into_bytes()));
    let vault = network.vault.clone();
    let due = |network: &Network| secrets::is_due(&mut network.store.snapshot(), 0).unwrap();
    let owed = |network: &Network| secrets::owed_since(&mut network.store.snapshot()).unwrap();
    assert!(!due(&network));
    let since = network.store.newest().next();
    for _ in 0..2 {
        network.transaction(|tx, txid| assert!(!secrets::rekey_or_owe(tx, &vault, txid, 1_000).unwrap()));
    }
    assert_eq!((owed(&network), due(&network), network.secrets().len()), (Some(since), false, 1));
    network.transaction(|tx, _| tx.put(&crate::tables::MEMBER_INFO, late.clone().into_bytes(), row.clone()));
    assert!(due(&network));
    network.transaction(|tx, txid| secrets::rekey(tx, &vault, txid, 1_000).unwrap());
    assert_eq!((owed(&network), due(&network), network.secrets().len()), (None, false, 2));
}

#[test]
fn a_holder_that_is_reset_has_no_share_and_the_ledger_a_new_secret() {
    let mut network = Network::open(3, 2);
    let certificate = network.members[2].0.certificate.to_pem();
    let key = decryption_key(2).public_pem();
    network.carry(json!([{"name": "set_member", "args": {"cert": certificate, "encryption_pub_key": key}}]));
    assert_eq!(network.secrets().len(), 2);
    assert_eq!(network.share(2), None);
    assert!(network.share(0).is_some());
}

#[test]
fn a_member_that_becomes_active_gets_a_share_at_once() {
    let mut network = Network::open(2, 1);
    let (actor, key) = (Actor::new(&SeededCrypto::new(99), Curve::P384, "late"), decryption_key(5));
    let args = json!({"cert": actor.certificate.to_pem(), "encryption_pub_key": key.public_pem()});
    network.carry(json!([{"name": "set_member", "args": args}]));
    network.members.push((actor, key));
    assert_eq!(network.share(2), None);
    network.activate(2);
    assert!(network.share(2).is_some());
}

#[test]
fn any_m_of_n_members_recover_all_secrets_and_fewer_do_not() {
    for (threshold, count) in [(1, 1), (1, 3), (2, 3), (3, 3), (3, 5)] {
        let mut network = Network::open(count, threshold);
        network.rekey();
        let shares: Vec<_> = (0..count).map(|member| network.share(member).unwrap()).collect();
        let lost = network.lose_and_recover();
        assert_eq!(network.service().recovery_count, 1);
        let refused = network.submit(0, &shares[0]).unwrap_err();
        assert_eq!(refused.code, Code::ServiceNotWaitingForRecoveryShares);
        network.vote_to_recover();
        // The last ones, so that it does not matter which.
        for (at, member) in (0..count).rev().enumerate().take(usize::try_from(threshold).unwrap()) {
            assert_eq!(network.service().status, ServiceStatus::WaitingForRecoveryShares);
            let answer = network.submit(member, &shares[member]).unwrap();
            assert_eq!((&answer["submittedCount"], &answer["recoveryThreshold"]), (&json!(at + 1), &json!(threshold)));
        }
        assert_eq!(network.service().status, ServiceStatus::Open);
        let secrets = network.secrets();
        assert!(secrets[..lost.len()] == lost[..], "{threshold} of {count}");
        assert_eq!(secrets.len(), lost.len() + 1);
        // The members have shares of the new service's secret, and the old ones are worth nothing.
        assert!(network.share(0).is_some_and(|share| share != shares[0]));
        let state = network.store.snapshot();
        assert!(state.prefix(&tables::SUBMITTED_SHARES, b"").next().is_none());
    }
}

#[test]
fn wrong_and_foreign_shares_are_refused_by_name_and_a_repeated_one_counts_once() {
    let mut network = Network::open(3, 2);
    let old = network.share(0).unwrap();
    network.rekey();
    let shares: Vec<_> = (0..3).map(|member| network.share(member).unwrap()).collect();
    network.lose_and_recover();
    network.vote_to_recover();
    for wrong in [old.as_str(), shares[1].as_str(), "AAAA", "no base64!", ""] {
        assert_eq!(network.submit(0, wrong).unwrap_err().code, Code::InvalidInput, "{wrong}");
    }
    for _ in 0..3 {
        assert_eq!(network.submit(0, &shares[0]).unwrap()["submittedCount"], 1);
        assert_eq!(network.service().status, ServiceStatus::WaitingForRecoveryShares);
    }
    assert_eq!(network.submit(2, &shares[2]).unwrap()["submittedCount"], 2);
    assert_eq!(network.service().status, ServiceStatus::Open);
    assert_eq!(network.submit(1, &shares[1]).unwrap_err().code, Code::ServiceNotWaitingForRecoveryShares);
}

#[test]
fn from_one_of_one_to_three_of_five_wrong_missing_and_repeated_shares_open_nothing() {
    for (threshold, count) in (1..=5).flat_map(|count| (1..=count.min(3)).map(move |threshold| (threshold, count))) {
        let mut network = Network::open(count, threshold as u64);
        let outdated: Vec<_> = (0..count).map(|member| network.share(member).unwrap()).collect();
        network.rekey();
        let shares: Vec<_> = (0..count).map(|member| network.share(member).unwrap()).collect();
        let lost = network.lose_and_recover();
        network.vote_to_recover();
        for (at, member) in (count - threshold..count).enumerate() {
            let foreign = &shares[(member + 1) % count];
            for wrong in [&outdated[member], foreign].into_iter().filter(|wrong| **wrong != shares[member]) {
                assert_eq!(network.submit(member, wrong).unwrap_err().code, Code::InvalidInput);
            }
            // One too few, however often they come.
            for (earlier, share) in shares.iter().enumerate().take(member).skip(count - threshold) {
                assert_eq!(network.submit(earlier, share).unwrap()["submittedCount"], json!(at));
            }
            assert_eq!(network.service().status, ServiceStatus::WaitingForRecoveryShares, "{threshold} of {count}");
            assert_eq!(network.submit(member, &shares[member]).unwrap()["submittedCount"], json!(at + 1));
        }
        assert_eq!(network.service().status, ServiceStatus::Open, "{threshold} of {count}");
        assert!(network.secrets()[..lost.len()] == lost[..], "{threshold} of {count}");
    }
}

#[test]
fn a_ledger_that_is_cut_before_a_rekey_is_opened_by_the_shares_of_then_and_not_by_newer_ones() {
    for (threshold, count) in [(1, 1), (2, 3), (3, 5)] {
        let mut network = Network::open(count, threshold as u64);
        let of_then: Vec<_> = (0..count).map(|member| network.share(member).unwrap()).collect();
        let kept = network.ledger.len();
        network.rekey();
        let newer: Vec<_> = (0..count).map(|member| network.share(member).unwrap()).collect();
        network.cut_back_to(kept);
        let lost = network.lose_and_recover();
        network.vote_to_recover();
        for (member, (newer, share)) in newer.iter().zip(&of_then).enumerate().take(threshold) {
            assert_eq!(network.submit(member, newer).unwrap_err().code, Code::InvalidInput);
            network.submit(member, share).unwrap();
        }
        assert_eq!(network.service().status, ServiceStatus::Open, "{threshold} of {count}");
        assert!(network.secrets()[..lost.len()] == lost[..]);
    }
}

#[test]
fn an_owner_recovers_alone() {
    let mut network = Network::open(3, 2);
    let owner = &network.members[1];
    let args = json!({
        "cert": owner.0.certificate.to_pem(), "encryption_pub_key": owner.1.public_pem(), "recovery_role": "Owner",
    });
    network.carry(json!([{"name": "set_recovery_threshold", "args": {"recovery_threshold": 1}}, {"name": "set_member", "args": args}]));
    network.activate(1);
    let share = network.share(1).unwrap();
    network.lose_and_recover();
    network.vote_to_recover();
    assert_eq!(network.submit(1, &share).unwrap()["fullKeySubmitted"], true);
    assert_eq!(network.service().status, ServiceStatus::Open);
}

#[test]
fn members_open_a_recovery_only_if_they_name_both_services() {
    let mut network = Network::open(1, 1);
    let before = network.service().cert;
    network.lose_and_recover();
    let next = network.service().cert;
    for previous in [json!(null), json!(next)] {
        let args = json!({"next_service_identity": next, "previous_service_identity": previous});
        let proposal = json!({"actions": [{"name": "transition_service_to_open", "args": args}]}).to_string();
        let answer = network.send(0, "proposal", None, Operation::Propose, proposal.as_bytes()).unwrap();
        let id = answer["proposalId"].as_str().unwrap().to_owned();
        let operation = Operation::Vote { proposal: id.clone(), member: network.members[0].0.id() };
        let ballot = json!({"ballot": YES}).to_string();
        let refused = network.send(0, "ballot", Some(&id), operation, ballot.as_bytes()).unwrap_err();
        assert_eq!(refused.code, Code::InternalError);
    }
    assert_ne!(before, next);
    network.vote_to_recover();
}

#[test]
fn without_shares_a_recovery_is_not_opened_and_secrets_are_not_changed_meanwhile() {
    let mut network = Network::open(1, 0);
    network.lose_and_recover();
    assert!(secrets::check_may_rekey(&mut network.store.snapshot()).is_err());
    let previous = crate::RecoveryRow::read(&mut network.store.snapshot()).unwrap().unwrap().previous_service;
    let mut tx = network.store.begin();
    let opened = crate::service::open_by_vote(&mut tx, Some(previous.as_bytes()), network.service().cert.as_bytes());
    assert!(opened.unwrap_err().to_string().contains("no recovery shares"));
}

#[test]
fn every_service_endorses_the_one_before_and_receipts_find_their_key_through_two_recoveries() {
    let mut network = Network::open(1, 1);
    let mut keys = vec![(network.store.newest(), key_of(&network.service().cert))];
    for _ in 0..2 {
        let share = network.share(0).unwrap();
        network.lose_and_recover();
        network.vote_to_recover();
        network.submit(0, &share).unwrap();
        keys.push((network.store.newest(), key_of(&network.service().cert)));
    }
    let chain = crate::endorsements(&mut network.store.snapshot()).unwrap();
    assert_eq!(chain.len(), 3);
    let newest = &keys[2].1;
    for (seqno, key) in &keys {
        assert_eq!(&crate::key_at(newest, &chain, TxId::new(View(2), *seqno)).unwrap(), key);
    }
    assert!(crate::key_at(&keys[0].1, &chain, TxId::default()).is_err());
    let own = BASE64.decode(&chain[2].endorsement).unwrap();
    assert_eq!(Endorsement::verify(&own, &keys[0].1).unwrap().endorsed, keys[0].1);
    for at in 0..own.len() {
        let mut altered = own.clone();
        altered[at] ^= 1;
        assert!(Endorsement::verify(&altered, &keys[0].1).is_err(), "byte {at}");
    }
}

#[test]
fn an_auditor_finds_rekeys_that_were_asked_for_and_recoveries_and_nothing_else() {
    let mut network = Network::open(2, 1);
    network.rekey();
    let share = network.share(0).unwrap();
    network.lose_and_recover();
    network.vote_to_recover();
    network.submit(0, &share).unwrap();
    let mut auditor = crate::Auditor::default();
    let mut seen = Vec::new();
    for (at, writes) in network.ledger.iter().enumerate() {
        let txid = TxId::new(View(2), Seqno(at as u64 + 1));
        match auditor.transaction(txid, writes).unwrap() {
            Some(crate::Event::Decision(decision)) => assert!(
                decision.differs.is_none()
                    || decision.kind == "proposal"
                    || decision.kind == "state_digest"
                    || decision.kind == "ack",
                "{decision:?}"
            ),
            Some(event) => seen.push(event),
            None => {}
        }
    }
    assert!(
        matches!(
            seen.as_slice(),
            [crate::Event::Founded { .. }, crate::Event::Recovered { .. }, crate::Event::OpenedByShares { .. }]
        ),
        "{seen:?}"
    );
}

#[test]
fn participants_hold_shares_if_the_members_say_so_and_recover_with_them() {
    let mut network = Network::open(2, 2);
    let shop = (Actor::new(&SeededCrypto::new(98), Curve::P256, "shop"), decryption_key(5));
    let args = json!({"cert": shop.0.certificate.to_pem(), "encryption_pub_key": shop.1.public_pem()});
    network.carry(json!([{"name": "set_participant", "args": args}]));
    let share_of = |network: &Network| {
        let row = SharesRow::read(&mut network.store.snapshot()).unwrap().unwrap();
        let encrypted = BASE64.decode(row.encrypted_shares.get(&shop.0.id())?).unwrap();
        Some(BASE64.encode(&*shop.1.decrypt(&encrypted).unwrap()))
    };
    assert_eq!(share_of(&network), None);
    network.carry(json!([{"name": "set_share_holders", "args": {"participants": true}}]));
    let (of_shop, of_member) = (share_of(&network).unwrap(), network.share(0).unwrap());
    network.lose_and_recover();
    network.vote_to_recover();
    network.submit(0, &of_member).unwrap();
    network.members.push(shop);
    let refused = network.submit(2, &of_member).unwrap_err();
    assert!(refused.code == Code::InvalidInput, "{refused}");
    network.submit(2, &of_shop).unwrap();
    assert_eq!(network.service().status, ServiceStatus::Open);
    // It may hand in its share, and decides nothing.
    let refused = network.send(2, "proposal", None, Operation::Propose, b"{}").unwrap_err();
    assert_eq!(refused.code, Code::InvalidAuthenticationInfo);
}

#[test]
fn a_member_who_is_a_participant_too_holds_one_share_and_counts_once() {
    let mut network = Network::open(2, 2);
    let (both, key) = (network.members[0].0.certificate.to_pem(), network.members[0].1.public_pem());
    network.carry(json!([
        {"name": "set_participant", "args": {"cert": both, "encryption_pub_key": key}},
        {"name": "set_share_holders", "args": {"participants": true}},
    ]));
    let row = SharesRow::read(&mut network.store.snapshot()).unwrap().unwrap();
    assert_eq!(row.encrypted_shares.len(), 2);
    let actions = json!({"actions": [{"name": "remove_member", "args": {"member_id": network.members[1].0.id()}}]});
    let id = network.send(0, "proposal", None, Operation::Propose, actions.to_string().as_bytes()).unwrap();
    let id = id["proposalId"].as_str().unwrap().to_owned();
    let vote = |network: &mut Network, member: usize| {
        let operation = Operation::Vote { proposal: id.clone(), member: network.members[member].0.id() };
        network.send(member, "ballot", Some(&id), operation, json!({ "ballot": YES }).to_string().as_bytes())
    };
    vote(&mut network, 0).unwrap();
    let refused = vote(&mut network, 1).unwrap_err().to_string();
    assert!(refused.contains("1 share holders would be left"), "{refused}");
}

#[test]
fn an_epoch_is_disclosed_to_one_auditor_once_it_has_ended() {
    let mut network = Network::open(1, 1);
    let [auditor, other] = [4, 5].map(decryption_key);
    let grant = |network: &mut Network, transaction: u64| {
        let args = json!({"transaction": transaction, "auditor_key": auditor.public_pem(), "auditor": "Audit & Co"});
        let text = json!({"actions": [{"name": "grant_epoch_to_auditor", "args": args}]}).to_string();
        let proposed = network.send(0, "proposal", None, Operation::Propose, text.as_bytes()).unwrap();
        let id = proposed["proposalId"].as_str().unwrap().to_owned();
        let operation = Operation::Vote { proposal: id.clone(), member: network.members[0].0.id() };
        network.send(0, "ballot", Some(&id), operation, json!({ "ballot": YES }).to_string().as_bytes())
    };
    let refused = grant(&mut network, 2).unwrap_err();
    assert!(refused.message.contains("still in force"), "{refused}");
    network.rekey();
    let next = network.secrets()[1].0;
    assert_eq!(grant(&mut network, 2).unwrap()["proposalState"], "Accepted");
    let rows = network.store.snapshot().iter(&tables::AUDIT_GRANTS).map(|(_, row)| row).collect::<Vec<_>>();
    let [row] = rows.as_slice() else { panic!("{} grants", rows.len()) };
    let granted = crate::GrantRow::parse(row).unwrap();
    assert_eq!(granted.first, Seqno(1));
    assert_eq!(granted.open(&auditor).unwrap().unwrap().as_slice(), format!("1 to {next}").as_bytes());
    assert!(granted.open(&other).unwrap().is_none());
}

/// What the newest transaction says of the service's key for this node.
fn rotated_key(network: &Network) -> Option<(Seqno, coco_crypto::SigningKey)> {
    let Vault { node, exchange, .. } = &network.vault;
    crate::rotation::unwrap(network.ledger.last().unwrap(), *node, exchange).unwrap()
}

/// What an auditor says of it, requests of members aside.
fn audited(network: &Network) -> (Vec<crate::Event>, Vec<String>) {
    let mut auditor = crate::Auditor::default();
    let (mut events, mut differs) = (Vec::new(), Vec::new());
    for (at, writes) in network.ledger.iter().enumerate() {
        match auditor.transaction(TxId::new(View(2), Seqno(at as u64 + 1)), writes).unwrap() {
            // What is as of a root cannot be replayed here: the fixture signs none.
            Some(crate::Event::Decision(decision)) if decision.kind == "ballot" => differs.extend(decision.differs),
            Some(crate::Event::Decision(_)) | None => {}
            Some(event) => events.push(event),
        }
    }
    (events, differs)
}

#[test]
fn a_rotation_gives_the_service_a_key_that_the_old_one_vouches_for_and_that_vouches_for_the_old_one() {
    let mut network = Network::open(2, 1);
    let first = network.service();
    network.carry(json!([{"name": "rotate_service_identity", "args": null}]));
    let at = network.store.newest();
    let (since, key) = rotated_key(&network).expect("the node has a copy");
    assert_eq!((since, key.public_key()), (at, &key_of(&network.service().cert)));
    assert_ne!(key_of(&first.cert), key_of(&network.service().cert));
    assert_eq!(network.service().current_service_create_txid, Some(TxId::new(View(2), at)));
    network.carry(json!([{"name": "rotate_service_identity", "args": null}]));
    let mut state = network.store.snapshot();
    let chain = crate::endorsements(&mut state).unwrap();
    let newest = key_of(&network.service().cert);
    for (seqno, key) in [(at.0 - 1, key_of(&first.cert)), (at.0, key.public_key().clone()), (at.0 + 9, newest.clone())]
    {
        assert_eq!(crate::key_at(&newest, &chain, TxId::new(View(2), Seqno(seqno))).unwrap(), key, "{seqno}");
    }
    let earlier = crate::rotation::earlier_keys(&mut state).unwrap();
    assert!(earlier.contains(&(Seqno(at.0 - 1), key_of(&first.cert))));
    let certificate = |pem: &str| coco_crypto::Certificate::from_pem(pem).unwrap();
    let bridges = crate::rotation::rotations(&mut state).unwrap();
    let bridges: Vec<_> = bridges.iter().map(|row| certificate(&row.bridge)).collect();
    let led = |trusted: &str, bridges: &[coco_crypto::Certificate]| {
        crate::rotation::follow_bridges(&certificate(trusted), bridges, 1).public_key().clone()
    };
    assert_eq!(led(&first.cert, &bridges), newest);
    assert_ne!(led(&first.cert, &bridges[1..]), newest);
    assert_eq!(
        audited(&network),
        (vec![crate::Event::Founded { txid: TxId::new(View(2), Seqno(1)), members: 2 }], vec![])
    );
}

#[test]
fn a_node_that_is_being_removed_never_learns_the_new_key_and_the_rotation_waits_until_it_is_gone() {
    let mut network = Network::open(1, 1);
    let before = network.service().cert;
    let crypto = network.crypto.clone();
    let exchange = ExchangeKey::generate(crypto.as_ref());
    let leaving = SigningKey::generate(crypto.as_ref(), Curve::P256);
    let id = leaving.public_key().node_id();
    network.transaction(|tx, _| {
        let mut node = NodeRow::all(tx).unwrap().remove(0);
        node.id = id;
        (node.info.public_key, node.info.index) = (leaving.public_key().to_pem(), 1);
        node.info.encryption_pub_key = hex::encode(exchange.public());
        node.write(tx);
    });
    let remove = json!({"name": "remove_node", "args": {"node_id": id.to_string()}});
    network.carry(json!([remove, {"name": "rotate_service_identity", "args": null}]));
    assert!(crate::rotation::is_due(&mut network.store.snapshot()).unwrap());
    assert_eq!(network.service().cert, before);
    let vault = network.vault.clone();
    network.transaction(|tx, txid| {
        crate::mark_gone(tx, id).unwrap();
        crate::rotation::carry_out_due(tx, &vault, txid, 1_000).unwrap();
    });
    assert_ne!(network.service().cert, before);
    assert!(!crate::rotation::is_due(&mut network.store.snapshot()).unwrap());
    assert!(rotated_key(&network).is_some());
    assert!(crate::rotation::unwrap(network.ledger.last().unwrap(), id, &exchange).unwrap().is_none());
    let (events, differs) = audited(&network);
    assert!(matches!(events.last(), Some(crate::Event::Rotated { .. })), "{events:?}");
    assert_eq!(differs, Vec::<String>::new());
}

#[test]
fn an_identity_that_nobody_asked_for_is_noticed_by_the_auditor() {
    let mut network = Network::open(1, 1);
    let vault = network.vault.clone();
    network.transaction(|tx, txid| crate::rotation::ask(tx, &vault, txid, 1_000).unwrap());
    let (events, _) = audited(&network);
    assert!(matches!(events.last(), Some(crate::Event::Unexplained { .. })), "{events:?}");
}

#[test]
fn a_recovery_after_a_rotation_begins_with_a_key_of_its_own() {
    let mut network = Network::open(1, 1);
    let first = network.service().cert;
    network.carry(json!([{"name": "rotate_service_identity", "args": null}]));
    let share = network.share(0).unwrap();
    network.lose_and_recover();
    network.vote_to_recover();
    network.submit(0, &share).unwrap();
    let mut state = network.store.snapshot();
    let key = crate::rotation::key(&mut state, &network.vault).unwrap();
    assert_eq!(key.public_key(), &key_of(&network.service().cert));
    let chain = crate::endorsements(&mut state).unwrap();
    let of_first = crate::key_at(key.public_key(), &chain, TxId::new(View(2), Seqno(2))).unwrap();
    assert_eq!(of_first, key_of(&first));
}

#[test]
fn certificates_are_renewed_for_the_time_that_members_voted_for_and_keys_stay() {
    let mut network = Network::open(2, 1);
    let before = network.service();
    let from = json!("2026-11-21T00:00:00Z");
    network.carry(json!([
        {"name": "set_service_certificate_validity", "args": {"valid_from": from, "validity_period_days": 90}},
        {"name": "set_all_nodes_certificate_validity", "args": {"valid_from": from, "validity_period_days": 30}},
    ]));
    let after = network.service();
    assert_eq!(key_of(&after.cert), key_of(&before.cert));
    assert_eq!(after.current_service_create_txid, before.current_service_create_txid);
    let service = coco_crypto::Certificate::from_pem(&after.cert).unwrap();
    let days = |validity: coco_crypto::Validity| (validity.not_after - validity.not_before) / 86_400;
    assert_eq!((service.validity().not_before, days(service.validity())), (1_795_219_200, 90));
    let node = network.vault.node.to_string();
    let pem = network.store.snapshot().get(&tables::NODE_CERTS, node.as_bytes()).unwrap();
    let certificate = coco_crypto::Certificate::from_pem(&String::from_utf8_lossy(&pem)).unwrap();
    assert_eq!((days(certificate.validity()), certificate.node_id()), (30, network.vault.node));
    certificate.verify_signed_by(&service).unwrap();
    network.carry(json!([
        {"name": "set_node_certificate_validity", "args": {"node_id": node, "valid_from": from, "validity_period_days": 7}},
    ]));
    assert_eq!(audited(&network).1, Vec::<String>::new());
}

/// Actions as a constitution written for CCF has them: one puts a certificate into a node's row, another somewhere else.
const ENDORSING: &str = r#"
actions.set("endorse", {
  validate() {},
  apply({ csr, days, key }) {
    const certificate = ccf.network.generateEndorsedCertificate(csr, "20261121000000Z", days);
    ccf.kv["public:ccf.gov.nodes.endorsed_certificates"].set(ccf.strToBuf(key), ccf.strToBuf(certificate));
  },
  describe: () => "Endorse a node",
});
"#;

#[test]
fn a_certificate_by_a_nodes_own_request_is_made_with_its_transaction_and_no_other_passes_the_audit() {
    let mut network = Network::open(2, 1);
    network.carry(json!([
        {"name": "set_constitution", "args": {"constitution": format!("{}{ENDORSING}", constitution::DEFAULT)}},
    ]));
    let csr = include_str!("../../../crypto/testdata/request_p256.pem");
    let request = coco_crypto::CertificateRequest::from_pem(csr).unwrap();
    let node = request.public_key.node_id();
    let asked = |csr: &str, days: u64| json!([{"name": "endorse", "args": {"csr": csr, "days": days, "key": node}}]);
    let refused = |network: &mut Network, actions: Value| {
        let text = json!({ "actions": actions }).to_string();
        let proposed = network.send(0, "proposal", None, Operation::Propose, text.as_bytes()).unwrap();
        let id = proposed["proposalId"].as_str().unwrap().to_owned();
        let votes = [0, 1].map(|member| {
            let operation = Operation::Vote { proposal: id.clone(), member: network.members[member].0.id() };
            network.send(member, "ballot", Some(&id), operation, json!({ "ballot": YES }).to_string().as_bytes())
        });
        let [_, Err(refusal)] = votes else { panic!("{votes:?}") };
        assert_eq!(refusal.code, Code::InternalError);
        refusal.message
    };
    let stranger = refused(&mut network, asked(csr, 30));
    assert!(stranger.contains("no node of this network"), "{stranger}");
    let mut known = crate::NodeRow::read(&mut network.store.snapshot(), network.vault.node).unwrap().unwrap();
    known.info.public_key = request.public_key.to_pem();
    network.transaction(|tx, _| {
        crate::tables::write(tx, &crate::tables::NODE_INFO, node.to_string().as_bytes(), &known.info);
    });
    for (csr, days, why) in [
        (csr, 366, "at most 365 days"),
        (csr, 0, "a whole number of days"),
        ("no request", 30, "signing request"),
        (&csr.replace("MIIB", "MIIC"), 30, "signing request"),
    ] {
        let message = refused(&mut network, asked(csr, days));
        assert!(message.contains(why), "{message}");
    }

    network.carry(asked(csr, 30));
    let pem = network.store.snapshot().get(&crate::tables::NODE_CERTS, node.to_string().as_bytes()).unwrap();
    let certificate = coco_crypto::Certificate::from_pem(&String::from_utf8_lossy(&pem)).unwrap();
    assert_eq!((certificate.node_id(), certificate.common_name().as_deref()), (node, Some("node0.bank-a.example")));
    assert_eq!(certificate.subject_alt_names(), request.subject_alt_names);
    let validity = certificate.validity();
    assert_eq!((validity.not_before, validity.not_after - validity.not_before), (1_795_219_200, 30 * 86_400));
    let service = coco_crypto::Certificate::from_pem(&network.service().cert).unwrap();
    certificate.verify_signed_by(&service).unwrap();
    assert_eq!(audited(&network).1, Vec::<String>::new());
    // Somebody else's certificate in its place is found.
    let other = network.members[0].0.certificate.to_pem();
    let last = network.ledger.last_mut().unwrap();
    last.insert(&crate::tables::NODE_CERTS, node.to_string().into(), Some(other.into()));
    let differs = audited(&network).1;
    assert!(differs.len() == 1 && differs[0].contains("no certificate that was asked for"), "{differs:?}");
}

#[test]
fn a_simulation_makes_no_certificate() {
    let mut network = Network::open(1, 1);
    network.carry(json!([
        {"name": "set_constitution", "args": {"constitution": format!("{}{ENDORSING}", constitution::DEFAULT)}},
    ]));
    let csr = include_str!("../../../crypto/testdata/request_p256.pem");
    let request = coco_crypto::CertificateRequest::from_pem(csr).unwrap();
    let node = request.public_key.node_id();
    let mut known = crate::NodeRow::read(&mut network.store.snapshot(), network.vault.node).unwrap().unwrap();
    known.info.public_key = request.public_key.to_pem();
    network.transaction(|tx, _| {
        crate::tables::write(tx, &crate::tables::NODE_INFO, node.to_string().as_bytes(), &known.info);
    });
    let args = json!({"csr": csr, "days": 30, "key": node});
    let proposal = json!({"actions": [{"name": "endorse", "args": args}]}).to_string();
    let session = fixture::session(&network.store);
    let simulation = session.simulate(&proposal).unwrap();
    let shown = simulation.changes.iter().find(|change| change.map.ends_with("endorsed_certificates")).unwrap();
    assert!(coco_crypto::Certificate::from_pem(shown.after.as_ref().unwrap()).is_err());
}
