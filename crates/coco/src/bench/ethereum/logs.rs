//! Logs to search for: made by transfers of a token, one in each transaction, or hundreds at a time by a contract that does nothing else.
//!
//! Two kinds of searches: for those of one recipient among all, which an index may help with; and for everything that the contract wrote,
//! a range of blocks after the other, each with as many logs as every server gives at once.

use std::collections::{BTreeMap, HashSet};

use alloy_primitives::{Address, B256, TxKind, U256, hex};
use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::load;
use super::target::Target;
use super::token::TRANSFER_EVENT;
use super::workload::{Payment, send};
use super::{Options, What};
use crate::accounts;
use crate::bench::progress;

/// Writes the log Transfer(caller, number mod 10,000, number) for each number from the first word of its input on, as many as the second says.
///
/// ```text
///   i = calldata[0]; end = i + calldata[1]
///   do { mem[0] = i; log3(mem[0..32], Transfer, caller, i % 10000); i += 1 } while (i < end)
/// ```
const CODE: [&[u8]; 3] = [
    // Gives back the rest as the contract's code.
    &hex!("6042806009 5f395ff3" "5f35" "80602035" "01" "5b81" "5f52" "61271082" "06" "33" "7f"),
    TRANSFER_EVENT.0.as_slice(),
    &hex!("60205fa3" "90600101" "90808210" "600757" "00"),
];
const RECIPIENTS: u64 = 10_000;
const DEPLOYMENT_GAS: u64 = 200_000;
const CALL_GAS: u64 = 100_000;
const LOG_GAS: u64 = 2_000;
/// Calls that are sent before their receipts are waited for.
const CALLS_AT_ONCE: usize = 100;
/// Logs that every server gives at once.
const ANSWER_LOGS_MAX: usize = 20_000;

/// A question, and how many logs the answer has.
pub struct Search {
    pub filter: Value,
    pub matches: usize,
}

/// What was made.
struct Made {
    contract: Address,
    transactions: HashSet<B256>,
    /// How many logs name each.
    recipients: BTreeMap<Address, usize>,
}

/// Makes the logs, and says what to ask.
pub fn searches(target: &mut Target, options: &Options) -> anyhow::Result<Vec<Search>> {
    let head = target.block_number()?;
    let each = options.logs_each as usize;
    let made = if each == 1 { by_transfers(target, options)? } else { in_bulk(target, options)? };
    if options.what == What::AllLogs {
        return ranges(target, &made, head, each);
    }
    let search = |(recipient, matches): (Address, usize)| {
        let topics = json!([TRANSFER_EVENT, null, recipient.into_word()]);
        let filter = json!({"fromBlock": "0x0", "toBlock": "latest", "address": made.contract, "topics": topics});
        Search { filter, matches }
    };
    Ok(made.recipients.into_iter().map(search).collect())
}

/// A transfer of a new token for each.
fn by_transfers(target: &mut Target, options: &Options) -> anyhow::Result<Made> {
    let (run, workload) = load::loaded(target, options)?;
    eprintln!("{}: the logs were made at {run}", target.url);
    let mut recipients: BTreeMap<Address, usize> = BTreeMap::new();
    for index in 0..workload.transfers.len() {
        *recipients.entry(workload.recipient(index)).or_default() += 1;
    }
    let contract = workload.token.context("logs are of a token")?;
    Ok(Made { contract, recipients, transactions: workload.transfers.iter().map(|transfer| transfer.hash).collect() })
}

fn in_bulk(target: &mut Target, options: &Options) -> anyhow::Result<Made> {
    let (count, each) = (options.transactions() as u64, u64::from(options.logs_each));
    let bank = accounts::derive(&options.mnemonic, 1)?.pop().context("the mnemonic has an account")?;
    let fee_cap = target.fee_cap()?;
    let mut nonce = target.nonces(&[bank.address])?[0];
    let deployment =
        Payment { to: TxKind::Create, value: U256::ZERO, input: CODE.concat().into(), gas: DEPLOYMENT_GAS };
    send(target, &bank, nonce, &[deployment], fee_cap)?;
    let contract = bank.address.create(nonce);
    nonce += 1;
    let firsts: Vec<u64> = (0..count).step_by(usize::try_from(each)?).collect();
    let call = |first: &u64| {
        let logs = each.min(count - first);
        let input = [U256::from(*first).to_be_bytes::<32>(), U256::from(logs).to_be_bytes::<32>()].concat();
        Payment { to: TxKind::Call(contract), value: U256::ZERO, input: input.into(), gas: CALL_GAS + logs * LOG_GAS }
    };
    let bar = progress::bar(count, "logs");
    let mut transactions = HashSet::new();
    for firsts in firsts.chunks(CALLS_AT_ONCE) {
        transactions.extend(send(target, &bank, nonce, &firsts.iter().map(call).collect::<Vec<_>>(), fee_cap)?);
        nonce += firsts.len() as u64;
        bar.inc(firsts.len() as u64 * each);
    }
    bar.finish_and_clear();
    let matches = |recipient: u64| (count.saturating_sub(recipient)).div_ceil(RECIPIENTS) as usize;
    let recipient = |number: u64| (Address::from_word(U256::from(number).into()), matches(number));
    Ok(Made { contract, transactions, recipients: (0..RECIPIENTS.min(count)).map(recipient).collect() })
}

/// Ranges of blocks which hold all of the logs, as many in each as one answer may have.
fn ranges(target: &mut Target, made: &Made, head: u64, each: usize) -> anyhow::Result<Vec<Search>> {
    let mut searches: Vec<(u64, u64, usize)> = Vec::new();
    for number in head + 1..=target.block_number()? {
        let block = target.block(number)?;
        let logs = block.transactions.iter().filter(|hash| made.transactions.contains(*hash)).count() * each;
        ensure!(logs <= ANSWER_LOGS_MAX, "block {number} has {logs} logs: a lower gas limit makes smaller blocks");
        match searches.last_mut() {
            Some((_, last, found)) if *found + logs <= ANSWER_LOGS_MAX => (*last, *found) = (number, *found + logs),
            _ if logs > 0 => searches.push((number, number, logs)),
            _ => {}
        }
    }
    let search = |(first, last, matches)| {
        let (first, last) = (format!("{first:#x}"), format!("{last:#x}"));
        Search { filter: json!({"fromBlock": first, "toBlock": last, "address": made.contract}), matches }
    };
    Ok(searches.into_iter().map(search).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_copies_all_of_itself_that_follows_its_first_nine_bytes() {
        let code = CODE.concat();
        assert_eq!(usize::from(code[1]), code.len() - 9);
    }
}
