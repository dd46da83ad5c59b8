//! Ethereum at the seam: what the framework asks, answered by the modules beside this one.

use std::sync::Arc;

use alloy_consensus::Block;
use alloy_primitives::{B256, keccak256};
use alloy_rlp::Decodable;
use bytes::Bytes;
use coco_crypto::sha256;
use coco_kv::{Snapshot, Tx};
use coco_protocol::{
    Admitted, Caller, Claims, CommittedBatch, Context, DerivedHistory, GenesisError, HistoryError, Integrity,
    LedgerHandle, Outcome, Pool, Protocol, Rejection, RejectionReason, Service,
};
use coco_types::{Digest, WriteSet};

use crate::block::{BlockError, BlockRecord, ImportError, Included, SealedBlock, import_block};
use crate::chain::{Chain, Tip, trie_of};
use crate::developer::Operation;
use crate::events::Events;
use crate::execute::CodeCache;
use crate::fork::ForkSchedule;
use crate::held::{Held, HeldTransaction};
use crate::identity;
use crate::index::Index;
use crate::network::{
    ConfigError, NetworkConfig, crowd_parts, write_alloc, write_crowd, write_first_block, write_genesis,
};
use crate::pool::EthereumPool;
use crate::rpc::{CommittedBlock, Ledger, Options, RpcService};
use crate::sources::SourceUpload;
use crate::state::{BLOCK, BLOCK_BY_HASH, META, META_HEAD, META_REVERTED, META_SEALED_MS, TRANSACTION_BY_HASH, UNDO};
use crate::transaction::{Envelope, Transaction};

/// The ledger's name.
pub const NAME: &str = "ethereum";

/// An Ethereum ledger on one node.
pub struct Ethereum {
    chain: Arc<Chain>,
    index: Arc<Index>,
    events: Arc<Events>,
    held: Arc<Held>,
    options: Box<dyn Fn() -> Options + Send + Sync>,
}

impl Ethereum {
    /// `options` says how the JSON-RPC of this node behaves; it is asked each time the API is served.
    pub fn new(options: impl Fn() -> Options + Send + Sync + 'static) -> Self {
        let chain = Arc::new(Chain::new(options().is_developer()));
        Self { chain, index: Arc::default(), events: Events::new(), held: Arc::default(), options: Box::new(options) }
    }

    pub fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }

    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// A block that was just sealed, in what its seal wrote: the hashes of its transactions are there too.
    fn sealed_block(&self, number: &[u8], record: &Bytes, writes: &WriteSet) -> Option<CommittedBlock> {
        let record = BlockRecord::decode(record.clone())?;
        let hash = keccak256(record.header_rlp());
        let mut hashes = vec![B256::ZERO; record.transaction_count()];
        for (hash, place) in writes.map(&TRANSACTION_BY_HASH).into_iter().flatten() {
            if let Some((of, index)) = place.as_ref().and_then(|place| place.split_first_chunk::<8>())
                && of == number
            {
                let index = u32::from_be_bytes(index.try_into().ok()?);
                *hashes.get_mut(index as usize)? = B256::try_from(&hash[..]).ok()?;
            }
        }
        CommittedBlock::sealed(&record, hash, hashes, &self.chain.network().schedule)
    }

    fn operate(
        &self,
        tx: &mut Tx,
        admitted: &Admitted,
        operation: &Operation,
        context: &Context<'_>,
    ) -> Result<Outcome, Rejection> {
        let answer = self.chain.operate(tx, operation, context)?;
        let claims = Claims {
            protocol: NAME,
            kind: "operation",
            id: admitted.id.clone(),
            result: sha256(answer.as_bytes()),
            container: None,
        };
        Ok(Outcome { claims: Some(claims), response: answer.into() })
    }

    fn admitted(&self, transaction: Transaction, caller: Caller) -> Admitted {
        Admitted {
            raw: transaction.raw.clone(),
            id: Bytes::copy_from_slice(transaction.hash.as_slice()),
            finding: transaction.finding(),
            caller,
            decoded: Arc::new(transaction),
        }
    }
}

impl Protocol for Ethereum {
    fn name(&self) -> &'static str {
        NAME
    }

    fn identity(&self, name: &str) -> Option<String> {
        identity::canonical(name)
    }

    fn prove_identity(&self, identity: &str, statement: &str, signature: &str) -> Result<(), Rejection> {
        if identity::has_signed(identity, statement, signature) {
            return Ok(());
        }
        let message =
            "the signature is not this account's over the statement, as personal_sign or eth_signTypedData_v4 make it";
        Err(Rejection::new(RejectionReason::Invalid, 403, message))
    }

    fn check_genesis(&self, config: &serde_json::Value) -> Result<(), GenesisError> {
        let refused = |error: ConfigError| GenesisError { ledger: NAME, message: error.to_string() };
        NetworkConfig::read(config).map(drop).map_err(refused)
    }

    fn genesis(&self, tx: &mut Tx, config: &serde_json::Value, context: &Context<'_>) -> Result<(), GenesisError> {
        let refused = |error: &dyn std::fmt::Display| GenesisError { ledger: NAME, message: error.to_string() };
        let config = NetworkConfig::read(config).map_err(|error| refused(&error))?;
        if config.crowd > 0 {
            write_alloc(tx, &config.genesis.alloc);
            return Ok(());
        }
        let (header, hash, trie) = write_genesis(tx, &config);
        tx.put(&META, META_SEALED_MS, Bytes::copy_from_slice(&context.now_ms.to_be_bytes()));
        let first = Tip { header, hash, trie, sealed_ms: context.now_ms };
        let newest = import_chain(tx, &config, first).map_err(|error| refused(&error))?;
        self.chain.begin(config, newest);
        Ok(())
    }

    /// A crowd, and then block 0.
    fn genesis_parts(&self, config: &serde_json::Value) -> u64 {
        let crowd = NetworkConfig::read(config).map_or(0, |config| config.crowd);
        crowd_parts(crowd) + u64::from(crowd > 0)
    }

    fn genesis_part(
        &self,
        tx: &mut Tx,
        config: &serde_json::Value,
        part: u64,
        context: &Context<'_>,
    ) -> Result<(), GenesisError> {
        let refused = |error: &dyn std::fmt::Display| GenesisError { ledger: NAME, message: error.to_string() };
        let config = NetworkConfig::read(config).map_err(|error| refused(&error))?;
        if part < crowd_parts(config.crowd) {
            write_crowd(tx, config.crowd, part);
            return Ok(());
        }
        let trie = trie_of(tx.base()).map_err(|error| refused(&error))?;
        let (header, hash, trie) = write_first_block(tx, &config, trie);
        tx.put(&META, META_SEALED_MS, Bytes::copy_from_slice(&context.now_ms.to_be_bytes()));
        self.chain.begin(config, Tip { header, hash, trie, sealed_ms: context.now_ms });
        Ok(())
    }

    fn admit(&self, submission: Bytes, caller: &Caller) -> Result<Admitted, Rejection> {
        if SourceUpload::is_one(&submission) {
            return SourceUpload::admit(submission, caller.clone());
        }
        let transaction = Transaction::admit(submission, &self.chain.admission_rules())?;
        Ok(self.admitted(transaction, caller.clone()))
    }

    fn readmit(&self, submission: Bytes, finding: Bytes, caller: Caller) -> Result<Admitted, Rejection> {
        if SourceUpload::is_one(&submission) {
            return SourceUpload::admit(submission, caller);
        }
        let transaction = Transaction::readmit(submission, &finding)?;
        Ok(self.admitted(transaction, caller))
    }

    fn pool(&self) -> Box<dyn Pool> {
        Box::new(EthereumPool::new(self.chain.clone()))
    }

    fn has_blocks(&self) -> bool {
        true
    }

    /// The block is opened with its first transaction: what a developer does needs none.
    fn open_block(&self, _tx: &mut Tx, _context: &Context<'_>) -> Result<(), Rejection> {
        self.chain.drop_open_block();
        Ok(())
    }

    fn execute(&self, tx: &mut Tx, admitted: &Admitted, context: &Context<'_>) -> Result<Outcome, Rejection> {
        if let Some(operation) = admitted.decoded::<Operation>() {
            return self.operate(tx, admitted, operation, context);
        }
        if let Some(upload) = admitted.decoded::<SourceUpload>() {
            return upload.keep(tx, admitted, context);
        }
        let transaction = admitted
            .decoded::<Transaction>()
            .ok_or_else(|| Rejection::new(RejectionReason::Invalid, -32603, "not an Ethereum transaction"))?;
        self.chain.open_block(tx, context).map_err(broken)?;
        let claims = self.chain.execute(tx, transaction, context, transaction_claims)?;
        Ok(Outcome { claims: Some(claims), response: admitted.id.clone() })
    }

    fn seal_block(&self, tx: &mut Tx, context: &Context<'_>) -> Result<Option<Outcome>, Rejection> {
        let Some(sealed) = self.chain.seal_block(tx, context).map_err(broken)? else { return Ok(None) };
        write_block(tx, &sealed);
        let hash = Bytes::copy_from_slice(sealed.hash.as_slice());
        let claims = Claims {
            protocol: NAME,
            kind: "block",
            id: hash.clone(),
            result: sha256(&alloy_rlp::encode(&sealed.header)),
            container: Some((Digest(sealed.hash.0), sealed.header.number)),
        };
        Ok(Some(Outcome { claims: Some(claims), response: hash }))
    }

    fn committed(&self, batch: &CommittedBatch, state: &Snapshot) -> Result<(), Integrity> {
        self.chain.follow(batch, state)
    }

    fn published(&self, batch: &CommittedBatch) {
        for transaction in &batch.transactions {
            self.held.heed_members(&transaction.writes);
            // The chain went back. The same transaction may come again, under the same hash, and is in no block until it is.
            if transaction.writes.get(&META, META_REVERTED).is_some() {
                self.events.clear();
                self.held.clear();
            }
            for (number, record) in transaction.writes.map(&BLOCK).into_iter().flatten() {
                let Some(record) = record else { continue };
                let block = self.sealed_block(number, record, &transaction.writes);
                let block = Arc::new(block.expect("a block that was sealed reads back"));
                self.events.committed(block.clone());
                self.held.included(&block);
            }
        }
    }

    fn entrusted(&self, submissions: Vec<(Bytes, Bytes, Caller)>, now_ms: u64) {
        for (raw, finding, caller) in submissions {
            let hash = keccak256(&raw);
            self.held.hold(hash, HeldTransaction { raw, finding, caller }, now_ms, &self.events);
        }
    }

    fn index(&self, history: &mut dyn DerivedHistory) -> Result<bool, HistoryError> {
        self.index.step(&self.chain, history)
    }

    fn rebuild(&self, state: &Snapshot) -> Result<(), Integrity> {
        self.events.clear();
        self.chain.rebuild(state)
    }

    fn serve(self: Arc<Self>, handle: Arc<dyn LedgerHandle>) -> Arc<dyn Service> {
        let ledger = Ledger {
            protocol: self.clone(),
            chain: self.chain.clone(),
            index: self.index.clone(),
            events: self.events.clone(),
            held: self.held.clone(),
        };
        Arc::new(RpcService::new(ledger, handle, (self.options)()))
    }
}

/// Executes the blocks that a network begins with; gives the last.
fn import_chain(tx: &mut Tx, config: &NetworkConfig, first: Tip) -> Result<Tip, ImportError> {
    let (codes, schedule) = (CodeCache::new(), ForkSchedule::new(config.genesis.config.clone()));
    import_blocks(tx, &codes, &schedule, first, &config.chain)
}

/// Executes blocks, RLP one after the other, on `parent`; gives the last. Those that are there already are passed over.
pub(crate) fn import_blocks(
    tx: &mut Tx,
    codes: &CodeCache,
    schedule: &ForkSchedule,
    mut parent: Tip,
    mut rest: &[u8],
) -> Result<Tip, ImportError> {
    while !rest.is_empty() {
        let number = parent.header.number + 1;
        let block = Block::<Envelope>::decode(&mut rest).map_err(|error| ImportError::Rlp { number, error })?;
        if block.header.number < number {
            continue;
        }
        let on = (&parent.header, parent.hash);
        let sealed = import_block(tx, codes, schedule, on, parent.trie, &block)?;
        write_block(tx, &sealed);
        parent = Tip { header: sealed.header, hash: sealed.hash, trie: sealed.trie, sealed_ms: 0 };
    }
    Ok(parent)
}

/// The block's write-once records, and the new head.
pub(crate) fn write_block(tx: &mut Tx, sealed: &SealedBlock) {
    let number = Bytes::copy_from_slice(&sealed.header.number.to_be_bytes());
    tx.put(&META, META_HEAD, sealed.record.header_rlp());
    tx.put(&META, META_SEALED_MS, Bytes::copy_from_slice(&sealed.record.sealed_ms().to_be_bytes()));
    tx.put(&BLOCK, number.clone(), sealed.record.bytes().clone());
    tx.put(&UNDO, number.clone(), sealed.undo.clone());
    tx.put(&BLOCK_BY_HASH, Bytes::copy_from_slice(sealed.hash.as_slice()), number.clone());
    for (index, included) in sealed.included.iter().enumerate() {
        let place = [&number[..], &(index as u32).to_be_bytes()].concat();
        tx.put(&TRANSACTION_BY_HASH, Bytes::copy_from_slice(included.transaction.hash.as_slice()), place);
    }
}

/// A receipt binds the transaction's hash and its Ethereum receipt.
fn transaction_claims(included: &Included) -> Claims {
    Claims {
        protocol: NAME,
        kind: "transaction",
        id: Bytes::copy_from_slice(included.transaction.hash.as_slice()),
        result: sha256(&included.receipt()),
        container: None,
    }
}

/// A block that cannot be opened or sealed: no submission is to blame.
fn broken(error: BlockError) -> Rejection {
    Rejection::new(RejectionReason::Busy, -32603, error.to_string())
}
