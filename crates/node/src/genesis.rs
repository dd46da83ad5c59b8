//! The first transactions of a network: the founding facts, then the opening.

use std::collections::VecDeque;
use std::sync::Arc;

use coco_attestation::BoundFacts;
use coco_crypto::SymmetricKey;
use coco_governance::secrets::{self, Order, Vault};
use coco_governance::{Founding, FoundingActor, Network, NodeRow};
use coco_ledger::Primary;
use coco_protocol::{Outcome, Protocol, Rejection, RejectionReason};
use coco_types::Digest;

use crate::config::{Actor, Genesis};
use crate::executor::SystemCommand;

/// The node that founds the network, as its first transaction records it.
pub struct Founder {
    pub node: NodeRow,
    /// What its evidence is bound to.
    pub bound: BoundFacts,
    /// In PEM.
    pub node_certificate: String,
    /// In PEM.
    pub service_certificate: String,
}

/// Checks what can be checked before a network exists.
pub fn founding(genesis: &Genesis, founder: Founder) -> Result<Founding, String> {
    let actor = |actor: &Actor| FoundingActor {
        certificate: actor.certificate.clone(),
        data: actor.data.clone(),
        encryption_public_key: actor.encryption_public_key.clone(),
        recovery_role: actor.recovery_role.clone(),
    };
    let measurement = |text: &String| text.parse::<Digest>().map_err(|error| format!("virtual_measurements: {error}"));
    Ok(Founding {
        network: Network {
            name: genesis.name.clone(),
            chunk_bytes: genesis.chunk_bytes,
            ledgers: genesis.ledgers.keys().cloned().collect(),
            resume: genesis.resume,
            swap_interval_ms: genesis.swap_interval_ms,
        },
        members: genesis.members.iter().map(actor).collect(),
        participants: genesis.participants.iter().map(actor).collect(),
        recovery_threshold: genesis.recovery_threshold,
        virtual_measurements: genesis.virtual_measurements.iter().map(measurement).collect::<Result<_, _>>()?,
        constitution: genesis.constitution.clone().unwrap_or_else(|| coco_governance::constitution::DEFAULT.to_owned()),
        attestation: genesis.attestation.clone(),
        node: founder.node,
        bound: Some(founder.bound),
        node_certificate: founder.node_certificate,
        service_certificate: founder.service_certificate,
    })
}

/// What a new network's executor runs first: the founding, and the opening unless that is left to the members' vote. A
/// founder that ends between them leaves the opening to the members.
pub fn commands(
    genesis: Genesis,
    founding: Founding,
    protocols: Vec<Arc<dyn Protocol>>,
    vault: Vault,
    secret: SymmetricKey,
) -> Vec<SystemCommand> {
    let opens_at_once = genesis.opens_at_once;
    let opening = vault.clone();
    let found: SystemCommand = Box::new(move |tx, context| {
        let primary = Primary { view: context.txid.view, replica: founding.node.info.replica };
        tx.put(&coco_ledger::tables::VIEW, coco_ledger::tables::K0.to_vec(), primary.to_row());
        let known = |name: &String| protocols.iter().any(|protocol| protocol.name() == name);
        if let Some(unknown) = genesis.ledgers.keys().find(|name| !known(name)) {
            return Err(refused(format!("genesis: this node's code knows no ledger {unknown}")));
        }
        coco_governance::found(tx, &founding, context.now_ms / 1000).map_err(refused)?;
        secrets::begin(tx, &vault, &secret, context.txid, context.now_ms).map_err(refused)?;
        for protocol in &protocols {
            if let Some(config) = genesis.ledgers.get(protocol.name()) {
                protocol.genesis(tx, config, context).map_err(refused)?;
            }
        }
        Ok(Outcome::default())
    });
    let open: SystemCommand = Box::new(move |tx, context| {
        coco_governance::open(tx).map_err(refused)?;
        secrets::carry_out(tx, &opening, &Order::Opened, context.txid, context.now_ms).map_err(refused)?;
        Ok(Outcome::default())
    });
    if opens_at_once { vec![found, open] } else { vec![found] }
}

/// What follows them, one transaction after the other: the rest of the ledgers' first states, where one transaction does not hold them. A founder
/// that ends meanwhile leaves a network without them.
pub fn parts(genesis: &Genesis, protocols: &[Arc<dyn Protocol>]) -> VecDeque<SystemCommand> {
    let of_protocol = |protocol: &Arc<dyn Protocol>| {
        let config = Arc::new(genesis.ledgers.get(protocol.name()).cloned().unwrap_or_default());
        let protocol = protocol.clone();
        (0..protocol.genesis_parts(&config)).map(move |part| -> SystemCommand {
            let (protocol, config) = (protocol.clone(), config.clone());
            Box::new(move |tx, context| {
                protocol.genesis_part(tx, &config, part, context).map_err(refused)?;
                Ok(Outcome::default())
            })
        })
    };
    protocols.iter().flat_map(of_protocol).collect()
}

fn refused(error: impl std::fmt::Display) -> Rejection {
    Rejection::new(RejectionReason::Invalid, 0, error.to_string())
}
