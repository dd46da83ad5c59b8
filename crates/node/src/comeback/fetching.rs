//! Fetching a snapshot: nothing in the best log joins on to the end of this one, so that it cannot be copied.
//!
//! ```text
//!   no common entry ──which snapshot?──▶ the oldest behind which its log goes on ──pieces──▶ whole, signed ──▶ begin at it, return with that
//! ```
//! What a snapshot holds was committed, whosever disk it lies on, and what the replica promised is kept as when a primary offers one:
//! beginning at one takes nothing back. If enough others come back without this replica meanwhile, it is done with.
//!
//! It is the oldest one that is of use, since the secret that seals a newer one may be younger than what this replica knows: it learns that one
//! from the entries behind. One that does not open all the same is not fetched again.

use std::sync::Arc;

use bytes::Bytes;
use coco_consensus::{ResumeState, SnapshotOffered};
use coco_disk::Disk;
use coco_ledger::ServiceKeys;
use coco_types::{ReplicaId, limits};

use super::message::{Ask, Reply};
use super::{Returning, Way, is_fresh};
use crate::archive::{Arrived, Finished, Receiving, oldest_from, set_aside_unless_it_opens, snapshot_piece};
use crate::ledger::NodeLedger;
use crate::wire::{PieceAnswer, PieceRequest, SnapshotNote};

/// The snapshots of a replica that returns, and what they are checked with.
#[derive(Clone)]
pub struct Snapshots {
    pub disk: Arc<dyn Disk>,
    pub ledger: Arc<NodeLedger>,
    pub service: ServiceKeys,
    /// What is asked for at a time.
    pub piece_bytes: u32,
}

/// What a returning replica has fetched, and found of it.
#[derive(Default)]
pub(super) struct Fetching {
    source: Option<Source>,
    /// It did not hold together, and had begun with what was left of an earlier attempt.
    doubted: Option<SnapshotNote>,
    /// All of it was here, for nothing.
    refused: Option<SnapshotNote>,
    /// When a piece last came.
    pub(super) heard_ms: u64,
}

struct Source {
    from: ReplicaId,
    stage: Stage,
    /// From then on it is asked once more.
    again_ms: u64,
}

enum Stage {
    /// Until the other has said which snapshot it has.
    Asked,
    Coming(Receiving),
    Whole(Receiving),
    Checked,
}

/// A snapshot that is here and whole, as long as nobody looked into it. It may be large: to be checked while nothing is locked.
pub struct Arrival {
    receiving: Receiving,
    here: Snapshots,
}

/// What came of it.
pub struct Verdict(SnapshotNote, Result<Finished, String>);

impl Arrival {
    pub fn check(self) -> Verdict {
        let Self { receiving, here } = self;
        Verdict(receiving.note(), receiving.finish(&here.disk, &here.ledger, &here.service))
    }
}

impl Fetching {
    pub(super) fn is_under_way(&self) -> bool {
        self.source.as_ref().is_some_and(|source| !matches!(source.stage, Stage::Asked))
    }
}

impl Returning {
    /// A snapshot that has arrived, to be [checked](Arrival::check), and its [verdict](Returning::judged) told.
    pub fn arrival(&mut self) -> Option<Arrival> {
        let here = self.origin.snapshots.clone()?;
        if self.way.is_some() || self.plan.is_some() {
            return None;
        }
        let source = self.fetching.source.as_mut().filter(|source| matches!(source.stage, Stage::Whole(_)))?;
        match std::mem::replace(&mut source.stage, Stage::Checked) {
            Stage::Whole(receiving) => Some(Arrival { receiving, here }),
            _ => None,
        }
    }

    pub fn judged(&mut self, Verdict(note, result): Verdict, now_ms: u64) {
        let Some(source) = &mut self.fetching.source else { return };
        source.stage = Stage::Asked;
        source.again_ms = now_ms + limits::COMEBACK_FRESH_MS;
        let error = match result {
            Ok(Finished::Kept(_)) => {
                if self.way.is_none() && self.plan.is_none() {
                    self.go(Way::BeginAnew, now_ms);
                }
                return;
            }
            Ok(Finished::Anew(receiving)) if self.fetching.doubted != Some(note) => {
                self.fetching.doubted = Some(note);
                source.stage = Stage::Coming(receiving);
                return;
            }
            Ok(Finished::Anew(_)) => "it does not hold together".to_owned(),
            Err(error) => error,
        };
        tracing::error!(from = %source.from, snapshot = %note.seqno, %error, "a snapshot is refused");
        self.fetching.refused = Some(note);
    }

    /// A question for the snapshot without which this log cannot be continued, if one is due.
    pub(super) fn ask_for_snapshot(&mut self, now_ms: u64) -> Option<(ReplicaId, Bytes)> {
        let from = self.source_of_what_it_lacks(now_ms)?;
        let again_ms = now_ms + limits::COMEBACK_FRESH_MS;
        let is_over = |source: &Source| match source.stage {
            Stage::Whole(_) | Stage::Checked => false,
            Stage::Asked | Stage::Coming(_) => source.from != from || now_ms >= source.again_ms,
        };
        if self.fetching.source.as_ref().is_none_or(is_over) {
            // What came before stays on disk: it goes on behind that.
            self.fetching.source = Some(Source { from, stage: Stage::Asked, again_ms });
            return Some((from, Ask::Snapshot.encode()));
        }
        let source = self.fetching.source.as_mut()?;
        let Stage::Coming(receiving) = &mut source.stage else { return None };
        let (_, request) = receiving.ask()?;
        source.again_ms = again_ms;
        Some((from, Ask::Piece(request).encode()))
    }

    /// What to tell a replica that asks which snapshot it can begin at to be continued from this log.
    pub(super) fn snapshot_for(&self, from: ReplicaId) -> Option<Bytes> {
        let Snapshots { disk, ledger, .. } = self.snapshots_for(from)?;
        let first_index = self.state.as_ref()?.runs.first()?.first_index;
        Some(Reply::Snapshot(oldest_from(disk, &ledger.keys(), first_index)?).encode())
    }

    pub(super) fn piece_for(&self, from: ReplicaId, request: PieceRequest) -> Option<Bytes> {
        let piece = snapshot_piece(&self.snapshots_for(from)?.disk, &request)?;
        Some(Reply::Piece { request, piece }.encode())
    }

    /// Takes in which snapshot the other has.
    pub(super) fn named(&mut self, from: ReplicaId, note: SnapshotNote) {
        let committed = self.origin.log.as_ref().map(|log| log.committed());
        let (Some(source), Some(here)) = (&mut self.fetching.source, &self.origin.snapshots) else { return };
        if source.from != from || !matches!(source.stage, Stage::Asked) {
            return;
        }
        let (index, view) = Default::default();
        let offered = SnapshotOffered { from, index, view, note: note.encode() };
        let begun = Receiving::begin(&here.disk, &offered, here.piece_bytes).and_then(|receiving| {
            let helps = self.fetching.refused != Some(note) && committed.is_some_and(|seqno| seqno < note.seqno);
            Ok((helps && !set_aside_unless_it_opens(&here.disk, note.seqno, &here.ledger.keys())?).then_some(receiving))
        });
        match begun {
            Ok(Some(receiving)) => source.stage = Stage::Coming(receiving),
            Ok(None) => {}
            Err(error) => tracing::error!(%from, %error, "the snapshot that another has cannot be fetched"),
        }
    }

    pub(super) fn piece_arrived(&mut self, from: ReplicaId, request: &PieceRequest, piece: PieceAnswer, now_ms: u64) {
        let Some(source) = self.fetching.source.as_mut().filter(|source| source.from == from) else { return };
        let Stage::Coming(mut receiving) = std::mem::replace(&mut source.stage, Stage::Asked) else { return };
        match receiving.answered(request, Some(piece)) {
            Ok(None) => source.stage = Stage::Coming(receiving),
            Ok(Some(Arrived::Nothing)) => {}
            Ok(Some(arrived)) => {
                self.fetching.heard_ms = now_ms;
                let is_whole = matches!(arrived, Arrived::Whole { .. });
                source.stage = if is_whole { Stage::Whole(receiving) } else { Stage::Coming(receiving) };
            }
            Err(error) => tracing::error!(%from, %error, "a snapshot cannot be written"),
        }
    }

    /// Whose log is the best of those that are there, if this one cannot be continued from it and nothing that is known to be committed here
    /// contradicts it.
    fn source_of_what_it_lacks(&self, now_ms: u64) -> Option<ReplicaId> {
        if self.way.is_some() || self.plan.is_some() || self.origin.snapshots.is_none() {
            return None;
        }
        let own = self.state.as_ref().filter(|_| self.origin.rolled_back.is_some())?;
        let cards = self.others.values().filter_map(|other| other.card.as_ref());
        let fresh = cards.filter(|(at, card)| is_fresh(*at, now_ms) && card.plan.is_none());
        let states: Vec<ResumeState> = fresh.filter_map(|(_, card)| card.state.clone()).chain([own.clone()]).collect();
        let best = ResumeState::best(&states).filter(|best| best.id != own.id)?;
        // Of two that are as good, the one that it asks already.
        let now = self.fetching.source.as_ref().map(|source| source.from);
        let end = |state: &ResumeState| (state.last_view, state.last_index);
        let best = states.iter().find(|state| Some(state.id) == now && end(state) == end(best)).unwrap_or(best);
        let lacks = own.common_with(best).is_none() && own.commit < best.runs.first()?.first_index;
        lacks.then_some(best.id)
    }

    /// Only for those that take part in what this log leads to.
    fn snapshots_for(&self, from: ReplicaId) -> Option<&Snapshots> {
        let state = self.state.as_ref()?;
        let takes_part = state.configurations(state.commit).iter().any(|membership| membership.contains(from));
        self.origin.snapshots.as_ref().filter(|_| takes_part)
    }
}
