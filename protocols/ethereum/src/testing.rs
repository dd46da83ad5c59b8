//! What the tests of this crate share: recorded chains, and transactions that are really signed.

use std::sync::Arc;

use alloy_consensus::transaction::{RlpEcdsaEncodableTx, SignableTransaction};
use alloy_consensus::{Eip658Value, Header, Signed, TxEip1559, TxLegacy};
use alloy_eips::Encodable2718;
use alloy_genesis::Genesis;
use alloy_primitives::{Address, B256, Bytes as EvmBytes, Log, Signature, TxKind, U256};
use alloy_rlp::Decodable;
use bytes::Bytes;
use coco_kv::{Store, Tx};
use coco_protocol::{Caller, CommittedBatch, CommittedTransaction, Context, Outcome, Pool, Protocol, Rejection};
use coco_types::{Seqno, TxId, View, WriteSet};
use secp256k1::{Message, SECP256K1, SecretKey};

use crate::Ethereum;
use crate::block::{BlockAttributes, BlockRecord, Included};
use crate::network::DEV_ACCOUNTS;
use crate::rpc::Options;
use crate::state::{ACCOUNT, Account, BLOCK, META, META_HEAD, ReadState};
use crate::transaction::{Envelope, Transaction};

/// A file of the conformance vectors that lie beside the repository; `None`, said aloud, if they are absent.
pub(crate) fn vector(name: &str) -> Option<Vec<u8>> {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/execution-apis").join(name);
    let read = std::fs::read(&path);
    if read.is_err() {
        eprintln!("skipped: {} is absent", path.display());
    }
    read.ok()
}

pub(crate) fn genesis_of_vectors() -> Option<Genesis> {
    Some(serde_json::from_slice(&vector("genesis.json")?).expect("the vectors hold a genesis file"))
}

/// The key of development account `index`.
pub(crate) fn dev_key(index: usize) -> SecretKey {
    SecretKey::from_byte_array(&DEV_ACCOUNTS[index].private_key.0).expect("a valid key")
}

pub(crate) fn sign_hash(key: &SecretKey, hash: B256) -> Signature {
    let (recovery, compact) = SECP256K1.sign_ecdsa_recoverable(&Message::from_digest(hash.0), key).serialize_compact();
    let part = |range: std::ops::Range<usize>| U256::from_be_slice(&compact[range]);
    Signature::new(part(0..32), part(32..64), i32::from(recovery) == 1)
}

/// The signed EIP-2718 encoding.
pub(crate) fn sign<T>(key: &SecretKey, tx: T) -> Bytes
where
    T: SignableTransaction<Signature> + RlpEcdsaEncodableTx,
    Envelope: From<Signed<T>>,
{
    let signature = sign_hash(key, tx.signature_hash());
    Envelope::from(tx.into_signed(signature)).encoded_2718().into()
}

/// A plain transfer on the development chain, of type 2.
pub(crate) fn transfer(nonce: u64, to: Address, value: u64) -> TxEip1559 {
    TxEip1559 {
        chain_id: 31_337,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 2_000_000_000,
        max_priority_fee_per_gas: 1,
        to: TxKind::Call(to),
        value: U256::from(value),
        ..TxEip1559::default()
    }
}

/// A call or, without `to`, a creation.
pub(crate) fn invoke(nonce: u64, to: Option<Address>, input: EvmBytes) -> TxLegacy {
    TxLegacy {
        chain_id: Some(31_337),
        nonce,
        gas_price: 2_000_000_000,
        gas_limit: 1_000_000,
        to: to.map_or(TxKind::Create, TxKind::Call),
        value: U256::ZERO,
        input,
    }
}

/// One node's Ethereum ledger with a store, driven as the executor drives it.
pub(crate) struct Node {
    pub ethereum: Arc<Ethereum>,
    pub store: Store,
    /// The write set of each ledger transaction, from genesis on.
    pub ledger: Vec<Arc<WriteSet>>,
    /// The members have all of it in clear too.
    pub is_published: bool,
}

impl Node {
    /// A development network after its genesis.
    pub fn dev() -> Self {
        Self::with_config(&serde_json::json!({"dev": true}))
    }

    pub fn with_config(config: &serde_json::Value) -> Self {
        let mut node = Self::empty();
        let mut tx = node.store.begin();
        node.ethereum.genesis(&mut tx, config, &context(node.next(), 1)).expect("a usable configuration");
        node.append(tx);
        node
    }

    /// A node that has not heard of the network yet.
    pub fn empty() -> Self {
        let options = || Options::new(Arc::new(|bytes: &mut [u8]| bytes.fill(7)));
        let ethereum = Arc::new(Ethereum::new(options));
        Self { ethereum, store: Store::new(), ledger: Vec::new(), is_published: false }
    }

    pub fn next(&self) -> TxId {
        TxId::new(View(1), self.store.newest().next())
    }

    fn context(&self, now_ms: u64) -> Context<'static> {
        let context = context(self.next(), now_ms);
        if self.is_published { context.with_published(&|_| true) } else { context }
    }

    pub fn append(&mut self, tx: Tx) {
        let writes = tx.into_parts().0;
        self.store.apply(self.store.newest().next(), &writes).expect("the next version");
        self.ledger.push(Arc::new(writes));
    }

    /// Makes a block of these submissions; gives what became of each.
    pub fn block(&mut self, now_ms: u64, submissions: &[Bytes]) -> Vec<Result<Outcome, Rejection>> {
        let mut opened = false;
        let mut results = Vec::new();
        for raw in submissions {
            let result = self.submit(now_ms, raw, opened);
            opened |= result.is_ok();
            results.push(result);
        }
        if opened {
            let mut tx = self.store.begin();
            self.ethereum.seal_block(&mut tx, &self.context(now_ms)).expect("sealed").expect("not empty");
            self.append(tx);
        }
        results
    }

    fn submit(&mut self, now_ms: u64, raw: &Bytes, opened: bool) -> Result<Outcome, Rejection> {
        let admitted = self.ethereum.admit(raw.clone(), &Caller::Anonymous)?;
        let mut tx = self.store.begin();
        let context = self.context(now_ms);
        if !opened {
            self.ethereum.open_block(&mut tx, &context)?;
        }
        let outcome = self.ethereum.execute(&mut tx, &admitted, &context)?;
        self.append(tx);
        Ok(outcome)
    }

    /// One run of a pool, as the executor does it; gives the development accounts whose transactions it holds, in order.
    pub fn run(&mut self, pool: &mut dyn Pool, now_ms: u64) -> Vec<usize> {
        let mut senders = Vec::new();
        while let Some(admitted) = pool.next(now_ms) {
            let mut tx = self.store.begin();
            let context = self.context(now_ms);
            if senders.is_empty() {
                self.ethereum.open_block(&mut tx, &context).expect("opened");
            }
            let outcome = self.ethereum.execute(&mut tx, &admitted, &context).expect("executed");
            self.append(tx);
            pool.done(&admitted, Ok(&outcome), &self.store.newest_snapshot());
            senders.push(self.dev_index(&admitted.decoded::<Transaction>().expect("a transaction").sender));
        }
        let mut tx = self.store.begin();
        self.ethereum.seal_block(&mut tx, &self.context(now_ms)).expect("sealed");
        self.append(tx);
        senders
    }

    /// The ledger's transactions from `first` on (0 is genesis), as one committed batch.
    pub fn batch(&self, first: usize) -> CommittedBatch {
        let transactions = self.ledger.iter().enumerate().skip(first).map(|(at, writes)| CommittedTransaction {
            txid: TxId::new(View(1), Seqno(at as u64 + 1)),
            writes: writes.clone(),
        });
        CommittedBatch { transactions: transactions.collect() }
    }

    pub fn account(&self, address: &Address) -> Account {
        let state = self.store.newest_snapshot();
        (&state as &dyn ReadState).account(address).expect("rows decode").unwrap_or_default()
    }

    pub fn head(&self) -> Header {
        let rlp = self.store.newest_snapshot().get(&META, META_HEAD).expect("a chain has a head");
        Header::decode(&mut &rlp[..]).expect("a header")
    }

    /// A block's record, which a node would have in its history.
    pub fn record(&self, number: u64) -> BlockRecord {
        let key = number.to_be_bytes();
        let found = self.ledger.iter().find_map(|writes| writes.get(&BLOCK, &key).flatten());
        BlockRecord::decode(found.expect("the block was sealed").clone()).expect("a record")
    }

    pub fn dev_address(&self, index: usize) -> Address {
        DEV_ACCOUNTS[index].address
    }

    pub fn dev_index(&self, address: &Address) -> usize {
        DEV_ACCOUNTS.iter().position(|account| account.address == *address).expect("a development account")
    }

    /// As if a transaction of `address` had been executed.
    pub fn bump_nonce(&mut self, address: &Address) {
        let account = self.account(address);
        self.set_account(address, Account { nonce: account.nonce + 1, ..account });
    }

    /// As if `address` had been paid.
    pub fn pay(&mut self, address: &Address, wei: U256) {
        let account = self.account(address);
        self.set_account(address, Account { balance: account.balance + wei, ..account });
    }

    fn set_account(&mut self, address: &Address, account: Account) {
        let mut tx = self.store.begin();
        tx.put(&ACCOUNT, Bytes::copy_from_slice(address.as_slice()), account.encode());
        self.append(tx);
    }
}

/// Randomness that a test can predict.
/// A block whose transactions logged this.
pub(crate) fn logging_block(logs: Vec<Vec<Log>>) -> (BlockRecord, Vec<Included>) {
    let (mut included, mut first_log_index) = (Vec::new(), 0);
    for (nonce, logs) in (0..).zip(logs) {
        let count = logs.len() as u64;
        included.push(Included {
            transaction: Transaction::recover(sign(&dev_key(0), transfer(nonce, Address::repeat_byte(9), 5))).unwrap(),
            txid: TxId::new(View(2), Seqno(nonce + 300)),
            status: Eip658Value::Eip658(true),
            gas_used: 21_000,
            cumulative_gas_used: 21_000 * (nonce + 1),
            first_log_index,
            bloom: Default::default(),
            logs,
            told: None,
        });
        first_log_index += count;
    }
    let header = Header { number: 7, ..Header::default() };
    (BlockRecord::new(&header, &included, &BlockAttributes::default(), 7), included)
}

pub(crate) fn context(txid: TxId, now_ms: u64) -> Context<'static> {
    Context::new(txid, now_ms, &|bytes| bytes.fill(0x5a))
}
