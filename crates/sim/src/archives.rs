//! The nodes' archives: snapshots taken, snapshots and earlier chunks on their way from one node to another.

use coco_node::archive::{ArchiveEffect, ArchiveEvent};
use coco_node::wire::{PieceAnswer, PieceRequest};
use coco_types::ReplicaId;

use crate::invariants::Violation;
use crate::node::Note;
use crate::world::World;

/// How often an archive hears who may be asked.
const TICK_MS: u64 = 200;
/// A piece that was lost is missed after this.
const PIECE_TIMEOUT_MS: u64 = 500;

impl World {
    /// One turn of the archive at a time, so that a crash may come between any two.
    pub(crate) fn run_archive(&mut self, id: ReplicaId, now_ms: u64) -> Result<(), Violation> {
        if self.nodes[&id].machines.is_some() && self.nodes[&id].archive_ticks_at_ms <= now_ms {
            let membership = self.membership(id);
            let peers = membership.voters.union(&membership.voters_outgoing).copied().filter(|other| *other != id);
            let peers = peers.collect();
            self.node_mut(id).archive_ticks_at_ms = now_ms + TICK_MS;
            self.tell_archive(id, ArchiveEvent::Peers(peers));
        }
        while let Some(event) = self.node_mut(id).for_archive.take(now_ms) {
            let Some(machines) = &mut self.node_mut(id).machines else { return Ok(()) };
            machines.archive.handle(event);
            self.node_mut(id).archive_works_at_ms = Some(now_ms);
        }
        if self.nodes[&id].archive_works_at_ms.is_none_or(|at| at > now_ms) {
            return Ok(());
        }
        let next = now_ms + 1 + self.faults.machine_ms(&mut self.random);
        let node = self.node_mut(id);
        let Some(machines) = &mut node.machines else { return Ok(()) };
        node.archive_works_at_ms = machines.archive.turn().then_some(next);
        for effect in machines.archive.take_effects() {
            self.archive_has(id, effect)?;
        }
        Ok(())
    }

    pub(crate) fn tell_archive(&mut self, id: ReplicaId, event: ArchiveEvent) {
        let at = self.machine_at_ms(id);
        self.node_mut(id).for_archive.push(at, event);
    }

    fn archive_has(&mut self, id: ReplicaId, effect: ArchiveEffect) -> Result<(), Violation> {
        match effect {
            ArchiveEffect::Ask(peer, request) => self.ask_for_piece(id, peer, request),
            ArchiveEffect::Taken(taken) => {
                self.note(|| format!("{id} has a snapshot of {}", taken.kept.head.place.txid));
                self.counts.snapshots += 1;
                self.tell_replica(id, Note::SnapshotTaken(taken));
            }
            ArchiveEffect::Failed(_) => self.tell_replica(id, Note::SnapshotFailed),
            ArchiveEffect::Received(head) => {
                self.note(|| format!("{id} has received the snapshot of {}", head.place.txid));
                let lacks = self.nodes[&id].machines.as_ref().is_some_and(|machines| machines.replica.lacks(&head));
                if lacks {
                    self.counts.received += 1;
                    // As the shell does: what was written stays, the machines are made anew.
                    self.node_mut(id).stop();
                    self.joiners_lose(id);
                    self.run_machines(id)?;
                }
            }
            // It comes back as a fresh replica, which is given every secret.
            ArchiveEffect::Refused => {
                self.node_mut(id).stop();
                self.joiners_lose(id);
                self.come_back(id, None)?;
            }
            ArchiveEffect::Whole => self.note(|| format!("{id} has the ledger before its snapshot")),
        }
        Ok(())
    }

    /// The answer is what the peer has now; it may be lost on the way, or the peer be away.
    fn ask_for_piece(&mut self, from: ReplicaId, to: ReplicaId, request: PieceRequest) {
        let now_ms = self.now_ms();
        let answer = self.piece_of(from, to, &request);
        self.note(|| {
            format!("{from} asks {to} for {request:?}: {}", if answer.is_some() { "it comes" } else { "nothing" })
        });
        let delay = self.faults.delay_ms(&mut self.random) + self.faults.delay_ms(&mut self.random);
        let at = if answer.is_some() { now_ms + delay } else { now_ms + PIECE_TIMEOUT_MS };
        self.node_mut(from).for_archive.push(at, ArchiveEvent::Piece(request, answer));
    }

    fn piece_of(&mut self, from: ReplicaId, to: ReplicaId, request: &PieceRequest) -> Option<PieceAnswer> {
        let lost = self.faults.loses(&mut self.random);
        if lost || self.network.is_cut(from, to) || self.network.is_cut(to, from) {
            return None;
        }
        let machines = self.nodes.get(&to)?.machines.as_ref()?;
        // Through its bytes, as on the wire.
        let request = PieceRequest::decode(request.encode()).ok()?;
        PieceAnswer::decode(machines.archive.files().piece(&request)?.encode()).ok()
    }

    /// Every voter's ledger begins with its first transaction.
    pub fn ledgers_are_whole(&self) -> bool {
        let Some(primary) = self.primary() else { return false };
        let is_whole = |id: &ReplicaId| {
            let machines = self.nodes.get(id).and_then(|node| node.machines.as_ref());
            machines.is_some_and(|machines| machines.archive.is_whole())
        };
        self.membership(primary).voters.iter().all(is_whole)
    }
}
