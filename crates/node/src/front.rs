//! The front: makes what was committed readable.
//!
//! For each committed batch, in order: the write-once records go to the history, derived data is brought up to date, and only then do
//! readers and waiters see the batch. One version is *visible* at a time, so that state, history and derived data always agree.

use std::sync::Arc;

use coco_kv::{Snapshot, Store};
use coco_protocol::{Integrity, Protocol};
use coco_types::{Seqno, TxId};
use parking_lot::RwLock;

use crate::history::NodeHistory;
use crate::replica::Delivery;

/// The committed state that readers get. Shared.
pub struct Visible {
    current: RwLock<(TxId, Snapshot)>,
}

/// See the module's text.
pub struct Front {
    protocols: Vec<Arc<dyn Protocol>>,
    history: Arc<NodeHistory>,
    visible: Arc<Visible>,
}

impl Visible {
    /// Everything up to `txid` is in `store`, committed and derived.
    pub fn new(txid: TxId, store: &Store) -> Self {
        Self { current: RwLock::new((txid, store.snapshot())) }
    }

    pub fn txid(&self) -> TxId {
        self.current.read().0
    }

    pub fn current(&self) -> (TxId, Snapshot) {
        self.current.read().clone()
    }

    pub fn state(&self) -> Snapshot {
        self.current.read().1.clone()
    }
}

impl Front {
    pub fn new(protocols: Vec<Arc<dyn Protocol>>, history: Arc<NodeHistory>, visible: Arc<Visible>) -> Self {
        Self { protocols, history, visible }
    }

    /// Takes in one batch. An error means that this node and its primary disagree about derived data.
    pub fn deliver(&mut self, delivery: Delivery) -> Result<Seqno, Integrity> {
        let Delivery { batch, state, last } = delivery;
        self.history.record_batch(&batch);
        for protocol in &self.protocols {
            protocol.committed(&batch, &state)?;
        }
        *self.visible.current.write() = (last, state);
        for protocol in &self.protocols {
            protocol.published(&batch);
        }
        Ok(last.seqno)
    }
}
