//! The trie against one built from scratch, and its proofs against an independent verifier.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, U256, keccak256};
use alloy_rlp::Encodable;
use alloy_trie::proof::verify_proof;
use alloy_trie::{HashBuilder, KECCAK_EMPTY, Nibbles, TrieAccount};
use proptest::prelude::*;

use super::{AccountChange, EMPTY_ROOT, StateTrie, Trie, Value};

/// Keys that share long prefixes, so that branches split and collapse at every depth.
fn key(seed: u16) -> B256 {
    match seed % 4 {
        0 => keccak256(seed.to_be_bytes()),
        1 => B256::with_last_byte((seed >> 2) as u8),
        2 => B256::right_padding_from(&seed.to_be_bytes()),
        _ => {
            let mut key = [0x11; 32];
            key[usize::from(seed >> 2) % 32] ^= (seed >> 8) as u8 | 1;
            B256::from(key)
        }
    }
}

fn root_from_scratch(entries: &BTreeMap<B256, Vec<u8>>) -> B256 {
    let mut builder = HashBuilder::default();
    for (key, value) in entries {
        builder.add_leaf(Nibbles::unpack(key), value);
    }
    builder.root()
}

fn rlp(value: impl Encodable) -> Vec<u8> {
    alloy_rlp::encode(value)
}

/// A step on a bare trie: slot key, and its value (zero removes it).
fn steps() -> impl Strategy<Value = Vec<(u16, u64)>> {
    // Few keys, so that removals hit; small values, so that nodes shorter than 32 bytes appear.
    prop::collection::vec((0u16..96, prop_oneof![Just(0u64), 1u64..4, any::<u64>()]), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_changed_trie_has_the_root_of_one_built_from_scratch(steps in steps(), stride in 1usize..8) {
        let mut trie = Trie::default();
        let mut entries = BTreeMap::new();
        let mut versions = Vec::new();
        for (at, (seed, value)) in steps.into_iter().enumerate() {
            let key = key(seed.wrapping_mul(2731));
            if value == 0 {
                prop_assert_eq!(trie.remove(&key), entries.remove(&key).is_some());
            } else {
                trie.insert(key, Value::Slot(U256::from(value)));
                entries.insert(key, rlp(U256::from(value)));
            }
            if at % stride == 0 {
                let root = trie.root();
                prop_assert_eq!(root, root_from_scratch(&entries));
                versions.push((trie.clone(), root, entries.clone()));
            }
        }
        // Older versions are untouched by what came later.
        for (mut version, root, entries) in versions {
            prop_assert_eq!(version.root(), root);
            let mut copy = Trie::default();
            version.for_each(|key, value| copy.insert(*key, value.clone()));
            prop_assert_eq!(copy.root(), root_from_scratch(&entries));
        }
    }

    #[test]
    fn proofs_of_presence_and_absence_verify(steps in steps()) {
        let mut trie = Trie::default();
        let mut entries = BTreeMap::new();
        for (seed, value) in steps {
            let key = key(seed.wrapping_mul(2731));
            if value == 0 {
                trie.remove(&key);
                entries.remove(&key);
            } else {
                trie.insert(key, Value::Slot(U256::from(value)));
                entries.insert(key, rlp(U256::from(value)));
            }
        }
        let root = trie.root();
        for seed in 0u16..96 {
            let key = key(seed.wrapping_mul(2731));
            let proof = trie.prove(&key);
            let verdict = verify_proof(root, Nibbles::unpack(key), entries.get(&key).cloned(), &proof);
            prop_assert!(verdict.is_ok(), "{:?}: {:?}", key, verdict);
        }
    }

    #[test]
    fn the_state_trie_follows_accounts_slots_and_wipes(
        steps in prop::collection::vec((0u8..12, 0u8..8, 0u8..6, 0u64..4), 1..80)
    ) {
        let mut trie = StateTrie::default();
        let mut model: BTreeMap<Address, (u64, BTreeMap<U256, U256>)> = BTreeMap::new();
        for (who, action, slot, value) in steps {
            let address = Address::with_last_byte(who);
            let change = if action == 0 {
                model.remove(&address);
                AccountChange::default()
            } else {
                let (nonce, slots) = model.entry(address).or_default();
                *nonce += 1;
                let mut changed = Vec::new();
                if action == 1 {
                    changed.extend(std::mem::take(slots).into_keys().map(|slot| (slot, U256::ZERO)));
                }
                let (slot, value) = (U256::from(slot), U256::from(value));
                if value.is_zero() { slots.remove(&slot); } else { slots.insert(slot, value); }
                changed.push((slot, value));
                AccountChange {
                    account: Some((*nonce, U256::from(who), KECCAK_EMPTY)),
                    slots: changed,
                }
            };
            trie.apply(&address, &change);
            prop_assert_eq!(trie.root(), model_root(&model));
        }
        for who in 0u8..14 {
            let address = Address::with_last_byte(who);
            let (account, proof) = trie.prove_account(&address);
            let verdict = verify_proof(trie.root(), Nibbles::unpack(keccak256(address)), account.map(rlp), &proof);
            prop_assert!(verdict.is_ok(), "{:?}", verdict);
            prop_assert_eq!(account.is_some(), model.contains_key(&address));
            let storage_root = account.map_or(EMPTY_ROOT, |account| account.storage_root);
            for slot in (0u8..7).map(U256::from) {
                let (value, proof) = trie.prove_slot(&address, slot);
                let expected = (!value.is_zero()).then(|| rlp(value));
                let path = Nibbles::unpack(keccak256(B256::from(slot)));
                let verdict = verify_proof(storage_root, path, expected, &proof);
                prop_assert!(verdict.is_ok(), "{:?}", verdict);
            }
        }
    }
}

fn model_root(model: &BTreeMap<Address, (u64, BTreeMap<U256, U256>)>) -> B256 {
    let mut accounts = BTreeMap::new();
    for (address, (nonce, slots)) in model {
        let slots = slots.iter().map(|(slot, value)| (keccak256(B256::from(*slot)), rlp(*value))).collect();
        let account = TrieAccount {
            nonce: *nonce,
            balance: U256::from(address[19]),
            storage_root: root_from_scratch(&slots),
            code_hash: KECCAK_EMPTY,
        };
        accounts.insert(keccak256(address), rlp(account));
    }
    root_from_scratch(&accounts)
}

#[test]
fn an_empty_trie_has_the_known_root_and_an_empty_proof() {
    let mut trie = Trie::default();
    assert_eq!(trie.root(), EMPTY_ROOT);
    assert!(trie.prove(&B256::ZERO).is_empty());
    assert!(!trie.remove(&B256::ZERO));
}

#[test]
fn a_trie_emptied_again_has_the_known_root() {
    let mut trie = Trie::default();
    for seed in 0..40 {
        trie.insert(key(seed), Value::Slot(U256::from(seed + 1)));
    }
    let mut keys = Vec::new();
    trie.for_each(|key, _| keys.push(*key));
    trie.root();
    for key in keys {
        assert!(trie.remove(&key));
    }
    assert_eq!(trie.root(), EMPTY_ROOT);
}

#[test]
fn a_clone_is_an_overlay_that_leaves_the_original_alone() {
    let mut trie = StateTrie::default();
    let account = |nonce| AccountChange { account: Some((nonce, U256::ZERO, KECCAK_EMPTY)), ..Default::default() };
    trie.apply(&Address::with_last_byte(1), &account(1));
    let root = trie.root();
    let mut overlay = trie.clone();
    overlay.apply(&Address::with_last_byte(1), &account(2));
    assert_ne!(overlay.root(), root);
    assert_eq!(trie.root(), root);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_version_that_is_kept_stays_as_it_was(
        blocks in prop::collection::vec((0usize..6, prop::collection::vec((0u8..12, 0u8..4, 0u8..6, 0u64..4), 1..8)), 1..24)
    ) {
        // Each block is made on one of the newest versions, as a dropped lead or a simulation does it.
        let mut kept = vec![(StateTrie::default(), BTreeMap::new(), EMPTY_ROOT)];
        for (back, steps) in blocks {
            let (mut trie, mut model, _) = kept[kept.len().saturating_sub(back + 1)].clone();
            let mut changes: BTreeMap<Address, AccountChange> = BTreeMap::new();
            for (who, action, slot, value) in steps {
                let address = Address::with_last_byte(who);
                let change = changes.entry(address).or_default();
                if action == 0 {
                    model.remove(&address);
                    *change = AccountChange::default();
                    continue;
                }
                let is_new = !model.contains_key(&address);
                let (nonce, slots): &mut (u64, BTreeMap<U256, U256>) = model.entry(address).or_default();
                if is_new {
                    // It may have had slots in this block's beginning: a wipe names them.
                    change.slots.extend((0u8..6).map(|slot| (U256::from(slot), U256::ZERO)));
                }
                *nonce += 1;
                let (slot, value) = (U256::from(slot), U256::from(value));
                if value.is_zero() { slots.remove(&slot); } else { slots.insert(slot, value); }
                change.slots.push((slot, value));
                change.account = Some((*nonce, U256::from(who), KECCAK_EMPTY));
            }
            trie.apply_all(changes);
            let root = trie.root();
            prop_assert_eq!(root, model_root(&model));
            kept.push((trie, model, root));
        }
        for (trie, model, root) in &kept {
            prop_assert_eq!(trie.apart().root(), *root);
            for who in 0u8..12 {
                let address = Address::with_last_byte(who);
                let nonce = model.get(&address).map(|(nonce, _)| *nonce);
                prop_assert_eq!(trie.account(&address).map(|account| account.0), nonce);
                let (account, proof) = trie.apart().prove_account(&address);
                let path = Nibbles::unpack(keccak256(address));
                prop_assert!(verify_proof(*root, path, account.map(rlp), &proof).is_ok());
            }
        }
        for (mut trie, _, root) in kept {
            prop_assert_eq!(trie.root(), root);
        }
    }
}
