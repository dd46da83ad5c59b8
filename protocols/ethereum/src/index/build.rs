//! Making the index: a group of blocks at a time, and then the merges that are due.

use alloy_primitives::{B256, keccak256};
use coco_protocol::{DerivedHistory, History, HistoryError};
use parking_lot::Mutex;

use super::page::{self, Entries};
use super::segment::{Merge, Segment};
use super::{Directory, FANOUT, INDEX, PROGRESS, Progress, directory_key, tag};
use crate::block::{BlockRecord, Touched};
use crate::state::{BLOCK, UNDO, Undo};

/// Pages that one piece of work makes.
const PAGES_PER_STEP: u32 = 64;

/// What is being made, on one node.
#[derive(Default)]
pub(super) struct Indexer {
    work: Mutex<Work>,
}

#[derive(Default)]
struct Work {
    /// What is stored, once it was found to fit the chain.
    progress: Option<Progress>,
    merging: Merging,
    /// The progress when all merges that are due are done.
    then: Progress,
}

/// A merge reads what was stored, so it begins with a piece of work of its own.
#[derive(Default)]
enum Merging {
    #[default]
    Nothing,
    Due(Segment),
    Going(Segment, Merge),
}

impl Indexer {
    /// Blocks above `number` are others now.
    pub fn go_back(&self, number: u64, history: &mut dyn DerivedHistory) -> Result<(), HistoryError> {
        let mut work = self.work.lock();
        let progress = work.progress(history)?;
        work.go_back(progress, number, history)
    }

    /// Does a piece of work, if the blocks up to `head` give enough for one; whether there is more.
    pub fn step(&self, head: u64, history: &mut dyn DerivedHistory) -> Result<bool, HistoryError> {
        let mut work = self.work.lock();
        let progress = work.progress(history)?;
        match std::mem::take(&mut work.merging) {
            Merging::Nothing => {}
            Merging::Due(segment) => {
                work.merging = Merging::Going(segment, Merge::begin(segment, history)?);
                return Ok(true);
            }
            Merging::Going(segment, mut merge) => {
                match merge.step(PAGES_PER_STEP, history)? {
                    true => work.completed(segment, history),
                    false => work.merging = Merging::Going(segment, merge),
                }
                return Ok(true);
            }
        }
        if progress.next.saturating_add(FANOUT) > head.saturating_add(1) {
            return Ok(false);
        }
        let segment = Segment { level: 1, number: progress.next / FANOUT };
        let Some((entries, last)) = group(&segment, history)? else { return Ok(false) };
        segment.keep(entries, history);
        work.then = Progress { next: segment.end(), last };
        work.completed(segment, history);
        Ok(true)
    }
}

impl Work {
    /// What is stored. What an earlier life of this node left counts only if it fits the chain.
    fn progress(&mut self, history: &dyn History) -> Result<Progress, HistoryError> {
        if let Some(progress) = self.progress {
            return Ok(progress);
        }
        let stored = history.record(&INDEX, PROGRESS)?.and_then(|record| Progress::decode(&record)).unwrap_or_default();
        let fits = stored.next > 0 && block(stored.next - 1, history)?.is_some_and(|(hash, _)| hash == stored.last);
        Ok(*self.progress.insert(if fits { stored } else { Progress::default() }))
    }

    /// Only whole groups that end at or below the block are kept.
    fn go_back(
        &mut self,
        progress: Progress,
        number: u64,
        history: &mut dyn DerivedHistory,
    ) -> Result<(), HistoryError> {
        self.merging = Merging::Nothing;
        let kept = number.saturating_add(1) / FANOUT * FANOUT;
        if kept < progress.next {
            let last = if kept == 0 { None } else { block(kept - 1, history)? };
            self.store(Progress { next: kept, last: last.map(|(hash, _)| hash).unwrap_or_default() }, history);
        }
        Ok(())
    }

    /// The next merge is due if a larger segment ends where this one does.
    fn completed(&mut self, segment: Segment, history: &mut dyn DerivedHistory) {
        match segment.parent().filter(|parent| parent.end() == segment.end()) {
            Some(parent) => self.merging = Merging::Due(parent),
            None => self.store(self.then, history),
        }
    }

    fn store(&mut self, progress: Progress, history: &mut dyn DerivedHistory) {
        self.progress = Some(progress);
        history.keep(&INDEX, PROGRESS.into(), progress.encode());
    }
}

/// The tags of a segment's blocks, and the hash of the last; `None` if a block is not there yet. Keeps the directories of those that need one.
fn group(segment: &Segment, history: &mut dyn DerivedHistory) -> Result<Option<(Entries, B256)>, HistoryError> {
    let mut entries = Entries::new();
    let mut last = B256::ZERO;
    for number in segment.first()..segment.end() {
        let Some((hash, record)) = block(number, history)? else { return Ok(None) };
        let undo = match history.record(&UNDO, &number.to_be_bytes())? {
            Some(record) => Undo::decode(&record),
            // What the genesis wrote replaced nothing.
            None => (number == 0).then(Undo::default),
        };
        let Some(undo) = undo else { return Ok(None) };
        let touched: Option<Vec<Touched>> =
            (0..record.transaction_count()).map(|index| record.touched(index)).collect();
        let Some(touched) = touched else { return Ok(None) };
        let tags = tag::of_block(&touched, &undo);
        let offset = (number - segment.first()) as u32;
        tags.into_iter().for_each(|tag| page::push(entries.entry(tag).or_default(), (offset, 1)));
        if let Some(directory) = Directory::of(&record, hash) {
            history.keep(&INDEX, directory_key(number).into(), directory);
        }
        last = hash;
    }
    Ok(Some((entries, last)))
}

fn block(number: u64, history: &dyn History) -> Result<Option<(B256, BlockRecord)>, HistoryError> {
    let record = history.record(&BLOCK, &number.to_be_bytes())?.and_then(BlockRecord::decode);
    Ok(record.map(|record| (keccak256(record.header_rlp()), record)))
}
