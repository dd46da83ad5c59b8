//! The transfers of a run: funded, signed and encoded before the clock starts.

use std::num::NonZero;
use std::thread;
use std::time::{Duration, Instant};

use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex, keccak256};
use anyhow::{Context, bail, ensure};

use super::target::{Block, Target};
use super::{Options, What, crowd, token};
use crate::accounts::{self, Account};
use crate::bench::progress;
use crate::output::Hinted;

/// Gas of a plain transfer.
const GAS: u64 = 21_000;
/// Wei that each transfer moves. Odd, so that sums that do not add up show.
const VALUE: u64 = 1_000_003;
/// For the tip, which some pools insist on: 1 gwei.
const TIP: u128 = 1_000_000_000;
/// Holders of a token that get something.
const TOKEN_RECIPIENTS: usize = 10_000;
/// Until the funding transfers are in blocks.
const FUNDING_TIMEOUT: Duration = Duration::from_secs(60);

/// Signed transfers, in the order in which they are to be sent: the senders take turns.
pub struct Workload {
    pub transfers: Vec<Transfer>,
    pub senders: Vec<Address>,
    /// Of plain transfers each sender has its own; tokens go to many in turn.
    pub recipients: Vec<Address>,
    /// What is transferred, if it is not ether.
    pub token: Option<Address>,
    pub sender_balances: Vec<U256>,
    pub recipient_balances: Vec<U256>,
    /// What each transfer offers for a unit of gas, wei.
    fee_cap: u128,
}

/// What a transaction does.
#[derive(Clone, Debug)]
pub struct Payment {
    pub to: TxKind,
    pub value: U256,
    pub input: Bytes,
    pub gas: u64,
}

/// One signed transfer.
pub struct Transfer {
    pub hash: B256,
    /// The encoded transaction, `0x…`.
    pub raw_hex: String,
}

impl Workload {
    /// Funds the senders where they lack and signs `count` transfers.
    pub fn prepare(target: &mut Target, options: &Options, count: usize) -> anyhow::Result<Self> {
        let senders = accounts::derive(&options.mnemonic, count.min(usize::try_from(options.accounts)?))?;
        let fee_cap = target.fee_cap()?;
        let each = count.div_ceil(senders.len());
        let gas = if options.what == What::Transfers { GAS } else { token::GAS };
        let needed = cost_of(each, gas, fee_cap);
        fund(target, &senders, needed, fee_cap)?;
        let token = match options.what {
            What::Transfers => None,
            What::Tokens | What::Calls | What::Logs | What::AllLogs => {
                Some(token::hand_out(target, &senders, fee_cap)?)
            }
        };

        let addresses: Vec<_> = senders.iter().map(|sender| sender.address).collect();
        let recipients: Vec<_> = match (token, options.crowd) {
            (_, Some(crowd)) => crowd::members(crowd, count),
            (None, None) => addresses.iter().map(|sender| recipient_of(sender, 0)).collect(),
            (Some(token), None) => {
                (0..TOKEN_RECIPIENTS.min(count)).map(|number| recipient_of(&token, number)).collect()
            }
        };
        let nonces = target.nonces(&addresses)?;
        let chain_id = target.chain_id;
        let mut workload = Self {
            transfers: Vec::new(),
            sender_balances: Vec::new(),
            recipient_balances: Vec::new(),
            senders: addresses,
            recipients,
            token,
            fee_cap,
        };
        let transfer = |i: usize| {
            let sender = i % senders.len();
            let nonce = nonces[sender] + (i / senders.len()) as u64;
            sign(&senders[sender], workload.payment(i), nonce, fee_cap, chain_id)
        };
        let transfers = in_parallel(count, &transfer);
        workload.transfers = transfers;
        workload.sender_balances = workload.holdings(target, &workload.senders)?;
        workload.recipient_balances = workload.holdings(target, &workload.recipients)?;
        Ok(workload)
    }

    /// Who gets a transfer.
    pub fn recipient(&self, index: usize) -> Address {
        // The number of senders divides that of a token's recipients: a step of its own has each pay them all.
        let turn = if self.token.is_some() { index + index / self.recipients.len() } else { index };
        self.recipients[turn % self.recipients.len()]
    }

    fn payment(&self, index: usize) -> Payment {
        let (to, value) = (self.recipient(index), U256::from(VALUE));
        match self.token {
            None => Payment::ether(to, value),
            Some(token) => token::transfer(token, &to, value),
        }
    }

    /// How much of what is transferred each of them has.
    pub fn holdings(&self, target: &mut Target, holders: &[Address]) -> anyhow::Result<Vec<U256>> {
        match self.token {
            None => target.balances(holders),
            Some(token) => token::balances(target, token, holders),
        }
    }

    /// What the recipients get together.
    pub fn value(&self) -> U256 {
        U256::from(VALUE) * U256::from(self.transfers.len())
    }

    /// What one transfer costs in this block besides its value (EIP-1559: the base fee and as much of the tip as fits).
    pub fn fee(&self, block: &Block) -> U256 {
        let base = block.base_fee_per_gas.unwrap_or_default();
        let price = U256::from(self.fee_cap).min(base.saturating_add(U256::from(tip(self.fee_cap))));
        price * U256::from(GAS)
    }
}

/// What a transfer with this cap offers above the base fee for a unit of gas, wei.
fn tip(fee_cap: u128) -> u128 {
    TIP.min(fee_cap)
}

fn cost_of(transfers: usize, gas: u64, fee_cap: u128) -> U256 {
    (U256::from(fee_cap) * U256::from(gas) + U256::from(VALUE)) * U256::from(transfers)
}

/// An address that nobody has the key of, the same at every run.
fn recipient_of(payer: &Address, number: usize) -> Address {
    let number = if number == 0 { String::new() } else { number.to_string() };
    Address::from_slice(&keccak256([b"coco bench".as_slice(), payer.as_slice(), number.as_bytes()].concat())[12..])
}

/// Signs on all cores; the result is in order.
fn in_parallel(count: usize, transfer: &(dyn Fn(usize) -> Transfer + Sync)) -> Vec<Transfer> {
    let bar = progress::bar(count as u64, "signing");
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let share = count.div_ceil(threads).max(1);
    let signed = thread::scope(|scope| {
        let sign_share = |first: usize| {
            let bar = bar.clone();
            move || {
                let signed = (first..count.min(first + share)).map(transfer).inspect(|_| bar.inc(1));
                signed.collect::<Vec<_>>()
            }
        };
        let workers: Vec<_> = (0..count).step_by(share).map(|first| scope.spawn(sign_share(first))).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("signing does not panic")).collect()
    });
    bar.finish_and_clear();
    signed
}

impl Payment {
    fn ether(to: Address, value: U256) -> Self {
        Self { to: TxKind::Call(to), value, input: Bytes::new(), gas: GAS }
    }
}

fn sign(from: &Account, payment: Payment, nonce: u64, fee_cap: u128, chain_id: u64) -> Transfer {
    let transaction = TxEip1559 {
        chain_id,
        nonce,
        gas_limit: payment.gas,
        max_fee_per_gas: fee_cap,
        max_priority_fee_per_gas: tip(fee_cap),
        to: payment.to,
        value: payment.value,
        access_list: Default::default(),
        input: payment.input,
    };
    let signature = from.sign(&transaction.signature_hash());
    let signed = transaction.into_signed(signature);
    Transfer { hash: *signed.hash(), raw_hex: hex::encode_prefixed(signed.encoded_2718()) }
}

/// Brings every sender to at least `needed` wei, out of the first one's pocket, and waits until that is in a block.
fn fund(target: &mut Target, senders: &[Account], needed: U256, fee_cap: u128) -> anyhow::Result<()> {
    let addresses: Vec<_> = senders.iter().map(|sender| sender.address).collect();
    let balances = target.balances(&addresses)?;
    let poor: Vec<_> = addresses.iter().zip(&balances).skip(1).filter(|(_, balance)| **balance < needed).collect();
    let (bank, wealth) = senders.iter().zip(balances.iter().copied()).next().context("no sending accounts")?;
    let lacking = poor.iter().fold(U256::ZERO, |sum, (_, balance)| sum + (needed - **balance));
    // And for handing out a token, if there is one.
    let outlay = lacking + cost_of(poor.len() + senders.len() + 10, token::GAS, fee_cap) + needed;
    if wealth < outlay {
        let ether = |wei: U256| format!("{} ETH", wei / U256::from(10u64).pow(U256::from(18)));
        return Err(Hinted::error(
            format!("{} has {}, the run may cost {}", bank.address, ether(wealth), ether(outlay)),
            "send fewer --transactions, or fund the first account of the --mnemonic",
        ));
    }
    let nonce = target.nonces(&[bank.address])?[0];
    let payment = |(address, balance): &(&Address, &U256)| Payment::ether(**address, needed - **balance);
    send_and_wait(target, bank, nonce, &poor.iter().map(payment).collect::<Vec<_>>(), fee_cap)
}

/// Has an account make payments, and waits until all of them are in blocks; fails if one of them failed.
pub fn send_and_wait(
    target: &mut Target,
    from: &Account,
    first_nonce: u64,
    payments: &[Payment],
    fee_cap: u128,
) -> anyhow::Result<()> {
    let hashes = send(target, from, first_nonce, payments, fee_cap)?;
    let receipts = target.receipts(&hashes)?;
    ensure!(receipts.iter().all(|receipt| receipt.status.to::<u64>() == 1), "a preparing transaction failed");
    Ok(())
}

/// The same without a look at what became of them. Their hashes.
pub fn send(
    target: &mut Target,
    from: &Account,
    first_nonce: u64,
    payments: &[Payment],
    fee_cap: u128,
) -> anyhow::Result<Vec<B256>> {
    let chain_id = target.chain_id;
    let signed = (first_nonce..).zip(payments);
    let transfers: Vec<_> =
        signed.map(|(nonce, payment)| sign(from, payment.clone(), nonce, fee_cap, chain_id)).collect();
    for transfers in transfers.chunks(100) {
        let params: Vec<_> = transfers.iter().map(|transfer| (&transfer.raw_hex,)).collect();
        let _: Vec<B256> = target.client.batch("eth_sendRawTransaction", &params).context("preparing the senders")?;
        if let Some(last) = transfers.last() {
            wait_for_receipt(target, &last.hash)?;
        }
    }
    Ok(transfers.into_iter().map(|transfer| transfer.hash).collect())
}

/// Waits until a transaction is in a block.
pub fn wait_for_receipt(target: &mut Target, hash: &B256) -> anyhow::Result<()> {
    let started = Instant::now();
    while target.receipt(hash)?.is_none() {
        if started.elapsed() > FUNDING_TIMEOUT {
            bail!("the transaction {hash} is in no block after {} s", FUNDING_TIMEOUT.as_secs());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_in_parallel_keeps_the_order() {
        let hash = |i: usize| B256::from(U256::from(i));
        let transfer = |i: usize| Transfer { hash: hash(i), raw_hex: String::new() };
        for count in [0, 1, 7, 100] {
            let signed: Vec<_> = in_parallel(count, &transfer).into_iter().map(|transfer| transfer.hash).collect();
            assert_eq!(signed, (0..count).map(hash).collect::<Vec<_>>());
        }
    }
}
