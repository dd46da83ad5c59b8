//! What the log knows of the ledger, asked before the ledger is opened.
//!
//! The ledger's files cannot tell a torn tail from damage by themselves. The log can: a batch whose entry was durable was durable
//! itself, since its files are synced first.

use coco_disk::Disk;
use coco_types::Seqno;

use super::LOG_FILE;
use super::record::{Payload, Record};
use super::recovery::scan;
use crate::Error;

/// The last transaction that was synced for certain; `None` if there is no log. Changes nothing.
pub fn durable_seqno(disk: &dyn Disk) -> Result<Option<Seqno>, Error> {
    if !disk.exists(LOG_FILE)? {
        return Ok(None);
    }
    let scan = scan(&disk.read_all(LOG_FILE)?)?;
    let start = scan.start;
    // Of each entry: where its record lies, and the last transaction at or below it.
    let mut entries: Vec<(u64, Seqno)> = Vec::new();
    for (offset, record) in scan.records {
        let kept = |index: u64| usize::try_from(index.saturating_sub(start.index)).unwrap_or(usize::MAX);
        match record {
            Record::Entry(entry) => {
                entries.truncate(kept(entry.index.saturating_sub(1)));
                let before = entries.last().map_or(start.seqno, |(_, last)| *last);
                let last = if let Payload::Batch { last, .. } = entry.payload { last } else { before };
                entries.push((offset, last));
            }
            Record::Cut { after } => entries.truncate(kept(after)),
            Record::Start(_) | Record::State(_) | Record::Removed(_) => {}
        }
    }
    let durable = entries.iter().take_while(|(offset, _)| *offset < scan.synced).last();
    Ok(Some(durable.map_or(start.seqno, |(_, last)| *last)))
}
