//! The token of a run: an ERC-20 contract that the bank deploys, and hands out to the senders.

use alloy_primitives::{Address, B256, Bytes, TxKind, U256, hex};
use anyhow::{Context, ensure};

use super::target::Target;
use super::workload::{Payment, send_and_wait};
use crate::accounts::Account;

/// What solc makes of `token.sol`.
const CODE: &str = include_str!("token.hex");
const TRANSFER: [u8; 4] = [0xa9, 0x05, 0x9c, 0xbb];
const BALANCE_OF: [u8; 4] = [0x70, 0xa0, 0x82, 0x31];
/// `Transfer(address,address,uint256)`.
pub const TRANSFER_EVENT: B256 = B256::new(hex!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"));
/// Of a transfer that makes a new holder, with some to spare.
pub const GAS: u64 = 60_000;
const DEPLOYMENT_GAS: u64 = 600_000;
/// What every sender gets: more than any run sends.
const ALLOTMENT: U256 = U256::from_limbs([0, 1, 0, 0]);

/// Deploys the token from the first of the `senders`, and gives the others their part.
pub fn hand_out(target: &mut Target, senders: &[Account], fee_cap: u128) -> anyhow::Result<Address> {
    let bank = senders.first().context("no sending accounts")?;
    let nonce = target.nonces(&[bank.address])?[0];
    let code: Bytes = hex::decode(CODE.trim()).context("the token's code")?.into();
    let deployment = Payment { to: TxKind::Create, value: U256::ZERO, input: code, gas: DEPLOYMENT_GAS };
    send_and_wait(target, bank, nonce, &[deployment], fee_cap)?;
    let token = bank.address.create(nonce);
    let part = |sender: &Account| transfer(token, &sender.address, ALLOTMENT);
    let parts: Vec<Payment> = senders.iter().skip(1).map(part).collect();
    send_and_wait(target, bank, nonce + 1, &parts, fee_cap)?;
    Ok(token)
}

pub fn transfer(token: Address, to: &Address, value: U256) -> Payment {
    let input = [&TRANSFER[..], to.into_word().as_slice(), &value.to_be_bytes::<32>()].concat();
    Payment { to: TxKind::Call(token), value: U256::ZERO, input: input.into(), gas: GAS }
}

/// The parameters of `eth_call` that ask for a balance.
pub fn balance_call(token: Address, holder: &Address) -> (serde_json::Value, &'static str) {
    let input = [&BALANCE_OF[..], holder.into_word().as_slice()].concat();
    (serde_json::json!({"to": token, "data": hex::encode_prefixed(input)}), "latest")
}

pub fn balances(target: &mut Target, token: Address, holders: &[Address]) -> anyhow::Result<Vec<U256>> {
    let calls: Vec<_> = holders.iter().map(|holder| balance_call(token, holder)).collect();
    let mut balances = Vec::with_capacity(holders.len());
    for calls in calls.chunks(200) {
        let answers: Vec<B256> = target.client.batch("eth_call", calls)?;
        balances.extend(answers.into_iter().map(|word| U256::from_be_bytes(word.0)));
    }
    ensure!(balances.len() == holders.len(), "a balance is missing");
    Ok(balances)
}
