//! After a run: does every transfer have a successful receipt, and do the balances add up to the wei?

use alloy_primitives::{B256, U256};
use anyhow::{Context, ensure};

use super::target::Target;
use super::workload::Workload;

/// Fails unless every transfer succeeded, the recipients got what was sent, and the senders paid that and the fees of the
/// receipts, no more and no less.
pub fn all_paid(target: &mut Target, workload: &Workload) -> anyhow::Result<()> {
    let hashes: Vec<B256> = workload.transfers.iter().map(|transfer| transfer.hash).collect();
    let receipts = target.receipts(&hashes)?;
    let failed = receipts.iter().filter(|receipt| receipt.status.to::<u64>() != 1).count();
    ensure!(failed == 0, "{failed} of {} transfers failed", receipts.len());
    let fees = receipts.iter().fold(U256::ZERO, |sum, receipt| sum + receipt.gas_used * receipt.effective_gas_price);

    let received = sum(&target.balances(&workload.recipients)?).checked_sub(sum(&workload.recipient_balances));
    let received = received.context("the recipients have less than before")?;
    ensure!(received == workload.value(), "the recipients got {received} wei of {}", workload.value());
    let paid = sum(&workload.sender_balances).checked_sub(sum(&target.balances(&workload.senders)?));
    let paid = paid.context("the senders have more than before")?;
    let due = workload.value() + fees;
    ensure!(paid == due, "the senders paid {paid} wei, value and fees are {due}");
    Ok(())
}

fn sum(balances: &[U256]) -> U256 {
    balances.iter().fold(U256::ZERO, |sum, balance| sum + balance)
}
