//! Ethereum in a simulated network: the real protocol, hosted beside the counters, and clients that sign real transactions.
//!
//! A few accounts pay strangers, each of whom nobody else pays, and call a contract that counts for every caller. A client sends a transaction
//! until it is in a block. So a transaction that was lost shows in a nonce, one that was executed twice in a stranger's balance or the
//! contract's storage, and wei that were made or lost in the sum of all balances. State roots are checked by every node as it follows, and at
//! the end against tries built from nothing.

use std::sync::Arc;

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::Encodable2718;
use alloy_primitives::{Address, B256, Signature, TxKind, U256, address, keccak256};
use bytes::Bytes;
use coco_ethereum::Ethereum;
use coco_ethereum::network::{DEV_ACCOUNTS, NetworkConfig};
use coco_ethereum::rpc::Options;
use coco_ethereum::state::{ACCOUNT, Account, ReadState, TRANSACTION_BY_HASH};
use coco_kv::Snapshot;
use coco_node::events::ExecutorEvent;
use coco_protocol::{Caller, History, Protocol, RejectionReason, Submitted, Until};
use coco_types::{ReplicaId, TxId};
use secp256k1::{Message, SECP256K1, SecretKey};

use crate::invariants::{Violation, holds};
use crate::world::{Waiter, World};

/// Its place among the hosted ledgers.
const LEDGER: usize = 1;
const ACCOUNTS: usize = 4;
/// Counts for each caller: `caller sload 1 add caller sstore`.
const CONTRACT: Address = address!("c0c0000000000000000000000000000000000001");
const CONTRACT_CODE: [u8; 7] = [0x33, 0x54, 0x60, 0x01, 0x01, 0x33, 0x55];
const CHAIN_ID: u64 = 31_337;
const BALANCE_WEI: u64 = 1_000_000_000_000_000_000;
/// A client that has not been answered for so long looks whether its transaction is in a block, and sends it again if not.
const PATIENCE_MS: u64 = 1_000;

/// All clients of the ledger.
#[derive(Default)]
pub struct Clients {
    /// The next nonce of each account.
    next: [u64; ACCOUNTS],
    sent: Vec<Sent>,
}

struct Sent {
    account: usize,
    nonce: u64,
    raw: Bytes,
    hash: B256,
    /// How often, and when last. `None`: it is to be sent again at once.
    times: u32,
    at_ms: Option<u64>,
    /// A client was told that it is in a committed block.
    acknowledged: Option<TxId>,
}

/// The protocol as a node hosts it.
pub fn hosted() -> Arc<Ethereum> {
    Arc::new(Ethereum::new(|| Options::new(Arc::new(|bytes: &mut [u8]| bytes.fill(0)))))
}

/// What the network is founded with. Without a base fee nothing is burnt.
pub fn config() -> serde_json::Value {
    let mut config = NetworkConfig { base_fee: Some(0), ..NetworkConfig::default() };
    for account in &DEV_ACCOUNTS[..ACCOUNTS] {
        config.genesis.alloc.entry(account.address).or_default().balance = U256::from(BALANCE_WEI);
    }
    config.genesis.alloc.entry(CONTRACT).or_default().code = Some(CONTRACT_CODE.to_vec().into());
    serde_json::to_value(config).expect("a configuration has a JSON form")
}

impl World {
    /// New transactions, by chance, and old ones that were not answered.
    pub(crate) fn transact_sometimes(&mut self) {
        if !self.setting.options.ethereum || !self.random.one_in(30) {
            return;
        }
        let Some(primary) = self.primary().filter(|id| self.hosts_ethereum(*id)) else { return };
        for _ in 0..self.random.between(1, 3) {
            let account = usize::try_from(self.random.below(ACCOUNTS as u64)).unwrap_or(0);
            let clients = &mut self.ethereum;
            let nonce = clients.next[account];
            clients.next[account] += 1;
            clients.sent.push(Sent::signed(account, nonce));
        }
        self.transact_again(primary);
    }

    fn hosts_ethereum(&self, id: ReplicaId) -> bool {
        self.nodes[&id].machines.as_ref().is_some_and(|machines| machines.visible.hosts(coco_ethereum::NAME))
    }

    /// Hands in, at this node, what its clients have waited for long enough.
    pub(crate) fn transact_again(&mut self, to: ReplicaId) {
        let now_ms = self.now_ms();
        let state = self.nodes[&to].machines.as_ref().map(|machines| machines.visible.state());
        let (Some(state), Some(ethereum)) = (state, self.nodes[&to].ethereum.clone()) else { return };
        let overdue = |sent: &Sent| sent.at_ms.is_none_or(|at| at + PATIENCE_MS < now_ms);
        let due = |sent: &Sent| sent.acknowledged.is_none() && overdue(sent) && !sent.is_in(&state);
        let again: Vec<_> = (0..self.ethereum.sent.len()).filter(|number| due(&self.ethereum.sent[*number])).collect();
        for number in again {
            let sent = &mut self.ethereum.sent[number];
            sent.times += 1;
            sent.at_ms = Some(now_ms);
            let (account, nonce, is_retry) = (sent.account, sent.nonce, sent.times > 1);
            let admitted = ethereum.admit(sent.raw.clone(), &Caller::Anonymous).expect("a well-formed transaction");
            self.note(|| format!("transaction {nonce} of account {account} is sent to {to}"));
            if is_retry {
                self.count("client retries");
            }
            let reply = self.reply(to, Waiter::Transaction(number));
            let submit =
                ExecutorEvent::Submit { ledger: LEDGER, admitted: vec![admitted], until: Until::Committed, reply };
            self.tell_executor(to, submit);
        }
    }

    pub(crate) fn transaction_is_answered(
        &mut self,
        from: ReplicaId,
        number: usize,
        answer: &Submitted,
    ) -> Result<(), Violation> {
        let durable = self.durable();
        let membership = self.membership_known_to(from);
        let sent = &mut self.ethereum.sent[number];
        match answer {
            Submitted::Committed { txid, .. } => {
                sent.acknowledged = Some(*txid);
                self.counts.transactions += 1;
                self.invariants.confirmed(*txid, &membership, &durable)?;
                let Some(machines) = &self.nodes[&from].machines else { return Ok(()) };
                holds(sent.is_in(&machines.visible.state()), || {
                    format!("{from} does not show {txid}, which it acknowledged")
                })
            }
            Submitted::Unknown(_) | Submitted::Unavailable => {
                sent.at_ms = None;
                Ok(())
            }
            Submitted::Accepted => Ok(()),
            // An earlier attempt waits in the pool, or has been executed: its client will see.
            Submitted::Rejected(rejection) => {
                let earlier = matches!(rejection.reason, RejectionReason::Duplicate | RejectionReason::Refused);
                let excused = rejection.reason == RejectionReason::Busy || (earlier && sent.times > 1);
                holds(excused, || format!("transaction {} was rejected: {rejection}", sent.hash))
            }
        }
    }

    /// Every transaction that was ever sent is in a committed block, as the primary shows it.
    pub(crate) fn transactions_are_settled(&self) -> bool {
        let machines = self.primary().and_then(|id| self.nodes[&id].machines.as_ref());
        let Some(state) = machines.map(|machines| machines.visible.state()) else { return false };
        self.ethereum.sent.iter().all(|sent| sent.is_in(&state))
    }

    /// The transactions that were acknowledged, for their receipts.
    pub(crate) fn transactions_acknowledged(&self) -> impl Iterator<Item = TxId> {
        self.ethereum.sent.iter().filter_map(|sent| sent.acknowledged)
    }

    /// At the end of a run: each transaction was executed once, no wei was made or lost, and the tables lead to the root that the newest header names.
    pub(crate) fn check_ethereum(
        &self,
        id: ReplicaId,
        state: &Snapshot,
        history: &dyn History,
    ) -> Result<(), Violation> {
        if !self.setting.options.ethereum {
            return Ok(());
        }
        for sent in &self.ethereum.sent {
            let (account, nonce) = (sent.account, sent.nonce);
            let record = history.record(&TRANSACTION_BY_HASH, sent.hash.as_slice());
            let record = record.map_err(|error| Violation(error.to_string()))?;
            holds(record.is_some(), || format!("{id} has no record of transaction {nonce} of account {account}"))?;
            let paid = if sent.calls() { U256::ZERO } else { sent.value() };
            let balance = balance_of(state, &sent.stranger());
            holds(balance == paid, || {
                format!("{id}: transaction {nonce} of account {account} paid {balance}, not {paid}")
            })?;
        }
        for (account, next) in self.ethereum.next.iter().enumerate() {
            let address = DEV_ACCOUNTS[account].address;
            let nonce = account_of(state, &address).nonce;
            holds(nonce == *next, || {
                format!("{id}: account {account} sent {next} transactions and has nonce {nonce}")
            })?;
            let calls = self.ethereum.sent.iter().filter(|sent| sent.account == account && sent.calls()).count();
            let slot = U256::from_be_bytes(address.into_word().0);
            let counted = reading(state).slot(&CONTRACT, slot).map_err(|error| Violation(error.to_string()))?;
            holds(counted == U256::from(calls), || {
                format!("{id}: account {account} called {calls} times, counted {counted}")
            })?;
        }
        let wei = state.iter(&ACCOUNT).map(|(address, _)| balance_of(state, &Address::from_slice(&address)));
        let (wei, all) =
            (wei.fold(U256::ZERO, |sum, balance| sum + balance), U256::from(BALANCE_WEI) * U256::from(ACCOUNTS));
        holds(wei == all, || format!("{id} has {wei} wei in all, of {all}"))?;
        hosted().rebuild(state).map_err(|error| Violation(format!("{id} shows state of another root: {error}")))
    }
}

impl Sent {
    fn signed(account: usize, nonce: u64) -> Self {
        let mut sent =
            Self { account, nonce, raw: Bytes::new(), hash: B256::ZERO, times: 0, at_ms: None, acknowledged: None };
        let (to, value) = if sent.calls() { (CONTRACT, U256::ZERO) } else { (sent.stranger(), sent.value()) };
        let transaction = TxEip1559 {
            chain_id: CHAIN_ID,
            nonce,
            gas_limit: 100_000,
            max_fee_per_gas: 1_000_000_000,
            max_priority_fee_per_gas: 1,
            to: TxKind::Call(to),
            value,
            ..TxEip1559::default()
        };
        let key = SecretKey::from_byte_array(&DEV_ACCOUNTS[account].private_key.0).expect("a valid key");
        let digest = Message::from_digest(transaction.signature_hash().0);
        let (recovery, compact) = SECP256K1.sign_ecdsa_recoverable(&digest, &key).serialize_compact();
        let part = |range: std::ops::Range<usize>| U256::from_be_slice(&compact[range]);
        let signature = Signature::new(part(0..32), part(32..64), i32::from(recovery) == 1);
        sent.raw = TxEnvelope::from(transaction.into_signed(signature)).encoded_2718().into();
        sent.hash = keccak256(&sent.raw);
        sent
    }

    fn is_in(&self, state: &Snapshot) -> bool {
        account_of(state, &DEV_ACCOUNTS[self.account].address).nonce > self.nonce
    }

    /// Whether it calls the contract. Others pay.
    fn calls(&self) -> bool {
        self.nonce % 3 == 2
    }

    fn value(&self) -> U256 {
        U256::from(self.nonce + 1)
    }

    /// Paid by this transaction only.
    fn stranger(&self) -> Address {
        Address::from_word(keccak256([self.account as u64, self.nonce].map(u64::to_be_bytes).concat()))
    }
}

fn account_of(state: &Snapshot, address: &Address) -> Account {
    reading(state).account(address).expect("rows decode").unwrap_or_default()
}

fn balance_of(state: &Snapshot, address: &Address) -> U256 {
    account_of(state, address).balance
}

fn reading(state: &Snapshot) -> &dyn ReadState {
    state
}
