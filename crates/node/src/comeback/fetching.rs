//! Fetching a snapshot, where the best log begins behind the end of this one and cannot be copied.
//!
//! ```text
//!   best log begins too late ──which snapshot?──▶ its newest ──piece by piece──▶ whole, signed ──▶ begin at it, ask again
//! ```
//! What a snapshot holds was committed, whosever disk it lies on, and the replica's view and vote stay: beginning at one promises nothing
//! and takes nothing back. If enough others come back without this replica meanwhile, it is done with.

use std::sync::Arc;

use bytes::Bytes;
use coco_consensus::{ResumeState, SnapshotOffered};
use coco_disk::Disk;
use coco_ledger::ServiceKeys;
use coco_types::{ReplicaId, limits};

use super::message::{Ask, Reply};
use super::{Returning, Way, is_fresh};
use crate::archive::{Arrived, Finished, Receiving, newest, snapshot_piece};
use crate::ledger::NodeLedger;
use crate::wire::{PieceAnswer, PieceRequest};

/// The snapshots of a replica that returns, and what they are checked with.
pub struct Snapshots {
    pub disk: Arc<dyn Disk>,
    pub ledger: Arc<NodeLedger>,
    pub service: ServiceKeys,
    /// What is asked for at a time.
    pub piece_bytes: u32,
}

/// A snapshot on its way.
pub(super) struct Fetching {
    from: ReplicaId,
    /// `None` until the other has said which one it has.
    receiving: Option<Receiving>,
    /// From then on it is asked for once more.
    again_ms: u64,
    is_whole: bool,
}

impl Returning {
    /// A question for the snapshot without which this log cannot be continued, if one is due.
    pub(super) fn ask_for_snapshot(&mut self, now_ms: u64) -> Option<(ReplicaId, Bytes)> {
        let Some(from) = self.lacks_what_is_forgotten_by(now_ms) else {
            self.fetching = None;
            return None;
        };
        let over = |one: &Fetching| one.from != from || now_ms >= one.again_ms;
        if self.fetching.as_ref().is_none_or(over) {
            // What came before stays on disk: it goes on behind that.
            let again_ms = now_ms + limits::COMEBACK_FRESH_MS;
            self.fetching = Some(Fetching { from, receiving: None, again_ms, is_whole: false });
            return Some((from, Ask::Snapshot.encode()));
        }
        let fetching = self.fetching.as_mut()?;
        let (_, request) = fetching.receiving.as_mut()?.ask()?;
        fetching.again_ms = now_ms + limits::COMEBACK_FRESH_MS;
        Some((from, Ask::Piece(request).encode()))
    }

    /// What to tell a replica that asks for the newest snapshot.
    pub(super) fn newest_for(&self, from: ReplicaId) -> Option<Bytes> {
        let Snapshots { disk, ledger, .. } = self.snapshots_for(from)?;
        Some(Reply::Snapshot(newest(disk, &ledger.keys())?.encode()).encode())
    }

    pub(super) fn piece_for(&self, from: ReplicaId, request: PieceRequest) -> Option<Bytes> {
        let piece = snapshot_piece(&self.snapshots_for(from)?.disk, &request)?;
        Some(Reply::Piece { request, piece }.encode())
    }

    /// Takes in which snapshot the other has.
    pub(super) fn named(&mut self, from: ReplicaId, note: Bytes) {
        let (Some(fetching), Some(here)) = (&mut self.fetching, &self.origin.snapshots) else { return };
        if fetching.from != from || fetching.receiving.is_some() {
            return;
        }
        let (index, view) = Default::default();
        let offered = SnapshotOffered { from, index, view, note };
        match Receiving::begin(&here.disk, &offered, here.piece_bytes) {
            // It did not help before.
            Ok(receiving) if receiving.is_here(&here.disk) => {}
            Ok(receiving) => fetching.receiving = Some(receiving),
            Err(error) => tracing::error!(%from, %error, "the snapshot that another has cannot be fetched"),
        }
    }

    pub(super) fn piece_arrived(&mut self, from: ReplicaId, request: &PieceRequest, piece: PieceAnswer) {
        let Some(fetching) = self.fetching.as_mut().filter(|fetching| fetching.from == from) else { return };
        let Some(receiving) = &mut fetching.receiving else { return };
        match receiving.answered(request, Some(piece)) {
            Ok(Some(Arrived::Whole { .. })) => fetching.is_whole = true,
            Ok(Some(Arrived::Piece) | None) => {}
            Ok(Some(Arrived::Nothing)) => fetching.receiving = None,
            Err(error) => {
                tracing::error!(%from, %error, "a snapshot cannot be written");
                fetching.receiving = None;
            }
        }
    }

    /// Checks what has arrived; `true` if the way is clear by it.
    pub(super) fn begins_anew(&mut self, now_ms: u64) -> bool {
        let (Some(fetching), Some(here)) = (&mut self.fetching, &self.origin.snapshots) else { return false };
        if !std::mem::take(&mut fetching.is_whole) {
            return false;
        }
        let Some(receiving) = fetching.receiving.take() else { return false };
        match receiving.finish(&here.disk, &here.ledger, &here.service) {
            Ok(Finished::Kept(_)) => return self.go(Way::BeginAnew, now_ms),
            Ok(Finished::Anew(receiving)) => fetching.receiving = Some(receiving),
            Err(error) => {
                tracing::error!(from = %fetching.from, %error, "a snapshot is refused");
                // All of it travelled for nothing.
                fetching.again_ms = now_ms + limits::COMEBACK_KNOCK_MS;
            }
        }
        false
    }

    /// Whose log is the best of those that are there, if it begins too late for this one to be continued from it.
    fn lacks_what_is_forgotten_by(&self, now_ms: u64) -> Option<ReplicaId> {
        if self.way.is_some() || self.plan.is_some() || self.origin.snapshots.is_none() {
            return None;
        }
        let own = self.state.as_ref().filter(|_| self.origin.rolled_back.is_some())?;
        let cards = self.others.values().filter_map(|other| other.card.as_ref());
        let fresh = cards.filter(|(at, card)| is_fresh(*at, now_ms) && card.plan.is_none());
        let states: Vec<ResumeState> = fresh.filter_map(|(_, card)| card.state.clone()).chain([own.clone()]).collect();
        let best = ResumeState::best(&states).filter(|best| best.id != own.id)?;
        own.common_with(best).is_none().then_some(best.id)
    }

    /// Only for those that take part in what this log leads to.
    fn snapshots_for(&self, from: ReplicaId) -> Option<&Snapshots> {
        let state = self.state.as_ref()?;
        let takes_part = state.configurations(state.commit).iter().any(|membership| membership.contains(from));
        self.origin.snapshots.as_ref().filter(|_| takes_part)
    }
}
