//! Executions under way beside the executor, and those that are done and wait for their turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use coco_kv::Tx;
use coco_protocol::{Job, Prepared};
use coco_types::View;
use parking_lot::Mutex;

/// Tells the executor's thread that there is something to do.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// See the module's text. Owned by the executor; jobs report from any thread.
pub struct Preparation {
    finished: Arc<Mutex<Vec<Finished>>>,
    prepared: BTreeMap<(usize, Bytes), Prepared>,
    wake: Wake,
}

/// A job that ended, in the reign in which it began.
pub struct Finished {
    pub view: View,
    pub ledger: usize,
    pub id: Bytes,
    pub prepared: Option<Prepared>,
}

impl Preparation {
    pub fn new() -> Self {
        Self { finished: Arc::default(), prepared: BTreeMap::new(), wake: Arc::new(|| ()) }
    }

    pub fn set_wake(&mut self, wake: Wake) {
        self.wake = wake;
    }

    /// A job for a protocol; what it comes to is among [`Preparation::finished`] later.
    pub fn job(&self, view: View, ledger: usize, id: Bytes, tx: Tx, now_ms: u64) -> Job {
        let (finished, wake) = (Arc::clone(&self.finished), Arc::clone(&self.wake));
        let done = move |prepared| {
            finished.lock().push(Finished { view, ledger, id, prepared });
            wake();
        };
        Job::new(tx, now_ms, Box::new(done))
    }

    pub fn finished(&self) -> Vec<Finished> {
        std::mem::take(&mut self.finished.lock())
    }

    pub fn keep(&mut self, ledger: usize, id: Bytes, prepared: Prepared) {
        self.prepared.insert((ledger, id), prepared);
    }

    pub fn take(&mut self, ledger: usize, id: &Bytes) -> Option<Prepared> {
        self.prepared.remove(&(ledger, id.clone()))
    }

    /// The reign ended: nothing of it counts any more.
    pub fn clear(&mut self) {
        self.prepared.clear();
        self.finished.lock().clear();
    }
}

impl Default for Preparation {
    fn default() -> Self {
        Self::new()
    }
}
