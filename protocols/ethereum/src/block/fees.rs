//! The base fee of the block that comes next, at whatever time it comes.
//!
//! EIP-1559 lets the base fee fall with every block that is less than half full. Here nobody makes empty blocks, so that a base fee
//! which load has driven above everything that is offered would stay there for ever. Therefore time counts as the empty blocks that
//! could have been made in it: after the parent the base fee falls by an eighth for each block interval that passed without a
//! block. The interval that the next block itself takes is not counted, so that blocks without a pause between them follow
//! EIP-1559 to the wei. The times are those of the seals, which the blocks' records keep: anybody can check the fee.

use alloy_consensus::Header;
use coco_types::limits;

use super::next_base_fee;
use crate::network::NetworkConfig;

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextBaseFee {
    /// Right after the parent.
    first: u64,
    /// When it begins to fall and how often it falls; `None` if it stays.
    falls: Option<Falls>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Falls {
    parent_ms: u64,
    interval_ms: u64,
}

impl NextBaseFee {
    /// `sealed_ms`: when the parent was sealed, 0 for imported blocks, after which time does not count.
    pub fn new(config: &NetworkConfig, parent: &Header, sealed_ms: u64) -> Self {
        if let Some(fixed) = config.base_fee {
            return Self { first: fixed, falls: None };
        }
        // Networks that seal at once have no interval of their own.
        let interval_ms = match config.block_interval_ms {
            0 => limits::BLOCK_INTERVAL_MS,
            interval_ms => interval_ms,
        };
        let falls = (sealed_ms > 0).then_some(Falls { parent_ms: sealed_ms, interval_ms });
        Self { first: next_base_fee(parent), falls }
    }

    /// The base fee of a block opened at this time.
    pub fn at(&self, now_ms: u64) -> u64 {
        let Some(falls) = self.falls else { return self.first };
        let intervals = now_ms.saturating_sub(falls.parent_ms) / falls.interval_ms;
        let mut fee = self.first;
        // It ends where an eighth is less than one wei: after some three hundred steps at most.
        for _ in 1..intervals {
            let lower = after_empty_block(fee);
            if lower == fee {
                break;
            }
            fee = lower;
        }
        fee
    }

    /// From when on the base fee is not above `fee_cap`; `None` if it never is.
    pub fn payable_from_ms(&self, fee_cap: u128) -> Option<u64> {
        let (mut fee, mut skipped) = (self.first, 0);
        while u128::from(fee) > fee_cap {
            let lower = after_empty_block(fee);
            if lower == fee {
                return None;
            }
            (fee, skipped) = (lower, skipped + 1);
        }
        match (skipped, self.falls) {
            (0, _) => Some(0),
            (_, Some(falls)) => Some(falls.parent_ms.saturating_add((skipped + 1) * falls.interval_ms)),
            (_, None) => None,
        }
    }
}

/// EIP-1559 with no gas used.
fn after_empty_block(fee: u64) -> u64 {
    fee - fee / 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEALED_MS: u64 = 1_000_000;

    fn header(base_fee: u64, gas_limit: u64, gas_used: u64) -> Header {
        Header { base_fee_per_gas: Some(base_fee), gas_limit, gas_used, ..Header::default() }
    }

    fn config(block_interval_ms: u64) -> NetworkConfig {
        NetworkConfig { block_interval_ms, ..NetworkConfig::default() }
    }

    proptest! {
        #[test]
        fn time_without_blocks_counts_as_empty_blocks(
            fee in 0u64..1 << 50,
            gas_limit in 21_000u64..1 << 40,
            fullness in 0u64..=100,
            interval_ms in 1u64..10_000,
            intervals in 0u64..500,
            rest in 0u64..10_000,
        ) {
            let parent = header(fee, gas_limit, gas_limit / 100 * fullness);
            let next = NextBaseFee::new(&config(interval_ms), &parent, SEALED_MS);
            let mut newest = parent;
            for _ in 1..intervals {
                newest = header(next_base_fee(&newest), gas_limit, 0);
            }
            prop_assert_eq!(next.at(SEALED_MS + intervals * interval_ms + rest % interval_ms), next_base_fee(&newest));
        }

        #[test]
        fn whoever_can_ever_pay_is_told_the_first_moment(
            fee in 0u64..1 << 60, fee_cap in 0u128..1 << 60, interval_ms in 0u64..1_000,
        ) {
            let next = NextBaseFee::new(&config(interval_ms), &header(fee, 30_000_000, 30_000_000), SEALED_MS);
            match next.payable_from_ms(fee_cap) {
                Some(0) => prop_assert!(u128::from(next.at(SEALED_MS)) <= fee_cap),
                Some(from_ms) => {
                    prop_assert!(u128::from(next.at(from_ms)) <= fee_cap);
                    prop_assert!(u128::from(next.at(from_ms - 1)) > fee_cap);
                }
                None => prop_assert!(u128::from(next.at(u64::MAX)) > fee_cap && fee_cap < 8),
            }
        }
    }

    #[test]
    fn a_fixed_base_fee_and_one_after_an_imported_block_do_not_fall() {
        let parent = header(1_000, 30_000_000, 15_000_000);
        let fixed = NetworkConfig { base_fee: Some(7), ..config(100) };
        assert_eq!(NextBaseFee::new(&fixed, &parent, SEALED_MS).at(u64::MAX), 7);
        assert_eq!(NextBaseFee::new(&fixed, &parent, SEALED_MS).payable_from_ms(6), None);
        assert_eq!(NextBaseFee::new(&config(100), &parent, 0).at(u64::MAX), 1_000);
    }
}
