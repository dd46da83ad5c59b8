//! Reading the chain on behalf of somebody: committed state, history, and the newest blocks from memory.
//!
//! Whatever leaves the node passes one of the `discloses_…` questions, which go to the disclosure gate. What the caller may not
//! see reads as what does not exist.

use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

use alloy_consensus::{Header, Transaction as _};
use alloy_primitives::{Address, B256};
use alloy_rlp::Decodable;
use coco_protocol::{History, Reader, Subject};

use super::committed::{BlockHead, CommittedBlock, SharedBlock};
use super::error::RpcError;
use super::limits::{TOPICS_MAX, UNINDEXED_BLOCKS_MAX};
use super::server::Server;
use super::values::BlockParam;
use crate::block::{BlockRecord, Included, LogRef};
use crate::chain::Network;
use crate::index::IndexView;
use crate::state::{BLOCK, BLOCK_BY_HASH, HistoricState, META, META_HEAD, RECENT, ReadState, TRANSACTION_BY_HASH};
use crate::transaction::Transaction;

/// The chain as one caller sees it.
pub struct ChainView<'a> {
    server: &'a Server,
    reader: &'a Reader,
    head: OnceCell<Header>,
}

/// A transaction in its block.
pub struct Placed {
    pub index: usize,
    found: Found,
}

/// Of the newest blocks the whole block is at hand, of others what was asked for.
enum Found {
    Recent(SharedBlock),
    Stored(Box<(BlockHead, Included)>),
}

impl Placed {
    /// The block's head and the transaction in it.
    pub fn parts(&self) -> Option<(&BlockHead, &Included)> {
        match &self.found {
            Found::Recent(block) => Some((&block.head, block.transaction(self.index)?)),
            Found::Stored(parts) => Some((&parts.0, &parts.1)),
        }
    }
}

impl<'a> ChainView<'a> {
    pub fn new(server: &'a Server, reader: &'a Reader) -> Self {
        Self { server, reader, head: OnceCell::new() }
    }

    pub fn network(&self) -> Arc<Network> {
        self.server.ledger.network()
    }

    pub fn reader(&self) -> &'a Reader {
        self.reader
    }

    /// The number of the newest block.
    pub fn head(&self) -> Result<u64, RpcError> {
        Ok(self.head_header()?.number)
    }

    pub fn head_header(&self) -> Result<&Header, RpcError> {
        if let Some(header) = self.head.get() {
            return Ok(header);
        }
        let rlp = self
            .reader
            .state()
            .get(&META, META_HEAD)
            .ok_or_else(|| RpcError::server("the network has no block yet"))?;
        let header = Header::decode(&mut &rlp[..]);
        let header = header.map_err(|_| RpcError::internal("the newest header does not decode"))?;
        Ok(self.head.get_or_init(|| header))
    }

    /// The number of a block that exists.
    pub fn number(&self, block: BlockParam) -> Result<Option<u64>, RpcError> {
        match block {
            BlockParam::Earliest => Ok(Some(0)),
            BlockParam::Latest | BlockParam::Pending => self.head().map(Some),
            BlockParam::Number(number) => Ok((number <= self.head()?).then_some(number)),
            BlockParam::Hash(hash) => self.number_of(&hash),
        }
    }

    pub fn number_of(&self, hash: &B256) -> Result<Option<u64>, RpcError> {
        let Some(record) = self.record(&BLOCK_BY_HASH, hash.as_slice())? else { return Ok(None) };
        let number = record[..].try_into().map(u64::from_be_bytes).map_err(|_| damaged("block hash index"))?;
        // History may know a block that this reader's state does not, or that a developer went back from.
        let exists = number <= self.head()? && self.hash(number)? == Some(*hash);
        Ok((exists && self.discloses_block(hash)).then_some(number))
    }

    pub fn hash(&self, number: u64) -> Result<Option<B256>, RpcError> {
        if let Some(hash) = self.reader.state().get(&RECENT, &number.to_be_bytes()) {
            return B256::try_from(&hash[..]).map(Some).map_err(|_| damaged("recent hashes"));
        }
        Ok(self.header(number)?.map(|header| header.hash_slow()))
    }

    pub fn header(&self, number: u64) -> Result<Option<Header>, RpcError> {
        if let Some(block) = self.recent(number)? {
            return Ok(Some(block.head.header.clone()));
        }
        let Some(record) = self.block_record(number)? else { return Ok(None) };
        record.header().map(Some).ok_or_else(|| damaged("header"))
    }

    pub fn block(&self, number: u64) -> Result<Option<SharedBlock>, RpcError> {
        self.block_if(number, |_| true)
    }

    /// The block, if it exists and its header passes `wanted`; otherwise its transactions are not even decoded.
    pub fn block_if(&self, number: u64, wanted: impl FnOnce(&Header) -> bool) -> Result<Option<SharedBlock>, RpcError> {
        if let Some(block) = self.recent(number)? {
            return Ok(wanted(&block.head.header).then_some(block));
        }
        let Some(record) = self.block_record(number)? else { return Ok(None) };
        let header = record.header().ok_or_else(|| damaged("header"))?;
        if !wanted(&header) {
            return Ok(None);
        }
        let block = CommittedBlock::decode(&record, header.hash_slow(), &self.server.ledger.network().schedule);
        let block = Arc::new(block.ok_or_else(|| damaged("block"))?);
        Ok(self.discloses_block(&block.head.hash).then_some(block))
    }

    /// A transaction that was included, if the caller may see it.
    pub fn transaction(&self, hash: &B256) -> Result<Option<Placed>, RpcError> {
        let placed = match self.server.ledger.events.recent_transaction(hash) {
            Some((block, index)) if block.number() <= self.head()? => {
                Some(Placed { index, found: Found::Recent(block) })
            }
            _ => self.stored_transaction(hash)?,
        };
        let seen = |placed: &Placed| {
            placed.parts().is_some_and(|(_, included)| self.discloses_transaction(&included.transaction))
        };
        Ok(placed.filter(seen))
    }

    fn stored_transaction(&self, hash: &B256) -> Result<Option<Placed>, RpcError> {
        let Some(record) = self.record(&TRANSACTION_BY_HASH, hash.as_slice())? else { return Ok(None) };
        let place = record.split_first_chunk::<8>().and_then(|(number, index)| {
            Some((u64::from_be_bytes(*number), u32::from_be_bytes(index.try_into().ok()?) as usize))
        });
        let (number, index) = place.ok_or_else(|| damaged("transaction index"))?;
        if number > self.head()? {
            return Ok(None);
        }
        let record = self.block_record(number)?.ok_or_else(|| damaged("block of a transaction"))?;
        let header = record.header().ok_or_else(|| damaged("header"))?;
        // A developer may have gone back, and made another block of that number.
        let included = record.transaction(index).filter(|included| included.transaction.hash == *hash);
        let Some(included) = included else { return Ok(None) };
        let hash = header.hash_slow();
        let head = BlockHead::new(header, hash, &self.server.ledger.network().schedule);
        Ok(Some(Placed { index, found: Found::Stored(Box::new((head, included))) }))
    }

    /// The state after a block.
    pub fn state_at(&self, number: u64) -> Result<Arc<dyn ReadState>, RpcError> {
        let head = self.head()?;
        if number == head {
            return Ok(Arc::new(self.reader.state().clone()));
        }
        Ok(Arc::new(self.historic_state(number)?))
    }

    /// The same, for what only a state in the past can tell.
    pub fn historic_state(&self, number: u64) -> Result<HistoricState, RpcError> {
        let head = self.head()?;
        if number > head {
            return Err(RpcError::header_not_found());
        }
        let index = self.server.ledger.index.clone();
        Ok(HistoricState::new(self.reader.clone(), index, head, number, UNINDEXED_BLOCKS_MAX)?)
    }

    /// The index, as far as it goes for this reader, and the first block behind it.
    pub fn index(&self) -> Result<(IndexView<'a>, u64), RpcError> {
        let index = &self.server.ledger.index;
        let hash = |number| self.hash(number).ok().flatten();
        let next = index.next(self.reader, hash)?.min(self.head()? + 1);
        Ok((index.view(self.reader, next), next))
    }

    /// The state that a parameter names.
    pub fn state(&self, block: Option<BlockParam>) -> Result<Arc<dyn ReadState>, RpcError> {
        let number = self.number(block.unwrap_or(BlockParam::Latest))?.ok_or_else(RpcError::header_not_found)?;
        self.state_at(number)
    }

    pub fn block_record(&self, number: u64) -> Result<Option<BlockRecord>, RpcError> {
        if number > self.head()? {
            return Ok(None);
        }
        // The state says that there is one: whoever keeps this node's history has lost it, or took it away.
        let missing =
            || RpcError::internal(format!("block {number} is missing from this node's history: ask another node"));
        let record = self.record(&BLOCK, &number.to_be_bytes())?.ok_or_else(missing)?;
        BlockRecord::decode(record).map(Some).ok_or_else(|| damaged("block"))
    }

    /// Some bytes of a block's record.
    pub fn block_part(&self, number: u64, range: Range<usize>) -> Result<Option<bytes::Bytes>, RpcError> {
        if number > self.head()? {
            return Ok(None);
        }
        self.reader.part(&BLOCK, &number.to_be_bytes(), range).map_err(RpcError::internal)
    }

    fn record(&self, map: &coco_types::MapName, key: &[u8]) -> Result<Option<bytes::Bytes>, RpcError> {
        self.reader.record(map, key).map_err(RpcError::internal)
    }

    /// A block that the caller may see, if it is one of the newest.
    pub fn recent(&self, number: u64) -> Result<Option<SharedBlock>, RpcError> {
        let Some(block) = self.server.ledger.events.recent(number) else { return Ok(None) };
        Ok((number <= self.head()? && self.discloses_block(&block.head.hash)).then_some(block))
    }

    fn discloses(&self, kind: &str, name: &[u8], parties: &[&[u8]]) -> bool {
        let subject = Subject { ledger: self.server.ledger_name(), kind, name, parties };
        self.reader.disclose(&subject, ()).is_some()
    }

    pub fn discloses_block(&self, hash: &B256) -> bool {
        self.discloses("block", hash.as_slice(), &[])
    }

    /// How full the pool is.
    pub fn discloses_pool(&self) -> bool {
        self.discloses("pool", &[], &[])
    }

    /// What a contract answers, which may rest on who it thinks is asking.
    pub fn discloses_call(&self, from: &Address, to: Option<&Address>) -> bool {
        let name = to.map_or(&[][..], |to| to.as_slice());
        self.discloses("call", name, &[from.as_slice()])
    }

    /// Code by its hash, which does not say whose it is: no account is party to it.
    pub fn discloses_code(&self, hash: &B256) -> bool {
        self.discloses("code", hash.as_slice(), &[])
    }

    pub fn discloses_account(&self, address: &Address) -> bool {
        self.discloses("account", address.as_slice(), &[address.as_slice()])
    }

    pub fn discloses_transaction(&self, transaction: &Transaction) -> bool {
        let to = transaction.envelope.to();
        let parties = [transaction.sender.as_slice(), to.as_ref().map_or(&[][..], |to| to.as_slice())];
        let count = if to.is_some() { 2 } else { 1 };
        self.discloses("transaction", transaction.hash.as_slice(), parties.get(..count).unwrap_or(&[]))
    }

    /// Sender, recipient and every address named in an indexed topic are party to a log.
    pub fn discloses_log(&self, transaction: &Transaction, log: LogRef<'_>) -> bool {
        let to = transaction.envelope.to();
        let mut parties = [transaction.sender.as_slice(); 2 + TOPICS_MAX];
        let named = |topic: &&'_ B256| topic[..12].iter().all(|byte| *byte == 0);
        let named = log.topics.iter().skip(1).filter(named).map(|topic| &topic[12..]);
        let others = to.as_ref().map(|to| to.as_slice()).into_iter().chain(named);
        let count = parties[1..].iter_mut().zip(others).map(|(party, other)| *party = other).count();
        self.discloses("log", transaction.hash.as_slice(), &parties[..=count])
    }
}

fn damaged(what: &str) -> RpcError {
    RpcError::internal(format!("damaged record: {what}"))
}
