//! What a transfer costs where there are many accounts: the executor's part and the store's, without network, disk and clients.
//!
//! ```sh
//! cargo bench -p coco-ethereum --bench age -- 60000 1000000 10000000
//! ```
//! Each number is a state of so many accounts, made anew; its rounds alternate between payments to accounts that are there, each to another one,
//! and payments to new ones. Times are the thread's own CPU time, so that what else runs on the machine counts only for what it takes from
//! the caches. With `--only existing` or `--only new`, the rounds are of one kind.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use alloy_consensus::transaction::SignableTransaction;
use alloy_consensus::{EthereumTxEnvelope, TxEip1559, TxEip4844};
use alloy_eips::Encodable2718;
use alloy_primitives::{Address, Signature, TxKind, U256, keccak256};
use bytes::Bytes;
use coco_ethereum::network::crowd_member;
use coco_ethereum::rpc::Options;
use coco_ethereum::{Ethereum, network};
use coco_kv::{Store, Tx};
use coco_protocol::{Admitted, Caller, CommittedBatch, CommittedTransaction, Context, Pool, Protocol};
use coco_types::{TxId, View};
use secp256k1::{Message, SECP256K1, SecretKey};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SENDERS: usize = 1_400;
/// Transfers of a block.
const BLOCK: usize = 1_400;
/// Blocks that are executed before the oldest is committed.
const IN_FLIGHT: usize = 2;
const ROUNDS: usize = 20;
/// Rounds that are not counted: they pay for what is made once.
const WARM_UP: usize = 4;
/// Coprime with every number of accounts here.
const STEP: u64 = 7_368_787;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let only = arguments.iter().position(|argument| argument == "--only").and_then(|at| arguments.get(at + 1));
    let kinds: &[&str] = match only.map(String::as_str) {
        Some("existing") => &["existing"],
        Some("new") => &["new"],
        _ => &["existing", "new"],
    };
    let sizes: Vec<u64> = arguments.iter().filter_map(|argument| argument.parse().ok()).collect();
    for crowd in if sizes.is_empty() { vec![60_000] } else { sizes } {
        measure(crowd, kinds);
    }
}

fn measure(crowd: u64, kinds: &[&'static str]) {
    let keys: Vec<SecretKey> = (0..SENDERS).map(key).collect();
    let before = resident_bytes();
    let started = Instant::now();
    let mut node = Node::new(&keys, crowd);
    let bytes = resident_bytes().saturating_sub(before) / crowd;
    println!("{crowd} accounts: made in {:.1} s, {bytes} bytes of memory each", started.elapsed().as_secs_f64());
    let mut spent: Vec<(&str, [u64; Phase::COUNT])> = Vec::new();
    for round in 0..(WARM_UP + ROUNDS) * kinds.len() {
        let kind = kinds[round % kinds.len()];
        let recipient = |at: usize| {
            let number = (round * BLOCK + at) as u64;
            crowd_member(if kind == "new" { u64::MAX - number } else { number.wrapping_mul(STEP) % crowd })
        };
        let submissions: Vec<Bytes> =
            keys.iter().cycle().enumerate().take(BLOCK).map(|(at, key)| transfer(key, round, recipient(at))).collect();
        let admitted = node.admit(&submissions);
        let phases = node.block(&admitted);
        if round >= WARM_UP * kinds.len() {
            spent.push((kind, phases));
        }
    }
    for kind in kinds {
        let of_kind: Vec<_> = spent.iter().filter(|(other, _)| other == kind).map(|(_, phases)| *phases).collect();
        report(kind, &of_kind);
    }
}

/// Medians, nanoseconds a transfer.
fn report(kind: &str, rounds: &[[u64; Phase::COUNT]]) {
    let median = |value: &dyn Fn(&[u64; Phase::COUNT]) -> u64| {
        let mut values: Vec<u64> = rounds.iter().map(value).collect();
        values.sort_unstable();
        values[values.len() / 2] / BLOCK as u64
    };
    let phases = Phase::NAMES.iter().enumerate().map(|(at, name)| format!("{name} {}", median(&|round| round[at])));
    println!(
        "  to {kind:<8} accounts: {} ns; {}",
        median(&|round| round.iter().sum()),
        phases.collect::<Vec<_>>().join(", ")
    );
}

struct Phase;

impl Phase {
    const NAMES: [&str; 5] = ["pool", "execute", "seal", "commit", "derive"];
    const COUNT: usize = Self::NAMES.len();
}

struct Node {
    ethereum: Ethereum,
    store: Store,
    pool: Box<dyn Pool>,
    written: Vec<CommittedTransaction>,
    /// Blocks that are not committed yet.
    in_flight: Vec<CommittedBatch>,
}

impl Node {
    fn new(keys: &[SecretKey], crowd: u64) -> Self {
        let ethereum = Ethereum::new(|| Options::new(Arc::new(|bytes: &mut [u8]| bytes.fill(1))));
        let mut config = network::NetworkConfig { crowd, dev: true, ..network::NetworkConfig::default() };
        config.genesis.gas_limit = 3_000_000_000;
        config.base_fee = Some(1_000_000_000);
        for key in keys {
            let account = alloy_genesis::GenesisAccount::default().with_balance(U256::from(10).pow(U256::from(20)));
            config.genesis.alloc.insert(address(key), account);
        }
        let json = serde_json::to_value(&config).expect("a configuration is JSON");
        let pool = ethereum.pool();
        let mut node = Self { ethereum, store: Store::new(), pool, written: Vec::new(), in_flight: Vec::new() };
        let mut tx = node.store.begin();
        node.ethereum.genesis(&mut tx, &json, &context(&node.store)).expect("usable");
        node.append(tx);
        for part in 0..node.ethereum.genesis_parts(&json) {
            node.finish_block(0);
            let mut tx = node.store.begin();
            node.ethereum.genesis_part(&mut tx, &json, part, &context(&node.store)).expect("usable");
            node.append(tx);
        }
        node.finish_block(0);
        node
    }

    fn append(&mut self, tx: Tx) {
        let version = self.store.newest().next();
        let writes = Arc::new(tx.into_parts().0);
        self.store.apply(version, &writes).expect("the next version");
        self.written.push(CommittedTransaction { txid: TxId::new(View(1), version), writes });
    }

    /// Commits all but the newest `in_flight` blocks; what the store and what the derived data took.
    fn finish_block(&mut self, in_flight: usize) -> (u64, u64) {
        let transactions = std::mem::take(&mut self.written);
        self.in_flight.push(CommittedBatch { transactions });
        let (mut committing, mut deriving) = (0, 0);
        while self.in_flight.len() > in_flight {
            let batch = self.in_flight.remove(0);
            let last = batch.transactions.last().expect("something was written").txid.seqno;
            committing += timed(|| self.store.commit(last)).0;
            let state = self.store.snapshot();
            deriving += timed(|| self.ethereum.committed(&batch, &state).expect("sound")).0;
        }
        (committing, deriving)
    }

    fn admit(&self, submissions: &[Bytes]) -> Vec<Admitted> {
        let admit = |raw: &Bytes| self.ethereum.admit(raw.clone(), &Caller::Anonymous).expect("valid");
        submissions.iter().map(admit).collect()
    }

    fn block(&mut self, admitted: &[Admitted]) -> [u64; Phase::COUNT] {
        let state = self.store.newest_snapshot();
        let (pooling, ()) = timed(|| {
            for admitted in admitted {
                self.pool.insert(admitted.clone(), &state, 1_000).expect("room");
            }
        });
        drop(state);
        let (executing, ()) = timed(|| {
            let mut opened = false;
            while let Some(admitted) = self.pool.next(1_000) {
                let mut tx = self.store.begin();
                let context = context(&self.store);
                if !opened {
                    self.ethereum.open_block(&mut tx, &context).expect("opened");
                }
                opened = true;
                let outcome = self.ethereum.execute(&mut tx, &admitted, &context).expect("executed");
                self.append(tx);
                self.pool.done(&admitted, Ok(&outcome), &self.store.newest_snapshot());
            }
        });
        let (sealing, ()) = timed(|| {
            let mut tx = self.store.begin();
            self.ethereum.seal_block(&mut tx, &context(&self.store)).expect("sealed").expect("not empty");
            self.append(tx);
        });
        let (committing, deriving) = self.finish_block(IN_FLIGHT);
        [pooling, executing, sealing, committing, deriving]
    }
}

fn context(store: &Store) -> Context<'static> {
    Context::new(TxId::new(View(1), store.newest().next()), 1_000_000, &|bytes| bytes.fill(3))
}

fn key(index: usize) -> SecretKey {
    SecretKey::from_byte_array(&keccak256(index.to_be_bytes()).0).expect("a valid key")
}

fn address(key: &SecretKey) -> Address {
    Address::from_raw_public_key(&key.public_key(SECP256K1).serialize_uncompressed()[1..])
}

fn transfer(key: &SecretKey, nonce: usize, to: Address) -> Bytes {
    let tx = TxEip1559 {
        chain_id: 31_337,
        nonce: nonce as u64,
        gas_limit: 21_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(to),
        value: U256::from(1),
        ..TxEip1559::default()
    };
    let message = Message::from_digest(tx.signature_hash().0);
    let (recovery, compact) = SECP256K1.sign_ecdsa_recoverable(&message, key).serialize_compact();
    let signature = Signature::new(
        U256::from_be_slice(&compact[..32]),
        U256::from_be_slice(&compact[32..]),
        i32::from(recovery) == 1,
    );
    EthereumTxEnvelope::<TxEip4844>::from(tx.into_signed(signature)).encoded_2718().into()
}

/// Nanoseconds of this thread's CPU time.
fn timed<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let from = cpu_ns();
    let value = work();
    (cpu_ns() - from, value)
}

fn cpu_ns() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("the system tells a thread's time");
    text.split(' ').next().and_then(|ns| ns.parse().ok()).expect("its first number is the time on a processor")
}

/// Memory of this process; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1_024
}
