use std::collections::BTreeMap;

use alloy_primitives::B256;
use bytes::Bytes;
use coco_protocol::{DerivedHistory, History, HistoryError};
use coco_types::MapName;

use super::page::{self, Entries};
use super::segment::{Merge, Segment};
use super::{FANOUT, INDEX, Index, PROGRESS, Progress, Tag};

#[derive(Default)]
struct Store(BTreeMap<(MapName, Bytes), Bytes>);

impl History for Store {
    fn record(&self, map: &MapName, key: &[u8]) -> Result<Option<Bytes>, HistoryError> {
        Ok(self.0.get(&(map.clone(), Bytes::copy_from_slice(key))).cloned())
    }
}

impl DerivedHistory for Store {
    fn keep(&mut self, map: &MapName, key: Bytes, value: Bytes) {
        self.0.insert((map.clone(), key), value);
    }
}

/// Spread as hashes are.
fn tag(name: u64) -> Tag {
    Tag::row(&name.to_be_bytes())
}

/// Whether a block has a name: some often, some rarely, one always.
fn has(block: u64, name: u64) -> bool {
    name == 0 || (block * 7919).is_multiple_of(name + 1) || block / 1000 == name
}

fn built(store: &mut Store, blocks: u64, names: u64) {
    for number in 0..blocks / FANOUT {
        let segment = Segment { level: 1, number };
        let mut entries = Entries::new();
        for block in segment.first()..segment.end() {
            let offset = (block - segment.first()) as u32;
            for name in (0..names).filter(|name| has(block, *name)) {
                page::push(entries.entry(tag(name)).or_default(), (offset, 1));
            }
        }
        segment.keep(entries, store);
        let mut complete = segment;
        while let Some(parent) = complete.parent().filter(|parent| parent.end() == complete.end()) {
            let mut merge = Merge::begin(parent, store).unwrap();
            while !merge.step(1, store).unwrap() {}
            complete = parent;
        }
    }
    let progress = Progress { next: blocks / FANOUT * FANOUT, last: B256::repeat_byte(1) };
    store.keep(&INDEX, PROGRESS.into(), progress.encode());
}

#[test]
fn what_is_looked_up_is_what_a_scan_finds() {
    let (mut store, index) = (Store::default(), Index::default());
    let (blocks, names) = (5_003, 900);
    built(&mut store, blocks, names);
    let next = index.next(&store, |_| Some(B256::repeat_byte(1))).unwrap();
    assert_eq!(next, 4_992);
    let view = index.view(&store, next);
    for name in [0, 1, 2, 3, 17, 250, 899] {
        for from in [0, 1, 15, 16, 255, 256, 257, 4_095, 4_096, 4_097, 4_991, 4_992, 9_000] {
            let scanned = (from..next).find(|block| has(*block, name));
            assert_eq!(view.first(tag(name), from).unwrap(), scanned, "{name} from {from}");
        }
        let groups = [vec![tag(name), tag(5)], vec![tag(3), tag(40)]];
        let (mut found, mut from) = (Vec::new(), 300);
        while let Some(some) = view.some(&groups, &mut from).unwrap() {
            found.extend(some);
        }
        let both = |block: &u64| (has(*block, name) || has(*block, 5)) && (has(*block, 3) || has(*block, 40));
        assert_eq!(found, (300..next).filter(both).collect::<Vec<_>>());
    }
    assert_eq!(view.first(tag(names + 1), 0).unwrap(), None);
    let (mut backwards, mut before) = (Vec::new(), 4_500);
    while let Some(some) = view.some_before(&[tag(17), tag(33)], &mut before).unwrap() {
        backwards.extend(some);
    }
    let either = |block: &u64| has(*block, 17) || has(*block, 33);
    assert_eq!(backwards, (0..4_500).rev().filter(either).collect::<Vec<_>>());

    let mut since = BTreeMap::new();
    let note = |tag, block| {
        since.entry(tag).or_insert(block);
        Ok::<(), HistoryError>(())
    };
    view.rows_since(2_000, note).unwrap();
    let first = |name| (2_000..next).find(|block| has(*block, name)).map(|block| (tag(name), block));
    assert_eq!(since, (0..names).filter_map(first).collect());
}

#[test]
fn an_index_of_another_chain_does_not_count() {
    let (mut store, index) = (Store::default(), Index::default());
    built(&mut store, 64, 10);
    assert_eq!(index.next(&store, |_| Some(B256::repeat_byte(2))).unwrap(), 0);
    assert_eq!(index.next(&Store::default(), |_| None).unwrap(), 0);
}

#[test]
fn a_page_reads_back_and_a_damaged_one_is_noticed() {
    let mut entries = Entries::new();
    entries.insert(tag(1), vec![(0, 1), (3, 200), (65_000, 536)]);
    entries.insert(tag(2), vec![(15, 1)]);
    let encoded = page::encode(&entries);
    let mut read = Entries::new();
    page::each(&encoded, |tag, runs| drop(read.insert(tag, runs))).unwrap();
    assert_eq!(read, entries);
    assert_eq!(page::find(&encoded, tag(2)), Some(vec![(15, 1)]));
    assert_eq!(page::find(&encoded, tag(3)), Some(vec![]));
    let whole = |page: &[u8]| page::each(page, |_, _| {}).is_some();
    let ends: Vec<usize> = (0..=encoded.len()).filter(|length| whole(&encoded[..*length])).collect();
    assert_eq!(ends.len(), 3, "only between entries");
    assert!(!whole(&[0xff; 40]));
}

#[test]
fn the_index_keeps_its_encoding() {
    let mut store = Store::default();
    built(&mut store, 64, 40);
    let all: Vec<u8> = store.0.iter().flat_map(|((_, key), value)| [&key[..], &value[..]].concat()).collect();
    let digest = coco_crypto::sha256(&all).to_string();
    assert_eq!(digest, "dc1ad8d7a6e223a4f08b46a5ee56ae417a08c290fc3f88c06cfa0f32dbbde3cb");
}
