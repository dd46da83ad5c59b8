//! Finding transactions by who took part in them. The index names the blocks; a search that finds nothing in the time of one request
//! says how far it came.

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256};
use alloy_rpc_types_trace::geth::FlatCallConfig;
use alloy_rpc_types_trace::parity::{Action, LocalizedTransactionTrace, TraceOutput};
use coco_protocol::HistoryError;

use crate::block::Included;
use crate::index::Tag;
use crate::rpc::call::{Call, Method};
use crate::rpc::committed::{CommittedBlock, SharedBlock, push_transaction};
use crate::rpc::error::RpcError;
use crate::rpc::json::{Json, push_object, push_quantity};
use crate::rpc::params::Params;
use crate::rpc::replay;
use crate::rpc::reply::Answer;
use crate::rpc::traces::{Subject, recorded};
use crate::rpc::values::{Hex, Loose};
use crate::state::{Account, UNDO, Undo};

pub const METHODS: &[Method] = &[
    Method::read("ots_searchTransactionsBefore", before).long(),
    Method::read("ots_searchTransactionsAfter", after).long(),
    Method::read("ots_getTransactionBySenderAndNonce", by_sender_and_nonce),
    Method::read("eth_getTransactionBySenderAndNonce", whole_by_sender_and_nonce),
    Method::read("ots_getContractCreator", creator),
];

const PAGE_MAX: usize = 1_000;

/// A transaction found: its block and its index there.
type Found = (SharedBlock, usize);

fn page(params: &Params<'_>) -> Result<(Address, u64, usize), RpcError> {
    let (Hex(address), Loose(block), Loose(size)) = (params.required(0)?, params.required(1)?, params.required(2)?);
    Ok((address, block, usize::try_from(size).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX)))
}

/// Older than a block, newest first; from the newest on for block 0.
fn before(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let (address, block, size) = page(params)?;
    let head = call.chain().head()?;
    let last = if block == 0 { Some(head) } else { block.checked_sub(1).map(|last| last.min(head)) };
    let (found, is_end) = match last {
        Some(last) => search(call, &address, backwards(call, &address, last)?, size, true)?,
        None => (Vec::new(), true),
    };
    Ok(told(&found, block == 0, is_end))
}

/// Newer than a block, newest first; from the oldest on for block 0.
fn after(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let (address, block, size) = page(params)?;
    let first = block.saturating_add(u64::from(block > 0));
    let (mut found, is_end) = search(call, &address, forwards(call, &address, first)?, size, false)?;
    found.reverse();
    Ok(told(&found, is_end, block == 0))
}

/// Blocks in which an address may have taken part, from `first` on; of those that are not indexed yet, all.
fn forwards<'a>(
    call: &'a Call<'_>,
    address: &Address,
    first: u64,
) -> Result<impl Iterator<Item = Result<u64, RpcError>> + 'a, RpcError> {
    let (chain, tags) = (call.chain(), vec![Tag::of_participant(address)]);
    let ((index, indexed), head) = (chain.index()?, chain.head()?);
    let mut next = first;
    let found = std::iter::from_fn(move || index.some(&tags, &mut next).transpose());
    Ok(one_by_one(found).chain((first.max(indexed)..=head).map(Ok)))
}

/// The same from `last` downwards.
fn backwards<'a>(
    call: &'a Call<'_>,
    address: &Address,
    last: u64,
) -> Result<impl Iterator<Item = Result<u64, RpcError>> + 'a, RpcError> {
    let (index, indexed) = call.chain().index()?;
    let tags = Tag::of_participant(address);
    let mut before = indexed.min(last.saturating_add(1));
    let found = std::iter::from_fn(move || index.some_before(&tags, &mut before).transpose());
    Ok((indexed..=last).rev().map(Ok).chain(one_by_one(found)))
}

fn one_by_one(
    found: impl Iterator<Item = Result<Vec<u64>, HistoryError>>,
) -> impl Iterator<Item = Result<u64, RpcError>> {
    found.flat_map(|some| {
        let (blocks, failed) = match some {
            Ok(blocks) => (blocks, None),
            Err(error) => (Vec::new(), Some(Err(error.into()))),
        };
        blocks.into_iter().map(Ok).chain(failed)
    })
}

/// At least a page, if there are so many, and whole blocks; and whether that was all.
fn search(
    call: &Call<'_>,
    address: &Address,
    blocks: impl Iterator<Item = Result<u64, RpcError>>,
    size: usize,
    newest_first: bool,
) -> Result<(Vec<Found>, bool), RpcError> {
    let (chain, deadline) = (call.chain(), call.deadline());
    let mut found: Vec<Found> = Vec::new();
    let mut blocks = blocks.peekable();
    while let Some(number) = blocks.next() {
        let number = number?;
        if let Some(block) = chain.block(number)? {
            let mut own = indexes(call, address, &block)?;
            if newest_first {
                own.reverse();
            }
            found.extend(own.into_iter().map(|index| (block.clone(), index)));
        }
        if found.len() >= size && blocks.peek().is_some() {
            return Ok((found, false));
        }
        if deadline.passed() && blocks.peek().is_some() {
            let none = || RpcError::limit(format!("nothing found up to block {number} in the time of one request"));
            return if found.is_empty() { Err(none()) } else { Ok((found, false)) };
        }
    }
    Ok((found, true))
}

/// The transactions of a block in which an address took part, that the caller may see.
fn indexes(call: &Call<'_>, address: &Address, block: &SharedBlock) -> Result<Vec<usize>, RpcError> {
    let chain = call.chain();
    let all = block.transactions().enumerate();
    let seen = all.filter(|(_, included)| chain.discloses_transaction(&included.transaction));
    let direct: Vec<usize> = seen.filter(|(_, included)| names(included, address)).map(|(index, _)| index).collect();
    if !direct.is_empty() || *address == block.head.header.beneficiary || block.transaction_count() == 0 {
        return Ok(direct);
    }
    // Called from inside, it is found by what changed about it, and then by looking at every call.
    let record = call.reader().record(&UNDO, &block.number().to_be_bytes()).map_err(RpcError::internal)?;
    let changed = record.and_then(|record| Undo::decode(&record));
    if !changed.is_some_and(|undo| undo.rows().any(|(key, _)| key.starts_with(address.as_slice()))) {
        return Ok(direct);
    }
    let flat = |subject: &mut Subject<'_>| recorded::flat_calls(subject, &FlatCallConfig::default());
    let traced = replay::block(call, block.clone(), flat)?;
    let inside = traced.iter().filter(|(_, traces)| traces.iter().any(|trace| takes_part(trace, address)));
    let index = |hash: &B256| block.hashes().iter().position(|known| known == hash);
    Ok(inside.filter_map(|(hash, _)| index(hash)).collect())
}

fn names(included: &Included, address: &Address) -> bool {
    let topic = address.into_word();
    included.transaction.sender == *address
        || included.transaction.envelope.to() == Some(*address)
        || included.contract_address() == Some(*address)
        || included.logs.iter().any(|log| log.address == *address || log.topics().iter().skip(1).any(|t| *t == topic))
}

fn takes_part(localized: &LocalizedTransactionTrace, address: &Address) -> bool {
    match &localized.trace.action {
        Action::Call(call) => call.from == *address || call.to == *address,
        Action::Create(create) => create.from == *address || created(localized) == Some(*address),
        Action::Selfdestruct(end) => end.address == *address || end.refund_address == *address,
        Action::Reward(reward) => reward.author == *address,
    }
}

fn created(localized: &LocalizedTransactionTrace) -> Option<Address> {
    match localized.trace.result.as_ref()? {
        TraceOutput::Create(output) => Some(output.address),
        TraceOutput::Call(_) => None,
    }
}

fn told(found: &[Found], is_first: bool, is_last: bool) -> Json {
    Json::object(|object| {
        object.list("txs", found, |out, (block, index)| push_whole(out, block, *index));
        object.list("receipts", found, |out, (block, index)| {
            if let Some(included) = block.transaction(*index) {
                push_object(out, |object| {
                    block.head.fill_receipt(object, included, *index, true);
                    push_quantity(object.field("timestamp"), block.head.header.timestamp);
                });
            }
        });
        object.bool("firstPage", is_first);
        object.bool("lastPage", is_last);
    })
}

fn push_whole(out: &mut String, block: &CommittedBlock, index: usize) {
    if let Some(included) = block.transaction(index) {
        push_transaction(out, &included.transaction, Some((&block.head, index)));
    }
}

fn by_sender_and_nonce(call: &Call<'_>, params: &Params<'_>) -> Answer {
    Ok(sent(call, params)?.map_or_else(Json::null, |(block, index)| {
        block.transaction(index).map_or_else(Json::null, |included| Json::data(included.transaction.hash.as_slice()))
    }))
}

fn whole_by_sender_and_nonce(call: &Call<'_>, params: &Params<'_>) -> Answer {
    Ok(sent(call, params)?.map_or_else(Json::null, |(block, index)| {
        let mut out = String::with_capacity(1_024);
        push_whole(&mut out, &block, index);
        Json(out)
    }))
}

/// A transaction by its sender and nonce.
fn sent(call: &Call<'_>, params: &Params<'_>) -> Result<Option<Found>, RpcError> {
    let (Hex(sender), Loose(nonce)): (Hex<Address>, Loose) = (params.required(0)?, params.required(1)?);
    let Some(block) = first_block(call, &sender, |account| account.nonce > nonce)? else { return Ok(None) };
    let is_it = |included: &Included| included.transaction.sender == sender && included.transaction.nonce() == nonce;
    let index = block.transactions().position(is_it);
    let seen = |index: &usize| {
        block.transaction(*index).is_some_and(|included| call.chain().discloses_transaction(&included.transaction))
    };
    Ok(index.filter(seen).map(|index| (block.clone(), index)))
}

/// Who created a contract, and in which transaction. `null` for contracts of the genesis file.
fn creator(call: &Call<'_>, params: &Params<'_>) -> Answer {
    let Hex(address): Hex<Address> = params.required(0)?;
    let Some(block) = first_block(call, &address, Account::has_code)?.filter(|block| block.number() > 0) else {
        return Ok(Json::null());
    };
    let flat = |subject: &mut Subject<'_>| recorded::flat_calls(subject, &FlatCallConfig::default());
    for (hash, traces) in replay::block(call, block, flat)? {
        let create = traces.iter().find(|trace| created(trace) == Some(address));
        if let Some(Action::Create(create)) = create.map(|trace| &trace.trace.action) {
            return Ok(Json::object(|object| {
                object.hash("hash", &hash);
                object.address("creator", &create.from);
            }));
        }
    }
    Ok(Json::null())
}

/// The first block after which something holds of an account that holds ever after.
fn first_block(
    call: &Call<'_>,
    address: &Address,
    holds: impl Fn(&Account) -> bool,
) -> Result<Option<SharedBlock>, RpcError> {
    let (chain, deadline) = (call.chain(), call.deadline());
    if !chain.discloses_account(address) {
        return Ok(None);
    }
    let holds_after = |number: u64| -> Result<bool, RpcError> {
        deadline.check()?;
        let account = chain.state_at(number)?.account(address).map_err(RpcError::internal)?;
        Ok(account.is_some_and(|account| holds(&account)))
    };
    let (mut low, mut high) = (0, chain.head()?);
    if !holds_after(high)? {
        return Ok(None);
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if holds_after(middle)? { high = middle } else { low = middle + 1 }
    }
    chain.block(low)
}
