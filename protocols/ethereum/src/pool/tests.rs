use std::sync::Arc;

use alloy_consensus::{TxEip1559, TxEip7702};
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, TxKind, U256};
use coco_protocol::{Admitted, Caller, Pool, Protocol, Ready};
use proptest::prelude::*;

use super::{EthereumPool, PoolLimits};
use crate::rpc::{PoolContent, PoolCounts, PoolQuestion};
use crate::testing::{Node, dev_key, sign, sign_hash, transfer};
use crate::transaction::Transaction;

const GWEI: u128 = 1_000_000_000;

/// A development network with a pool beside it, for tests that do not execute anything.
struct Fixture {
    node: Node,
    pool: EthereumPool,
    now_ms: u64,
}

impl Fixture {
    fn new() -> Self {
        Self::with_limits(PoolLimits::default())
    }

    fn with_config(config: &serde_json::Value) -> Self {
        let node = Node::with_config(config);
        let pool = EthereumPool::new(node.ethereum.chain().clone());
        Self { node, pool, now_ms: 150 }
    }

    fn with_limits(limits: PoolLimits) -> Self {
        let node = Node::dev();
        let pool = EthereumPool::with_limits(node.ethereum.chain().clone(), limits);
        Self { node, pool, now_ms: 150 }
    }

    fn admit(&self, sender: usize, tx: TxEip1559) -> Admitted {
        self.node.ethereum.admit(sign(&dev_key(sender), tx), &Caller::Anonymous).unwrap()
    }

    /// The text of the refusal, if it is refused.
    fn insert(&mut self, sender: usize, tx: TxEip1559) -> Result<(), String> {
        let admitted = self.admit(sender, tx);
        let state = self.node.store.newest_snapshot();
        self.pool.insert(admitted, &state, self.now_ms).map_err(|rejection| rejection.message)
    }

    /// Runs the pool as the executor does, without a block: every choice succeeds in the account's row.
    fn drain(&mut self) -> Vec<(usize, u64)> {
        let mut order = Vec::new();
        while let Some(admitted) = self.pool.next(self.now_ms) {
            let transaction = admitted.decoded::<Transaction>().unwrap();
            let sender = transaction.sender;
            order.push((self.node.dev_index(&sender), transaction.nonce()));
            self.node.bump_nonce(&sender);
            self.pool.done(&admitted, Ok(&Default::default()), &self.node.store.newest_snapshot());
        }
        order
    }

    fn counts(&mut self) -> (u64, u64) {
        let counts: PoolCounts = self.ask(&PoolQuestion::Counts);
        (counts.pending, counts.queued)
    }

    fn ask<T: serde::de::DeserializeOwned>(&mut self, question: &PoolQuestion) -> T {
        let state = self.node.store.newest_snapshot();
        let answer = self.pool.answer(&serde_json::to_vec(question).unwrap(), &state, self.now_ms).unwrap();
        serde_json::from_slice(&answer).unwrap()
    }
}

fn paying(nonce: u64, tip: u128, fee_cap: u128) -> TxEip1559 {
    TxEip1559 { max_priority_fee_per_gas: tip, max_fee_per_gas: fee_cap, ..transfer(nonce, Address::ZERO, 1) }
}

#[test]
fn transactions_leave_by_tip_then_age_and_by_nonce_within_a_sender() {
    let mut pool = Fixture::new();
    pool.insert(0, paying(0, 5, 2 * GWEI)).unwrap();
    pool.insert(1, paying(0, 9, 2 * GWEI)).unwrap();
    pool.insert(1, paying(1, 1, 2 * GWEI)).unwrap();
    pool.insert(2, paying(0, 5, 2 * GWEI)).unwrap();
    assert_eq!(pool.drain(), [(1, 0), (0, 0), (2, 0), (1, 1)]);
    assert!(pool.pool.is_empty());
}

#[test]
fn a_transaction_behind_a_gap_waits_until_the_gap_closes() {
    let mut pool = Fixture::new();
    pool.insert(0, transfer(2, Address::ZERO, 1)).unwrap();
    pool.insert(0, transfer(1, Address::ZERO, 1)).unwrap();
    assert_eq!(pool.counts(), (0, 2));
    assert_eq!(pool.pool.ready(pool.now_ms), Ready::Idle);
    assert_eq!(pool.drain(), []);
    pool.insert(0, transfer(0, Address::ZERO, 1)).unwrap();
    assert_eq!(pool.counts(), (3, 0));
    assert_eq!(pool.drain(), [(0, 0), (0, 1), (0, 2)]);
}

#[test]
fn a_fee_cap_below_the_base_fee_is_accepted_and_waits() {
    let mut pool = Fixture::new();
    pool.insert(0, paying(0, 0, GWEI / 2)).unwrap();
    assert_eq!(pool.pool.ready(pool.now_ms), Ready::At(601));
    assert_eq!(pool.drain(), []);
    assert_eq!(pool.counts(), (1, 0));
}

#[test]
fn a_fee_that_is_below_the_base_fee_is_enough_once_time_has_let_the_base_fee_fall() {
    let mut pool = Fixture::new();
    // The network was founded at time 1 with 1 gwei, and no block since.
    pool.now_ms = 200;
    pool.insert(0, paying(0, 0, GWEI / 2)).unwrap();
    let Ready::At(due_ms) = pool.pool.ready(pool.now_ms) else { panic!("it is due at some time") };
    assert_eq!(due_ms, 601, "six eighths are taken away, one of them for the founding itself");
    assert_eq!(pool.pool.ready(due_ms - 1), Ready::At(due_ms));
    pool.now_ms = due_ms;
    assert!(matches!(pool.pool.ready(due_ms), Ready::At(at_ms) if at_ms <= due_ms));
    assert_eq!(pool.drain(), [(0, 0)]);
    assert_eq!(pool.pool.ready(due_ms), Ready::Idle);
}

#[test]
fn after_full_blocks_everything_that_waits_is_executed_in_the_end() {
    let mut node = Node::with_config(&serde_json::json!({"dev": true, "genesis": small_blocks()}));
    let mut pool = EthereumPool::new(node.ethereum.chain().clone());
    let admit = |node: &Node, sender, nonce| {
        let raw = sign(&dev_key(sender), paying(nonce, 0, GWEI));
        node.ethereum.admit(raw, &Caller::Anonymous).unwrap()
    };
    for (sender, nonce) in (0..10).flat_map(|sender| (0..12).map(move |nonce| (sender, nonce))) {
        pool.insert(admit(&node, sender, nonce), &node.store.newest_snapshot(), 0).unwrap();
    }
    let (mut now_ms, mut blocks, mut waited_ms) = (150, 0, 0);
    while !pool.is_empty() {
        let due_ms = match pool.ready(now_ms) {
            Ready::Now => now_ms,
            Ready::At(due_ms) => due_ms,
            Ready::Idle => panic!("{} wait for ever", pool.len()),
        };
        waited_ms += due_ms.saturating_sub(now_ms + 100);
        now_ms = now_ms.max(due_ms);
        assert!(!node.run(&mut pool, now_ms).is_empty(), "a block that is due is not empty");
        let base_fee = u128::from(node.head().base_fee_per_gas.unwrap());
        assert!(base_fee <= GWEI);
        blocks += 1;
    }
    assert!(blocks >= 60 && waited_ms > 0, "{blocks} blocks, {waited_ms} ms of waiting");
}

/// Two transfers fill a block.
fn small_blocks() -> alloy_genesis::Genesis {
    let mut genesis = crate::network::NetworkConfig::dev().genesis;
    genesis.gas_limit = 42_000;
    genesis
}

#[test]
fn whoever_waits_for_what_left_the_pool_is_told_why() {
    let mut pool = Fixture::with_limits(PoolLimits { pending_max: 2, queued_lifetime_ms: 10, ..PoolLimits::default() });
    let reasons = |pool: &mut Fixture| -> Vec<String> {
        pool.pool.dropped().into_iter().map(|(_, rejection)| rejection.message).collect()
    };
    pool.insert(0, paying(0, 5, 2 * GWEI)).unwrap();
    assert_eq!(pool.pool.dropped(), []);
    let replaced = pool.admit(0, paying(0, 5, 2 * GWEI)).id;
    pool.insert(0, paying(0, 50, 3 * GWEI)).unwrap();
    let dropped = pool.pool.dropped();
    assert_eq!((dropped.len(), &dropped[0].0), (1, &replaced));
    assert_eq!(dropped[0].1.message, "replaced by another transaction with the same nonce");
    pool.insert(1, paying(0, 5, 2 * GWEI)).unwrap();
    pool.insert(2, paying(0, 6, 2 * GWEI)).unwrap();
    assert_eq!(reasons(&mut pool), ["evicted from the txpool by a transaction that pays more"]);
    pool.insert(3, paying(7, 5, 2 * GWEI)).unwrap();
    pool.now_ms += 11;
    pool.insert(2, paying(1, 60, 3 * GWEI)).unwrap_err();
    assert_eq!(reasons(&mut pool), ["waited in the txpool for too long behind a nonce gap"]);
    assert_eq!(reasons(&mut pool), [""; 0]);
    pool.drain();
    assert_eq!(pool.pool.dropped(), [], "what was run has its own answer");
}

#[test]
fn the_first_pending_transaction_starts_the_block_timer() {
    let mut pool = Fixture::new();
    pool.insert(0, transfer(0, Address::ZERO, 1)).unwrap();
    let due = Ready::At(pool.now_ms + 100);
    pool.now_ms += 60;
    pool.insert(1, transfer(0, Address::ZERO, 1)).unwrap();
    assert_eq!(pool.pool.ready(pool.now_ms), due);
}

#[test]
fn enough_gas_for_a_block_starts_it_early() {
    let mut pool = Fixture::new();
    for nonce in 0..2 {
        let large = TxEip1559 { gas_limit: 15_000_000, ..transfer(nonce, Address::ZERO, 1) };
        pool.insert(0, large).unwrap();
    }
    assert_eq!(pool.pool.ready(pool.now_ms), Ready::Now);
}

#[test]
fn no_sender_takes_more_than_half_of_a_block_while_others_wait() {
    let mut pool = Fixture::new();
    let large = |nonce, tip| TxEip1559 { gas_limit: 8_000_000, ..paying(nonce, tip, 2 * GWEI) };
    for nonce in 0..3 {
        pool.insert(0, large(nonce, 9)).unwrap();
    }
    pool.insert(1, large(0, 1)).unwrap();
    assert_eq!(pool.drain(), [(0, 0), (1, 0), (0, 1), (0, 2)]);
}

#[test]
fn without_fees_the_first_to_come_is_the_first_to_go() {
    let mut pool = Fixture::with_config(&serde_json::json!({"dev": true, "base_fee": 0}));
    for (sender, nonce) in [(2, 0), (0, 0), (2, 1), (1, 0), (0, 1)] {
        pool.insert(sender, paying(nonce, 0, 0)).unwrap();
    }
    assert_eq!(pool.drain(), [(2, 0), (0, 0), (2, 1), (1, 0), (0, 1)]);
}

#[test]
fn what_does_not_fit_into_the_rest_of_a_block_lets_others_pass_and_leads_the_next() {
    let mut node = Node::dev();
    let mut pool = node.ethereum.pool();
    let large = |tip| TxEip1559 { gas_limit: 16_000_000, ..paying(0, tip, 3 * GWEI) };
    // It burns what it is given, so that the second of its kind has no room.
    let burn = |tip| TxEip1559 { to: TxKind::Create, input: vec![0xfe].into(), ..large(tip) };
    for (sender, tx) in [(0, burn(9)), (1, burn(8)), (2, paying(0, 1, 3 * GWEI))] {
        let admitted = node.ethereum.admit(sign(&dev_key(sender), tx), &Caller::Anonymous).unwrap();
        pool.insert(admitted, &node.store.newest_snapshot(), 1_000).unwrap();
    }
    assert_eq!(node.run(&mut *pool, 2_000), [0, 2]);
    assert_eq!(node.run(&mut *pool, 3_000), [1]);
}

#[test]
fn refusals_have_the_words_that_clients_look_for() {
    let mut pool = Fixture::new();
    pool.insert(0, paying(0, GWEI, 10 * GWEI)).unwrap();
    assert_eq!(pool.insert(0, paying(0, GWEI, 10 * GWEI)).unwrap_err(), "already known");
    let rival = TxEip1559 { value: U256::from(2), ..paying(0, GWEI, 10 * GWEI) };
    assert_eq!(pool.insert(0, rival).unwrap_err(), "replacement transaction underpriced");
    let poor = TxEip1559 { value: U256::from(10).pow(U256::from(23)), ..paying(0, 1, GWEI) };
    let text = pool.insert(1, poor).unwrap_err();
    assert!(
        text.starts_with("insufficient funds for gas * price + value: balance 10000000000000000000000, tx cost"),
        "{text}"
    );
    pool.node.bump_nonce(&pool.node.dev_address(2));
    assert_eq!(pool.insert(2, transfer(0, Address::ZERO, 1)).unwrap_err(), "nonce too low: next nonce 1, tx nonce 0");
}

#[test]
fn the_balance_has_to_cover_everything_pooled() {
    let mut pool = Fixture::new();
    let half = U256::from(6_000) * U256::from(GWEI) * U256::from(GWEI);
    pool.insert(0, TxEip1559 { value: half, ..transfer(0, Address::ZERO, 1) }).unwrap();
    assert!(pool.insert(0, TxEip1559 { value: half, ..transfer(1, Address::ZERO, 1) }).is_err());
}

#[test]
fn what_others_paid_to_a_sender_counts_at_once() {
    let mut pool = Fixture::new();
    let much = U256::from(9_000) * U256::from(GWEI) * U256::from(GWEI);
    pool.insert(0, TxEip1559 { value: much, ..transfer(0, Address::ZERO, 1) }).unwrap();
    let second = || TxEip1559 { value: much, ..transfer(1, Address::ZERO, 1) };
    assert!(pool.insert(0, second()).is_err());
    let sender = pool.node.dev_address(0);
    pool.node.pay(&sender, much);
    pool.insert(0, second()).unwrap();
}

#[test]
fn a_delegated_account_has_one_transaction_in_flight() {
    let mut pool = Fixture::new();
    let authorization = Authorization { chain_id: U256::ZERO, address: Address::repeat_byte(1), nonce: 0 };
    let signature = sign_hash(&dev_key(1), authorization.signature_hash());
    let delegating = TxEip7702 {
        chain_id: 31_337,
        gas_limit: 100_000,
        max_fee_per_gas: 2 * GWEI,
        authorization_list: vec![authorization.into_signed(signature)],
        ..TxEip7702::default()
    };
    let raw = sign(&dev_key(0), delegating);
    let admitted = pool.node.ethereum.admit(raw, &Caller::Anonymous).unwrap();
    pool.pool.insert(admitted, &pool.node.store.newest_snapshot(), pool.now_ms).unwrap();
    pool.insert(1, transfer(0, Address::ZERO, 1)).unwrap();
    let refusal = pool.insert(1, transfer(1, Address::ZERO, 1)).unwrap_err();
    assert_eq!(refusal, "in-flight transaction limit reached for delegated accounts");
}

#[test]
fn a_tenth_more_on_both_fees_replaces() {
    let mut pool = Fixture::new();
    pool.insert(0, paying(0, 100, 2 * GWEI)).unwrap();
    assert!(pool.insert(0, paying(0, 109, 3 * GWEI)).is_err());
    assert!(pool.insert(0, paying(0, 200, 2 * GWEI + 1)).is_err());
    pool.insert(0, paying(0, 110, 2 * GWEI + GWEI / 5)).unwrap();
    assert_eq!(pool.counts(), (1, 0));
    assert_eq!(pool.drain(), [(0, 0)]);
}

#[test]
fn a_full_pool_evicts_what_pays_less_and_otherwise_refuses() {
    let limits = PoolLimits { pending_max: 2, queued_max: 1, ..PoolLimits::default() };
    let mut pool = Fixture::with_limits(limits);
    pool.insert(0, paying(0, 5, 2 * GWEI)).unwrap();
    pool.insert(1, paying(0, 7, 2 * GWEI)).unwrap();
    assert_eq!(pool.insert(2, paying(0, 5, 2 * GWEI)).unwrap_err(), "txpool is full");
    pool.insert(2, paying(0, 6, 2 * GWEI)).unwrap();
    assert_eq!(pool.drain(), [(1, 0), (2, 0)]);
}

#[test]
fn a_sender_has_a_limit_of_its_own() {
    let mut pool = Fixture::with_limits(PoolLimits { per_sender_max: 2, ..PoolLimits::default() });
    pool.insert(0, transfer(0, Address::ZERO, 1)).unwrap();
    pool.insert(0, transfer(1, Address::ZERO, 1)).unwrap();
    assert_eq!(pool.insert(0, transfer(2, Address::ZERO, 1)).unwrap_err(), "txpool is full");
    pool.insert(1, transfer(0, Address::ZERO, 1)).unwrap();
}

#[test]
fn large_transactions_fill_the_pool_before_many_do() {
    let mut pool = Fixture::with_limits(PoolLimits { bytes_max: 300, ..PoolLimits::default() });
    pool.insert(0, transfer(0, Address::ZERO, 1)).unwrap();
    pool.insert(1, transfer(0, Address::ZERO, 1)).unwrap();
    assert_eq!(pool.insert(2, transfer(0, Address::ZERO, 1)).unwrap_err(), "txpool is full");
    assert_eq!(pool.drain().len(), 2);
    pool.insert(2, transfer(0, Address::ZERO, 1)).unwrap();
}

/// A transfer that takes so many bytes more.
fn large(nonce: u64, tip: u128, bytes: usize) -> TxEip1559 {
    TxEip1559 { input: vec![0; bytes].into(), gas_limit: 21_000 + 40 * bytes as u64, ..paying(nonce, tip, 2 * GWEI) }
}

#[test]
fn bytes_behind_a_gap_make_room_for_what_can_be_executed_and_for_what_pays_more() {
    let mut pool = Fixture::with_limits(PoolLimits { bytes_max: 12_000, ..PoolLimits::default() });
    for nonce in 5..10 {
        pool.insert(0, large(nonce, 5, 2_000)).unwrap();
    }
    assert_eq!(pool.insert(1, large(9, 5, 2_000)).unwrap_err(), "txpool is full", "behind a gap itself, for no more");
    assert_eq!(pool.counts(), (0, 5), "a refusal evicts nothing");
    pool.insert(1, large(9, 6, 2_000)).unwrap();
    pool.insert(2, large(0, 1, 3_500)).unwrap();
    assert_eq!(pool.counts(), (1, 3), "two had to leave");
    assert_eq!(pool.insert(0, large(0, 1, 12_000)).unwrap_err(), "txpool is full", "never for its sender's own");
    assert!(pool.pool.bytes <= 12_000);
}

#[test]
fn a_replacement_has_to_find_room_for_what_it_is_larger() {
    let mut pool = Fixture::with_limits(PoolLimits { bytes_max: 5_000, ..PoolLimits::default() });
    pool.insert(0, large(0, 10, 100)).unwrap();
    pool.insert(1, large(0, 10, 2_000)).unwrap();
    let dearer = |bytes| TxEip1559 { max_fee_per_gas: 3 * GWEI, ..large(0, 20, bytes) };
    assert_eq!(pool.insert(0, dearer(6_000)).unwrap_err(), "txpool is full");
    assert_eq!(pool.counts(), (2, 0));
    pool.insert(0, dearer(4_000)).unwrap();
    assert_eq!(pool.counts(), (1, 0), "what pays less had to leave");
    assert!(pool.pool.bytes <= 5_000);
}

/// The case of besu's issue 1891.
#[test]
fn nonces_that_never_come_take_no_place_from_what_can_be_executed() {
    let limits = PoolLimits { pending_max: 4, queued_max: 3, ..PoolLimits::default() };
    let mut pool = Fixture::with_limits(limits);
    for nonce in 5..8 {
        pool.insert(0, transfer(nonce, Address::ZERO, 1)).unwrap();
    }
    assert_eq!(pool.insert(0, transfer(9, Address::ZERO, 1)).unwrap_err(), "txpool is full");
    for nonce in 0..2 {
        pool.insert(1, transfer(nonce, Address::ZERO, 1)).unwrap();
        pool.insert(2, transfer(nonce, Address::ZERO, 1)).unwrap();
    }
    assert_eq!(pool.drain().len(), 4);
    let used = pool.insert(1, transfer(1, Address::ZERO, 1)).unwrap_err();
    assert!(used.starts_with("nonce too low"), "{used}");
    assert_eq!(pool.counts(), (0, 3));
    pool.now_ms += PoolLimits::default().queued_lifetime_ms + 1;
    pool.insert(1, transfer(2, Address::ZERO, 1)).unwrap();
    assert_eq!(pool.counts(), (1, 0));
}

/// The case of besu's issue 5757.
#[test]
fn many_transactions_of_one_sender_may_come_in_any_order() {
    let mut pool = Fixture::new();
    for nonce in (0..300).rev() {
        pool.insert(0, transfer(nonce, Address::ZERO, 1)).unwrap();
    }
    assert_eq!(pool.drain(), (0..300).map(|nonce| (0, nonce)).collect::<Vec<_>>());
}

/// The case of quorum's issue 605.
#[test]
fn a_pool_that_was_full_goes_on_as_before() {
    let mut pool = Fixture::with_limits(PoolLimits { pending_max: 3, ..PoolLimits::default() });
    for round in 0..4 {
        for sender in 0..3 {
            pool.insert(sender, transfer(round, Address::ZERO, 1)).unwrap();
        }
        assert_eq!(pool.insert(3, transfer(0, Address::ZERO, 1)).unwrap_err(), "txpool is full");
        assert_eq!(pool.drain().len(), 3);
        assert_eq!(pool.counts(), (0, 0));
    }
    pool.insert(3, transfer(0, Address::ZERO, 1)).unwrap();
    assert_eq!(pool.drain(), [(3, 0)]);
}

#[test]
fn queued_transactions_expire_and_pending_ones_do_not() {
    let mut pool = Fixture::new();
    pool.insert(0, transfer(0, Address::ZERO, 1)).unwrap();
    pool.insert(1, transfer(1, Address::ZERO, 1)).unwrap();
    pool.now_ms += PoolLimits::default().queued_lifetime_ms + 1;
    pool.insert(2, transfer(0, Address::ZERO, 1)).unwrap();
    assert_eq!(pool.counts(), (2, 0));
}

#[test]
fn a_refused_transaction_is_gone_and_what_follows_it_waits() {
    let mut pool = Fixture::new();
    pool.insert(0, transfer(0, Address::ZERO, 1)).unwrap();
    pool.insert(0, transfer(1, Address::ZERO, 1)).unwrap();
    pool.insert(1, transfer(0, Address::ZERO, 1)).unwrap();
    let admitted = pool.pool.next(pool.now_ms).unwrap();
    let rejection = coco_protocol::Rejection::new(coco_protocol::RejectionReason::Refused, -32000, "no");
    let state = pool.node.store.newest_snapshot();
    pool.pool.done(&admitted, Err(&rejection), &state);
    assert_eq!(pool.counts(), (1, 1));
    assert_eq!(pool.drain(), [(1, 0)]);
}

#[test]
fn the_pool_tells_what_it_holds() {
    let mut pool = Fixture::new();
    let sender = pool.node.dev_address(0);
    pool.insert(0, transfer(0, Address::ZERO, 1)).unwrap();
    pool.insert(0, transfer(1, Address::ZERO, 1)).unwrap();
    pool.insert(0, transfer(5, Address::ZERO, 1)).unwrap();
    assert_eq!(pool.ask::<u64>(&PoolQuestion::NextNonce(sender)), 2);
    assert_eq!(pool.ask::<u64>(&PoolQuestion::NextNonce(Address::ZERO)), 0);
    let content: PoolContent = pool.ask(&PoolQuestion::Content(Some(sender)));
    assert_eq!((content.pending.len(), content.queued.len()), (2, 1));
    let told = &content.queued[0];
    let transaction = Transaction::readmit(told.raw.clone().into(), &told.finding).unwrap();
    assert_eq!((transaction.sender, transaction.nonce()), (sender, 5));
    assert_eq!(
        pool.ask::<Option<crate::rpc::PooledTransaction>>(&PoolQuestion::Transaction(transaction.hash)),
        Some(told.clone())
    );
    assert!(pool.pool.answer(b"nonsense", &pool.node.store.newest_snapshot(), 0).is_err());
    pool.pool.clear();
    assert!(pool.pool.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn whatever_comes_leaves_in_nonce_order_and_the_sums_stay_right(
        steps in prop::collection::vec((0usize..4, 0u64..6, 1u128..6, any::<bool>()), 1..40)
    ) {
        let limits = PoolLimits { pending_max: 6, queued_max: 4, per_sender_max: 5, ..PoolLimits::default() };
        let mut pool = Fixture::with_limits(limits);
        let mut executed = [0u64; 4];
        for (sender, nonce, tip, drain) in steps {
            let _refused_or_not = pool.insert(sender, paying(nonce, tip * GWEI, tip * 2 * GWEI));
            if drain && tip == 1 {
                for (sender, nonce) in pool.drain() {
                    prop_assert_eq!(nonce, executed[sender]);
                    executed[sender] += 1;
                }
            }
            let (pending, queued) = pool.counts();
            prop_assert_eq!((pending + queued) as usize, pool.pool.len());
            prop_assert!(pool.pool.len() <= 10);
            let pooled: u64 = pool.pool.senders.values().flat_map(|queue| queue.iter())
                .filter(|pooled| pooled.is_pending).map(|pooled| pooled.gas).sum();
            prop_assert_eq!(pool.pool.pending_gas, pooled);
            for queue in pool.pool.senders.values() {
                let cost = queue.iter().fold(U256::ZERO, |sum, pooled| sum + pooled.cost);
                prop_assert_eq!(queue.cost, cost);
                for pooled in queue.iter() {
                    prop_assert_eq!(pooled.is_pending, pooled.nonce < queue.pending_end);
                }
            }
        }
    }
}

#[test]
fn the_pool_is_a_pool_of_the_seam() {
    let node = Node::dev();
    let pool: Box<dyn Pool> = node.ethereum.pool();
    assert_eq!(pool.len(), 0);
    assert_eq!(pool.ready(0), Ready::Idle);
    let _shared: Arc<dyn Protocol> = node.ethereum;
}
