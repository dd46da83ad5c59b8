//! A chain that has been in use for long: many accounts, many blocks.
//!
//! Accounts are made hundreds at a time by a contract that pays a wei to each address of a row of numbers, so that ten million take
//! minutes; everything is executed, sealed and replicated as any other transaction. `coco dev --crowd` begins with the same accounts, which is faster. Blocks are made one transfer each, which a developer's
//! node does as fast as it can once its gas limit is that of one transfer.

use std::time::Instant;

use alloy_primitives::{Address, Bytes, TxKind, U256, hex};
use anyhow::{Context, ensure};
use coco_ethereum::network::crowd_member;

use super::load;
use super::target::Target;
use super::workload::{Payment, Workload, send_and_wait};
use super::{Options, What};
use crate::accounts;
use crate::bench::progress;

/// Pays a wei to the address of each number from the first word of its input on, as many as the second says:
/// the last 20 bytes of the number's hash.
///
/// ```text
///   i = calldata[0]; end = i + calldata[1]
///   do { mem[0] = i; call(gas, keccak(mem[0..32]), 1 wei); i += 1 } while (i < end)
/// ```
const CODE: &[u8] = &hex!(
    "60288060095f395ff3" // gives back the rest as the contract's code
    "6000356020358101"
    "5b8160005260008080806001" "6020600020" "5af150"
    "90600101" "90808210" "600857" "00"
);
const DEPLOYMENT_GAS: u64 = 200_000;
/// Accounts in one transaction, whose gas is below what Osaka allows (EIP-7825).
const ACCOUNTS_A_CALL: u64 = 460;
const CALL_GAS: u64 = 16_700_000;
/// Calls that are sent before their receipts are waited for.
const CALLS_AT_ONCE: u64 = 100;
/// Coprime with every number of accounts that ends in a zero or is below it: walking in such steps meets each once.
const STEP: u64 = 7_368_787;
/// Gas of a plain transfer: of a block that holds one.
const TRANSFER_GAS: u64 = 21_000;
/// Blocks that are made in one round.
const BLOCKS_AT_ONCE: u64 = 100_000;

/// `count` members of a crowd, no two the same, far from each other in every order.
pub fn members(crowd: u64, count: usize) -> Vec<Address> {
    (0..crowd.min(count as u64)).map(|turn| crowd_member(turn.wrapping_mul(STEP) % crowd)).collect()
}

/// Makes the accounts of a crowd that are not there yet; gives their number.
pub fn gather(target: &mut Target, options: &Options, crowd: u64) -> anyhow::Result<u64> {
    let present = present(target, crowd)?;
    if present == crowd {
        return Ok(0);
    }
    let bank = accounts::derive(&options.mnemonic, 1)?.pop().context("the mnemonic has an account")?;
    let fee_cap = target.fee_cap()?;
    let mut nonce = target.nonces(&[bank.address])?[0];
    let deployment = Payment { to: TxKind::Create, value: U256::ZERO, input: CODE.into(), gas: DEPLOYMENT_GAS };
    send_and_wait(target, &bank, nonce, &[deployment], fee_cap)?;
    let contract = bank.address.create(nonce);
    nonce += 1;
    let bar = progress::bar(crowd - present, "accounts");
    let mut first = present;
    while first < crowd {
        let calls = calls(contract, first, crowd);
        send_and_wait(target, &bank, nonce, &calls, fee_cap)?;
        nonce += calls.len() as u64;
        first = crowd.min(first + CALLS_AT_ONCE * ACCOUNTS_A_CALL);
        bar.set_position(first - present);
    }
    bar.finish_and_clear();
    let balances = target.balances(&members(crowd, 1_000))?;
    ensure!(balances.iter().all(|balance| !balance.is_zero()), "some of the accounts were not made");
    Ok(crowd - present)
}

/// Has a developer's node make blocks of one transfer each until the chain has that many.
pub fn grow(target: &mut Target, options: &Options, blocks: u64) -> anyhow::Result<()> {
    let newest = target.block_number()?;
    let gas_limit = target.block(newest)?.gas_limit;
    loop {
        let head = target.block_number()?;
        let missing = blocks.saturating_sub(head).min(BLOCKS_AT_ONCE);
        if missing == 0 {
            return Ok(());
        }
        let round = Options { what: What::Transfers, ..options.clone() };
        let workload = Workload::prepare(target, &round, usize::try_from(missing)?)?;
        set_gas_limit(target, TRANSFER_GAS)?;
        let started = Instant::now();
        let sent = load::send_all(target, &workload, &round);
        set_gas_limit(target, gas_limit.to())?;
        sent?;
        let (newest, seconds) = (target.block_number()?, started.elapsed().as_secs_f64());
        eprintln!(
            "{}: block {newest} of {blocks}, {:.0} blocks a second",
            target.url,
            (newest - head) as f64 / seconds
        );
    }
}

fn set_gas_limit(target: &mut Target, gas: u64) -> anyhow::Result<()> {
    let what = "blocks of one transfer need a developer's node: coco dev --nodes 1";
    let _: bool = target.client.call("evm_setBlockGasLimit", (format!("{gas:#x}"),)).context(what)?;
    Ok(())
}

/// How many of the crowd exist: they are made in order.
fn present(target: &mut Target, crowd: u64) -> anyhow::Result<u64> {
    let (mut there, mut absent) = (0, crowd);
    while there < absent {
        let middle = there + (absent - there) / 2;
        if target.balances(&[crowd_member(middle)])?.iter().all(U256::is_zero) {
            absent = middle
        } else {
            there = middle + 1
        }
    }
    Ok(there)
}

fn calls(contract: Address, first: u64, crowd: u64) -> Vec<Payment> {
    let firsts = (0..CALLS_AT_ONCE).map(|call| first + call * ACCOUNTS_A_CALL).take_while(|first| *first < crowd);
    let call = |first: u64| {
        let count = U256::from(ACCOUNTS_A_CALL.min(crowd - first));
        let input: Bytes = [U256::from(first).to_be_bytes::<32>(), count.to_be_bytes::<32>()].concat().into();
        Payment { to: TxKind::Call(contract), value: count, input, gas: CALL_GAS }
    };
    firsts.map(call).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn members_of_a_crowd_are_met_once_each() {
        let met: BTreeSet<Address> = members(1_000, 5_000).into_iter().collect();
        assert_eq!(met, (0..1_000).map(crowd_member).collect());
    }

    #[test]
    fn calls_cover_what_is_missing_and_no_more() {
        let calls = calls(Address::ZERO, 1_000, 2_000);
        assert_eq!(calls.iter().map(|call| call.value).sum::<U256>(), U256::from(1_000));
        assert_eq!(calls.len(), 3);
    }
}
