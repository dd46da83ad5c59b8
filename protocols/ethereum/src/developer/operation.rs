//! The operations, as data. They never arrive as bytes: only this node's own API makes them.

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, FixedBytes, U256};
use bytes::Bytes as RawBytes;
use coco_protocol::{Admitted, Caller};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a developer does to the chain. Its JSON form is what the ledger keeps of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Set(Setting),
    Edit {
        address: Address,
        edit: AccountEdit,
    },
    /// Accounts that become what is said here, whole.
    Load(BTreeMap<Address, LoadedAccount>),
    /// A block of what waits, even if nothing does.
    Mine {
        timestamp_s: Option<u64>,
    },
    /// Blocks without transactions, each this much later than its parent, or as the clock has it.
    MineEmpty {
        blocks: u64,
        interval_s: Option<u64>,
    },
    /// Another network's blocks, RLP one after the other, on a network that only serves such.
    Import(#[serde(skip)] RawBytes),
    /// Answers with the snapshot's id.
    Snapshot,
    Revert(Box<Revert>),
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// Answers with the whole offset.
    IncreaseTime(u64),
    /// Answers with the offset.
    Time(u64),
    NextTimestamp(u64),
    TimestampInterval(Option<u64>),
    GasLimit(u64),
    Coinbase(Address),
    NextBaseFee(u64),
    NextPrevrandao(B256),
    Automine(bool),
    IntervalMs(u64),
    Impersonate(Address),
    StopImpersonating(Address),
    ImpersonateAll(bool),
    ImpersonateSignature {
        signature: FixedBytes<65>,
        account: Address,
    },
    ChainId(u64),
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountEdit {
    Balance(U256),
    AddBalance(U256),
    Nonce(u64),
    Code(Bytes),
    Slot { slot: U256, value: U256 },
}

#[derive(Clone, Debug, Serialize)]
pub struct LoadedAccount {
    pub balance: U256,
    pub nonce: u64,
    pub code: Bytes,
    pub storage: BTreeMap<U256, U256>,
}

/// The way back to an older block, as the history tells it.
#[derive(Clone, Debug, Serialize)]
pub struct Revert {
    /// The head that it starts from. If the chain has another one by then, nothing happens.
    pub head: B256,
    pub to: u64,
    #[serde(skip)]
    pub header: Header,
    #[serde(skip)]
    pub sealed_ms: u64,
    /// Rows as they were after block `to`, where they changed since.
    #[serde(skip)]
    pub rows: BTreeMap<RawBytes, Option<RawBytes>>,
    /// Hashes of the 256 blocks up to `to`.
    #[serde(skip)]
    pub recent: BTreeMap<u64, B256>,
    pub then: AfterRevert,
}

/// What holds after going back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterRevert {
    /// What held at this snapshot, which is gone then, with all later ones.
    Snapshot(u64),
    /// What holds now.
    Same,
    /// Nothing is set.
    Fresh,
}

impl Operation {
    /// As the pool takes it. `id` names it for whoever waits.
    pub fn admitted(self, id: RawBytes, caller: Caller) -> Admitted {
        Admitted { raw: RawBytes::new(), id, finding: RawBytes::new(), caller, decoded: Arc::new(self) }
    }

    /// Whether transactions follow it into its block.
    pub(crate) fn takes_transactions(&self) -> bool {
        matches!(self, Self::Mine { .. })
    }
}
