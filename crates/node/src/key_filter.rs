//! Which keys a part of the history store may hold: a Bloom filter for each first byte of keys.
//!
//! Keys are blinded, so that their own bytes are as good as hashes of them. What a filter does not know was never counted, and nobody need look for it in
//! the store: neither who adds to it, nor who is asked for what is not there. What it knows and the store lacks was taken out, or is one of the few keys that
//! it takes for others.

use coco_ledger::BlindedKey;

/// So few keys are taken for others that looking for them costs nothing: one of two hundred at most.
const BITS_A_KEY: u64 = 12;
/// Of one part; all 256 of them make 32 MiB, for twenty million keys. Whoever holds more goes without.
const PART_BITS_MAX: u64 = 1 << 20;
const PART_BITS_MIN: u64 = 1 << 9;

/// See the module's text.
#[derive(Debug)]
pub struct KeyFilter {
    bits: Vec<u64>,
    keys: u64,
}

impl KeyFilter {
    /// With room for twice as many; `None`: they are too many.
    pub fn of(keys: u64) -> Option<Self> {
        let bits = keys.saturating_mul(2 * BITS_A_KEY).next_power_of_two().clamp(PART_BITS_MIN, PART_BITS_MAX);
        let words = usize::try_from(bits / u64::from(u64::BITS)).ok()?;
        let filter = Self { bits: vec![0; words], keys: 0 };
        (keys < filter.keys_max()).then_some(filter)
    }

    /// `false` if it is full, and says less with every further key.
    pub fn has_room(&self) -> bool {
        self.keys < self.keys_max()
    }

    pub fn insert(&mut self, key: &BlindedKey) {
        for (word, bit) in self.places(key) {
            self.bits[word] |= bit;
        }
        self.keys += 1;
    }

    /// Certainly not, or perhaps.
    pub fn may_hold(&self, key: &BlindedKey) -> bool {
        self.places(key).iter().all(|(word, bit)| self.bits[*word] & bit != 0)
    }

    fn keys_max(&self) -> u64 {
        self.bits.len() as u64 * u64::from(u64::BITS) / BITS_A_KEY
    }

    /// Four of them, from bytes behind the one that all keys of the part have in common.
    fn places(&self, key: &BlindedKey) -> [(usize, u64); 4] {
        [4, 8, 12, 16].map(|at| {
            let place = u32::from_le_bytes([key[at], key[at + 1], key[at + 2], key[at + 3]]) as usize;
            ((place / 64) % self.bits.len(), 1 << (place % 64))
        })
    }
}

#[cfg(test)]
mod tests {
    use coco_crypto::sha256;

    use super::*;

    fn key(number: u32) -> BlindedKey {
        sha256(&number.to_le_bytes()).0
    }

    #[test]
    fn what_was_put_in_is_known_and_hardly_anything_else() {
        let mut filter = KeyFilter::of(500).unwrap();
        (0..1000).for_each(|number| filter.insert(&key(number)));
        assert!((0..1000).all(|number| filter.may_hold(&key(number))));
        let mistaken = (1000..21_000).filter(|number| filter.may_hold(&key(*number))).count();
        assert!(mistaken < 100, "{mistaken} of 20000");
    }

    #[test]
    fn a_filter_says_when_it_is_full_and_there_is_none_for_too_many_keys() {
        let mut filter = KeyFilter::of(0).unwrap();
        let mut held = 0;
        while filter.has_room() {
            filter.insert(&key(held));
            held += 1;
        }
        assert_eq!(u64::from(held), PART_BITS_MIN / BITS_A_KEY);
        assert!(KeyFilter::of(PART_BITS_MAX / BITS_A_KEY - 1).is_some_and(|filter| filter.has_room()));
        assert!(KeyFilter::of(PART_BITS_MAX / BITS_A_KEY).is_none());
    }
}
