use alloy_primitives::{Address, B256, U256};
use bytes::Bytes;

use super::{Account, Undo};

#[test]
fn an_account_row_reads_back() {
    let plain = Account { nonce: 7, balance: U256::MAX, ..Account::default() };
    let contract = Account { code_hash: B256::repeat_byte(9), ..plain };
    for account in [Account::default(), plain, contract] {
        assert_eq!(Account::decode(&account.encode()), Some(account));
    }
    assert_eq!(Account::default().encode(), Bytes::from_static(&[0xc2, 0x80, 0x80]));
}

#[test]
fn a_damaged_account_row_is_refused() {
    let row = Account { nonce: 7, balance: U256::from(300), code_hash: B256::repeat_byte(9) }.encode();
    for length in 0..row.len() {
        assert_eq!(Account::decode(&row[..length]), None);
    }
    let extended = [&row[..], &[0]].concat();
    assert_eq!(Account::decode(&extended), None);
}

#[test]
fn an_undo_record_keeps_the_first_value_and_reads_back() {
    let mut undo = Undo::default();
    let key = Bytes::copy_from_slice(Address::repeat_byte(1).as_slice());
    undo.note(&key, None);
    undo.note(&key, Some(Bytes::from_static(b"later")));
    undo.note(&Bytes::from_static(b"other"), Some(Bytes::from_static(b"before")));
    assert_eq!(undo.rows().next(), Some((&key, &None)));
    assert_eq!(Undo::decode(&undo.encode()), Some(undo.clone()));
    let record = undo.encode();
    assert!((0..record.len()).all(|length| Undo::decode(&record[..length]).is_none()));
}
