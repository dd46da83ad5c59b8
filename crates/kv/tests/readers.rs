//! Readers beside a writer: every snapshot is whole and stays as it is.

use std::sync::atomic::{AtomicBool, Ordering};

use coco_kv::{Snapshot, Store, Tx};
use coco_types::MapName;

const ACCOUNTS: MapName = MapName::from_static("accounts");
const COUNT: u64 = 300;
const TOTAL: u64 = COUNT * 1000;

fn key(account: u64) -> Vec<u8> {
    account.to_be_bytes().to_vec()
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().expect("balances are written as eight bytes"))
}

fn apply(store: &Store, tx: Tx) {
    let (writes, _) = tx.into_parts();
    store.apply(store.newest().next(), &writes).expect("one writer");
}

fn total(snapshot: &Snapshot) -> u64 {
    snapshot.iter(&ACCOUNTS).map(|(_, balance)| number(&balance)).sum()
}

/// Moves one unit; an account that is empty disappears.
fn transfer(tx: &mut Tx, from: u64, to: u64) {
    let mut balance = |account| tx.get(&ACCOUNTS, &key(account)).map_or(0, |bytes| number(&bytes));
    let (from_balance, to_balance) = (balance(from), balance(to));
    if from == to || from_balance == 0 {
        return;
    }
    tx.put(&ACCOUNTS, key(to), (to_balance + 1).to_be_bytes().to_vec());
    if from_balance == 1 {
        tx.remove(&ACCOUNTS, key(from));
    } else {
        tx.put(&ACCOUNTS, key(from), (from_balance - 1).to_be_bytes().to_vec());
    }
}

#[test]
fn readers_see_whole_versions_while_the_writer_applies_commits_and_rolls_back() {
    let store = Store::new();
    let mut tx = store.begin();
    for account in 0..COUNT {
        tx.put(&ACCOUNTS, key(account), 1000u64.to_be_bytes().to_vec());
    }
    apply(&store, tx);
    store.commit(store.newest());

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut held = store.snapshot();
                let mut rounds = 0u64;
                while !done.load(Ordering::Relaxed) {
                    let snapshot = store.snapshot();
                    assert!(snapshot.version() >= held.version());
                    assert_eq!(total(&snapshot), TOTAL);
                    assert_eq!(total(&held), TOTAL, "a held snapshot changed");
                    rounds += 1;
                    if rounds.is_multiple_of(7) {
                        held = snapshot;
                    }
                }
            });
        }
        let mut seed = 1u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for round in 0..4000 {
            let mut tx = store.begin();
            for _ in 0..5 {
                transfer(&mut tx, random(COUNT), random(COUNT));
            }
            apply(&store, tx);
            match round % 50 {
                10 | 20 | 40 => store.commit(store.newest()),
                30 => assert_eq!(store.rollback(), store.committed()),
                _ => {}
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    store.commit(store.newest());
    assert_eq!(store.older_versions(), 0);
}
