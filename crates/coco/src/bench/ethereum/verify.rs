//! After a run: do the balances add up to the wei, and do receipts say the same?

use std::collections::HashSet;
use std::ops::RangeInclusive;

use alloy_primitives::{B256, U256};
use anyhow::{Context, ensure};

use super::target::Target;
use super::workload::Workload;

/// Receipts looked at. All would take minutes on servers whose receipts cost more the larger their block is; and that every
/// transfer succeeded is already in the balances.
const RECEIPTS_MAX: usize = 1_000;

/// Fails unless the recipients got what was sent, the senders paid that and the fees of these `blocks`, no more
/// and no less, and the receipts of transfers from the whole run say that they succeeded.
pub fn all_paid(target: &mut Target, workload: &Workload, blocks: RangeInclusive<u64>) -> anyhow::Result<()> {
    let hashes: Vec<B256> = workload.transfers.iter().map(|transfer| transfer.hash).collect();
    let step = hashes.len().div_ceil(RECEIPTS_MAX).max(1);
    let receipts = target.receipts(&hashes.into_iter().step_by(step).collect::<Vec<_>>())?;
    let failed = receipts.iter().filter(|receipt| receipt.status.to::<u64>() != 1).count();
    ensure!(failed == 0, "{failed} of {} transfers failed", receipts.len());

    let received =
        sum(&workload.holdings(target, &workload.recipients)?).checked_sub(sum(&workload.recipient_balances));
    let received = received.context("the recipients have less than before")?;
    ensure!(received == workload.value(), "the recipients got {received} of {}", workload.value());
    let paid = sum(&workload.sender_balances).checked_sub(sum(&workload.holdings(target, &workload.senders)?));
    let paid = paid.context("the senders have more than before")?;
    // Fees are paid in ether, whatever is transferred.
    let fees = if workload.token.is_some() { U256::ZERO } else { fees(target, workload, blocks)? };
    let due = workload.value() + fees;
    ensure!(paid == due, "the senders paid {paid}, value and fees are {due}");
    Ok(())
}

/// What the transfers must have cost, by the base fees of their blocks.
fn fees(target: &mut Target, workload: &Workload, blocks: RangeInclusive<u64>) -> anyhow::Result<U256> {
    let transfers: HashSet<B256> = workload.transfers.iter().map(|transfer| transfer.hash).collect();
    let mut fees = U256::ZERO;
    for number in blocks {
        let block = target.block(number)?;
        let ours = block.transactions.iter().filter(|hash| transfers.contains(*hash)).count();
        fees += workload.fee(&block) * U256::from(ours);
    }
    Ok(fees)
}

fn sum(balances: &[U256]) -> U256 {
    balances.iter().fold(U256::ZERO, |sum, balance| sum + balance)
}
