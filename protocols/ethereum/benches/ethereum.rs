//! What the parts of a transfer cost: admission, pool, execution, trie, seal; and a changed account in a large trie.
//!
//! `cargo bench -p coco-ethereum`. One thread; the medians of a few rounds.

use std::hint::black_box;
use std::time::{Duration, Instant};

use alloy_consensus::transaction::SignableTransaction;
use alloy_consensus::{EthereumTxEnvelope, TxEip1559, TxEip4844};
use alloy_eips::Encodable2718;
use alloy_primitives::{Address, Signature, TxKind, U256, keccak256};
use alloy_trie::KECCAK_EMPTY;
use bytes::Bytes;
use coco_ethereum::rpc::Options;
use coco_ethereum::trie::{AccountChange, StateTrie};
use coco_ethereum::{Ethereum, network};
use coco_kv::{Store, Tx};
use coco_protocol::{Admitted, Caller, Context, Pool, Protocol};
use coco_types::{TxId, View};
use secp256k1::{Message, SECP256K1, SecretKey};

const ROUNDS: usize = 9;
const BLOCK_TRANSACTIONS: usize = 1_400;
const SENDERS: usize = 1_400;
const TRIE_ACCOUNTS: u64 = 200_000;
const TRIE_CHANGES: u64 = 2_000;
/// Rows that may wait on a backup until it leads.
const TRIE_DUE: u64 = 32_768;

fn main() {
    changed_accounts();
    transfers();
}

fn changed_accounts() {
    let change = |nonce| AccountChange { account: Some((nonce, U256::from(nonce), KECCAK_EMPTY)), slots: Vec::new() };
    let address = |index: u64| Address::from_slice(&keccak256(index.to_be_bytes())[..20]);
    let resident = resident_bytes();
    let started = Instant::now();
    let mut trie = StateTrie::default();
    for index in 0..TRIE_ACCOUNTS {
        trie.apply(&address(index), &change(1));
    }
    trie.root();
    report("trie: built, per account", started.elapsed(), TRIE_ACCOUNTS as usize);
    let bytes = resident_bytes().saturating_sub(resident) / TRIE_ACCOUNTS;
    println!("{:<56} {bytes:>8} bytes", "trie: memory per account");
    let mut nonce = 1;
    let mut changed = |count: u64| {
        let changes: Vec<Address> = (0..count).map(|index| address(index * 97 % TRIE_ACCOUNTS)).collect();
        let mut round = || {
            nonce += 1;
            let older = trie.clone();
            let started = Instant::now();
            for address in &changes {
                trie.apply(address, &change(nonce));
            }
            black_box(trie.root());
            drop(older);
            started.elapsed()
        };
        median((0..ROUNDS).map(|_| round()).collect())
    };
    report("trie: changed account of 200,000", changed(TRIE_CHANGES), TRIE_CHANGES as usize);
    report("trie: what may be due when a backup begins to lead", changed(TRIE_DUE), 1);
}

/// Memory of this process; 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1_024
}

fn transfers() {
    let keys: Vec<SecretKey> = (0..SENDERS).map(key).collect();
    let mut node = Node::new(&keys);
    let [mut admitting, mut inserting, mut choosing, mut executing, mut sealing] = [const { Vec::new() }; 5];
    for round in 0..ROUNDS {
        let submissions: Vec<Bytes> =
            (0..BLOCK_TRANSACTIONS).map(|at| transfer(&keys[at % SENDERS], round as u64, at)).collect();
        let (spent, admitted) = timed(|| node.admit(&submissions));
        admitting.push(spent);
        inserting.push(timed(|| node.insert(&admitted)).0);
        let (chosen, executed, sealed) = node.block();
        choosing.push(chosen);
        executing.push(executed);
        sealing.push(sealed);
    }
    for (name, spent) in [
        ("transfer: admitted (decoded, sender recovered)", admitting),
        ("transfer: inserted into the pool", inserting),
        ("transfer: chosen and settled", choosing),
        ("transfer: executed and applied to the store", executing),
        ("transfer: its share of the seal (trie, roots, records)", sealing),
    ] {
        report(name, median(spent), BLOCK_TRANSACTIONS);
    }
}

struct Node {
    ethereum: Ethereum,
    store: Store,
    pool: Box<dyn Pool>,
}

impl Node {
    fn new(keys: &[SecretKey]) -> Self {
        let ethereum = Ethereum::new(|| Options::new(std::sync::Arc::new(|bytes: &mut [u8]| bytes.fill(1))));
        let mut config = network::NetworkConfig::default();
        for key in keys {
            let account = alloy_genesis::GenesisAccount::default().with_balance(U256::from(10).pow(U256::from(20)));
            config.genesis.alloc.insert(address(key), account);
        }
        let store = Store::new();
        let mut tx = store.begin();
        let json = serde_json::to_value(&config).expect("a configuration is JSON");
        ethereum.genesis(&mut tx, &json, &context(&store)).expect("usable");
        let pool = ethereum.pool();
        let node = Self { ethereum, store, pool };
        node.append(tx);
        node
    }

    fn append(&self, tx: Tx) {
        self.store.apply(self.store.newest().next(), &tx.into_parts().0).expect("the next version");
    }

    fn admit(&self, submissions: &[Bytes]) -> Vec<Admitted> {
        let admit = |raw: &Bytes| self.ethereum.admit(raw.clone(), &Caller::Anonymous).expect("valid");
        submissions.iter().map(admit).collect()
    }

    fn insert(&mut self, admitted: &[Admitted]) {
        let state = self.store.newest_snapshot();
        for admitted in admitted {
            self.pool.insert(admitted.clone(), &state, 1_000).expect("room");
        }
    }

    fn block(&mut self) -> (Duration, Duration, Duration) {
        let (mut choosing, mut executing) = (Duration::ZERO, Duration::ZERO);
        let mut opened = false;
        loop {
            let (spent, admitted) = timed(|| self.pool.next(1_000));
            choosing += spent;
            let Some(admitted) = admitted else { break };
            let (spent, outcome) = timed(|| {
                let mut tx = self.store.begin();
                let context = context(&self.store);
                if !opened {
                    self.ethereum.open_block(&mut tx, &context).expect("opened");
                }
                let outcome = self.ethereum.execute(&mut tx, &admitted, &context).expect("executed");
                self.append(tx);
                outcome
            });
            executing += spent;
            opened = true;
            choosing += timed(|| self.pool.done(&admitted, Ok(&outcome), &self.store.newest_snapshot())).0;
        }
        let (sealing, ()) = timed(|| {
            let mut tx = self.store.begin();
            self.ethereum.seal_block(&mut tx, &context(&self.store)).expect("sealed").expect("not empty");
            self.append(tx);
        });
        self.store.commit(self.store.newest());
        (choosing, executing, sealing)
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

fn transfer(key: &SecretKey, nonce: u64, to: usize) -> Bytes {
    let tx = TxEip1559 {
        chain_id: 31_337,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(Address::from_slice(&keccak256(to.to_le_bytes())[..20])),
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

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let started = Instant::now();
    let value = work();
    (started.elapsed(), value)
}

fn median(mut spent: Vec<Duration>) -> Duration {
    spent.sort();
    spent[spent.len() / 2]
}

fn report(name: &str, spent: Duration, count: usize) {
    println!("{name:<56} {:>8.2} us", spent.as_secs_f64() * 1e6 / count as f64);
}
