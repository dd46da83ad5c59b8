//! The ledger before the snapshot that this node began with, fetched chunk by chunk from its peers.

use std::sync::Arc;

use coco_disk::Disk;
use coco_ledger::{Batch, ChunkName, Earlier, ServiceKeys};
use coco_protocol::CommittedBatch;
use coco_types::{ReplicaId, Seqno, TxId};

use super::transfer::{Arrived, Transfer};
use crate::history::NodeHistory;
use crate::ledger::NodeLedger;
use crate::wire::{PieceAnswer, PieceRequest, Wanted};

/// A chunk that is not here yet. Ledger tools set aside files of that suffix.
const ARRIVING: &str = "arriving.ignored";

pub struct Backfill {
    disk: Arc<dyn Disk>,
    ledger: Arc<NodeLedger>,
    history: Arc<NodeHistory>,
    earlier: Earlier,
    transfer: Option<Transfer>,
    whole: Option<Seqno>,
    /// Records up to here are in the history already.
    fed: Seqno,
    piece_bytes: u32,
    peers: Vec<ReplicaId>,
    /// Which of them is asked.
    peer: usize,
    /// It had nothing: nobody is asked until the next tick.
    paused: bool,
}

impl Backfill {
    /// `None` if the ledger is whole.
    pub fn open(
        disk: Arc<dyn Disk>,
        ledger: Arc<NodeLedger>,
        history: Arc<NodeHistory>,
        service: &ServiceKeys,
        piece_bytes: u32,
    ) -> Result<Option<Self>, String> {
        let Some(earlier) = Earlier::open(disk.clone(), service.clone()).map_err(text)? else { return Ok(None) };
        let fed = history.watermark().seqno;
        let (transfer, whole, peers) = (None, None, Vec::new());
        Ok(Some(Self {
            disk,
            ledger,
            history,
            earlier,
            transfer,
            whole,
            fed,
            piece_bytes,
            peers,
            peer: 0,
            paused: false,
        }))
    }

    /// From time to time: who may be asked.
    pub fn set_peers(&mut self, peers: Vec<ReplicaId>) {
        (self.peers, self.paused) = (peers, false);
    }

    pub fn ask(&mut self) -> Option<(ReplicaId, PieceRequest)> {
        if self.paused {
            return None;
        }
        let peer = *self.peers.get(self.peer % self.peers.len().max(1))?;
        self.transfer.as_mut()?.ask().map(|request| (peer, request))
    }

    pub fn answered(&mut self, request: &PieceRequest, answer: Option<PieceAnswer>) -> Result<(), String> {
        let Some(transfer) = &mut self.transfer else { return Ok(()) };
        match transfer.answered(request, answer).map_err(text)? {
            Some(Arrived::Whole { last }) => self.whole = Some(last),
            Some(Arrived::Nothing) => {
                self.peer = self.peer.wrapping_add(1);
                self.paused = true;
            }
            Some(Arrived::Piece) | None => {}
        }
        Ok(())
    }

    /// A disk failed, of which the next try may know nothing: what was being fetched is begun again at the next tick, behind what of it is there.
    pub fn interrupt(&mut self) {
        (self.transfer, self.whole, self.paused) = (None, None, true);
    }

    /// Does one piece of work: takes in a chunk, or begins to fetch one.
    pub fn step(&mut self) -> Result<Step, String> {
        let Some(first) = self.earlier.next() else {
            self.ledger.adopt(&self.earlier).map_err(text)?;
            self.history.complete();
            return Ok(Step::Whole);
        };
        if let Some(name) = self.earlier.held().map_err(text)? {
            if let Some(error) = self.take(name, &name.to_string())? {
                tracing::error!(%name, %error, "an earlier chunk of this folder is damaged: it is fetched again");
                self.disk.remove(&name.to_string()).map_err(text)?;
            }
            return Ok(Step::Worked);
        }
        if let Some(last) = self.whole.take() {
            self.transfer = None;
            if let Some(error) = self.take(ChunkName::committed(first, last), ARRIVING)? {
                tracing::error!(%error, "an earlier chunk from a peer is refused");
                self.peer = self.peer.wrapping_add(1);
                self.disk.remove(ARRIVING).map_err(text)?;
            }
            return Ok(Step::Worked);
        }
        if self.transfer.is_none() {
            let wanted = Wanted::ChunkFrom(first);
            let transfer = Transfer::begin(self.disk.clone(), wanted, ARRIVING.to_owned(), self.piece_bytes);
            self.transfer = Some(transfer.map_err(text)?);
            return Ok(Step::Worked);
        }
        Ok(Step::Waiting)
    }

    /// Checks a chunk, opens its seals and gives its records to the history; then it counts. Gives what is wrong with it; an error is this node's own, and
    /// says nothing against the chunk.
    fn take(&mut self, name: ChunkName, file: &str) -> Result<Option<coco_ledger::Error>, String> {
        let checked = match self.earlier.check(name, file) {
            Ok(checked) => checked,
            Err(error @ coco_ledger::Error::Disk { .. }) => return Err(error.to_string()),
            Err(error) => return Ok(Some(error)),
        };
        let (ledger, history, fed) = (&self.ledger, &self.history, self.fed);
        let mut failed = None;
        let feed = |batch: &Batch<'_>| -> Result<(), String> {
            let transactions = ledger.open_parsed(batch).map_err(text)?;
            if batch.last().seqno > fed {
                history.feed(&CommittedBatch { transactions }, batch.last()).map_err(text)?;
            }
            Ok(())
        };
        let walked = self.earlier.batches(&checked, &mut |batch| {
            if failed.is_none() {
                failed = feed(batch).err();
            }
            Ok(())
        });
        walked.map_err(text)?;
        failed.map_or(Ok(()), Err)?;
        self.earlier.accept(checked).map_err(text)?;
        Ok(None)
    }

    /// The ledger is held from behind this one on, until it is whole.
    pub fn base(&self) -> TxId {
        self.earlier.base()
    }
}

pub enum Step {
    Worked,
    /// For a peer.
    Waiting,
    Whole,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
