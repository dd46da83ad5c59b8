//! Finding logs: the index says which blocks to look into, a directory which stretches of a large one, and there logs are compared where they
//! lie. Only a transaction with a match is decoded, and a match is written as JSON at once.

use std::cell::OnceCell;

use alloy_consensus::Header;
use alloy_primitives::keccak256;
use alloy_rlp::Decodable;

use super::call::Deadline;
use super::committed::{BlockHead, CommittedBlock};
use super::error::RpcError;
use super::json::Json;
use super::limits::{LOGS_MAX, RESPONSE_BYTES_MAX};
use super::logs::LogQuery;
use super::view::ChainView;
use crate::block::{LogPlace, LogRef, logged_in, logs_in, transaction_of};
use crate::index::{Directory, IndexView, Mark};
use crate::transaction::Transaction;

/// The matching logs of blocks `from` to `to` that the caller may see.
pub fn search(
    query: &LogQuery,
    chain: &ChainView<'_>,
    (from, to): (u64, u64),
    deadline: &Deadline,
) -> Result<Json, RpcError> {
    let ((index, _), tags) = (chain.index()?, query.tags());
    let mut search =
        Search { query, marks: query.marks(), chain, index, first: from, found: 0, out: String::from("[") };
    let mut next = from;
    while next <= to {
        deadline.check()?;
        let Some(blocks) = index.some(&tags, &mut next)? else { break };
        for number in blocks.into_iter().take_while(|number| *number <= to) {
            deadline.check()?;
            search.look_into(number)?;
        }
    }
    // The newest blocks are not indexed yet.
    for number in next..=to {
        if number % 64 == 0 {
            deadline.check()?;
        }
        search.look_into(number)?;
    }
    search.out.push(']');
    Ok(Json(search.out))
}

/// What was found so far.
struct Search<'a, 'b> {
    query: &'a LogQuery,
    marks: Vec<Vec<Mark>>,
    chain: &'a ChainView<'b>,
    index: IndexView<'b>,
    first: u64,
    found: usize,
    out: String,
}

/// A transaction in a block.
#[derive(Clone, Copy)]
struct Inside<'a> {
    head: &'a BlockHead,
    index: usize,
    /// See [`transaction_of`].
    front: &'a [u8],
}

impl Search<'_, '_> {
    fn look_into(&mut self, number: u64) -> Result<(), RpcError> {
        match self.chain.recent(number)? {
            Some(block) => self.look_into_recent(&block)?,
            None => self.look_into_stored(number)?,
        }
        if self.is_full() {
            return Err(too_many(self.first, number));
        }
        Ok(())
    }

    fn look_into_recent(&mut self, block: &CommittedBlock) -> Result<(), RpcError> {
        if !self.query.may_match(&block.head.header.logs_bloom) {
            return Ok(());
        }
        if let Some(record) = block.record() {
            let looked = self.look_at_transactions(&block.head, 0, record.transactions_rlp());
            return looked.ok_or_else(|| damaged(block.number()));
        }
        for (included, index, position, log) in block.logs() {
            if self.query.matches(log.into()) {
                self.push(&block.head, &included.transaction, &included.log_place(index, position), log.into());
            }
        }
        Ok(())
    }

    fn look_into_stored(&mut self, number: u64) -> Result<(), RpcError> {
        if let Some(directory) = self.index.directory(number)?
            && self.look_into_stretches(number, &directory)?
        {
            return Ok(());
        }
        let Some(record) = self.chain.block_record(number)? else { return Ok(()) };
        let Some(head) = self.head(number, &record.header_rlp())? else { return Ok(()) };
        if !self.query.may_match(&head.header.logs_bloom) {
            return Ok(());
        }
        self.look_at_transactions(&head, 0, record.transactions_rlp()).ok_or_else(|| damaged(number))
    }

    /// Reads no more of a block than what may match; not at all if that is most of it, or the directory is of another block.
    fn look_into_stretches(&mut self, number: u64, directory: &Directory) -> Result<bool, RpcError> {
        let Some(header) = self.chain.block_part(number, directory.header.clone())? else { return Ok(false) };
        let (stretches, all_bytes) = directory.stretches(&self.marks).ok_or_else(|| damaged(number))?;
        let bytes: usize = stretches.iter().map(|stretch| stretch.bytes.len()).sum();
        if bytes > all_bytes / 2 || keccak256(&header) != directory.block {
            return Ok(false);
        }
        let Some(head) = self.head(number, &header)? else { return Ok(true) };
        for stretch in stretches {
            let part = |range| self.chain.block_part(number, range)?.ok_or_else(|| damaged(number));
            let (front, bytes) = (part(stretch.front.clone())?, part(stretch.bytes.clone())?);
            let looked = if front.is_empty() {
                self.look_at_transactions(&head, stretch.transaction, &bytes)
            } else {
                let inside = Inside { head: &head, index: stretch.transaction, front: &front };
                self.look_at_logs(inside, stretch.first_log, &bytes)
            };
            looked.ok_or_else(|| damaged(number))?;
        }
        Ok(true)
    }

    /// The block's head, unless it is not for the caller.
    fn head(&self, number: u64, rlp: &[u8]) -> Result<Option<BlockHead>, RpcError> {
        let header = Header::decode(&mut &rlp[..]).map_err(|_| damaged(number))?;
        let hash = keccak256(rlp);
        let seen = self.chain.discloses_block(&hash);
        Ok(seen.then(|| BlockHead::new(header, hash, &self.chain.network().schedule)))
    }

    /// Transactions one behind the other, of which the first has this index in the block; `None` if one is damaged.
    fn look_at_transactions(&mut self, head: &BlockHead, first: usize, transactions: &[u8]) -> Option<()> {
        for (index, logged) in (first..).zip(logged_in(transactions)) {
            let logged = logged?;
            self.look_at_logs(Inside { head, index, front: logged.front }, logged.first_log_index, logged.logs)?;
        }
        Some(())
    }

    /// Logs of one transaction, one behind the other, of which the first has this index in the block.
    fn look_at_logs(&mut self, inside: Inside<'_>, first: u64, logs: &[u8]) -> Option<()> {
        let decoded = OnceCell::new();
        for (log_index, log) in (first..).zip(logs_in(logs)) {
            let log = log?;
            if !self.query.matches(log) || self.is_full() {
                continue;
            }
            let transaction = decoded.get_or_init(|| transaction_of(inside.front)).as_ref()?;
            let place = LogPlace { transaction_hash: &transaction.hash, transaction_index: inside.index, log_index };
            self.push(inside.head, transaction, &place, log);
        }
        Some(())
    }

    /// More was found than is answered.
    fn is_full(&self) -> bool {
        self.found > LOGS_MAX || self.out.len() > RESPONSE_BYTES_MAX
    }

    fn push(&mut self, head: &BlockHead, transaction: &Transaction, place: &LogPlace<'_>, log: LogRef<'_>) {
        if !self.chain.discloses_log(transaction, log) {
            return;
        }
        if self.out.len() > 1 {
            self.out.push(',');
        }
        head.push_log(&mut self.out, place, log);
        self.found += 1;
    }
}

fn damaged(number: u64) -> RpcError {
    RpcError::internal(format!("damaged record: block {number}"))
}

fn too_many(from: u64, reached: u64) -> RpcError {
    match reached.checked_sub(1).filter(|last| *last >= from) {
        Some(last) => RpcError::limit(format!("more than {LOGS_MAX} logs, try the range [{from:#x}, {last:#x}]")),
        None => RpcError::limit(format!("more than {LOGS_MAX} logs in block {reached:#x}, narrow the filter")),
    }
}
