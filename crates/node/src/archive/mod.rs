//! The archive: what of the past this node keeps, gives to others and fetches from them.
//!
//! ```text
//!   replica ── Take (head, state) ─────▶ ┌─────────┐ ──▶ snapshots folder: snapshot_<seqno>, the last two
//!           ── Offered ────────────────▶ │ archive │ ──▶ peers: a piece, please
//!           ◀── Taken, Received, Failed  └─────────┘ ◀── pieces: of a snapshot, then of the chunks before it
//! ```
//!
//! A synchronous machine like the others, on a thread of its own: what it does is long and may wait. It works in turns, each of
//! which does one bounded piece, so that the simulator can crash a node between any two.

mod backfill;
mod install;
mod plan;
mod receiving;
mod restore;
mod taking;
mod transfer;

use std::sync::Arc;

use coco_consensus::SnapshotOffered;
use coco_crypto::Crypto;
use coco_disk::Disk;
use coco_kv::Snapshot;
use coco_ledger::{ServiceKeys, SnapshotHead, SnapshotName, SnapshotReader};
use coco_types::{ReplicaId, limits};

use crate::history::NodeHistory;
use crate::ledger::NodeLedger;
use crate::wire::{PieceAnswer, PieceRequest};
use backfill::Backfill;
pub(crate) use install::Unread;
pub use install::{install, start_point};
pub use plan::{SnapshotLimits, SnapshotPlan};
pub(crate) use receiving::{Finished, Receiving};
pub use restore::{Restored, restore};
use taking::Taking;
pub use transfer::Files;
pub(crate) use transfer::{Arrived, oldest_from, set_aside_unless_it_opens, snapshot_piece};

/// What the archive is told.
pub enum ArchiveEvent {
    Take(SnapshotJob),
    /// The primary's log no longer holds what this replica lacks.
    Offered(SnapshotOffered),
    /// What became of a question to a peer; `None`: no answer, or it does not have it.
    Piece(PieceRequest, Option<PieceAnswer>),
    /// From time to time: who may be asked.
    Peers(Vec<ReplicaId>),
    /// For the thread that runs it.
    Stop,
}

/// A state to be kept, and what else a start from it needs.
pub struct SnapshotJob {
    pub head: SnapshotHead,
    pub state: Snapshot,
}

/// What the archive wants, or has done.
pub enum ArchiveEffect {
    /// A question to a peer; the answer comes as [`ArchiveEvent::Piece`].
    Ask(ReplicaId, PieceRequest),
    /// A snapshot is durable under its name.
    Taken(Box<Taken>),
    /// None was taken; the next one is due as usual.
    Failed(String),
    /// A snapshot came from elsewhere and is durable. If the replica still lacks what is before it, the node begins anew.
    Received(SnapshotHead),
    /// A snapshot came from elsewhere and does not open here: the ledger may be sealed with a secret that this replica has not.
    Refused,
    /// The ledger is whole from its first transaction on.
    Whole,
}

/// A snapshot that was taken.
pub struct Taken {
    pub kept: Kept,
    /// The other one that is there still.
    pub before: Option<Kept>,
}

/// A finished snapshot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    pub head: SnapshotHead,
    pub bytes: u64,
}

/// What an archive is made of.
pub struct ArchiveParts {
    pub snapshots: Arc<dyn Disk>,
    /// The folder of the chunk files.
    pub ledger_disk: Arc<dyn Disk>,
    pub ledger: Arc<NodeLedger>,
    pub history: Arc<NodeHistory>,
    pub crypto: Arc<dyn Crypto>,
    pub service: ServiceKeys,
    pub piece_bytes: u32,
}

/// See the module's text.
pub struct Archive {
    parts: ArchiveParts,
    /// Oldest first.
    kept: Vec<Kept>,
    taking: Option<Box<Taking>>,
    receiving: Option<Receiving>,
    /// All of what was offered has arrived and is to be checked.
    arrived: bool,
    backfill: Option<Backfill>,
    /// Why the earlier ledger could not be completed last.
    told: Option<String>,
    effects: Vec<ArchiveEffect>,
}

impl Archive {
    /// Looks at what the folder holds. What does not open is set aside, and what was left unfinished is removed.
    pub fn open(parts: ArchiveParts) -> Result<Self, String> {
        let kept = look_through(&parts).map_err(|error| error.to_string())?;
        let (disk, ledger, history) = (parts.ledger_disk.clone(), parts.ledger.clone(), parts.history.clone());
        let backfill = Backfill::open(disk, ledger, history, &parts.service, parts.piece_bytes)?;
        Ok(Self {
            parts,
            kept,
            taking: None,
            receiving: None,
            arrived: false,
            backfill,
            told: None,
            effects: Vec::new(),
        })
    }

    pub fn handle(&mut self, event: ArchiveEvent) {
        match event {
            ArchiveEvent::Take(job) => {
                let (disk, keys) = (self.parts.snapshots.clone(), self.parts.ledger.keys());
                match Taking::begin(disk, &keys, self.parts.crypto.as_ref(), job) {
                    Ok(taking) => self.taking = Some(Box::new(taking)),
                    Err(error) => self.fail(error.to_string()),
                }
            }
            ArchiveEvent::Offered(offered) => self.offered(&offered),
            ArchiveEvent::Piece(request, answer) => self.piece(&request, answer),
            ArchiveEvent::Stop => {}
            ArchiveEvent::Peers(peers) => {
                if let Some(backfill) = &mut self.backfill {
                    backfill.set_peers(peers);
                }
            }
        }
    }

    /// Does one piece of work; `false` if there is none for now.
    pub fn turn(&mut self) -> bool {
        let mut worked = self.take_on();
        worked |= self.receive_on();
        worked |= self.backfill_on();
        let questions =
            [self.receiving.as_mut().and_then(Receiving::ask), self.backfill.as_mut().and_then(Backfill::ask)];
        self.effects.extend(questions.into_iter().flatten().map(|(peer, request)| ArchiveEffect::Ask(peer, request)));
        worked
    }

    pub fn take_effects(&mut self) -> Vec<ArchiveEffect> {
        std::mem::take(&mut self.effects)
    }

    /// The finished snapshots, oldest first.
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// The ledger begins with its first transaction.
    pub fn is_whole(&self) -> bool {
        self.backfill.is_none()
    }

    /// What peers may ask for.
    pub fn files(&self) -> Files {
        Files { snapshots: self.parts.snapshots.clone(), ledger: self.parts.ledger_disk.clone() }
    }

    fn take_on(&mut self) -> bool {
        let Some(taking) = self.taking.take() else { return false };
        match taking.step() {
            Ok(taking::Step::More(taking)) => self.taking = Some(taking),
            Ok(taking::Step::Done(kept)) => self.keep(kept),
            Err(error) => self.fail(error.to_string()),
        }
        true
    }

    fn receive_on(&mut self) -> bool {
        if !std::mem::take(&mut self.arrived) {
            return false;
        }
        let Some(receiving) = self.receiving.take() else { return false };
        match receiving.finish(&self.parts.snapshots, &self.parts.ledger, &self.parts.service) {
            Ok(Finished::Kept(kept)) => {
                self.effects.push(ArchiveEffect::Received(kept.head.clone()));
                self.kept.push(kept);
                self.kept.sort_by_key(|kept| kept.head.place.txid.seqno);
            }
            Ok(Finished::Anew(receiving)) => self.receiving = Some(receiving),
            Err(error) => {
                tracing::error!(%error, "a snapshot from a peer is refused");
                self.effects.push(ArchiveEffect::Refused);
            }
        }
        true
    }

    fn backfill_on(&mut self) -> bool {
        let Some(backfill) = &mut self.backfill else { return false };
        match backfill.step() {
            Ok(backfill::Step::Worked) => true,
            Ok(backfill::Step::Waiting) => false,
            Ok(backfill::Step::Whole) => {
                self.backfill = None;
                self.effects.push(ArchiveEffect::Whole);
                true
            }
            Err(error) => {
                self.backfill_failed(error);
                false
            }
        }
    }

    /// The same offer comes again and again; another one only counts when the first has come to nothing.
    fn offered(&mut self, offered: &SnapshotOffered) {
        if self.receiving.is_some() {
            return;
        }
        match Receiving::begin(&self.parts.snapshots, offered, self.parts.piece_bytes) {
            Ok(receiving) if self.kept.iter().all(|kept| kept.head.place.txid.seqno != receiving.seqno()) => {
                self.receiving = Some(receiving);
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "an offered snapshot cannot be fetched"),
        }
    }

    fn piece(&mut self, request: &PieceRequest, answer: Option<PieceAnswer>) {
        if let Some(receiving) = &mut self.receiving {
            match receiving.answered(request, answer.clone()) {
                Ok(Some(Arrived::Whole { .. })) => self.arrived = true,
                // What came stays on disk; the next offer goes on with it, or with a newer snapshot.
                Ok(Some(Arrived::Nothing)) => self.receiving = None,
                Ok(Some(Arrived::Piece) | None) => {}
                Err(error) => {
                    tracing::error!(%error, "a snapshot from a peer cannot be written");
                    self.receiving = None;
                }
            }
        }
        if let Some(backfill) = &mut self.backfill
            && let Err(error) = backfill.answered(request, answer)
        {
            self.backfill_failed(error);
        }
    }

    /// It is tried again, and told once.
    fn backfill_failed(&mut self, error: String) {
        let Some(backfill) = &mut self.backfill else { return };
        backfill.interrupt();
        if self.told.as_ref() != Some(&error) {
            tracing::error!(%error, base = %backfill.base(), "the ledger before the snapshot cannot be completed now");
            self.told = Some(error);
        }
    }

    fn fail(&mut self, error: String) {
        self.effects.push(ArchiveEffect::Failed(error));
    }

    fn keep(&mut self, kept: Kept) {
        self.kept.retain(|before| before.head.place.txid.seqno < kept.head.place.txid.seqno);
        let before = self.kept.last().cloned();
        self.kept.push(kept.clone());
        while self.kept.len() > limits::SNAPSHOTS_KEPT {
            let oldest = self.kept.remove(0);
            let file = SnapshotName(oldest.head.place.txid.seqno).to_string();
            if let Err(error) = self.parts.snapshots.remove(&file) {
                tracing::warn!(%file, %error, "an old snapshot is not removed");
            }
        }
        self.effects.push(ArchiveEffect::Taken(Box::new(Taken { kept, before })));
    }
}

fn look_through(parts: &ArchiveParts) -> std::io::Result<Vec<Kept>> {
    let disk = &parts.snapshots;
    let mut kept = Vec::new();
    for file in disk.names()? {
        let Some(name) = SnapshotName::parse(&file) else {
            if file.ends_with(".writing") {
                disk.remove(&file)?;
            }
            continue;
        };
        match SnapshotReader::open(disk.clone(), &file, &parts.ledger.keys()) {
            Ok(reader) => kept.push(Kept { head: reader.head().clone(), bytes: reader.bytes() }),
            Err(error) => {
                tracing::error!(%file, %error, "a snapshot is set aside");
                disk.rename(&file, &name.damaged())?;
            }
        }
    }
    kept.sort_by_key(|kept| kept.head.place.txid.seqno);
    Ok(kept)
}
