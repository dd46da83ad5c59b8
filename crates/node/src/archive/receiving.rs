//! A snapshot on its way to a replica that lacks what its peers' logs have forgotten.

use std::sync::Arc;

use coco_consensus::SnapshotOffered;
use coco_disk::Disk;
use coco_ledger::{ServiceKeys, SnapshotHead, SnapshotName, SnapshotReader};
use coco_types::{ReplicaId, Seqno};

use super::Kept;
use super::transfer::{Arrived, Transfer};
use crate::ledger::NodeLedger;
use crate::wire::{PieceAnswer, PieceRequest, SnapshotNote, Wanted};

/// What comes of a file that is whole.
pub enum Finished {
    Kept(Kept),
    /// It began with what was left of an earlier attempt: all of it is asked for once more.
    Anew(Receiving),
}

pub struct Receiving {
    from: ReplicaId,
    name: SnapshotName,
    note: SnapshotNote,
    transfer: Transfer,
}

impl Receiving {
    pub fn begin(disk: &Arc<dyn Disk>, offered: &SnapshotOffered, piece_bytes: u32) -> Result<Self, String> {
        let note = SnapshotNote::decode(offered.note.clone()).map_err(|error| error.to_string())?;
        let name = SnapshotName(note.seqno);
        // What is left of another file would only be found out at its end.
        for file in disk.names().map_err(text)? {
            if file.ends_with(".receiving") && file != name.receiving() {
                disk.remove(&file).map_err(text)?;
            }
        }
        let wanted = Wanted::Snapshot(note.seqno);
        let transfer = Transfer::begin(disk.clone(), wanted, name.receiving(), piece_bytes).map_err(text)?;
        Ok(Self { from: offered.from, name, note, transfer })
    }

    pub fn note(&self) -> SnapshotNote {
        self.note
    }

    pub fn seqno(&self) -> Seqno {
        self.note.seqno
    }

    pub fn ask(&mut self) -> Option<(ReplicaId, PieceRequest)> {
        self.transfer.ask().map(|request| (self.from, request))
    }

    pub fn answered(&mut self, request: &PieceRequest, answer: Option<PieceAnswer>) -> Result<Option<Arrived>, String> {
        // Another file than the one that was named, of any length.
        if answer.as_ref().is_some_and(|piece| piece.total != self.note.bytes) {
            self.transfer.discard().map_err(text)?;
            return Ok(Some(Arrived::Nothing));
        }
        self.transfer.answered(request, answer).map_err(text)
    }

    /// Checks all of the file and gives it its name. If it is not what was offered, nothing of it stays.
    pub fn finish(
        mut self,
        disk: &Arc<dyn Disk>,
        ledger: &NodeLedger,
        service: &ServiceKeys,
    ) -> Result<Finished, String> {
        match self.check(disk, ledger, service) {
            Ok(head) => {
                let (file, name) = (self.name.receiving(), self.name.to_string());
                disk.sync(&file)
                    .and_then(|()| disk.rename(&file, &name))
                    .and_then(|()| disk.sync_names())
                    .map_err(text)?;
                Ok(Finished::Kept(Kept { head, bytes: self.note.bytes }))
            }
            Err(error) => {
                let had_remains = self.transfer.has_remains();
                self.transfer.discard().map_err(text)?;
                if had_remains { Ok(Finished::Anew(self)) } else { Err(error) }
            }
        }
    }

    fn check(&self, disk: &Arc<dyn Disk>, ledger: &NodeLedger, service: &ServiceKeys) -> Result<SnapshotHead, String> {
        let reader = SnapshotReader::open(disk.clone(), self.transfer.file(), &ledger.keys()).map_err(text)?;
        if reader.bytes() != self.note.bytes {
            return Err("it is not as long as was said".to_owned());
        }
        let head = reader.verify(service).map_err(text)?;
        if head.place.txid.seqno == self.note.seqno { Ok(head) } else { Err("it is another one".to_owned()) }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
