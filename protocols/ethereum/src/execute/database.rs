//! The tables, as the EVM asks for them.

use alloy_primitives::{Address, B256, U256};
use revm::bytecode::Bytecode;
use revm::interpreter::InstructionExecResult;
use revm::state::AccountInfo;

use super::{Clock, CodeCache};
use crate::state::{CorruptState, State};

/// The EVM's way to the state.
pub struct Database<'a> {
    state: &'a mut dyn State,
    codes: &'a CodeCache,
    clock: Option<Clock<'a>>,
}

impl<'a> Database<'a> {
    pub fn new(state: &'a mut dyn State, codes: &'a CodeCache) -> Self {
        Self { state, codes, clock: None }
    }

    /// The same for an execution whose time is bounded.
    pub fn with_clock(self, clock: Clock<'a>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// Fails once the time is over.
    pub fn tick(&mut self) -> InstructionExecResult {
        self.clock.as_mut().map_or(Ok(()), Clock::tick)
    }

    pub fn has_expired(&self) -> bool {
        self.clock.as_ref().is_some_and(Clock::expired)
    }

    pub fn state(&mut self) -> &mut dyn State {
        self.state
    }
}

impl revm::Database for Database<'_> {
    type Error = CorruptState;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, CorruptState> {
        let Some(account) = self.state.account(&address)? else { return Ok(None) };
        let code = if account.has_code() { self.code_by_hash(account.code_hash)? } else { Bytecode::default() };
        Ok(Some(AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            account_id: None,
            code: Some(code),
        }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, CorruptState> {
        Ok(self.codes.code(&code_hash, || self.state.code(&code_hash)))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, CorruptState> {
        self.state.slot(&address, slot)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, CorruptState> {
        Ok(self.state.block_hash(number))
    }
}
