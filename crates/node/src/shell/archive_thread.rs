//! The archive's thread: it takes snapshots, and fetches from peers what this node lacks.

use std::sync::Arc;
use std::time::Duration;

use coco_rpc::channel::NoAnswer;
use coco_types::ReplicaId;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::archive::{Archive, ArchiveEffect, ArchiveEvent};
use crate::events::ReplicaEvent;
use crate::handle::Shared;
use crate::wire::{PieceAnswer, PieceRequest, kind};

/// How often the archive hears who may be asked.
const TICK: Duration = Duration::from_secs(1);
/// A piece that has not come by then does not come.
const PIECE_TIMEOUT: Duration = Duration::from_secs(10);

pub struct ArchiveThread {
    pub archive: Archive,
    pub shared: Arc<Shared>,
    pub events: Receiver<ArchiveEvent>,
    /// The way back for answers.
    pub own: Sender<ArchiveEvent>,
    pub replica: Sender<ReplicaEvent>,
}

impl ArchiveThread {
    /// Until [`ArchiveEvent::Stop`], or until the replica has ended.
    pub fn run(mut self) {
        let mut busy = true;
        loop {
            let wait = if busy { Duration::ZERO } else { TICK };
            match self.events.recv_timeout(wait) {
                Ok(ArchiveEvent::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(event) => self.archive.handle(event),
                Err(RecvTimeoutError::Timeout) if busy => {}
                Err(RecvTimeoutError::Timeout) => self.archive.handle(ArchiveEvent::Peers(self.peers())),
            }
            busy = self.archive.turn();
            for effect in self.archive.take_effects() {
                if !self.act(effect) {
                    return;
                }
            }
        }
    }

    /// `false` ends the thread.
    fn act(&self, effect: ArchiveEffect) -> bool {
        let event = match effect {
            ArchiveEffect::Ask(peer, request) => {
                self.ask(peer, request);
                return true;
            }
            ArchiveEffect::Whole => {
                tracing::info!("the ledger before the snapshot is here");
                return true;
            }
            ArchiveEffect::Taken(taken) => ReplicaEvent::SnapshotTaken(taken),
            ArchiveEffect::Failed(error) => ReplicaEvent::SnapshotFailed(error),
            ArchiveEffect::Refused => ReplicaEvent::SnapshotRefused,
            ArchiveEffect::Received(head) => {
                tracing::info!(txid = %head.place.txid, "received a snapshot");
                ReplicaEvent::SnapshotReceived(head)
            }
        };
        self.replica.send(event).is_ok()
    }

    fn ask(&self, peer: ReplicaId, request: PieceRequest) {
        let own = self.own.clone();
        let reply = Box::new(move |body: Result<bytes::Bytes, NoAnswer>| {
            let answer = body.ok().and_then(|body| PieceAnswer::decode(body).ok());
            drop(own.send(ArchiveEvent::Piece(request, answer)));
        });
        self.shared.peers.request(peer, kind::PIECE, request.encode(), PIECE_TIMEOUT, reply);
    }

    /// The primary first.
    fn peers(&self) -> Vec<ReplicaId> {
        let standing = self.shared.standing.read();
        let others = standing.voters.iter().copied().filter(|id| Some(*id) != standing.primary);
        let mut peers: Vec<ReplicaId> = standing.primary.into_iter().chain(others).collect();
        peers.retain(|id| *id != self.shared.replica_id);
        peers
    }
}
