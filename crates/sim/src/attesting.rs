//! What keeps evidence true while a network runs: votes, collateral, judging again, renewal.

use coco_attestation::EvidenceSource;
use coco_attestation::collateral::CollateralItem;
use coco_attestation::platforms::virtual_tee::VirtualTee;
use coco_governance::attestation;
use coco_node::events::ExecutorEvent;
use coco_node::executor::SystemCommand;
use coco_node::join::{self, Place};
use coco_protocol::Outcome;
use coco_types::{Digest, ReplicaId};

use crate::invariants::Violation;
use crate::joining::refused;
use crate::node::MEASUREMENT;
use crate::world::{Waiter, World};

impl World {
    /// Somebody brings newer collateral.
    pub fn submit_collateral(&mut self, item: CollateralItem) {
        self.command(Box::new(move |tx, context| {
            attestation::submit_collateral(tx, &item, context.now_ms / 1000).map_err(refused)?;
            Ok(Outcome::default())
        }));
    }

    /// The members set a section of the policy.
    pub fn vote_policy(&mut self, section: &'static str, policy: serde_json::Value) {
        self.command(Box::new(move |tx, _| {
            tx.put(&attestation::POLICY, section.as_bytes().to_vec(), policy.to_string().into_bytes());
            Ok(Outcome::default())
        }));
    }

    /// What the shell does when policy or collateral has changed, or a deadline has come.
    pub fn reappraise(&mut self) -> Result<(), Violation> {
        let Some(primary) = self.primary() else { return Ok(()) };
        let failed = |error: coco_governance::Error| Violation(format!("re-appraisal: {error}"));
        let machines = self.node(primary).machines.as_ref();
        let machines = machines.ok_or_else(|| Violation("the primary is down".to_owned()))?;
        let answering = self.nodes.values().filter(|node| node.machines.is_some()).map(|node| node.id).collect();
        let at = self.node(primary).now_ms() / 1000;
        let verified = attestation::verify_all(&mut machines.visible.state(), at, answering);
        let verified = verified.map_err(failed)?;
        self.command(Box::new(move |tx, _| {
            attestation::apply(tx, &verified).map_err(refused)?;
            Ok(Outcome::default())
        }));
        Ok(())
    }

    /// What the shell of a node at risk does: fresh evidence of its machine as it is now. Refused evidence changes nothing.
    pub fn renew(&mut self, id: ReplicaId) -> Result<(), Violation> {
        let Some(primary) = self.primary() else { return Ok(()) };
        let failed = |error: &dyn std::fmt::Display| Violation(format!("renewal: {error}"));
        let (now_ms, service_key) = (self.now_ms(), &self.setting.service_key);
        let crypto = self.setting.crypto.as_ref();
        let (node, service) = (self.node(id), service_key.public_key());
        let nonce = join::challenge(crypto, service_key, now_ms);
        let place = Place { index: node.index, addresses: node.addresses(), role: node.role };
        let virtual_tee = VirtualTee::running(MEASUREMENT);
        let tee = self.tees.get(&node.index).map_or(&virtual_tee as &dyn EvidenceSource, |tee| tee.as_ref());
        let key = node.identity.node_key.public_key();
        let exchange = node.identity.exchange.public();
        let request = join::request(tee, key, exchange, service, place, Digest::ZERO, nonce);
        let body = serde_json::to_vec(&request.map_err(|error| failed(&error))?).map_err(|error| failed(&error))?;
        let applicant = join::applicant(&body, service_key, now_ms).map_err(|error| failed(&error))?;
        let machines = self.node(primary).machines.as_ref().ok_or_else(|| failed(&"the primary is down"))?;
        let state = &mut machines.visible.state();
        let verified = match attestation::verify_applicant(state, &applicant, service, now_ms / 1000) {
            Ok(verified) => verified,
            Err(error) => {
                self.note(|| format!("{id} renews in vain: {error}"));
                return Ok(());
            }
        };
        self.command(Box::new(move |tx, _| {
            attestation::renew(tx, &applicant, &verified).map_err(refused)?;
            Ok(Outcome::default())
        }));
        Ok(())
    }

    fn command(&mut self, command: SystemCommand) {
        let Some(primary) = self.primary() else { return };
        let reply = self.reply(primary, Waiter::Nobody);
        self.tell_executor(primary, ExecutorEvent::System { command, reply });
    }
}
