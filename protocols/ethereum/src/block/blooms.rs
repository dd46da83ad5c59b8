//! Blooms of a block's logs. Most of them name the same few contracts, events and accounts: each is hashed once.

use alloy_primitives::map::HashMap;
use alloy_primitives::{Address, B256, Bloom, Log, keccak256};

/// What was hashed for a block so far.
#[derive(Default)]
pub(super) struct Blooms {
    addresses: HashMap<Address, B256>,
    topics: HashMap<B256, B256>,
}

impl Blooms {
    pub fn of(&mut self, logs: &[Log]) -> Bloom {
        let mut bloom = Bloom::ZERO;
        for log in logs {
            bloom.m3_2048_hashed(self.addresses.entry(log.address).or_insert_with_key(|name| keccak256(name)));
            for topic in log.topics() {
                bloom.m3_2048_hashed(self.topics.entry(*topic).or_insert_with_key(|name| keccak256(name)));
            }
        }
        bloom
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_gives_the_same_bloom_as_hashing_everything() {
        let log = |address: u8, topics: &[u8]| {
            let topics = topics.iter().map(|topic| B256::with_last_byte(*topic)).collect();
            Log::new_unchecked(Address::with_last_byte(address), topics, Default::default())
        };
        let mut blooms = Blooms::default();
        for logs in [vec![], vec![log(1, &[1, 2])], vec![log(2, &[2]), log(1, &[1, 3])], vec![log(1, &[1, 2])]] {
            assert_eq!(blooms.of(&logs), logs.iter().collect::<Bloom>());
        }
    }
}
