//! The archive: takes snapshots of committed state and keeps the newest of them.
//!
//! ```text
//!   replica ── Take (head, state) ──▶ ┌─────────┐ ──▶ snapshots folder: snapshot_<seqno>, the last two
//!           ◀── Taken, Failed ─────── │ archive │
//!                                     └─────────┘
//! ```
//!
//! A synchronous machine like the others, on a thread of its own: what it does is long and may wait. It works in turns, each of
//! which does one bounded piece, so that the simulator can crash a node between any two.

mod plan;
mod restore;
mod taking;

use std::sync::Arc;

use coco_crypto::Crypto;
use coco_disk::Disk;
use coco_kv::Snapshot;
use coco_ledger::{SnapshotHead, SnapshotName, SnapshotReader};
use coco_types::limits;

use crate::ledger::NodeLedger;
pub use plan::{SnapshotLimits, SnapshotPlan};
pub use restore::{Restored, restore};
use taking::Taking;

/// What the archive is told.
pub enum ArchiveEvent {
    Take(SnapshotJob),
}

/// A state to be kept, and what else a start from it needs.
pub struct SnapshotJob {
    pub head: SnapshotHead,
    pub state: Snapshot,
}

/// What the archive has done.
pub enum ArchiveEffect {
    /// A snapshot is durable under its name.
    Taken(Kept),
    /// None was taken; the next one is due as usual.
    Failed(String),
}

/// A finished snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    pub head: SnapshotHead,
    pub bytes: u64,
}

/// See the module's text.
pub struct Archive {
    disk: Arc<dyn Disk>,
    ledger: Arc<NodeLedger>,
    crypto: Arc<dyn Crypto>,
    /// Oldest first.
    kept: Vec<Kept>,
    taking: Option<Box<Taking>>,
    effects: Vec<ArchiveEffect>,
}

impl Archive {
    /// Looks at what the folder holds. What does not open is set aside, and what was left unfinished is removed.
    pub fn open(disk: Arc<dyn Disk>, ledger: Arc<NodeLedger>, crypto: Arc<dyn Crypto>) -> std::io::Result<Self> {
        let mut kept = Vec::new();
        for file in disk.names()? {
            let Some(name) = SnapshotName::parse(&file) else {
                if file.ends_with(".writing") {
                    disk.remove(&file)?;
                }
                continue;
            };
            match SnapshotReader::open(disk.clone(), &file, ledger.keys()) {
                Ok(reader) => kept.push(Kept { head: reader.head().clone(), bytes: reader.bytes() }),
                Err(error) => {
                    tracing::error!(%file, %error, "a snapshot is set aside");
                    disk.rename(&file, &name.damaged())?;
                }
            }
        }
        kept.sort_by_key(|kept| kept.head.place.txid.seqno);
        Ok(Self { disk, ledger, crypto, kept, taking: None, effects: Vec::new() })
    }

    pub fn handle(&mut self, event: ArchiveEvent) {
        match event {
            ArchiveEvent::Take(job) => {
                self.taking =
                    self.started(Taking::begin(self.disk.clone(), self.ledger.keys(), self.crypto.as_ref(), job));
            }
        }
    }

    /// Does one piece of work; `false` if there is none.
    pub fn turn(&mut self) -> bool {
        let Some(taking) = self.taking.take() else { return false };
        match taking.step() {
            Ok(taking::Step::More(taking)) => self.taking = Some(taking),
            Ok(taking::Step::Done(kept)) => self.keep(kept),
            Err(error) => self.effects.push(ArchiveEffect::Failed(error.to_string())),
        }
        true
    }

    pub fn take_effects(&mut self) -> Vec<ArchiveEffect> {
        std::mem::take(&mut self.effects)
    }

    /// The finished snapshots, oldest first.
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    fn started(&mut self, begun: Result<Taking, coco_ledger::Error>) -> Option<Box<Taking>> {
        begun.map_err(|error| self.effects.push(ArchiveEffect::Failed(error.to_string()))).map(Box::new).ok()
    }

    fn keep(&mut self, kept: Kept) {
        self.kept.retain(|before| before.head.place != kept.head.place);
        self.kept.push(kept.clone());
        while self.kept.len() > limits::SNAPSHOTS_KEPT {
            let oldest = self.kept.remove(0);
            let file = SnapshotName(oldest.head.place.txid.seqno).to_string();
            if let Err(error) = self.disk.remove(&file) {
                tracing::warn!(%file, %error, "an old snapshot is not removed");
            }
        }
        self.effects.push(ArchiveEffect::Taken(kept));
    }
}
