//! The bounds between leaves: short byte strings, kept in place.
//!
//! A lookup compares the key with a dozen of these. In place they are a few cache lines; as pointers to keys each would be
//! a miss somewhere else in memory.

use std::borrow::Borrow;
use std::cmp::Ordering;

const INLINE_BYTES_MAX: usize = 30;

#[derive(Clone)]
pub(crate) enum Separator {
    Inline(u8, [u8; INLINE_BYTES_MAX]),
    Long(Box<[u8]>),
}

impl Separator {
    /// Before every key.
    pub const LEAST: Self = Self::Inline(0, [0; INLINE_BYTES_MAX]);

    /// The shortest string that is above `left` and not above `right`, which is greater.
    pub fn between(left: &[u8], right: &[u8]) -> Self {
        let shortest = &right[..=shared_prefix(left, right)];
        if shortest.len() > INLINE_BYTES_MAX {
            return Self::Long(Box::from(shortest));
        }
        let mut bytes = [0; INLINE_BYTES_MAX];
        bytes[..shortest.len()].copy_from_slice(shortest);
        Self::Inline(shortest.len() as u8, bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline(length, bytes) => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }
}

/// The length of the longest prefix that both have.
pub(crate) fn shared_prefix(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

impl Borrow<[u8]> for Separator {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for Separator {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Separator {}

impl PartialOrd for Separator {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Separator {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separator_is_the_shortest_string_above_the_left_and_not_above_the_right() {
        let between = |left: &[u8], right: &[u8]| Separator::between(left, right).as_bytes().to_vec();
        assert_eq!(between(b"abcx", b"abdy"), b"abd");
        assert_eq!(between(b"ab", b"abc"), b"abc");
        assert_eq!(between(b"", b"\0"), b"\0");
        let long = [b'k'; 60];
        assert_eq!(between(&long[..50], &long), long[..51]);
    }
}
