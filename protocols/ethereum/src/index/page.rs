//! Pages: tags with the blocks they stand for.
//!
//! ```text
//!   page  = entry*                          in the order of tags
//!   entry = tag (8 bytes, big-endian) || number of runs || (gap since the run before, blocks in the run less one)*
//! ```
//!
//! Numbers are LEB128; blocks are counted from the segment's first. A tag that stands in every block is one run.

use std::collections::BTreeMap;

use super::Tag;

/// Blocks, as runs: first block and number of blocks, counted from the segment's first.
pub(super) type Runs = Vec<(u32, u32)>;
/// A page that is being made.
pub(super) type Entries = BTreeMap<Tag, Runs>;

/// Adds a run that begins at or behind the end of those that are there.
pub(super) fn push(runs: &mut Runs, (first, blocks): (u32, u32)) {
    match runs.last_mut() {
        Some((last_first, last_blocks)) if *last_first + *last_blocks >= first => {
            *last_blocks = (*last_blocks).max(first + blocks - *last_first);
        }
        _ => runs.push((first, blocks)),
    }
}

pub(super) fn encode(entries: &Entries) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * 12);
    for (tag, runs) in entries {
        out.extend_from_slice(&tag.0.to_be_bytes());
        number(&mut out, runs.len() as u64);
        let mut end = 0;
        for (first, blocks) in runs {
            number(&mut out, u64::from(first - end));
            number(&mut out, u64::from(blocks - 1));
            end = first + blocks;
        }
    }
    out
}

/// Calls back with each entry; `None` if the page is damaged.
pub(super) fn each(mut page: &[u8], mut visit: impl FnMut(Tag, Runs)) -> Option<()> {
    while let Some((tag, rest)) = page.split_first_chunk::<8>() {
        page = rest;
        let mut runs = Vec::new();
        let mut end = 0u32;
        for _ in 0..read_number(&mut page)? {
            let first = end.checked_add(u32::try_from(read_number(&mut page)?).ok()?)?;
            let blocks = u32::try_from(read_number(&mut page)?).ok()?.checked_add(1)?;
            end = first.checked_add(blocks)?;
            runs.push((first, blocks));
        }
        visit(Tag(u64::from_be_bytes(*tag)), runs);
    }
    page.is_empty().then_some(())
}

/// The blocks of one tag; none if it is not there.
pub(super) fn find(page: &[u8], tag: Tag) -> Option<Runs> {
    let mut found = Runs::new();
    each(page, |other, runs| {
        if other == tag {
            found = runs;
        }
    })?;
    Some(found)
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_number(page: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = page.split_first()?;
        *page = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
