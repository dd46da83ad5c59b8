//! The end of every node at once, and what members bring back: the ledger files of one of them, a new service on these, a vote, a recovery share.
//!
//! ```text
//!   the power goes ─▶ one node's files ─▶ looked at ─▶ new service ─▶ vote ─▶ share ─▶ private state ─▶ others join
//! ```
//!
//! What was on that node's disk, signed, must be there again, private state and receipts with it, and be said to be there; what is behind it is lost, and nobody may
//! be told otherwise. The member's share is encrypted with a padding that no seed replays: of two runs of the same seed, ledgers differ from there on.

use std::fmt::Display;
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use coco_attestation::{BoundFacts, TeeKind};
use coco_crypto::{DecryptionKey, PublicKey, SymmetricKey};
use coco_disk::{Disk, MemoryDisk};
use coco_governance::{Operation, Recovery, RecoveryRow, ServiceInfo, ServiceStatus, SharesRow, rotation};
use coco_ledger::{ChunkName, EntryKeys, SignatureTransaction};
use coco_node::recovering::{self, Recoverable};
use coco_types::{Digest, ReplicaId, Seqno, TxId, WriteSet};
use serde_json::{Value, json};

use crate::faults::Faults;
use crate::invariants::{Invariants, Violation, holds};
use crate::node::{Setting, SimNode};
use crate::run::RECEIPT_SAMPLE;
use crate::world::World;

/// Simulated time within which each step of a recovery must be over.
const STEP_MS: u64 = 60_000;
/// Events that may happen before the power goes.
const LAST_EVENTS: u64 = 300;

/// What is left.
struct Remains {
    disk: MemoryDisk,
    /// Of what is lost: to know what the recovered service must show.
    keys: Vec<EntryKeys>,
    /// What clients were told is committed.
    acknowledged: Vec<TxId>,
    service: PublicKey,
    found: Recoverable,
}

impl Remains {
    fn has_shares(&self) -> Result<bool, Violation> {
        let shares = SharesRow::read(&mut self.found.state.snapshot());
        Ok(shares.map_err(|error| Violation(format!("the shares that are left: {error}")))?.is_some())
    }
}

impl World {
    /// What comes after this world, until all is well there.
    pub(crate) fn ends_and_is_recovered(mut self) -> Result<(), Violation> {
        self.give_the_member_a_share()?;
        let remains = self.lose_all_but_one_ledger()?;
        let mut next = self.after(&remains)?;
        let first = next.recover_service(&remains)?;
        next.member_brings_the_share(first)?;
        next.read_private_state_back(first)?;
        for index in 1..3 {
            next.admit(index)?;
            next.run_until(STEP_MS, "a voter more", |world| {
                let membership = world.primary().map(|id| world.membership(id)).unwrap_or_default();
                membership.voters.len() > index as usize && !membership.is_joint()
            })?;
        }
        next.recover()?;
        next.check_end()?;
        next.check_earlier_receipts(&remains)
    }

    /// It had none: shares cannot be replayed from a seed.
    fn give_the_member_a_share(&mut self) -> Result<(), Violation> {
        let Some(member) = &self.member else { return Err(Violation("nobody governs".to_owned())) };
        let turn = self.decided();
        let args = json!({
            "cert": member.certificate().to_pem(),
            "encryption_pub_key": decryption_key().public_pem(),
            "member_data": { "turn": turn },
        });
        self.carry(None, &json!([{ "name": "set_member", "args": args }]))?;
        let until = self.now_ms() + STEP_MS;
        loop {
            holds(self.now_ms() < until, || "a member waits in vain to become active".to_owned())?;
            let now_s = self.now_ms() / 1_000;
            if let Some((primary, mut state)) = self.newest_state() {
                let member = self.member.as_ref().expect("looked at above");
                match member.to_become_active(&mut state, now_s)? {
                    None => break,
                    Some((operation, draft)) => self.ask_sometimes(primary, operation, &draft),
                }
            }
            self.step()?;
        }
        self.carry(
            None,
            &json!([
                { "name": "set_recovery_threshold", "args": { "recovery_threshold": 1 } },
                { "name": "trigger_ledger_rekey", "args": null },
            ]),
        )
    }

    /// The member proposes this and votes for it, until it is accepted; by a node that recovers, if one is named.
    fn carry(&mut self, recovering: Option<ReplicaId>, actions: &Value) -> Result<(), Violation> {
        let text = json!({ "actions": actions }).to_string();
        let until = self.now_ms() + STEP_MS;
        loop {
            holds(self.now_ms() < until, || format!("a member waits in vain for {text}"))?;
            let now_s = self.now_ms() / 1_000;
            if let Some((primary, mut state)) = self.newest_state() {
                let member = self.member.as_ref().ok_or_else(|| Violation("nobody governs".to_owned()))?;
                match member.to_decide(&mut state, now_s, text.clone())? {
                    None => return Ok(()),
                    Some((operation, draft)) => self.ask_sometimes(primary, operation, &draft),
                }
            }
            match recovering {
                Some(id) => self.step_recovering(id)?,
                None => self.step()?,
            }
            self.check_stopped()?;
        }
    }

    /// Not before what was asked for could be seen.
    fn ask_sometimes(&mut self, primary: ReplicaId, operation: Operation, draft: &coco_governance::Draft) {
        if self.random.one_in(20) {
            self.ask(primary, operation, draft);
        }
    }

    fn newest_state(&self) -> Option<(ReplicaId, coco_kv::Snapshot)> {
        let primary = self.primary()?;
        let machines = self.node(primary).machines.as_ref()?;
        Some((primary, machines.visible.state()))
    }

    /// In the middle of something, the power goes everywhere, and nothing is found again but the ledger files of one node.
    fn lose_all_but_one_ledger(&mut self) -> Result<Remains, Violation> {
        self.faults = Faults::drawn(&mut self.random);
        for _ in 0..self.random.below(LAST_EVENTS) {
            self.submit_sometimes();
            self.step()?;
        }
        let (mut candidates, stopped): (Vec<_>, Vec<_>) =
            self.members().into_iter().partition(|id| self.nodes[id].machines.is_some());
        holds(!candidates.is_empty(), || "no node runs".to_owned())?;
        let first = usize::try_from(self.random.below(candidates.len() as u64)).unwrap_or(0);
        candidates.rotate_left(first);
        candidates.extend(stopped);
        let candidates: Vec<_> = candidates.into_iter().map(|id| (id, self.keys_of(id))).collect();
        for (id, _) in &candidates {
            self.crash(*id);
        }
        for (survivor, keys) in candidates {
            let remains = self.left_by(survivor, keys)?;
            // A voter may have been behind since before the member had a share: nobody opens what is left there.
            if remains.has_shares()? {
                return Ok(remains);
            }
        }
        Err(Violation("no node's ledger has a share of the member's".to_owned()))
    }

    fn left_by(&mut self, survivor: ReplicaId, keys: Vec<EntryKeys>) -> Result<Remains, Violation> {
        let node = &self.nodes[&survivor];
        let failed = |error: &dyn Display| Violation(format!("what {survivor} leaves: {error}"));
        let disk = MemoryDisk::new();
        for name in node.ledger_disk.names().map_err(|error| failed(&error))? {
            if ChunkName::parse(&name).is_some() {
                let bytes = node.ledger_disk.read_all(&name).map_err(|error| failed(&error))?;
                disk.replace(&name, &bytes).map_err(|error| failed(&error))?;
            }
        }
        let service = self.setting.service_key.public_key().clone();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let found = recovering::look(&shared, &service).map_err(|error| failed(&error))?;
        let durable = node.durable;
        holds(found.signed.seqno >= durable.seqno, || {
            format!("{survivor} leaves a ledger up to {}, although {durable} was on its disk", found.signed)
        })?;
        let Recoverable { signed, committed, unsigned, .. } = found;
        self.note(|| {
            format!(
                "{survivor} leaves a ledger up to {signed}, {committed} known to be committed, and {unsigned} behind it"
            )
        });
        let acknowledged = self.invariants.acknowledged_txids().collect();
        Ok(Remains { disk, keys, acknowledged, service, found })
    }

    /// The secrets that a node holds, and with them, one after the other, those that it lacks and another one holds: what is not committed yet may be sealed under such a secret.
    fn keys_of(&self, id: ReplicaId) -> Vec<EntryKeys> {
        let of = |node: &SimNode| node.machines.as_ref().map(|machines| machines.ledger.keys());
        let own = of(&self.nodes[&id]).unwrap_or_default();
        let with = |others: EntryKeys| {
            let mut keys = own.clone();
            let lacks = |first: &Seqno| own.epochs().all(|(known, _)| known != *first);
            others.epochs().filter(|(first, _)| lacks(first)).for_each(|(first, secret)| keys.add_epoch(first, secret));
            keys
        };
        self.nodes.values().filter_map(of).map(with).collect()
    }

    /// Nothing of this world goes on but time, chance, the member, and what is counted.
    fn after(mut self, remains: &Remains) -> Result<Self, Violation> {
        let mut next = Self::empty(self.random.next(), self.setting.options.clone(), self.log.take());
        *next.setting.now_ms.lock() = self.now_ms();
        next.member = self.member;
        next.next_number = self.next_number;
        next.invariants = self.invariants.as_of(remains.found.signed, remains.found.committed, |each| {
            let failed = |error: coco_ledger::Error| Violation(format!("the ledger that is left: {error}"));
            let disk: Arc<dyn Disk> = Arc::new(remains.disk.clone());
            let read = |keys: &EntryKeys| coco_ledger::transactions(disk.clone(), keys.clone()).map_err(failed);
            let mut readers = remains.keys.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            loop {
                let mut same =
                    readers.iter_mut().filter_map(Iterator::next).collect::<Result<Vec<_>, _>>().map_err(failed)?;
                let opened = same.iter().position(|transaction| transaction.private.is_some());
                let opened = opened.ok_or_else(|| Violation("no secret opens what is left".to_owned()))?;
                let transaction = same.swap_remove(opened);
                let signature =
                    SignatureTransaction::from_writes(transaction.txid, &transaction.public).map_err(failed)?;
                // Rows of signatures are the ledger's own, and in no state.
                let mut writes = if signature.is_some() { WriteSet::new() } else { transaction.public };
                for (map, rows) in transaction.private.unwrap_or_default() {
                    for (key, value) in rows {
                        writes.insert(&map, key, value);
                    }
                }
                each(transaction.txid, &writes);
                if transaction.txid == remains.found.signed {
                    break;
                }
            }
            Ok(())
        })?;
        Ok(next)
    }

    /// As the shell of a node does it with a folder that it is to recover.
    fn recover_service(&mut self, remains: &Remains) -> Result<ReplicaId, Violation> {
        let failed = |error: &dyn Display| Violation(format!("the recovery: {error}"));
        let (signed, mut state) = (remains.found.signed, remains.found.state.snapshot());
        let mut earlier = rotation::earlier_keys(&mut state).map_err(|error| failed(&error))?;
        earlier.push((signed.seqno, remains.service.clone()));
        self.setting.earlier = earlier;
        let id = coco_governance::next_replica(&mut state).map_err(|error| failed(&error))?;
        let seed = self.random.next();
        let mut node = self.setting.node(id, 0, seed);
        node.ledger_disk = remains.disk.clone();
        let log: Arc<dyn Disk> = Arc::new(node.log_disk.clone());
        recovering::begin_log(&log, id, signed).map_err(|error| failed(&error))?;
        let secret = SymmetricKey::generate(node.crypto.as_ref());
        let mut epochs = EntryKeys::new();
        epochs.add_epoch(signed.seqno.next(), &secret);
        node.identity.service.epochs = epochs;
        self.recovering = Some(self.setting.recovery(&node, &remains.found));
        self.nodes.insert(id, node);
        self.note(|| format!("{id} recovers the ledger up to {signed}"));
        self.run_machines(id)?;
        // From here on the power may go again.
        self.faults = Faults::drawn(&mut self.random);
        self.wait(id, "the recovering service", |world| world.has_status(id, ServiceStatus::Recovering))?;
        let row = RecoveryRow::read(&mut self.visible_state(id)?).map_err(|error| failed(&error))?;
        let said = row.map(|row| (row.recovered_to, row.last_root));
        holds(said == Some((signed, remains.found.root)), || {
            format!("members are told {said:?} of a ledger that is there up to {signed}")
        })?;
        Ok(id)
    }

    /// The node that recovers starts, or starts again: what makes the ledger the new service's may not be there yet.
    pub(crate) fn begin_service(&mut self, id: ReplicaId) -> Result<(), Violation> {
        let vault = self.node(id).vault();
        let (Some(node), Some(recovery)) = (self.nodes.get_mut(&id), &self.recovering) else {
            return Err(Violation(format!("{id} lacks secrets, and recovers nothing")));
        };
        let Some(machines) = &mut node.machines else { return Ok(()) };
        if let Some((first, secret)) = recovering::beginning(&machines.ledger, &node.identity.service) {
            machines.replica.begin_service();
            self.genesis = vec![recovering::command(recovery.clone(), vault, first, secret)];
        }
        Ok(())
    }

    /// Lets time pass; the power of the node that recovers may go again, if its disk is trusted.
    fn step_recovering(&mut self, id: ReplicaId) -> Result<(), Violation> {
        let trusted = self.setting.options.rolled_back_disks == 0;
        if trusted && self.node(id).runs() && self.random.one_in(500) {
            self.crash(id);
            self.read_secrets(id)?;
            self.come_back(id, None)?;
        }
        self.step()
    }

    fn wait(&mut self, id: ReplicaId, what: &str, done: impl Fn(&Self) -> bool) -> Result<(), Violation> {
        let until = self.now_ms() + STEP_MS;
        while !done(self) {
            holds(self.now_ms() < until, || format!("waited in vain for {what}"))?;
            self.step_recovering(id)?;
        }
        Ok(())
    }

    /// What the shares have opened, if they have.
    fn read_secrets(&mut self, id: ReplicaId) -> Result<(), Violation> {
        let node = self.node(id);
        if node.identity.service.epochs.is_whole() {
            return Ok(());
        }
        let disk: Arc<dyn Disk> = Arc::new(node.ledger_disk.clone());
        let epochs = recovering::secrets_of_before(&disk, &node.identity);
        if let Some(epochs) = epochs.map_err(|error| Violation(format!("the secrets of before: {error}")))? {
            self.node_mut(id).identity.service.epochs = epochs;
        }
        Ok(())
    }

    fn member_brings_the_share(&mut self, on: ReplicaId) -> Result<(), Violation> {
        let failed = |error: &dyn Display| Violation(format!("the recovery: {error}"));
        let row = RecoveryRow::read(&mut self.visible_state(on)?).map_err(|error| failed(&error))?;
        let previous = row.ok_or_else(|| Violation("nothing is recovered".to_owned()))?.previous_service;
        let args = json!({
            "next_service_identity": self.setting.service_certificate.to_pem(),
            "previous_service_identity": previous,
        });
        self.carry(Some(on), &json!([{ "name": "transition_service_to_open", "args": args }]))?;
        let until = self.now_ms() + STEP_MS;
        while !self.has_status(on, ServiceStatus::Open) {
            holds(self.now_ms() < until, || "a member brings its share in vain".to_owned())?;
            let now_s = self.now_ms() / 1_000;
            if self.has_status(on, ServiceStatus::WaitingForRecoveryShares) {
                let shares = SharesRow::read(&mut self.visible_state(on)?).map_err(|error| failed(&error))?;
                let member = self.member.as_ref().ok_or_else(|| Violation("nobody governs".to_owned()))?;
                let share = shares.and_then(|shares| shares.encrypted_shares.get(member.id()).cloned());
                let share = share.ok_or_else(|| Violation("the member has no share".to_owned()))?;
                let share = BASE64.decode(share).map_err(|error| failed(&error))?;
                let share = decryption_key().decrypt(&share).map_err(|error| failed(&error))?;
                let payload = json!({ "share": BASE64.encode(&*share) }).to_string();
                let draft = member.draft("recovery_share", None, now_s, payload);
                let operation = Operation::SubmitShare { member: member.id().to_owned() };
                self.ask_sometimes(on, operation, &draft);
            }
            self.step_recovering(on)?;
        }
        Ok(())
    }

    /// The node begins anew with the secrets of before: its state must be what was written then, and since.
    fn read_private_state_back(&mut self, id: ReplicaId) -> Result<(), Violation> {
        let reads_back = |world: &Self| world.node(id).machines.as_ref().is_some_and(|it| it.ledger.is_public_only());
        self.wait(id, "the node that recovers", |world| world.node(id).machines.is_some())?;
        if reads_back(self) {
            self.node_mut(id).stop();
            self.read_secrets(id)?;
            self.run_machines(id)?;
        }
        holds(!reads_back(self), || "the share opens no secret of before".to_owned())?;
        let machines = self.node_mut(id).machines.as_mut();
        let machines = machines.ok_or_else(|| Violation(format!("{id} does not begin anew")))?;
        if machines.archive.kept().is_empty() {
            machines.replica.snapshot_soon();
        }
        self.recovering = None;
        self.run_until(STEP_MS, "the primary of the recovered service", |world| world.primary() == Some(id))
    }

    /// What the service before signed verifies by its key, and by no newer one.
    fn check_earlier_receipts(&self, remains: &Remains) -> Result<(), Violation> {
        let Some(primary) = self.primary() else { return Err(Violation("there is no primary".to_owned())) };
        let Some(machines) = &self.node(primary).machines else { return Ok(()) };
        let left = remains.acknowledged.iter().rev().filter(|txid| self.invariants.is_committed(**txid));
        for txid in left.step_by(RECEIPT_SAMPLE).copied() {
            let receipt = machines.ledger.receipt(txid);
            let receipt = receipt.map_err(|error| Violation(format!("receipt {txid}: {error}")))?;
            let receipt =
                receipt.ok_or_else(|| Violation(format!("{primary} has no receipt of {txid}, from before")))?;
            coco_ledger::verify_receipt(&receipt.cose, &remains.service, None)
                .map_err(|error| Violation(format!("the receipt of {txid}, from before: {error}")))?;
        }
        Ok(())
    }

    fn has_status(&self, on: ReplicaId, status: ServiceStatus) -> bool {
        let service = self.visible_state(on).ok().and_then(|mut state| ServiceInfo::read(&mut state).ok().flatten());
        service.is_some_and(|service| {
            service.status == status && service.cert.trim() == self.setting.service_certificate.to_pem().trim()
        })
    }

    fn visible_state(&self, on: ReplicaId) -> Result<coco_kv::Snapshot, Violation> {
        let machines = self.node(on).machines.as_ref();
        machines.map(|machines| machines.visible.state()).ok_or_else(|| Violation(format!("{on} does not run")))
    }
}

impl Setting {
    fn recovery(&self, node: &SimNode, found: &Recoverable) -> Recovery {
        let exchange_key = node.identity.exchange.public().to_vec();
        let bound = BoundFacts { exchange_key, service: None, config: Digest::ZERO, nonce: None };
        let key = node.identity.node_key.public_key();
        let report_data = bound.binding(key, TeeKind::Virtual).report_data();
        Recovery {
            recovered_to: found.signed,
            last_root: found.root,
            node: node.row(&report_data),
            bound,
            node_certificate: node.identity.node_certificate.to_pem(),
            service_certificate: self.service_certificate.to_pem(),
        }
    }
}

impl Invariants {
    /// What a recovery leaves: the transactions of a ledger up to its last signature, of which those up to `committed` are known to be what was committed. What is
    /// behind them may be another branch of the ledger than the one that was.
    fn as_of(
        &self,
        signed: TxId,
        committed: TxId,
        read: impl FnOnce(&mut dyn FnMut(TxId, &WriteSet)) -> Result<(), Violation>,
    ) -> Result<Self, Violation> {
        let mut next = Self::default();
        let mut differs = None;
        read(&mut |txid, writes| {
            if txid.seqno <= committed.seqno && !self.is_what_was_committed(txid, writes) {
                differs.get_or_insert(txid);
            }
            next.was_recovered(txid, writes, signed);
        })?;
        holds(differs.is_none(), || format!("{differs:?} is another transaction than was committed"))?;
        let last = next.committed_txids().next_back();
        holds(last == Some(signed), || format!("the ledger that is left ends at {last:?}, its signature at {signed}"))?;
        Ok(next)
    }
}

/// A member's. To make one takes long: all runs share it.
fn decryption_key() -> &'static DecryptionKey {
    static KEY: OnceLock<DecryptionKey> = OnceLock::new();
    KEY.get_or_init(|| DecryptionKey::generate().expect("the backend makes keys"))
}
