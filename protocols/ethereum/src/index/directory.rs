//! Directories: where in a large block's record logs lie that somebody may look for.
//!
//! The index says which blocks hold a match. Where each block holds thousands of logs, nearly each holds some match of nearly everything, and
//! to read megabytes for each would take longer than anybody waits. So a large block's record is thought of as stretches of some
//! kilobytes, and its directory tells for each which addresses and topics are in it, by two bytes of a hash: what is read for nothing is one stretch
//! in hundreds.
//!
//! ```text
//!   directory = hash of the block (32) || header (range) || stretch*
//!   stretch   = bytes (range) || transaction (4) || its front (range) || first log (4) || marks (2) || mark (2)*
//!   range     = first (4), end (4): of the block's record; integers are big-endian
//! ```
//!
//! A stretch is some whole transactions, of which it names the first, and its front is empty; or some of the logs of one transaction that has
//! too many: then it names that one, its first log's index in the block, and the *front* of the transaction's fields.

use std::ops::Range;

use alloy_primitives::B256;
use bytes::Bytes;

use crate::block::{BlockRecord, LogRef, Logged, logged_in, logs_in};

/// Smaller records are read whole.
const LARGE_BYTES: usize = 64 << 10;
/// A stretch ends behind the log, or the transaction, with which it has as many.
const STRETCH_BYTES: usize = 16 << 10;
/// Below this number are the topics' positions.
const EMITTER: u8 = 0xff;

/// Stands for an address, or for a topic at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark([u8; 2]);

/// A directory, as it is kept.
#[derive(Clone, Debug)]
pub struct Directory {
    pub block: B256,
    /// The header's RLP in the block's record.
    pub header: Range<usize>,
    stretches: Bytes,
}

/// A stretch of a block's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch<'a> {
    pub bytes: Range<usize>,
    pub transaction: usize,
    /// Empty if the stretch is whole transactions.
    pub front: Range<usize>,
    pub first_log: u64,
    marks: &'a [[u8; 2]],
}

impl Mark {
    pub fn emitter(address: &alloy_primitives::Address) -> Self {
        Self::new(EMITTER, address.as_slice())
    }

    pub fn topic(position: usize, topic: &B256) -> Self {
        Self::new(u8::try_from(position).unwrap_or(EMITTER - 1), topic.as_slice())
    }

    /// Spreads what is different; whoever makes names that collide has his own stretches read.
    fn new(kind: u8, name: &[u8]) -> Self {
        let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let mut hash = mix(0, u64::from(kind) + 1);
        for word in name.chunks(8) {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            hash = mix(hash, u64::from_le_bytes(bytes));
        }
        let [first, second, ..] = mix(hash, 0).to_be_bytes();
        Self([first, second])
    }
}

impl Directory {
    /// The directory of a block, if it needs one: it is large, and has logs.
    pub(super) fn of(record: &BlockRecord, block: B256) -> Option<Bytes> {
        if record.bytes().len() < LARGE_BYTES {
            return None;
        }
        let mut building = Building { record, out: Vec::new(), open: None };
        building.out.extend_from_slice(block.as_slice());
        building.range(record.range_of(&record.header_rlp()))?;
        let before = building.out.len();
        for (transaction, logged) in (0..).zip(logged_in(record.transactions_rlp())) {
            building.transaction(transaction, &logged?)?;
        }
        building.close()?;
        (building.out.len() > before).then(|| building.out.into())
    }

    pub(super) fn decode(record: Bytes) -> Option<Self> {
        let mut rest = &record[..];
        let (block, after) = rest.split_first_chunk::<32>()?;
        rest = after;
        let header = read_range(&mut rest)?;
        Some(Self { block: block.into(), header, stretches: record.slice_ref(rest) })
    }

    /// The stretches that may hold a log with a mark of each of these groups, unless it is empty, and the bytes of all stretches. `None` if
    /// the directory is damaged.
    pub fn stretches(&self, groups: &[Vec<Mark>]) -> Option<(Vec<Stretch<'_>>, usize)> {
        let (mut rest, mut found, mut bytes) = (&self.stretches[..], Vec::new(), 0);
        while !rest.is_empty() {
            let stretch = Stretch::read(&mut rest)?;
            bytes += stretch.bytes.len();
            let holds = |mark: &Mark| stretch.marks.binary_search(&mark.0).is_ok();
            if groups.iter().all(|group| group.is_empty() || group.iter().any(holds)) {
                found.push(stretch);
            }
        }
        Some((found, bytes))
    }
}

impl<'a> Stretch<'a> {
    fn read(rest: &mut &'a [u8]) -> Option<Self> {
        let bytes = read_range(rest)?;
        let transaction = read_number(rest)?;
        let front = read_range(rest)?;
        let first_log = read_number(rest)? as u64;
        let (count, after) = rest.split_first_chunk::<2>()?;
        let (marks, after) = after.split_at_checked(2 * usize::from(u16::from_be_bytes(*count)))?;
        *rest = after;
        Some(Self { bytes, transaction, front, first_log, marks: marks.as_chunks().0 })
    }
}

/// A directory that is being made.
struct Building<'a> {
    record: &'a BlockRecord,
    out: Vec<u8>,
    open: Option<Open>,
}

/// The stretch that is being made.
struct Open {
    bytes: Range<usize>,
    transaction: u32,
    front: Range<usize>,
    first_log: u32,
    marks: Vec<Mark>,
}

impl Building<'_> {
    /// `None` if the record is damaged, or larger than what a directory can tell.
    fn transaction(&mut self, transaction: u32, logged: &Logged<'_>) -> Option<()> {
        if logged.logs.len() >= STRETCH_BYTES {
            self.close()?;
            return self.long_transaction(transaction, logged);
        }
        let bytes = self.record.range_of(logged.entry);
        if !logged.logs.is_empty() {
            let first_log = u32::try_from(logged.first_log_index).ok()?;
            let start = Open { bytes: bytes.clone(), transaction, front: 0..0, first_log, marks: Vec::new() };
            let open = self.open.get_or_insert(start);
            open.bytes.end = bytes.end;
            logs_in(logged.logs).try_for_each(|log| log.map(|log| open.mark(log)))?;
        }
        if self.open.as_ref().is_some_and(|open| open.bytes.len() >= STRETCH_BYTES) { self.close() } else { Some(()) }
    }

    /// One with more logs than a stretch has room for.
    fn long_transaction(&mut self, transaction: u32, logged: &Logged<'_>) -> Option<()> {
        let front = self.record.range_of(logged.front);
        let all = self.record.range_of(logged.logs);
        let (mut start, mut first_log) = (all.start, u32::try_from(logged.first_log_index).ok()?);
        let mut logs = logged.logs;
        while let Some(log) = LogRef::next(&mut logs) {
            let fresh = Open { bytes: start..start, transaction, front: front.clone(), first_log, marks: Vec::new() };
            let open = self.open.get_or_insert(fresh);
            open.mark(log?);
            start = all.end - logs.len();
            open.bytes.end = start;
            first_log = first_log.checked_add(1)?;
            if open.bytes.len() >= STRETCH_BYTES {
                self.close()?;
            }
        }
        self.close()
    }

    fn close(&mut self) -> Option<()> {
        let Some(mut open) = self.open.take() else { return Some(()) };
        open.marks.sort_unstable();
        open.marks.dedup();
        self.range(open.bytes)?;
        self.out.extend_from_slice(&open.transaction.to_be_bytes());
        self.range(open.front)?;
        self.out.extend_from_slice(&open.first_log.to_be_bytes());
        self.out.extend_from_slice(&u16::try_from(open.marks.len()).ok()?.to_be_bytes());
        self.out.extend(open.marks.iter().flat_map(|mark| mark.0));
        Some(())
    }

    fn range(&mut self, range: Range<usize>) -> Option<()> {
        for number in [range.start, range.end] {
            self.out.extend_from_slice(&u32::try_from(number).ok()?.to_be_bytes());
        }
        Some(())
    }
}

impl Open {
    fn mark(&mut self, log: LogRef<'_>) {
        self.marks.push(Mark::emitter(log.address));
        self.marks.extend(log.topics.iter().enumerate().map(|(position, topic)| Mark::topic(position, topic)));
    }
}

fn read_range(rest: &mut &[u8]) -> Option<Range<usize>> {
    Some(read_number(rest)?..read_number(rest)?)
}

fn read_number(rest: &mut &[u8]) -> Option<usize> {
    let (number, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    usize::try_from(u32::from_be_bytes(*number)).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use alloy_primitives::{Address, Log, keccak256};

    use super::*;
    use crate::block::transaction_of;
    use crate::testing::logging_block;

    fn log(number: u64) -> Log {
        let topics = vec![B256::repeat_byte(1), B256::left_padding_from(&number.to_be_bytes())];
        Log::new_unchecked(Address::repeat_byte(3), topics, vec![7; 32].into())
    }

    fn logs(numbers: Range<u64>) -> Vec<Log> {
        numbers.map(log).collect()
    }

    fn directory(record: &BlockRecord) -> Directory {
        Directory::decode(Directory::of(record, keccak256(record.header_rlp())).unwrap()).unwrap()
    }

    /// The numbers of the logs in a stretch, each with its transaction's index and its own in the block.
    fn numbers(record: &BlockRecord, stretch: &Stretch<'_>, out: &mut BTreeSet<(u64, usize, u64)>) {
        let number = |log: &LogRef<'_>| u64::from_be_bytes(log.topics.at(1).unwrap()[24..].try_into().unwrap());
        let bytes = &record.bytes()[stretch.bytes.clone()];
        if !stretch.front.is_empty() {
            assert!(transaction_of(&record.bytes()[stretch.front.clone()]).is_some());
            let found = (stretch.first_log..).zip(logs_in(bytes)).map(|(index, log)| (number(&log.unwrap()), index));
            out.extend(found.map(|(number, index)| (number, stretch.transaction, index)));
            return;
        }
        for (transaction, logged) in (stretch.transaction..).zip(logged_in(bytes)) {
            let logged = logged.unwrap();
            let found = (logged.first_log_index..).zip(logs_in(logged.logs));
            out.extend(found.map(|(index, log)| (number(&log.unwrap()), transaction, index)));
        }
    }

    #[test]
    fn every_log_is_in_the_stretches_that_its_marks_lead_to_and_those_are_few() {
        // Short ones, one without logs, one that fills several stretches, and short ones again.
        let mut transactions: Vec<Vec<Log>> = (0..300).map(|number| logs(number..number + 1)).collect();
        transactions[2].clear();
        transactions.push(logs(300..900));
        transactions.extend((900..1_000).map(|number| logs(number..number + 1)));
        let (record, included) = logging_block(transactions);
        let directory = directory(&record);
        assert_eq!(keccak256(&record.bytes()[directory.header.clone()]), directory.block);
        let mut expected = BTreeSet::new();
        for (transaction, included) in included.iter().enumerate() {
            for (index, log) in (included.first_log_index..).zip(&included.logs) {
                let number = u64::from_be_bytes(log.topics()[1][24..].try_into().unwrap());
                expected.insert((number, transaction, index));
            }
        }
        let (all, bytes) = directory.stretches(&[]).unwrap();
        let mut found = BTreeSet::new();
        all.iter().for_each(|stretch| numbers(&record, stretch, &mut found));
        assert_eq!(found, expected);
        assert!(all.len() > 8 && bytes < record.bytes().len());
        for wanted in &expected {
            let mark = Mark::topic(1, &B256::left_padding_from(&wanted.0.to_be_bytes()));
            let groups = [vec![Mark::emitter(&Address::repeat_byte(3))], Vec::new(), vec![mark]];
            let (stretches, _) = directory.stretches(&groups).unwrap();
            let mut found = BTreeSet::new();
            stretches.iter().for_each(|stretch| numbers(&record, stretch, &mut found));
            assert!(found.contains(wanted) && stretches.len() <= 3, "{wanted:?}");
        }
        let absent = [vec![Mark::emitter(&Address::repeat_byte(4))]];
        assert_eq!(directory.stretches(&absent).unwrap().0, []);
    }

    #[test]
    fn a_small_block_and_one_without_logs_have_none() {
        let none = |transactions: Vec<Vec<Log>>| {
            let (record, _) = logging_block(transactions);
            Directory::of(&record, B256::ZERO).is_none()
        };
        assert!(none(vec![logs(0..10)]));
        assert!(none(vec![Vec::new(); 600]));
        assert!(!none(vec![logs(0..1_000)]));
    }

    #[test]
    fn a_directory_that_is_cut_off_is_damaged() {
        let (record, _) = logging_block(vec![logs(0..1_000)]);
        let whole = Directory::of(&record, B256::ZERO).unwrap();
        let ends =
            |length: usize| Directory::decode(whole.slice(..length)).is_some_and(|cut| cut.stretches(&[]).is_some());
        let first = 32 + 8;
        assert!(ends(whole.len()) && ends(first));
        for cut in [0, 31, 39, first + 1, first + 20, whole.len() - 1] {
            assert!(!ends(cut), "{cut}");
        }
    }
}
