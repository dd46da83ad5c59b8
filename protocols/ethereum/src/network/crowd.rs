//! A crowd: accounts that a development network has from its first block on, so that it is as large as an old one without having lived.
//!
//! They come of their number alone. Their rows do not fit into one ledger transaction, so that they are written in parts, before block 0,
//! whose state root covers them.

use alloy_primitives::{Address, U256, keccak256};
use bytes::Bytes;

use crate::state::{ACCOUNT, Account, State};

/// Accounts in one ledger transaction: about five megabytes of it.
const ACCOUNTS_A_PART: u64 = 100_000;

/// The address of a number: the last 20 bytes of its hash.
pub fn crowd_member(number: u64) -> Address {
    Address::from_slice(&keccak256(U256::from(number).to_be_bytes::<32>())[12..])
}

/// How many parts so many accounts are written in.
pub(crate) fn crowd_parts(crowd: u64) -> u64 {
    crowd.div_ceil(ACCOUNTS_A_PART)
}

/// Writes a part: accounts of one wei each. Those that are there already keep what they have.
pub(crate) fn write_crowd(state: &mut dyn State, crowd: u64, part: u64) {
    let row = Account { balance: U256::ONE, ..Account::default() }.encode();
    let first = part.saturating_mul(ACCOUNTS_A_PART);
    for number in first..crowd.min(first.saturating_add(ACCOUNTS_A_PART)) {
        let address = crowd_member(number);
        if state.value(&ACCOUNT, address.as_slice()).is_none() {
            state.set(&ACCOUNT, Bytes::copy_from_slice(address.as_slice()), Some(row.clone()));
        }
    }
}
