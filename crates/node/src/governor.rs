//! The governor: evaluates members' requests, ahead of the executor and beside it.
//!
//! ```text
//!   request ──▶ Governor::evaluate on a snapshot (JavaScript, up to seconds) ──▶ reads, writes ──▶ executor: still true? ─▶ transaction
//! ```
//!
//! A constitution or a ballot may take its time, and must not stop the executor for it. So the scripts run on a snapshot in a thread of their own, and
//! the executor only checks that what they read still holds, then writes what they wrote: one ledger transaction, as if they had run there. A
//! synchronous machine; the shell gives it its thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use coco_crypto::Crypto;
use coco_governance::secrets::{self, Order, Vault};
use coco_governance::{Code, Disclosable, Facts, LedgerCheck, Refusal, Request, Session, added_ledgers};
use coco_kv::{ReadSet, Snapshot, Store, Tx};
use coco_ledger::DisclosedEpoch;
use coco_protocol::{Context, Earlier, Idempotent, Outcome, Protocol, Rejection, RejectionReason};
use coco_types::{ReplicaId, WriteSet};

use crate::executor::SystemCommand;
use crate::front::Visible;
use crate::ledger::NodeLedger;

/// See the module's text.
pub struct Governor {
    pub store: Store,
    pub ledger: Arc<NodeLedger>,
    pub visible: Arc<Visible>,
    pub crypto: Arc<dyn Crypto>,
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub vault: Vault,
    /// The ledgers that this node's code knows: members may add them.
    pub protocols: Vec<Arc<dyn Protocol>>,
}

/// What a request led to. `base` is the version that it was evaluated on: nothing may be said before that is committed, nor if it was
/// dropped.
pub enum Evaluation {
    Refused {
        base: Snapshot,
        refusal: Refusal,
    },
    /// There was nothing to write.
    Unchanged {
        base: Snapshot,
        body: Option<serde_json::Value>,
    },
    Changed(Effect),
}

/// A request's effect, on its way to the executor.
pub struct Effect {
    reads: ReadSet,
    writes: WriteSet,
    orders: Vec<Order>,
    body: Option<serde_json::Value>,
}

/// The executor found that something the scripts read has changed meanwhile: evaluate again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outdated;

impl Governor {
    /// Evaluates on the newest version. Only for a primary.
    pub fn evaluate(&self, request: &Request) -> Evaluation {
        let newest = self.store.newest_snapshot();
        let evaluated = fenced(|| {
            let session = self.session(&newest)?;
            let answer = session.handle(request)?;
            for line in session.console() {
                tracing::info!(target: "constitution", "{line}");
            }
            Ok((answer, session.orders(), session.into_tx()))
        });
        match evaluated {
            Err(refusal) => {
                if refusal.code == Code::InternalError {
                    tracing::warn!(operation = ?request.operation, %refusal, "a governance request failed");
                }
                Evaluation::Refused { base: newest, refusal }
            }
            Ok((answer, ..)) if !answer.wrote => Evaluation::Unchanged { base: newest, body: answer.body },
            Ok((answer, orders, tx)) => {
                let (writes, reads) = tx.into_parts();
                Evaluation::Changed(Effect { reads, writes, orders, body: answer.body })
            }
        }
    }

    /// What became of an earlier request with this key, as of the newest version.
    pub fn earlier(&self, key: Option<Idempotent>) -> (Snapshot, Earlier) {
        let newest = self.store.newest_snapshot();
        let earlier = key.map_or(Earlier::None, |key| key.earlier(&newest, (self.clock)()));
        (newest, earlier)
    }

    /// What a proposal would do to the committed state.
    pub fn simulate(&self, proposal: &str) -> Result<serde_json::Value, Refusal> {
        let committed = self.visible.state();
        fenced(|| {
            let simulation = self.session(&committed)?.simulate(proposal)?;
            Ok(serde_json::to_value(simulation).expect("a simulation has only string keys"))
        })
    }

    fn session(&self, base: &Snapshot) -> Result<Session, Refusal> {
        let signature = self.ledger.signature_at(self.visible.txid());
        let signature = signature.map_err(|error| Refusal::new(Code::InternalError, error.to_string()))?;
        let json =
            signature.as_ref().map(|signature| serde_json::to_string(signature).expect("a row has only string keys"));
        let mut seed = [0; 32];
        self.crypto.fill(&mut seed);
        let facts = Facts {
            signature_json: json,
            root: signature.map(|signature| signature.root),
            now_s: (self.clock)() / 1000,
            seed,
            vault: Some(self.vault.clone()),
            ledgers: Some(self.ledger_check()),
        };
        let clock = self.clock.clone();
        Ok(Session::new(self.store.begin_tracked(base), facts, Some(Rc::new(move || clock()))))
    }

    fn ledger_check(&self) -> LedgerCheck {
        let protocols = self.protocols.clone();
        LedgerCheck::new(move |name, genesis| {
            let protocol = match protocol_named(&protocols, name) {
                Ok(protocol) => protocol,
                Err(unknown) => return Some(unknown),
            };
            if protocol.genesis_parts(genesis) > 0 {
                return Some(format!(
                    "a genesis of {name} that does not fit into one transaction is for foundings only"
                ));
            }
            protocol.check_genesis(genesis).err().map(|error| error.to_string())
        })
    }
}

fn protocol_named<'a>(protocols: &'a [Arc<dyn Protocol>], name: &str) -> Result<&'a Arc<dyn Protocol>, String> {
    protocols.iter().find(|protocol| protocol.name() == name).ok_or_else(|| {
        let known: Vec<_> = protocols.iter().map(|protocol| protocol.name()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        format!("this node's code knows no ledger {name}, it knows: {known}")
    })
}

/// Ledgers that a decision adds begin with it: what they write is of the same transaction.
fn begin_ledgers(
    tx: &mut Tx,
    decided: &WriteSet,
    protocols: &[Arc<dyn Protocol>],
    context: &Context<'_>,
) -> Result<(), Rejection> {
    let refused = |message| Rejection::new(RejectionReason::Invalid, 0, message);
    let mut before = tx.base().clone();
    let added = added_ledgers(&mut before, decided).map_err(|error| refused(error.to_string()))?;
    for (name, ledger) in added {
        let protocol = protocol_named(protocols, &name).map_err(refused)?;
        protocol.genesis(tx, &ledger.genesis, context).map_err(|error| refused(error.to_string()))?;
        tracing::info!(ledger = name, txid = %context.txid, "begins, by a vote of the members");
    }
    Ok(())
}

impl Effect {
    /// The transaction that makes it so. Says through `checked`, before it is committed, whether it still holds.
    pub fn command(
        self,
        store: Store,
        vault: Vault,
        ledger: Arc<NodeLedger>,
        protocols: Vec<Arc<dyn Protocol>>,
        key: Option<Idempotent>,
        checked: impl FnOnce(Result<(), Outdated>) + Send + 'static,
    ) -> SystemCommand {
        Box::new(move |tx, context: &Context<'_>| {
            if let Err(conflict) = store.validate(&self.reads) {
                checked(Err(Outdated));
                return Err(Rejection::new(RejectionReason::Refused, 0, format!("{conflict:?}")));
            }
            for (map, writes) in &self.writes {
                for (key, value) in writes {
                    match value {
                        Some(value) => tx.put(map, key.clone(), value.clone()),
                        None => tx.remove(map, key),
                    }
                }
            }
            // Whoever waits to evaluate the next request does so on what came of this one.
            let began = begin_ledgers(tx, &self.writes, &protocols, context);
            checked(Ok(()));
            began?;
            for order in self.orders {
                match order {
                    Order::EndChunk => ledger.end_chunk(),
                    Order::Snapshot => ledger.end_chunk_with_snapshot(),
                    Order::Rekey
                    | Order::Reshare
                    | Order::Opened
                    | Order::Grant(_)
                    | Order::Rotate
                    | Order::RenewService(_)
                    | Order::RenewNodes { .. }
                    | Order::Endorse(_) => {}
                }
                secrets::carry_out(tx, &vault, &order, context.txid, context.now_ms)
                    .map_err(|error| Rejection::new(RejectionReason::Invalid, 0, error.to_string()))?;
            }
            let response = serde_json::to_vec(&self.body).expect("an answer has only string keys");
            if let Some(key) = key {
                key.keep(tx, context.txid, &response, context.now_ms);
            }
            Ok(Outcome { claims: None, response: Bytes::from(response) })
        })
    }
}

/// What opens an epoch's entries, for an auditor to read: every replica that there was may have led in it.
pub fn disclose(epoch: &Disclosable) -> Vec<u8> {
    let replicas = (1..=epoch.last_replica.0).map(ReplicaId);
    let disclosed = DisclosedEpoch::new(epoch.first, epoch.until, &epoch.secret, replicas);
    serde_json::to_vec(&disclosed).expect("a disclosure has only string keys")
}

/// The scripts are fenced by their interpreter; this is for what a mistake in the fence would let through.
fn fenced<T>(run: impl FnOnce() -> Result<T, Refusal>) -> Result<T, Refusal> {
    let panicked = |_| Err(Refusal::new(Code::InternalError, "the evaluation broke off: see the node's log"));
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(panicked)
}
