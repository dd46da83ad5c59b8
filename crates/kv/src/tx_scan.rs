//! Iteration inside a transaction: its own writes laid over its base version.

use std::collections::btree_map;
use std::iter::Peekable;
use std::ops::Bound;

use bytes::Bytes;
use coco_types::MapWrites;

use crate::interval::Interval;
use crate::read_set::Scanned;
use crate::scan::Scan;

/// Keys and values of one map in key order, as the transaction sees them.
pub struct TxScan<'a> {
    base: Peekable<Scan>,
    own: Peekable<btree_map::Range<'a, Bytes, Option<Bytes>>>,
    scanned: Option<&'a mut Scanned>,
    end: Option<Bytes>,
}

impl<'a> TxScan<'a> {
    pub(crate) fn new(
        base: Scan,
        own: Option<&'a MapWrites>,
        scanned: Option<&'a mut Scanned>,
        interval: Interval,
    ) -> Self {
        // `BTreeMap::range` panics on bounds in the wrong order.
        let own = own.filter(|_| !interval.is_empty()).unwrap_or(const { &MapWrites::new() });
        let end = interval.end.clone();
        let bounds = if interval.is_empty() {
            (Bound::Unbounded, Bound::Unbounded)
        } else {
            (Bound::Included(interval.start), interval.end.map_or(Bound::Unbounded, Bound::Excluded))
        };
        Self { base: base.peekable(), own: own.range(bounds).peekable(), scanned, end }
    }

    /// The next key in order with its value, `None` where the transaction removes it.
    fn next_write(&mut self) -> Option<(Bytes, Option<Bytes>)> {
        let own_first = match (self.base.peek(), self.own.peek()) {
            (Some((base, _)), Some((own, _))) => {
                if base == *own {
                    self.base.next();
                    true
                } else {
                    *own < base
                }
            }
            (_, own) => own.is_some(),
        };
        if own_first {
            self.own.next().map(|(key, value)| (key.clone(), value.clone()))
        } else {
            self.base.next().map(|(key, value)| (key, Some(value)))
        }
    }
}

impl Iterator for TxScan<'_> {
    type Item = (Bytes, Bytes);

    fn next(&mut self) -> Option<(Bytes, Bytes)> {
        loop {
            let next = self.next_write();
            if let Some(scanned) = self.scanned.as_deref_mut() {
                scanned.end = match (&next, &self.end) {
                    (Some((key, _)), _) => Bound::Included(key.clone()),
                    (None, Some(end)) => Bound::Excluded(end.clone()),
                    (None, None) => Bound::Unbounded,
                };
            }
            match next? {
                (key, Some(value)) => return Some((key, value)),
                (_, None) => continue,
            }
        }
    }
}
