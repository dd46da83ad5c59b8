//! Ethereum at the seam, with transactions that are really signed.

use std::sync::Arc;

use alloy_consensus::{TxEip1559, TxEip7702, TxLegacy};
use alloy_eips::eip7702::Authorization;
use alloy_genesis::GenesisAccount;
use alloy_primitives::{Address, B256, Bytes as EvmBytes, U256, address, bytes, hex, keccak256};
use alloy_trie::Nibbles;
use alloy_trie::proof::verify_proof;
use bytes::Bytes;
use coco_kv::Store;
use coco_protocol::{Caller, CommittedBatch, History, HistoryError, OpenGate, Protocol, Reader, Ready};
use coco_types::{MapName, Retention, Seqno, WriteSet, limits};
use parking_lot::Mutex;

use crate::block::BlockRecord;
use crate::events::{Channel, Event, Keep};
use crate::network::{NetworkConfig, crowd_member};
use crate::rpc::CommittedBlock;
use crate::state::{ACCOUNT, Account, HistoricState, ReadState, STORAGE, UNDO, Undo, storage_key};
use crate::testing::{Node, context, dev_key, invoke, sign, sign_hash, transfer};

const GWEI: u64 = 1_000_000_000;

/// Init code of a contract that reverts without input, and otherwise stores the first word of the input at slot 1 and logs.
fn contract() -> EvmBytes {
    // CALLDATASIZE, PUSH1 7, JUMPI, PUSH0, PUSH0, REVERT, JUMPDEST, PUSH0, CALLDATALOAD, PUSH1 1, SSTORE, PUSH0, PUSH0, LOG0, STOP
    let code = bytes!("366007575f5ffd5b5f356001555f5fa000");
    // PUSH1 length, DUP1, PUSH1 9, PUSH0, CODECOPY, PUSH0, RETURN
    let mut init = vec![0x60, code.len() as u8, 0x80, 0x60, 0x09, 0x5f, 0x39, 0x5f, 0xf3];
    init.extend_from_slice(&code);
    init.into()
}

#[test]
fn a_transfer_moves_value_pays_its_fee_and_is_in_the_block() {
    let mut node = Node::dev();
    let to = Address::repeat_byte(0x77);
    let raw = sign(&dev_key(0), transfer(0, to, 5));
    let results = node.block(150, std::slice::from_ref(&raw));
    let outcome = results[0].as_ref().unwrap();
    let head = node.head();
    assert_eq!((head.number, head.timestamp, head.gas_used), (1, 1, 21_000));
    assert_eq!(head.mix_hash, B256::repeat_byte(0x5a));
    assert_eq!(node.account(&to).balance, U256::from(5));
    let sender = node.account(&node.dev_address(0));
    // 1 gwei minus an eighth: block 0 was empty. The tip of 1 wei goes to the zero address.
    let price = u64::from(head.base_fee_per_gas == Some(875_000_000)) * 875_000_001;
    let paid = U256::from(21_000) * U256::from(price) + U256::from(5);
    assert_eq!(sender.nonce, 1);
    assert_eq!(sender.balance, U256::from(10_000) * U256::from(GWEI) * U256::from(GWEI) - paid);
    assert_eq!(node.account(&Address::ZERO).balance, U256::from(21_000));

    let included = node.record(1).transaction(0).unwrap();
    assert_eq!(included.transaction.raw, raw);
    assert_eq!(included.transaction.hash.as_slice(), &outcome.response[..]);
    assert_eq!(included.txid.seqno, Seqno(2), "after genesis");
    assert_eq!(outcome.claims.as_ref().unwrap().id, outcome.response);
}

#[test]
fn a_failed_transaction_is_included_and_an_invalid_one_leaves_nothing() {
    let mut node = Node::dev();
    let create = sign(&dev_key(0), invoke(0, None, contract()));
    node.block(1_000, &[create]);
    let at = node.record(1).transaction(0).unwrap().contract_address().unwrap();
    assert!(node.account(&at).has_code());

    let before = node.ledger.len();
    let reverting = sign(&dev_key(0), invoke(1, Some(at), bytes!("")));
    let wrong_nonce = sign(&dev_key(0), invoke(9, Some(at), bytes!("01")));
    let results = node.block(2_000, &[wrong_nonce.clone(), reverting, wrong_nonce]);
    assert_eq!(results[0].as_ref().unwrap_err().message, "nonce too high: next nonce 1, tx nonce 9");
    assert!(results[1].is_ok());
    assert!(results[2].is_err());
    assert_eq!(node.ledger.len(), before + 2, "the failed transaction and the seal");
    let record = node.record(2);
    assert_eq!(record.transaction_count(), 1);
    assert!(!record.transaction(0).unwrap().status.coerce_status());
    assert_eq!(node.account(&node.dev_address(0)).nonce, 2);
}

#[test]
fn two_blocks_in_one_second_share_their_timestamp_except_in_development() {
    let mut node = Node::with_config(&serde_json::json!({"genesis": development_genesis(), "base_fee": 0}));
    let free =
        |nonce| TxEip1559 { max_fee_per_gas: 0, max_priority_fee_per_gas: 0, ..transfer(nonce, Address::ZERO, 0) };
    node.block(7_100, &[sign(&dev_key(0), free(0))])[0].as_ref().unwrap();
    node.block(7_900, &[sign(&dev_key(0), free(1))])[0].as_ref().unwrap();
    assert_eq!((node.head().number, node.head().timestamp, node.head().base_fee_per_gas), (2, 7, Some(0)));
    node.block(3_000, &[sign(&dev_key(0), free(2))])[0].as_ref().unwrap();
    assert_eq!(node.head().timestamp, 7, "never backwards");

    let mut node = Node::dev();
    node.block(7_100, &[sign(&dev_key(0), transfer(0, Address::ZERO, 0))]);
    node.block(7_200, &[sign(&dev_key(0), transfer(1, Address::ZERO, 0))]);
    assert_eq!(node.head().timestamp, 8);
}

#[test]
fn a_network_can_begin_with_blocks_of_another_and_only_with_true_ones() {
    let mut node = Node::dev();
    for nonce in 0..3 {
        let at_ms = 100 * (nonce + 1);
        node.block(at_ms, &[sign(&dev_key(0), transfer(nonce, Address::repeat_byte(7), 5))])[0].as_ref().unwrap();
    }
    let rlp = |number: u64| {
        let record = node.record(number);
        let hash = keccak256(record.header_rlp());
        CommittedBlock::decode(&record, hash, &node.ethereum.chain().network().schedule).unwrap().rlp()
    };
    let chain: Vec<u8> = (1..=3).flat_map(rlp).collect();
    let found = |chain: &[u8]| {
        let node = Node::empty();
        let config = serde_json::json!({"genesis": development_genesis(), "chain": EvmBytes::copy_from_slice(chain),
            "frozen": true});
        let mut tx = node.store.begin();
        let founded = node.ethereum.genesis(&mut tx, &config, &context(node.next(), 1));
        founded.map(|()| (node, tx)).map_err(|error| error.to_string())
    };
    let (mut imported, tx) = found(&chain).unwrap();
    imported.append(tx);
    assert_eq!(imported.head(), node.head());
    assert_eq!(imported.account(&Address::repeat_byte(7)).balance, U256::from(15));
    let follower = Node::empty();
    follower.ethereum.committed(&imported.batch(0), &follower.store.snapshot()).unwrap();

    let mut pool = imported.ethereum.pool();
    let waiting =
        imported.ethereum.admit(sign(&dev_key(1), transfer(0, Address::ZERO, 1)), &Caller::Anonymous).unwrap();
    pool.insert(waiting, &imported.store.newest_snapshot(), 2_000).unwrap();
    assert_eq!((pool.len(), pool.ready(u64::MAX)), (1, Ready::Idle));

    // The value of the first transfer, which the receipts do not show.
    let at = chain.windows(22).position(|bytes| bytes[..20] == [7; 20] && bytes[20] == 5).unwrap();
    let mut wrong = chain.clone();
    wrong[at + 20] = 6;
    let error = found(&wrong).err().unwrap();
    assert!(error.starts_with("genesis of ethereum: block 1"), "{error}");
    let cut = found(&chain[..chain.len() - 1]).err().unwrap();
    assert!(cut.starts_with("genesis of ethereum: block 3"), "{cut}");
}

/// A network where a transaction may use as much gas as a block has: Prague, two billion.
fn roomy_node() -> Node {
    let mut genesis = NetworkConfig::dev().genesis;
    genesis.config.osaka_time = None;
    genesis.gas_limit = 2_000_000_000;
    Node::with_config(&serde_json::json!({"genesis": genesis, "base_fee": 0}))
}

/// Deploys a contract that logs as many zero bytes as its input says.
fn deploy_logger(node: &mut Node) -> Address {
    // CALLDATALOAD of word 0, PUSH0, LOG0, STOP
    let init = bytes!("60058060095f395ff35f355fa000");
    node.block(1_000, &[sign(&dev_key(0), invoke(0, None, init))])[0].as_ref().unwrap();
    node.record(1).transaction(0).unwrap().contract_address().unwrap()
}

fn logging(nonce: u64, to: Address, mebibytes: u64) -> TxLegacy {
    let input = U256::from(mebibytes << 20).to_be_bytes_vec().into();
    TxLegacy { gas_limit: 1_000_000_000, ..invoke(nonce, Some(to), input) }
}

#[test]
fn what_no_block_can_hold_is_refused_and_the_block_goes_on_without_it() {
    let mut node = roomy_node();
    let logger = deploy_logger(&mut node);
    let too_much = sign(&dev_key(1), logging(0, logger, 13));
    let results = node.block(2_000, &[too_much, sign(&dev_key(0), transfer(1, Address::ZERO, 1))]);
    let refused = results[0].as_ref().unwrap_err();
    assert_eq!(refused.message, "the transaction writes more than a block holds");
    assert!(results[1].is_ok());
    assert_eq!(node.record(2).transaction_count(), 1);
    assert_eq!(node.account(&node.dev_address(1)).nonce, 0);
    let follower = Node::empty();
    follower.ethereum.committed(&node.batch(0), &follower.store.snapshot()).unwrap();
}

#[test]
fn a_block_that_is_full_of_bytes_leaves_the_rest_to_the_next_whatever_its_gas_limit() {
    let mut node = roomy_node();
    let logger = deploy_logger(&mut node);
    let mut pool = node.ethereum.pool();
    for sender in 1..4 {
        let raw = sign(&dev_key(sender), logging(0, logger, 9));
        let admitted = node.ethereum.admit(raw, &Caller::Anonymous).unwrap();
        pool.insert(admitted, &node.store.newest_snapshot(), 2_000).unwrap();
    }
    for (sender, at_ms) in (1..4).zip([3_000, 4_000, 5_000]) {
        assert_ne!(pool.ready(at_ms), Ready::Idle);
        let before = node.ledger.len();
        assert_eq!(node.run(&mut *pool, at_ms), [sender]);
        assert_fits(&node.ledger[before..], 1);
    }
    assert!(pool.is_empty());
}

#[test]
fn what_the_members_publish_counts_twice_in_a_block() {
    let mut node = roomy_node();
    node.is_published = true;
    let logger = deploy_logger(&mut node);
    let before = node.ledger.len();
    let submissions: Vec<Bytes> =
        (1..5).zip([7, 5, 5, 1]).map(|(of, size)| sign(&dev_key(of), logging(0, logger, size))).collect();
    let results = node.block(2_000, &submissions);
    let taken: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(taken, [false, true, false, false], "one that never fits, one, and two for the next block");
    assert_fits(&node.ledger[before..], 2);
}

/// What one block wrote, so many times over.
fn assert_fits(block: &[Arc<WriteSet>], copies: usize) {
    let sizes: Vec<usize> = block.iter().map(|writes| writes.bytes() * copies).collect();
    assert!(sizes.iter().all(|bytes| *bytes <= limits::WRITE_SET_BYTES_MAX), "{sizes:?}");
    assert!(sizes.iter().sum::<usize>() <= limits::BLOCK_BYTES_MAX, "{sizes:?}");
}

#[test]
fn a_malformed_deposit_is_refused_and_a_failing_request_contract_does_not_stop_the_chain() {
    let mut genesis = NetworkConfig::dev().genesis;
    let depositing = Address::repeat_byte(0xde);
    genesis.config.deposit_contract_address = Some(depositing);
    // PUSH32 topic, PUSH0, PUSH0, LOG1
    let topic = "649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5";
    let code = alloy_primitives::hex::decode(format!("7f{topic}5f5fa1")).unwrap();
    genesis.alloc.insert(depositing, GenesisAccount::default().with_code(Some(code.into())));
    let requests = alloy_eips::eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS;
    genesis.alloc.insert(requests, GenesisAccount::default().with_code(Some(bytes!("fe"))));
    let mut node = Node::with_config(&serde_json::json!({"genesis": genesis}));
    let deposit = sign(&dev_key(0), invoke(0, Some(depositing), bytes!("")));
    let results = node.block(1_000, &[deposit, sign(&dev_key(0), transfer(0, Address::ZERO, 1))]);
    assert_eq!(results[0].as_ref().unwrap_err().message, "deposit event is malformed");
    assert!(results[1].is_ok());
    assert_eq!(node.head().number, 1);
}

fn development_genesis() -> serde_json::Value {
    serde_json::to_value(NetworkConfig::dev().genesis).unwrap()
}

/// A chain of three blocks with transfers, a contract and a delegation.
fn busy_node() -> (Node, Address) {
    let mut node = Node::dev();
    let create = sign(&dev_key(0), invoke(0, None, contract()));
    node.block(1_000, &[create, sign(&dev_key(1), transfer(0, Address::repeat_byte(9), 3))]);
    let at = node.record(1).transaction(0).unwrap().contract_address().unwrap();
    let store = sign(&dev_key(0), invoke(1, Some(at), U256::from(42).to_be_bytes_vec().into()));
    node.block(2_000, &[store])[0].as_ref().unwrap();
    let authorization = Authorization { chain_id: U256::from(31_337), address: at, nonce: 0 };
    let signature = sign_hash(&dev_key(3), authorization.signature_hash());
    let delegate = TxEip7702 {
        chain_id: 31_337,
        nonce: 0,
        gas_limit: 200_000,
        max_fee_per_gas: 2_000_000_000,
        max_priority_fee_per_gas: 1,
        to: node.dev_address(3),
        input: U256::from(7).to_be_bytes_vec().into(),
        authorization_list: vec![authorization.into_signed(signature)],
        ..TxEip7702::default()
    };
    let overwrite = sign(&dev_key(0), invoke(2, Some(at), U256::ZERO.to_be_bytes_vec().into()));
    let results = node.block(3_000, &[sign(&dev_key(2), delegate), overwrite]);
    assert!(results.iter().all(Result::is_ok));
    (node, at)
}

#[test]
fn a_delegation_gives_an_account_the_code_of_a_contract() {
    let (node, _) = busy_node();
    let delegated = node.dev_address(3);
    assert!(node.account(&delegated).has_code());
    assert_eq!(node.account(&delegated).nonce, 1);
    let slot = ReadState::value(&node.store.newest_snapshot(), &STORAGE, &storage_key(&delegated, U256::from(1)));
    assert_eq!(slot.unwrap()[..], [7]);
}

#[test]
fn a_backup_follows_to_the_same_roots_batch_by_batch_or_all_at_once() {
    let (primary, _) = busy_node();
    for batch_length in [1, 2, 100] {
        let backup = Node::empty();
        let all = primary.batch(0).transactions;
        for (at, transactions) in all.chunks(batch_length).enumerate() {
            for (offset, transaction) in transactions.iter().enumerate() {
                let seqno = Seqno((at * batch_length + offset + 1) as u64);
                backup.store.apply(seqno, &transaction.writes).unwrap();
            }
            let batch = CommittedBatch { transactions: transactions.to_vec() };
            backup.ethereum.committed(&batch, &backup.store.newest_snapshot()).unwrap();
        }
        let hash = primary.head().hash_slow();
        assert_eq!(backup.ethereum.chain().trie(&hash).unwrap().root(), primary.head().state_root);
        assert_eq!(backup.ethereum.chain().admission_rules(), primary.ethereum.chain().admission_rules());
    }
}

#[test]
fn a_network_can_begin_with_a_crowd_that_its_first_root_covers_and_backups_follow() {
    let mut node = Node::empty();
    let crowd = 100_001;
    let config = serde_json::json!({"dev": true, "crowd": crowd});
    let mut tx = node.store.begin();
    node.ethereum.genesis(&mut tx, &config, &context(node.next(), 1)).unwrap();
    node.append(tx);
    for part in 0..node.ethereum.genesis_parts(&config) {
        let mut tx = node.store.begin();
        node.ethereum.genesis_part(&mut tx, &config, part, &context(node.next(), 1)).unwrap();
        node.append(tx);
    }
    let last = crowd_member(crowd - 1);
    assert_eq!(node.account(&last).balance, U256::ONE);
    assert_eq!(node.account(&node.dev_address(0)).balance, U256::from(10).pow(U256::from(22)));
    node.block(1_000, &[sign(&dev_key(0), transfer(0, last, 1))])[0].as_ref().unwrap();

    let backup = Node::empty();
    for transaction in node.batch(0).transactions {
        backup.store.apply(transaction.txid.seqno, &transaction.writes).unwrap();
        let batch = CommittedBatch { transactions: vec![transaction] };
        backup.ethereum.committed(&batch, &backup.store.newest_snapshot()).unwrap();
    }
    let trie = backup.ethereum.chain().trie(&node.head().hash_slow()).unwrap();
    assert_eq!(trie.account(&last).unwrap().1, U256::from(2));
    assert_eq!(trie.account(&crowd_member(7)).unwrap().1, U256::ONE);
}

#[test]
fn a_backup_reports_a_state_that_does_not_lead_to_the_header() {
    let (primary, _) = busy_node();
    let mut batch = primary.batch(0);
    let mut writes = (*batch.transactions[1].writes).clone();
    let key = Bytes::copy_from_slice(Address::repeat_byte(0xbb).as_slice());
    writes.insert(&ACCOUNT, key, Some(Account::default().encode()));
    batch.transactions[1].writes = Arc::new(writes);
    let backup = Node::empty();
    let error = backup.ethereum.committed(&batch, &backup.store.newest_snapshot()).unwrap_err();
    assert_eq!(error.what, "state root of Ethereum block 1");
}

#[test]
fn the_primary_learns_that_its_own_blocks_are_committed_and_serves_proofs_of_them() {
    let (node, at) = busy_node();
    let hash = node.head().hash_slow();
    assert!(node.ethereum.chain().trie(&hash).is_none(), "not committed yet");
    node.ethereum.committed(&node.batch(0), &node.store.newest_snapshot()).unwrap();
    let trie = node.ethereum.chain().trie(&hash).unwrap();
    let (account, proof) = trie.prove_account(&at);
    let path = Nibbles::unpack(keccak256(at));
    verify_proof(node.head().state_root, path, account.map(alloy_rlp::encode), &proof).unwrap();
}

/// Init code of a contract that destroys itself without input, and otherwise stores the second word at the slot of the first.
fn mortal_contract() -> EvmBytes {
    // CALLDATASIZE, PUSH1 6, JUMPI, CALLER, SELFDESTRUCT, JUMPDEST, value, slot, SSTORE, STOP
    let code = bytes!("3660065733ff5b6020356000355500");
    // PUSH1 length, DUP1, PUSH1 11, PUSH1 0, CODECOPY, PUSH1 0, RETURN: from before PUSH0.
    let mut init = vec![0x60, code.len() as u8, 0x80, 0x60, 0x0b, 0x60, 0x00, 0x39, 0x60, 0x00, 0xf3];
    init.extend_from_slice(&code);
    init.into()
}

#[test]
fn a_contract_that_destroyed_itself_before_cancun_leaves_no_storage_on_any_node() {
    let mut genesis = NetworkConfig::dev().genesis;
    let chain = &mut genesis.config;
    (chain.shanghai_time, chain.cancun_time, chain.prague_time, chain.osaka_time) = (None, None, None, None);
    let mut node = Node::with_config(&serde_json::json!({"genesis": genesis}));
    let deployer = address!("4e59b44847b379578588920cA78FbF26c0B4956C");
    let salted = [&[0; 32][..], &mortal_contract()].concat();
    let at = deployer.create2(B256::ZERO, keccak256(mortal_contract()));
    let mut nonce = 0;
    let mut call = |to, input: Vec<u8>| {
        nonce += 1;
        sign(&dev_key(0), invoke(nonce - 1, Some(to), input.into()))
    };
    let pair =
        |slot: u64, value: u64| [U256::from(slot).to_be_bytes_vec(), U256::from(value).to_be_bytes_vec()].concat();
    let blocks = [
        vec![call(deployer, salted.clone()), call(at, pair(1, 11)), call(at, pair(2, 22))],
        vec![call(at, Vec::new())],
        vec![call(deployer, salted.clone()), call(at, pair(2, 33)), call(at, pair(3, 44))],
        // Destroyed and made again within one block.
        vec![call(at, Vec::new()), call(deployer, salted.clone()), call(at, pair(4, 55))],
    ];
    let slots = [[11, 22, 0, 0], [0, 0, 0, 0], [0, 33, 44, 0], [0, 0, 0, 55]];
    for (number, (block, expected)) in blocks.iter().zip(slots).enumerate() {
        let results = node.block(1_000 * (number as u64 + 1), block);
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        let state = node.store.newest_snapshot();
        let found =
            [1u64, 2, 3, 4].map(|slot| (&state as &dyn ReadState).slot(&at, U256::from(slot)).unwrap().to::<u64>());
        assert_eq!(found, expected, "block {}", number + 1);
        assert_rebuilds(&node);
    }
    let backup = Node::empty();
    backup.ethereum.committed(&node.batch(0), &backup.store.newest_snapshot()).unwrap();
}

/// A trie from scratch has the root that the header names.
fn assert_rebuilds(node: &Node) {
    let restarted = Node::empty();
    let store = Store::restore(node.store.newest(), all_rows(node));
    restarted.ethereum.rebuild(&store.snapshot()).unwrap();
}

#[test]
fn a_restarted_node_rebuilds_the_trie_and_goes_on() {
    let (node, _) = busy_node();
    let mut restarted = Node::empty();
    restarted.store = Store::restore(node.store.newest(), all_rows(&node));
    restarted.ethereum.rebuild(&restarted.store.snapshot()).unwrap();
    let hash = node.head().hash_slow();
    assert_eq!(restarted.ethereum.chain().trie(&hash).unwrap().root(), node.head().state_root);
    let results = restarted.block(9_000, &[sign(&dev_key(1), transfer(1, Address::ZERO, 1))]);
    results[0].as_ref().unwrap();
    assert_eq!(restarted.head().number, 4);
    assert_eq!(restarted.head().parent_hash, hash);
}

#[test]
fn losing_the_lead_drops_blocks_that_are_not_committed() {
    let mut node = Node::dev();
    let batch = node.batch(0);
    node.store.commit(Seqno(1));
    node.ethereum.committed(&batch, &node.store.snapshot()).unwrap();
    node.block(1_000, &[sign(&dev_key(0), transfer(0, Address::ZERO, 1))]);
    node.store.rollback();
    node.ethereum.rebuild(&node.store.snapshot()).unwrap();
    node.ledger.truncate(1);
    assert_eq!(node.head().number, 0);
    node.block(1_500, &[sign(&dev_key(0), transfer(0, Address::ZERO, 2))])[0].as_ref().unwrap();
    assert_eq!(node.head().number, 1);
}

#[test]
fn a_primary_forgets_blocks_that_were_dropped_and_builds_on_what_the_state_holds() {
    let mut node = Node::dev();
    node.block(1_000, &[sign(&dev_key(0), transfer(0, Address::ZERO, 1))]);
    // The second block is dropped with the leadership; nobody tells the ledger.
    node.store.commit(node.store.newest());
    let kept = node.ledger.len();
    node.block(2_000, &[sign(&dev_key(0), transfer(1, Address::ZERO, 1))]);
    node.store.rollback();
    node.ledger.truncate(kept);
    node.block(3_000, &[sign(&dev_key(0), transfer(1, Address::ZERO, 2))])[0].as_ref().unwrap();
    assert_eq!((node.head().number, node.head().parent_hash), (2, node.record(1).header().unwrap().hash_slow()));
    assert_rebuilds(&node);
}

#[test]
fn a_new_primary_waits_until_it_has_followed_to_the_newest_block() {
    let (old, _) = busy_node();
    let mut new = Node::empty();
    for writes in &old.ledger {
        new.store.apply(new.store.newest().next(), writes).unwrap();
    }
    let mut batch = old.batch(0);
    let rest = batch.transactions.split_off(4);
    new.ethereum.committed(&batch, &new.store.newest_snapshot()).unwrap();
    let mut pool = new.ethereum.pool();
    let raw = sign(&dev_key(1), transfer(1, Address::ZERO, 1));
    let admitted = new.ethereum.admit(raw.clone(), &Caller::Anonymous).unwrap();
    pool.insert(admitted, &new.store.newest_snapshot(), 9_000).unwrap();
    assert_eq!(pool.ready(9_500), Ready::At(9_505));
    assert!(pool.next(9_500).is_none());
    assert!(new.block(9_500, std::slice::from_ref(&raw))[0].is_err(), "not even without a pool");
    new.ethereum.committed(&CommittedBatch { transactions: rest }, &new.store.newest_snapshot()).unwrap();
    assert_eq!(pool.ready(9_500), Ready::At(9_100));
    assert!(pool.next(9_500).is_some());
    new.block(9_500, &[raw])[0].as_ref().unwrap();
    assert_eq!(new.head().number, 4);
}

#[test]
fn what_a_peer_admitted_needs_no_second_recovery() {
    let node = Node::dev();
    let raw = sign(&dev_key(0), transfer(0, Address::ZERO, 1));
    let admitted = node.ethereum.admit(raw.clone(), &Caller::Anonymous).unwrap();
    let again = node.ethereum.readmit(raw.clone(), admitted.finding.clone(), Caller::Anonymous).unwrap();
    assert_eq!((again.id, again.finding.clone()), (admitted.id, admitted.finding));
    assert!(node.ethereum.readmit(raw, again.finding.slice(1..), Caller::Anonymous).is_err());
}

#[test]
fn records_keep_their_encoding_and_are_refused_when_damaged() {
    let (node, at) = busy_node();
    let record = node.record(3).bytes().clone();
    let undo = node.ledger.iter().find_map(|writes| writes.get(&UNDO, &3u64.to_be_bytes()).flatten()).unwrap();
    let row = ReadState::value(&node.store.newest_snapshot(), &ACCOUNT, at.as_slice()).unwrap();
    let golden = [keccak256(&record), keccak256(undo), keccak256(&row)].map(|hash| hash.to_string());
    let expected = [
        "0x7af1facdb0b5ae7afa11cb74277e5279eec36da378c3395a7caf262e1ba6ae7f",
        "0xfd93996c7131e64d56aa47e4156e69e5dae78c641a1c13f019acdb366becafe8",
        "0x3fb041aeb84dc64e2c56b4aaadf72e3b441fd41fbf16cdce203db578967003f8",
    ];
    assert_eq!(golden, expected);
    for length in 0..record.len() {
        let cut = BlockRecord::decode(record.slice(..length));
        assert!(cut.is_none(), "cut at {length}");
    }
    for at in 0..record.len() {
        let mut damaged = record.to_vec();
        damaged[at] ^= 0x81;
        // Whatever it says, it must not panic.
        let read = BlockRecord::decode(damaged.into());
        let _parts =
            read.map(|record| (record.header(), record.transactions().count(), record.withdrawals(), record.ommers()));
    }
    assert!(BlockRecord::decode([&record[..], &[0]].concat().into()).is_none());
    assert!((0..undo.len()).all(|length| Undo::decode(&undo[..length]).is_none()));
}

#[test]
fn every_block_is_published_with_its_transactions() {
    let (node, _) = busy_node();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = heard.clone();
    let listener = move |event: &Event| {
        if let Event::Block(block) = event {
            sink.lock().push((block.number(), block.transaction_count()));
        }
        Keep::Yes
    };
    node.ethereum.events().listen(Channel::Blocks, Arc::new(listener));
    node.ethereum.published(&node.batch(0));
    assert_eq!(*heard.lock(), [(0, 0), (1, 2), (2, 1), (3, 2)]);
}

#[test]
fn an_older_state_is_todays_with_what_later_blocks_replaced_put_back() {
    let (node, at) = busy_node();
    let history = Arc::new(Ledger(node.ledger.clone()));
    let reader = Reader::new(Caller::Anonymous, node.store.newest_snapshot(), history, Arc::new(OpenGate));
    let slot = |number| {
        let state = HistoricState::new(reader.clone(), Arc::default(), 3, number, 10).unwrap();
        let state: &dyn ReadState = &state;
        (state.account(&at).unwrap().is_some(), state.slot(&at, U256::from(1)).unwrap().to::<u64>())
    };
    assert_eq!([slot(0), slot(1), slot(2), slot(3)], [(false, 0), (true, 0), (true, 42), (true, 0)]);
    assert!(HistoricState::new(reader.clone(), Arc::default(), 3, 0, 2).is_err(), "too much that is not indexed");
    assert!(HistoricState::new(reader, Arc::default(), 3, 4, 10).is_err(), "not there yet");
    let undo = node.ledger.iter().find_map(|writes| writes.get(&UNDO, &2u64.to_be_bytes()).flatten()).unwrap();
    assert!(Undo::decode(undo).is_some());
}

/// All history that a ledger wrote.
struct Ledger(Vec<Arc<WriteSet>>);

impl History for Ledger {
    fn record(&self, map: &MapName, key: &[u8]) -> Result<Option<Bytes>, HistoryError> {
        Ok(self.0.iter().find_map(|writes| writes.get(map, key).flatten()).cloned())
    }
}

fn all_rows(node: &Node) -> Vec<(MapName, Bytes, Bytes)> {
    let state = node.store.newest_snapshot();
    let maps = state.maps().into_iter().filter(|map| map.retention() == Retention::Live);
    maps.flat_map(|map| state.iter(&map).map(move |(key, value)| (map.clone(), key, value)).collect::<Vec<_>>())
        .collect()
}

#[test]
fn a_network_may_have_a_limit_of_contracts_code_of_its_own() {
    let deploy = |limit: Option<u64>, code_bytes: u64| {
        // PUSH3 length, PUSH0, RETURN
        let mut config = serde_json::to_value(NetworkConfig::dev()).unwrap();
        if let Some(limit) = limit {
            config["genesis"]["config"]["contractSizeLimit"] = limit.into();
        }
        let mut node = Node::with_config(&config);
        let create = invoke(0, None, hex::decode(format!("62{code_bytes:06x}5ff3")).unwrap().into());
        let outcome = node.block(1_000, &[sign(&dev_key(0), TxLegacy { gas_limit: 12_000_000, ..create })]);
        outcome[0].as_ref().unwrap();
        !node.record(1).transaction(0).unwrap().has_failed()
    };
    assert!(deploy(None, 24_576) && !deploy(None, 24_577));
    assert!(deploy(Some(50_000), 50_000) && !deploy(Some(50_000), 50_001));
}
