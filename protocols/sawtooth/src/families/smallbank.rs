//! `smallbank` 1.0: customers with a savings and a checking account, a common load for databases.

use prost::Message as _;

use super::{Call, Facts, Invalid, hashed_address, invalid};
use crate::address::Address;
use crate::messages::family::{Account, SmallbankPayload};

const NAMESPACE: [u8; 3] = [0x33, 0x25, 0x14];

/// Where a customer's accounts are.
pub fn address(customer: u32) -> Address {
    hashed_address(NAMESPACE, customer.to_string().as_bytes(), false)
}

pub fn apply(call: &mut Call<'_>, _facts: &Facts) -> Result<(), Invalid> {
    let payload = SmallbankPayload::decode(call.payload.clone())
        .map_err(|error| Invalid(format!("Failed to unmarshal SmallbankTransaction: {error}")))?;
    // An absent part counts as one without values, as everywhere in proto3.
    match payload.kind {
        0 => {
            let create = payload.create_account.unwrap_or_default();
            if load(call, create.customer_id)?.is_some() {
                return invalid("Account already exists");
            }
            if create.customer_name.is_empty() {
                return invalid("Customer Name must be set");
            }
            let account = Account {
                customer_id: create.customer_id,
                customer_name: create.customer_name,
                savings_balance: create.initial_savings_balance,
                checking_balance: create.initial_checking_balance,
            };
            save(call, &account)
        }
        1 => {
            let deposit = payload.deposit_checking.unwrap_or_default();
            let mut account = existing(call, deposit.customer_id)?;
            account.checking_balance = add(account.checking_balance, deposit.amount)?;
            save(call, &account)
        }
        2 => {
            let check = payload.write_check.unwrap_or_default();
            let mut account = existing(call, check.customer_id)?;
            account.checking_balance = subtract(account.checking_balance, check.amount, "checking")?;
            save(call, &account)
        }
        3 => {
            let change = payload.transact_savings.unwrap_or_default();
            let mut account = existing(call, change.customer_id)?;
            account.savings_balance = match change.amount {
                0.. => add(account.savings_balance, change.amount.unsigned_abs())?,
                _ => subtract(account.savings_balance, change.amount.unsigned_abs(), "savings")?,
            };
            save(call, &account)
        }
        4 => {
            let payment = payload.send_payment.unwrap_or_default();
            let (mut source, mut dest) = both(call, payment.source_customer_id, payment.dest_customer_id)?;
            source.checking_balance = subtract(source.checking_balance, payment.amount, "checking")?;
            dest.checking_balance = add(dest.checking_balance, payment.amount)?;
            save(call, &source)?;
            save(call, &dest)
        }
        5 => {
            let amalgamate = payload.amalgamate.unwrap_or_default();
            let (mut source, mut dest) = both(call, amalgamate.source_customer_id, amalgamate.dest_customer_id)?;
            dest.checking_balance = add(dest.checking_balance, source.savings_balance)?;
            source.savings_balance = 0;
            save(call, &source)?;
            save(call, &dest)
        }
        _ => invalid("Transaction type unset"),
    }
}

fn load(call: &mut Call<'_>, customer: u32) -> Result<Option<Account>, Invalid> {
    let row = call.get_value(&address(customer))?;
    let account = row.map(|row| Account::decode(row).map_err(|_| Invalid("Failed to unmarshal Account".into())));
    account.transpose()
}

fn existing(call: &mut Call<'_>, customer: u32) -> Result<Account, Invalid> {
    load(call, customer)?.ok_or_else(|| Invalid("Account must exist".into()))
}

fn both(call: &mut Call<'_>, source: u32, dest: u32) -> Result<(Account, Account), Invalid> {
    match (load(call, source)?, load(call, dest)?) {
        (Some(source), Some(dest)) => Ok((source, dest)),
        _ => invalid("Both source and dest accounts must exist"),
    }
}

fn save(call: &mut Call<'_>, account: &Account) -> Result<(), Invalid> {
    call.set(&address(account.customer_id), account.encode_to_vec())
}

fn add(balance: u32, amount: u32) -> Result<u32, Invalid> {
    balance.checked_add(amount).ok_or_else(|| Invalid("The balance would be too large".into()))
}

fn subtract(balance: u32, amount: u32, account: &str) -> Result<u32, Invalid> {
    balance.checked_sub(amount).ok_or_else(|| Invalid(format!("Insufficient funds in source {account} account")))
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;
    use crate::messages::family::{Amalgamate, CreateAccount, CustomerAmount, CustomerChange, SendPayment};

    fn send(world: &mut World, payload: SmallbankPayload) -> Result<(), String> {
        world.apply(apply, "", payload.encode_to_vec()).map(drop)
    }

    fn create(customer_id: u32) -> SmallbankPayload {
        let create = CreateAccount {
            customer_id,
            customer_name: "name".into(),
            initial_savings_balance: 100,
            initial_checking_balance: 50,
        };
        SmallbankPayload { kind: 0, create_account: Some(create), ..Default::default() }
    }

    fn balances(world: &World, customer: u32) -> (u32, u32) {
        let account = Account::decode(world.0[&address(customer)].clone()).unwrap();
        (account.savings_balance, account.checking_balance)
    }

    #[test]
    fn money_moves_and_never_below_zero() {
        let mut world = World::default();
        send(&mut world, create(1)).unwrap();
        send(&mut world, create(2)).unwrap();
        assert!(send(&mut world, create(1)).is_err());
        let amount = |amount| Some(CustomerAmount { customer_id: 1, amount });
        send(&mut world, SmallbankPayload { kind: 1, deposit_checking: amount(5), ..Default::default() }).unwrap();
        send(&mut world, SmallbankPayload { kind: 2, write_check: amount(15), ..Default::default() }).unwrap();
        assert_eq!(balances(&world, 1), (100, 40));
        let overdrawn = SmallbankPayload { kind: 2, write_check: amount(41), ..Default::default() };
        assert!(send(&mut world, overdrawn).unwrap_err().contains("checking"));
        let savings = |amount| {
            let change = Some(CustomerChange { customer_id: 1, amount });
            SmallbankPayload { kind: 3, transact_savings: change, ..Default::default() }
        };
        send(&mut world, savings(-60)).unwrap();
        assert!(send(&mut world, savings(i32::MIN)).is_err());
        let payment = SendPayment { source_customer_id: 2, dest_customer_id: 1, amount: 50 };
        send(&mut world, SmallbankPayload { kind: 4, send_payment: Some(payment), ..Default::default() }).unwrap();
        let all = Amalgamate { source_customer_id: 2, dest_customer_id: 1 };
        send(&mut world, SmallbankPayload { kind: 5, amalgamate: Some(all), ..Default::default() }).unwrap();
        assert_eq!((balances(&world, 1), balances(&world, 2)), ((40, 190), (0, 0)));
        let nobody = SendPayment { source_customer_id: 2, dest_customer_id: 9, amount: 0 };
        let payload = SmallbankPayload { kind: 4, send_payment: Some(nobody), ..Default::default() };
        assert!(send(&mut world, payload).unwrap_err().contains("must exist"));
        assert!(send(&mut world, SmallbankPayload { kind: 6, ..Default::default() }).is_err());
    }
}
