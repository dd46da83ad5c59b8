//! Executes a block again, on the state that there was, for whoever wants to watch its transactions.

use alloy_primitives::B256;

use super::call::Call;
use super::committed::SharedBlock;
use super::error::RpcError;
use super::simulation::forged;
use super::traces::{Subject, recorded};
use crate::block::{BlockAttributes, OpenBlock};
use crate::developer::put_back;
use crate::state::{Overlay, PATCHED};
use crate::trie::StateTrie;

/// A block about to be executed again.
pub struct Replay<'a> {
    call: &'a Call<'a>,
    block: SharedBlock,
    overlay: Overlay,
    open: OpenBlock,
}

impl<'a> Replay<'a> {
    pub fn new(call: &'a Call<'a>, block: SharedBlock) -> Result<Self, RpcError> {
        let chain = call.chain();
        let before = block.number().checked_sub(1).ok_or_else(|| RpcError::server("genesis is not traceable"))?;
        let parent = chain.header(before)?.ok_or_else(RpcError::header_not_found)?;
        let mut overlay = Overlay::new(chain.state_at(before)?);
        let patched = call.reader().record(&PATCHED, &block.number().to_be_bytes()).map_err(RpcError::internal)?;
        if let Some(patched) = patched {
            put_back(&mut overlay, &patched)
                .ok_or_else(|| RpcError::internal("a record of patches does not decode"))?;
        }
        let network = call.server.ledger.network();
        let (codes, parent) = (call.server.ledger.chain.codes(), (&parent, block.head.header.parent_hash));
        // Roots are not asked for, so that the trie may be empty.
        let open = OpenBlock::open(
            &mut overlay,
            codes,
            &network.schedule,
            parent,
            StateTrie::default(),
            BlockAttributes::of(&block.head.header, &block.ommers, block.withdrawals.as_ref()),
        );
        let mut open = open.map_err(RpcError::internal)?;
        open.environment_mut().forged = forged(call);
        Ok(Self { call, open, block, overlay })
    }

    /// Executes up to transaction `last`, and has those that are `wanted` watched; gives what that tells, each with its hash.
    pub fn run<T>(
        mut self,
        wanted: impl Fn(usize) -> bool,
        last: usize,
        mut watch: impl FnMut(&mut Subject<'_>) -> Result<T, RpcError>,
    ) -> Result<Vec<(B256, T)>, RpcError> {
        let codes = self.call.server.ledger.chain.codes().clone();
        let deadline = self.call.trace_deadline();
        let (block_hash, number) = (self.block.head.hash, self.block.number());
        let mut told = Vec::new();
        for (index, included) in self.block.transactions().enumerate() {
            deadline.check()?;
            let transaction = &included.transaction;
            self.open.environment_mut().coco = included.told;
            if wanted(index) {
                let environment = self.open.environment_for(transaction).into_owned();
                let mut subject = Subject {
                    state: &mut self.overlay,
                    codes: &codes,
                    environment: &environment,
                    tx: &transaction.env(),
                    info: recorded::place(transaction.hash, index, block_hash, number),
                    deadline: deadline.clone(),
                };
                told.push((transaction.hash, watch(&mut subject)?));
            }
            if index == last {
                break;
            }
            let executed = self.open.execute(&mut self.overlay, &codes, transaction, included.txid, included.told);
            executed.map_err(RpcError::internal)?;
        }
        Ok(told)
    }
}

/// Watches one transaction; an error if there is no such one.
pub fn transaction<T>(
    call: &Call<'_>,
    hash: &B256,
    watch: impl FnMut(&mut Subject<'_>) -> Result<T, RpcError>,
) -> Result<Option<T>, RpcError> {
    let chain = call.chain();
    let Some(placed) = chain.transaction(hash)? else { return Ok(None) };
    let Some(number) = placed.parts().map(|(head, _)| head.header.number) else { return Ok(None) };
    let Some(block) = chain.block(number)? else { return Ok(None) };
    let told = Replay::new(call, block)?.run(|index| index == placed.index, placed.index, watch)?;
    Ok(told.into_iter().next().map(|(_, told)| told))
}

/// Watches all transactions of a block that the caller may see.
pub fn block<T>(
    call: &Call<'_>,
    block: SharedBlock,
    watch: impl FnMut(&mut Subject<'_>) -> Result<T, RpcError>,
) -> Result<Vec<(B256, T)>, RpcError> {
    let chain = call.chain();
    let shared = block.clone();
    let seen = move |index: usize| {
        shared.transaction(index).is_some_and(|included| chain.discloses_transaction(&included.transaction))
    };
    Replay::new(call, block)?.run(seen, usize::MAX, watch)
}
