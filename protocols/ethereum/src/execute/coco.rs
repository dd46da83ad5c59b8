//! The Coco precompile: what a transaction can ask its ledger, beyond what Ethereum knows.
//!
//! ```solidity
//! interface ICoco {                                     // at 0x000000000000000000000000000000000000C0C0
//!     function random() external view returns (bytes32);                       // fresh at every call
//!     function timeMs() external view returns (uint64);                        // milliseconds since 1970
//!     function transactionId() external view returns (uint64 ledgerView, uint64 seqno);
//!     function isSimulation() external view returns (bool);
//! }
//! ```
//!
//! Only the primary executes, once, so that answers need not be the same everywhere: a seed is drawn from the enclave's randomness when a
//! block is opened, and each transaction's comes of it by hashing, so that knowing one's tells nothing of another's. It is kept with the transaction if the precompile was asked, so that a trace of it later shows what
//! happened. A simulation gets a seed of its own, of which nothing committed is made: it predicts nothing.

use alloy_primitives::{Address, Bytes, U256, address};
use alloy_rlp::{Decodable, Encodable};
use coco_crypto::sha256_of;
use coco_types::TxId;
use revm::interpreter::{CallInputs, Gas, InstructionResult, InterpreterResult};

/// Where it is.
pub const COCO: Address = address!("000000000000000000000000000000000000c0c0");
/// Of every question.
const GAS: u64 = 200;

const RANDOM: [u8; 4] = [0x5e, 0xc0, 0x1e, 0x4d];
const TIME_MS: [u8; 4] = [0x13, 0xe9, 0x12, 0xe6];
const TRANSACTION_ID: [u8; 4] = [0x7e, 0x2f, 0x42, 0xe7];
const IS_SIMULATION: [u8; 4] = [0xd3, 0x43, 0xa3, 0xb6];

/// What the precompile tells one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub seed: [u8; 32],
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// `None` in a simulation.
    pub txid: Option<TxId>,
}

/// The precompile during one transaction.
#[derive(Clone, Debug)]
pub struct Coco {
    told: Told,
    drawn: u64,
    asked: bool,
}

impl Told {
    /// For a transaction of the block that `block_seed` was drawn for.
    pub fn for_transaction(block_seed: &[u8; 32], now_ms: u64, txid: TxId) -> Self {
        let (view, seqno) = (txid.view.0.to_be_bytes(), txid.seqno.0.to_be_bytes());
        let seed = sha256_of(&[b"coco ethereum transaction", block_seed, &view, &seqno]).0;
        Self { seed, now_ms, txid: Some(txid) }
    }

    /// For a simulation, the `number`th of those that share a secret.
    pub fn for_simulation(secret: &[u8; 32], number: u64, now_ms: u64) -> Self {
        let seed = sha256_of(&[b"coco ethereum simulation", secret, &number.to_be_bytes()]).0;
        Self { seed, now_ms, txid: None }
    }

    /// With the transaction that it was told to, which has its own place for the id.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(48);
        self.seed.encode(&mut out);
        self.now_ms.encode(&mut out);
        out
    }

    pub fn decode(fields: &mut &[u8], txid: TxId) -> Option<Self> {
        let seed = <[u8; 32]>::decode(fields).ok()?;
        Some(Self { seed, now_ms: u64::decode(fields).ok()?, txid: Some(txid) })
    }
}

impl Coco {
    pub fn new(told: Told) -> Self {
        Self { told, drawn: 0, asked: false }
    }

    /// What was told, if anything was.
    pub fn told(&self) -> Option<Told> {
        self.asked.then_some(self.told)
    }

    pub fn run(&mut self, input: &[u8], inputs: &CallInputs) -> InterpreterResult {
        self.asked = true;
        let mut gas = Gas::new(inputs.gas_limit);
        if !gas.record_regular_cost(GAS) {
            gas.spend_all();
            return InterpreterResult::new(InstructionResult::PrecompileOOG, Bytes::new(), gas);
        }
        match self.answer(input) {
            Some(output) => InterpreterResult::new(InstructionResult::Return, output.into(), gas),
            None => InterpreterResult::new(InstructionResult::Revert, Bytes::new(), gas),
        }
    }

    /// `None` for what is no question.
    fn answer(&mut self, input: &[u8]) -> Option<Vec<u8>> {
        let word = |value: u64| U256::from(value).to_be_bytes::<32>();
        let [a, b, c, d, ..] = *input else { return None };
        match [a, b, c, d] {
            RANDOM => {
                self.drawn += 1;
                let drawn = self.drawn.to_be_bytes();
                Some(sha256_of(&[b"coco ethereum random", &self.told.seed, &drawn]).0.to_vec())
            }
            TIME_MS => Some(word(self.told.now_ms).to_vec()),
            TRANSACTION_ID => {
                let txid = self.told.txid.unwrap_or_default();
                Some([word(txid.view.0), word(txid.seqno.0)].concat())
            }
            IS_SIMULATION => Some(word(u64::from(self.told.txid.is_none())).to_vec()),
            _ => None,
        }
    }
}
