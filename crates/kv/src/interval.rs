//! A range of keys in one form: from a key up to, not including, another.
//!
//! Every range of byte strings can be written so, because the least string after `k` is `k` with a zero byte.

use std::ops::{Bound, RangeBounds};

use bytes::Bytes;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Interval {
    pub start: Bytes,
    /// `None`: to the end of the map.
    pub end: Option<Bytes>,
}

impl Interval {
    pub fn whole() -> Self {
        Self { start: Bytes::new(), end: None }
    }

    pub fn new<'a>(bounds: impl RangeBounds<&'a [u8]>) -> Self {
        let start = match bounds.start_bound() {
            Bound::Included(key) => Bytes::copy_from_slice(key),
            Bound::Excluded(key) => after(key),
            Bound::Unbounded => Bytes::new(),
        };
        let end = match bounds.end_bound() {
            Bound::Included(key) => Some(after(key)),
            Bound::Excluded(key) => Some(Bytes::copy_from_slice(key)),
            Bound::Unbounded => None,
        };
        Self { start, end }
    }

    pub fn prefix(prefix: &[u8]) -> Self {
        // The first string after all that start with the prefix: the prefix with its last byte below 255 raised by one.
        let raised = prefix.iter().rposition(|byte| *byte < u8::MAX).map(|last| {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            Bytes::from(end)
        });
        Self { start: Bytes::copy_from_slice(prefix), end: raised }
    }

    /// No key can be in it. Bounds from outside may well be in the wrong order.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    pub fn ends_after(&self, key: &[u8]) -> bool {
        self.end.as_ref().is_none_or(|end| key < &**end)
    }
}

/// The least key after `key`.
pub(crate) fn after(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    Bytes::from(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_first_key_without_it() {
        assert_eq!(Interval::prefix(b"ab").end.as_deref(), Some(&b"ac"[..]));
        assert_eq!(Interval::prefix(b"a\xff\xff").end.as_deref(), Some(&b"b"[..]));
        assert_eq!(Interval::prefix(b"\xff").end, None);
        assert_eq!(Interval::prefix(b"").end, None);
    }

    #[test]
    fn bounds_in_the_wrong_order_hold_nothing() {
        assert!(Interval::new(&b"b"[..]..&b"a"[..]).is_empty());
        assert!(Interval::new(&b"a"[..]..&b"a"[..]).is_empty());
        assert!(!Interval::new(&b"a"[..]..=&b"a"[..]).is_empty());
    }
}
