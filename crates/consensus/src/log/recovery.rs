//! Creating the log, and opening it again after anything that a crash may leave.
//!
//! What was never synced may be lost, torn or full of holes, and is cut. What was synced must be there: damage to it is an
//! error that names the offset, because an acknowledgement may have rested on it. The two are told apart by the `synced`
//! field of later records.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use coco_disk::Disk;

use super::cache::Cache;
use super::record::{EntryRecord, Found, MAGIC, Payload, Record};
use super::{Item, Kind, LOG_FILE, RaftLog, State};
use crate::bounds::NUMBER_MAX;
use crate::checksum::checksum;
use crate::membership::parse_conf_change;
use crate::{BatchStore, Error, StartPoint};

impl RaftLog {
    /// A new log that begins at `start`. The batch store must hold the ledger up to there; what it has above is cut.
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        batches: Box<dyn BatchStore>,
        start: StartPoint,
        state: State,
        cache_bytes_max: usize,
    ) -> Result<Self, Error> {
        if disk.exists(LOG_FILE)? {
            return Err(Error::Exists);
        }
        let mut log = Self::empty(disk, batches, start.clone(), cache_bytes_max);
        log.check_ledger_reaches(start.index)?;
        log.buffer.extend_from_slice(MAGIC);
        log.push(&Record::Start(start));
        log.push(&Record::State(state.clone()));
        log.state = state;
        log.cut_ledger()?;
        log.batches.sync()?;
        let bytes = std::mem::take(&mut log.buffer);
        log.disk.replace(LOG_FILE, &bytes)?;
        log.file_len = bytes.len() as u64;
        log.synced_len = log.file_len;
        Ok(log)
    }

    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        batches: Box<dyn BatchStore>,
        cache_bytes_max: usize,
    ) -> Result<Self, Error> {
        let file = disk.read_all(LOG_FILE)?;
        let scan = scan(&file)?;
        let mut log = Self::empty(disk, batches, scan.start, cache_bytes_max);
        log.file_len = scan.len;
        log.synced_len = scan.synced;
        let mut offsets = Vec::new();
        for (offset, record) in scan.records {
            log.replay(offset, record, &mut offsets)?;
        }
        if log.state.applied < log.start.index || !log.state.membership.is_sound() {
            return Err(Error::Corrupt { offset: scan.len, reason: "no state" });
        }
        if scan.len < file.len() as u64 {
            log.disk.truncate(LOG_FILE, scan.len)?;
        }
        log.check_ledger_reaches(log.state.applied)?;
        if let Some(index) = log.first_missing_batch() {
            log.cut_missing(index, &offsets)?;
        }
        log.bound_commit();
        log.cut_ledger()?;
        log.sync()?;
        log.truncated = None;
        Ok(log)
    }

    pub(super) fn empty(
        disk: Arc<dyn Disk>,
        batches: Box<dyn BatchStore>,
        start: StartPoint,
        cache_bytes_max: usize,
    ) -> Self {
        Self {
            disk,
            batches,
            start,
            items: Vec::new(),
            memberships: BTreeMap::new(),
            state: State::default(),
            removed: BTreeSet::new(),
            cache: Cache::new(cache_bytes_max),
            file_len: 0,
            synced_len: 0,
            buffer: Vec::new(),
            batches_changed: false,
            truncated: None,
            read_error: Cell::new(None),
            snapshots_wanted: RefCell::new(BTreeSet::new()),
            snapshot: None,
        }
    }

    /// `offsets[i]` is where the record of `items[i]` lies.
    pub(super) fn replay(&mut self, offset: u64, record: Record, offsets: &mut Vec<u64>) -> Result<(), Error> {
        let corrupt = |reason| Error::Corrupt { offset, reason };
        match record {
            Record::Start(_) => return Err(corrupt("a second start")),
            Record::Entry(entry) => {
                if entry.view < self.view_at(entry.index.saturating_sub(1)).unwrap_or_default()
                    || entry.view.0 > NUMBER_MAX
                {
                    return Err(corrupt("views that fall"));
                }
                if entry.index <= self.state.applied.max(self.start.index) || entry.index > self.last_index() + 1 {
                    return Err(corrupt("an entry out of place"));
                }
                self.replay_cut(entry.index - 1, offsets);
                offsets.push(offset);
                self.replay_entry(entry).map_err(corrupt)?;
            }
            Record::State(state) => {
                if state.commit > self.last_index() || state.applied > state.commit || state.applied < self.start.index
                {
                    return Err(corrupt("a state ahead of the entries"));
                }
                if state.view.0 > NUMBER_MAX || !state.membership.is_sound() {
                    return Err(corrupt("a state that contradicts itself"));
                }
                self.state = state;
            }
            Record::Cut { after } => {
                if after < self.state.applied.max(self.start.index) || after > self.last_index() {
                    return Err(corrupt("a cut out of place"));
                }
                self.replay_cut(after, offsets);
            }
            Record::Removed(id) => {
                self.removed.insert(id);
            }
        }
        Ok(())
    }

    fn replay_entry(&mut self, entry: EntryRecord) -> Result<(), &'static str> {
        let before = self.seqno_at(entry.index - 1).unwrap_or(self.start.seqno);
        let mut item = Item { view: entry.view, last: before, checksum: 0, kind: Kind::Empty };
        match entry.payload {
            Payload::Empty => {}
            Payload::Membership(bytes) => {
                parse_conf_change(&bytes).ok_or("a malformed membership change")?;
                item.kind = Kind::Membership;
                self.memberships.insert(entry.index, Bytes::from(bytes));
            }
            Payload::Batch { last, checksum } => {
                if last <= before || last.0 > NUMBER_MAX {
                    return Err("a batch without transactions");
                }
                item = Item { last, checksum, kind: Kind::Batch, ..item };
            }
        }
        self.items.push(item);
        Ok(())
    }

    fn replay_cut(&mut self, after: u64, offsets: &mut Vec<u64>) {
        let kept = usize::try_from(after - self.start.index).unwrap_or(usize::MAX);
        self.items.truncate(kept);
        self.memberships.split_off(&(after + 1));
        offsets.truncate(kept);
    }

    /// The first unapplied entry whose batch the ledger does not hold, or holds other bytes of. Applied ones were durable
    /// before, and are the ledger's own to check.
    fn first_missing_batch(&self) -> Option<u64> {
        (self.state.applied + 1..=self.last_index()).find(|index| {
            let (Some(item), Some(span)) = (self.item(*index), self.span_at(*index)) else { return false };
            let read = if self.batches.last() < span.last { None } else { self.batches.read(span).ok() };
            read.is_none_or(|bytes| checksum(0, &bytes) != item.checksum)
        })
    }

    fn cut_missing(&mut self, index: u64, offsets: &[u64]) -> Result<(), Error> {
        let position = usize::try_from(index - self.start.index - 1).unwrap_or(usize::MAX);
        let offset = offsets.get(position).copied().unwrap_or(0);
        if offset < self.synced_len {
            return Err(Error::Corrupt { offset, reason: "the ledger does not hold this entry's batch" });
        }
        Ok(self.cut_after(index - 1)?)
    }

    /// A commit index is recorded without waiting for the entries it covers: those that a crash took come again. Nor do entries wait for
    /// it, and a log that was copied to resume comes without: but a membership entry is proposed only once the one before it is
    /// committed and applied, so that two of them say it of the first. Without that, this replica could be elected in a
    /// configuration two steps behind that of others, whose majorities need not meet.
    fn bound_commit(&mut self) {
        let implied = self.memberships.keys().rev().nth(1).copied().unwrap_or_default();
        let commit = self.state.commit.max(implied).min(self.last_index());
        self.set_state(State { commit, ..self.state.clone() });
    }

    fn check_ledger_reaches(&self, index: u64) -> Result<(), Error> {
        let needed = self.seqno_at(index).unwrap_or(self.start.seqno);
        let found = self.batches.last();
        if found < needed { Err(Error::LedgerBehind { found, needed }) } else { Ok(()) }
    }

    /// Transactions that the log does not know were never acknowledged.
    fn cut_ledger(&mut self) -> Result<(), Error> {
        let last = self.seqno_at(self.last_index()).unwrap_or(self.start.seqno);
        if self.batches.last() > last {
            self.batches.truncate_after(last)?;
        }
        Ok(())
    }
}

pub(super) struct Scan {
    pub start: StartPoint,
    /// With their offsets, without the start.
    pub records: Vec<(u64, Record)>,
    /// Where the last good record ends.
    len: u64,
    /// The file was durable up to here, at least.
    pub(super) synced: u64,
}

pub(super) fn scan(file: &[u8]) -> Result<Scan, Error> {
    if file.get(..MAGIC.len()) != Some(MAGIC.as_slice()) {
        return Err(Error::Corrupt { offset: 0, reason: "not a consensus log" });
    }
    let mut position = MAGIC.len();
    let mut records = Vec::new();
    let mut synced = 0;
    while let Some(found) = decode_at(file, position) {
        records.push((position as u64, found.record));
        synced = synced.max(found.synced);
        position += found.len;
    }
    let tail = file.get(position..).unwrap_or_default();
    if synced_behind(tail, position) > position as u64 {
        return Err(Error::Corrupt { offset: position as u64, reason: "a damaged record that was durable" });
    }
    if records.is_empty() {
        return Err(Error::Corrupt { offset: MAGIC.len() as u64, reason: "no start" });
    }
    let (_, Record::Start(start)) = records.remove(0) else {
        return Err(Error::Corrupt { offset: MAGIC.len() as u64, reason: "no start" });
    };
    if [start.index, start.view.0, start.seqno.0].into_iter().any(|number| number > NUMBER_MAX) {
        return Err(Error::Corrupt { offset: MAGIC.len() as u64, reason: "a start out of range" });
    }
    Ok(Scan { start, records, len: position as u64, synced: synced.min(position as u64) })
}

fn decode_at(file: &[u8], position: usize) -> Option<Found> {
    Record::decode(file.get(position..)?, position as u64)
}

/// The highest `synced` of all good records behind a bad one.
fn synced_behind(tail: &[u8], tail_position: usize) -> u64 {
    let mut highest = 0;
    let mut at = 0;
    while let Some(step) = tail.get(at..).and_then(Record::find_marker) {
        at += step;
        match decode_at_tail(tail, at, tail_position) {
            Some(found) => {
                highest = highest.max(found.synced);
                at += found.len;
            }
            None => at += 1,
        }
    }
    highest
}

fn decode_at_tail(tail: &[u8], at: usize, tail_position: usize) -> Option<Found> {
    Record::decode(tail.get(at..)?, (tail_position + at) as u64)
}

#[cfg(test)]
mod tests {
    use std::io;

    use coco_disk::MemoryDisk;
    use coco_types::{ReplicaId, Seqno, View};

    use super::*;
    use crate::{BatchError, BatchSpan, Config, Consensus, Membership};

    /// A ledger that claims to hold whatever it is asked for.
    struct Anything;

    impl BatchStore for Anything {
        fn check(&self, _: &[u8]) -> Result<BatchSpan, BatchError> {
            Err(BatchError { reason: "not asked here".to_owned() })
        }

        fn misrooted(&self, _: Seqno, _: &[&[u8]]) -> Result<Option<BatchSpan>, BatchError> {
            Err(BatchError { reason: "not asked here".to_owned() })
        }

        fn append(&mut self, _: &[u8]) -> io::Result<BatchSpan> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn read(&self, _: BatchSpan) -> io::Result<Bytes> {
            Ok(Bytes::new())
        }

        fn truncate_after(&mut self, _: Seqno) -> io::Result<()> {
            Ok(())
        }

        fn last(&self) -> Seqno {
            Seqno(1 << 50)
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn membership(ids: &[u64]) -> Membership {
        Membership { voters: ids.iter().copied().map(ReplicaId).collect(), ..Membership::default() }
    }

    /// Whatever a host that knows the format may write.
    fn record(random: &mut impl FnMut(u64) -> u64) -> Record {
        let mut number = |near: u64| match random(40) {
            0 => u64::MAX - random(3),
            1 => (1 << 60) + random(2),
            _ => random(near),
        };
        let (index, view) = (number(6), View(number(3)));
        let payload = match number(4) {
            0 => Payload::Membership(vec![0x12, 0x02, 0x10, 0x03]),
            1 => Payload::Membership(vec![0xff; 3]),
            2 => Payload::Batch { last: Seqno(number(20)), checksum: checksum(0, &[]) },
            _ => Payload::Empty,
        };
        let (commit, applied, vote) = (number(6), number(4), number(4));
        let voters = if vote % 2 == 0 { membership(&[1, 2]) } else { membership(&[1]) };
        match number(6) {
            0 => Record::State(State { view, vote, commit, applied, was_member: true, membership: voters }),
            1 => Record::State(State { view, vote, commit, applied, was_member: false, membership: membership(&[]) }),
            2 => Record::Cut { after: index },
            3 => Record::Removed(ReplicaId(index)),
            _ => Record::Entry(EntryRecord { index, view, payload }),
        }
    }

    #[test]
    fn no_well_formed_records_make_opening_panic() {
        let mut state = 7_u64;
        let mut random = move |bound: u64| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 33) % bound.max(1)
        };
        let mut opened = 0;
        for _ in 0..20_000 {
            let mut bytes = MAGIC.to_vec();
            let index = if random(40) == 0 { u64::MAX } else { random(2) };
            let start = StartPoint { index, view: View(0), seqno: Seqno(0), membership: membership(&[1, 2]) };
            let state =
                State { commit: index, applied: index, membership: start.membership.clone(), ..State::default() };
            let mut records = vec![Record::Start(start), Record::State(state)];
            records.extend((0..random(6)).map(|_| record(&mut random)));
            for record in records {
                let offset = bytes.len() as u64;
                let synced = random(offset + 8);
                record.encode(&mut bytes, offset, synced);
            }
            let disk = MemoryDisk::new();
            disk.write(LOG_FILE, 0, &bytes).unwrap();
            let batches = Box::new(Anything);
            let config = Config::new(ReplicaId(1));
            let Ok(mut replica) = Consensus::open(config, Arc::new(disk), batches, Box::new(|| 3)) else { continue };
            opened += 1;
            for _ in 0..60 {
                replica.tick();
                let output = replica.take_output().unwrap();
                if let Some(persist) = output.persist {
                    replica.persisted(persist.number);
                }
                if let Some(committed) = output.committed.last() {
                    replica.applied(committed.index);
                }
            }
        }
        assert!(opened > 1_000, "only {opened} opened: the test proves little");
    }
}
