//! What a node says about a transaction, asked as its servers ask.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coco_node::handle::{Peers, Shared, Standing};
use coco_protocol::{OpenGate, TransactionStatus};
use coco_rpc::channel::{Answer, NoAnswer};
use coco_types::{ReplicaId, TxId};
use crossbeam_channel::bounded;
use parking_lot::RwLock;

use crate::node::SimNode;

impl SimNode {
    /// `None` while it does not run.
    pub fn transaction_status(&self, txid: TxId) -> Option<TransactionStatus> {
        let machines = self.machines.as_ref()?;
        let view = machines.replica.consensus().view();
        let shared = Shared {
            replica_id: self.id,
            index: self.index,
            visible: machines.visible.clone(),
            history: machines.history.clone(),
            ledger: machines.ledger.clone(),
            gate: Arc::new(OpenGate),
            standing: RwLock::new(Standing { view, ..Standing::default() }),
            executor: bounded(0).0,
            replica: bounded(0).0,
            peers: Arc::new(NoPeers),
            resumed: None,
            clock: Arc::new(|| 0),
        };
        Some(shared.transaction_status(txid))
    }
}

/// A status is answered from what the node itself has.
struct NoPeers;

impl Peers for NoPeers {
    fn send(&self, _to: ReplicaId, _message: Bytes) {}

    fn request(&self, _to: ReplicaId, _kind: u16, _body: Bytes, _timeout: Duration, reply: Answer) {
        reply(Err(NoAnswer::NotSent));
    }

    fn connect(&self, _peers: &BTreeMap<ReplicaId, SocketAddr>) {}
}
