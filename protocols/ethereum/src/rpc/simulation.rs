//! Trying a transaction without signing or writing anything: the state of some block, changed as the caller says.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use alloy_consensus::Header;
use alloy_primitives::{Address, Bytes, U256, keccak256};
use revm::context::TxEnv;
use revm::context::result::{ExecutionResult, HaltReason, InvalidTransaction};
use revm::context_interface::block::BlobExcessGasAndPrice;

use super::call::{Call, Deadline};
use super::call_request::{AccountOverride, BlockOverrides, CallRequest, StateOverrides};
use super::error::RpcError;
use super::limits::{CALL_GAS_MAX, CODE_OVERRIDE_BYTES_MAX, READ_MS_MAX, SLOTS_MAX};
use super::values::{BlockParam, Hex};
use crate::developer::Settings;
use crate::execute::{CodeCache, Environment, ExecuteError, Forged, Told, call as execute_call, refusal};
use crate::state::{ACCOUNT, Account, Overlay, ReadState, State, Undo, set_account, set_code, set_slot};

/// A block's state and rules, ready to try transactions on.
pub struct Simulation {
    pub overlay: Overlay,
    pub environment: Environment,
    pub codes: Arc<CodeCache>,
    pub deadline: Deadline,
}

/// How a try ended.
pub enum Tried {
    Done(ExecutionResult),
    /// It needs more gas than it was given to begin at all.
    TooLittleGas,
}

impl Simulation {
    pub fn new(
        call: &Call<'_>,
        block: Option<BlockParam>,
        state: Option<StateOverrides>,
        block_overrides: Option<BlockOverrides>,
    ) -> Result<Self, RpcError> {
        let chain = call.chain();
        let number = chain.number(block.unwrap_or(BlockParam::Latest))?.ok_or_else(RpcError::header_not_found)?;
        let header = chain.header(number)?.ok_or_else(RpcError::header_not_found)?;
        let mut environment = Environment::new(&call.server.ledger.network().schedule, &header);
        let is_next = block == Some(BlockParam::Pending) && !call.server.ledger.network().config.frozen;
        if is_next {
            make_next(call, &mut environment, &header);
        }
        environment.coco = simulated(call);
        environment.forged = forged(call);
        let cfg = &mut environment.cfg;
        cfg.disable_nonce_check = true;
        cfg.disable_eip3607 = true;
        cfg.disable_block_gas_limit = true;
        cfg.tx_gas_limit_cap = Some(u64::MAX);
        cfg.limit_contract_initcode_size = None;
        let mut simulation = Self {
            overlay: Overlay::new(chain.state_at(number)?),
            environment,
            codes: call.server.ledger.chain.codes().clone(),
            deadline: call.deadline(),
        };
        // What is replaced does not matter: nothing of this is ever written.
        let mut undo = Undo::default();
        for (Hex(address), account) in state.unwrap_or_default() {
            if account.move_precompile_to_address.is_some() {
                return Err(RpcError::invalid_params("movePrecompileToAddress is not offered here"));
            }
            override_account(&mut simulation.overlay, &address, account, &mut undo)?;
        }
        simulation.override_block(block_overrides.unwrap_or_default());
        Ok(simulation)
    }

    /// What the request becomes with this much gas. Free calls see a base fee of zero.
    pub fn env(&mut self, request: &CallRequest, gas: u64) -> Result<TxEnv, RpcError> {
        let nonce = match request.nonce {
            Some(Hex(nonce)) => nonce,
            None => self.account(&request.sender())?.nonce,
        };
        let mut env = request.env(gas, nonce)?;
        env.chain_id = env.chain_id.or(Some(self.environment.cfg.chain_id));
        if env.gas_price == 0 {
            self.environment.cfg.disable_base_fee = true;
            self.environment.block.basefee = 0;
        }
        if env.max_fee_per_blob_gas == 0
            && let Some(blob) = &mut self.environment.block.blob_excess_gas_and_price
        {
            *blob = BlobExcessGasAndPrice { excess_blob_gas: 0, blob_gasprice: 0 };
        }
        Ok(env)
    }

    /// The gas that a call may use: what it asks for, what this node allows, what its sender can pay.
    pub fn gas_for_call(&self, request: &CallRequest) -> Result<u64, RpcError> {
        let asked = request.gas.map(|Hex(gas)| gas);
        let gas = asked.unwrap_or(CALL_GAS_MAX).min(CALL_GAS_MAX);
        if asked.is_some() {
            return Ok(gas);
        }
        Ok(gas.min(self.affordable_gas(request)?.unwrap_or(u64::MAX)))
    }

    /// The gas that the sender can pay at the price it names; `None` if it names none.
    pub fn affordable_gas(&self, request: &CallRequest) -> Result<Option<u64>, RpcError> {
        let price = request.price();
        if price == 0 {
            return Ok(None);
        }
        let balance = self.account(&request.sender())?.balance;
        let rest = balance
            .checked_sub(request.value())
            .ok_or_else(|| RpcError::server("insufficient funds for gas * price + value"))?;
        Ok(Some((rest / U256::from(price)).saturating_to()))
    }

    pub fn account(&self, address: &Address) -> Result<Account, RpcError> {
        read_account(&self.overlay, address)
    }

    pub fn has_code(&self, address: &Address) -> Result<bool, RpcError> {
        Ok(self.account(address)?.has_code())
    }

    /// Executes; nothing is kept.
    pub fn run(&mut self, tx: TxEnv) -> Result<Tried, RpcError> {
        self.deadline.check()?;
        let deadline = self.deadline.clone();
        let executed =
            execute_call(&mut self.overlay, &self.codes, &self.environment, tx.clone(), &mut || deadline.passed());
        match executed {
            Ok(Some(executed)) => Ok(Tried::Done(executed.result)),
            Ok(None) => Err(RpcError::too_slow(READ_MS_MAX)),
            Err(ExecuteError::Transaction(
                InvalidTransaction::CallGasCostMoreThanGasLimit { .. }
                | InvalidTransaction::GasFloorMoreThanGasLimit { .. },
            )) => Ok(Tried::TooLittleGas),
            Err(error) => Err(self.refused(error, &tx)),
        }
    }

    pub fn refused(&self, error: ExecuteError, tx: &TxEnv) -> RpcError {
        match error {
            error @ ExecuteError::Transaction(_) => RpcError::server(refusal(error, tx, &self.environment).to_string()),
            broken => RpcError::internal(broken),
        }
    }

    fn override_block(&mut self, changes: BlockOverrides) {
        let block = &mut self.environment.block;
        block.number = changes.number.map_or(block.number, |Hex(number)| number);
        block.timestamp = changes.time.map_or(block.timestamp, |Hex(time)| U256::from(time));
        block.gas_limit = changes.gas_limit.map_or(block.gas_limit, |Hex(limit)| limit);
        block.beneficiary = changes.fee_recipient.map_or(block.beneficiary, |Hex(address)| address);
        block.basefee = changes.base_fee_per_gas.map_or(block.basefee, |Hex(fee)| fee);
        block.difficulty = changes.difficulty.map_or(block.difficulty, |Hex(difficulty)| difficulty);
        if let (Some(Hex(randao)), Some(_)) = (changes.prev_randao, block.prevrandao) {
            block.prevrandao = Some(randao);
        }
        if let (Some(Hex(fee)), Some(blob)) = (changes.blob_base_fee, &mut block.blob_excess_gas_and_price) {
            blob.blob_gasprice = fee;
        }
    }
}

/// The rules of the block that a transaction would be in: what a contract does once a block, or once a second, is to be estimated too. On
/// development networks with what a developer has set for it.
fn make_next(call: &Call<'_>, environment: &mut Environment, head: &Header) {
    let block = &mut environment.block;
    block.number = U256::from(head.number + 1);
    let now_ms = call.server.handle.now_ms();
    block.timestamp = U256::from(head.timestamp.max(now_ms / 1_000));
    if !call.server.ledger.network().config.dev {
        return;
    }
    let settings = Settings::committed(call.reader().state() as &dyn ReadState);
    block.timestamp = U256::from(settings.timestamp_after(head.timestamp, now_ms));
    block.beneficiary = settings.coinbase.unwrap_or(block.beneficiary);
    block.gas_limit = settings.gas_limit.unwrap_or(block.gas_limit);
    block.prevrandao = settings.next_prevrandao.or(block.prevrandao);
}

/// Makes an account what the caller says. `undo` notes the rows that changed, but not the slots of a storage that is replaced: how many there are
/// is not the caller's business, so that they are not read.
pub fn override_account(
    overlay: &mut Overlay,
    address: &Address,
    changes: AccountOverride,
    undo: &mut Undo,
) -> Result<(), RpcError> {
    let AccountOverride { balance, nonce, code, state, state_diff, move_precompile_to_address: _ } = changes;
    if state.is_some() && state_diff.is_some() {
        return Err(RpcError::invalid_params(format!("account {address} has both 'state' and 'stateDiff'")));
    }
    let mut account = read_account(overlay, address)?;
    account.balance = balance.map_or(account.balance, |Hex(balance)| balance);
    account.nonce = nonce.map_or(account.nonce, |Hex(nonce)| nonce);
    if let Some(Hex(code)) = code {
        if code.len() > CODE_OVERRIDE_BYTES_MAX {
            return Err(RpcError::invalid_params(format!("code override above {CODE_OVERRIDE_BYTES_MAX} bytes")));
        }
        account.code_hash = keccak256(&code);
        set_code(overlay, account.code_hash, &code);
    }
    let state_of: &mut dyn State = overlay;
    if account == Account::default() {
        let key = bytes::Bytes::copy_from_slice(address.as_slice());
        undo.note(&key, state_of.value(&ACCOUNT, &key));
        state_of.set(&ACCOUNT, key, None);
    } else {
        set_account(state_of, address, &account, undo);
    }
    if state.is_some() {
        overlay.empty_storage(address);
    }
    let slots = state.or(state_diff).unwrap_or_default();
    if slots.len() > SLOTS_MAX {
        return Err(RpcError::invalid_params(format!("more than {SLOTS_MAX} storage slots in one override")));
    }
    for (Hex(slot), Hex(value)) in slots {
        set_slot(overlay, address, slot.into(), value.into(), undo);
    }
    Ok(())
}

/// Signatures that a developer has taken for somebody's.
pub fn forged(call: &Call<'_>) -> Option<Arc<Forged>> {
    let is_developers = call.server.ledger.chain.is_developers();
    is_developers.then(|| Settings::committed(call.reader().state()).forged()).flatten()
}

/// What the Coco precompile tells a simulation: randomness that nothing else comes of.
pub fn simulated(call: &Call<'_>) -> Option<Told> {
    let server = call.server;
    let told = || {
        let number = server.simulations.fetch_add(1, Ordering::Relaxed);
        Told::for_simulation(&server.simulation_secret, number, server.handle.now_ms())
    };
    server.ledger.network().config.coco_precompile.then(told)
}

pub fn read_account(overlay: &Overlay, address: &Address) -> Result<Account, RpcError> {
    let state: &dyn ReadState = overlay;
    Ok(state.account(address).map_err(RpcError::internal)?.unwrap_or_default())
}

/// The error of an execution that reverted: its bytes, and its reason where they hold one.
pub fn reverted(output: &Bytes) -> RpcError {
    let message = match Reason::read(output) {
        Some(reason) => format!("execution reverted: {reason}"),
        None => "execution reverted".to_owned(),
    };
    RpcError::new(3, message).with_data(output)
}

/// Why a contract reverted, as Solidity encodes it.
pub enum Reason {
    /// `Error(string)`
    Text(String),
    /// `Panic(uint256)`
    Panic(U256),
}

impl Reason {
    /// `None` for errors of the contract's own, and for what does not decode.
    pub fn read(output: &[u8]) -> Option<Self> {
        let (selector, arguments) = output.split_first_chunk::<4>()?;
        let word = |bytes: &[u8]| Some(U256::from_be_slice(bytes.get(..32)?));
        match selector {
            [0x08, 0xc3, 0x79, 0xa0] => {
                let offset = usize::try_from(word(arguments)?).ok()?;
                let string = arguments.get(offset..)?;
                let bytes = usize::try_from(word(string)?).ok()?;
                let text = string.get(32..)?.get(..bytes)?;
                Some(Self::Text(String::from_utf8_lossy(text).into_owned()))
            }
            [0x4e, 0x48, 0x7b, 0x71] => Some(Self::Panic(word(arguments)?)),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Panic(code) => f.write_str(&panic_text(*code)),
        }
    }
}

fn panic_text(code: U256) -> String {
    let text = match u8::try_from(code).unwrap_or(u8::MAX) {
        0x00 => "generic panic",
        0x01 => "assert(false)",
        0x11 => "arithmetic underflow or overflow",
        0x12 => "division or modulo by zero",
        0x21 => "enum overflow",
        0x22 => "invalid encoded storage byte array accessed",
        0x31 => "out-of-bounds array access; popping on an empty array",
        0x32 => "out-of-bounds access of an array or bytesN",
        0x41 => "out of memory",
        0x51 => "uninitialized function",
        _ => return format!("unknown panic code: {code:#x}"),
    };
    text.to_owned()
}

/// Why the EVM stopped, in the words of other clients.
pub fn halted(reason: &HaltReason) -> RpcError {
    let text = match reason {
        HaltReason::OutOfGas(_) => "out of gas",
        HaltReason::OpcodeNotFound | HaltReason::NotActivated => "invalid opcode",
        HaltReason::InvalidFEOpcode => "invalid opcode: INVALID",
        HaltReason::InvalidJump => "invalid jump destination",
        HaltReason::StackUnderflow => "stack underflow",
        HaltReason::StackOverflow => "stack limit reached",
        HaltReason::OutOfOffset => "return data out of bounds",
        HaltReason::CreateCollision => "contract address collision",
        HaltReason::NonceOverflow => "nonce uint64 overflow",
        HaltReason::CreateContractSizeLimit => "max code size exceeded",
        HaltReason::CreateContractStartingWithEF => "invalid code: must not begin with 0xef",
        HaltReason::CreateInitCodeSizeLimit => "max initcode size exceeded",
        HaltReason::StateChangeDuringStaticCall | HaltReason::CallNotAllowedInsideStatic => "write protection",
        HaltReason::OutOfFunds | HaltReason::OverflowPayment => "insufficient balance for transfer",
        HaltReason::CallTooDeep => "max call depth exceeded",
        HaltReason::PrecompileError | HaltReason::PrecompileErrorWithContext(_) => "precompile failed",
    };
    RpcError::server(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    use alloy_primitives::hex;
    use coco_types::MapName;

    /// Much storage, which nobody may read as a whole.
    struct Large;

    impl ReadState for Large {
        fn value(&self, map: &MapName, _: &[u8]) -> Option<bytes::Bytes> {
            (*map == crate::state::STORAGE).then(|| bytes::Bytes::from_static(&[7]))
        }

        fn with_prefix(&self, _: &MapName, _: &[u8]) -> Vec<(bytes::Bytes, bytes::Bytes)> {
            panic!("all of it would be read");
        }
    }

    #[test]
    fn a_storage_is_replaced_without_being_read() {
        let mut overlay = Overlay::new(Arc::new(Large));
        let (address, other) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let [zero, one, two, five] = [0, 1, 2, 5].map(|byte| alloy_primitives::B256::with_last_byte(byte).to_string());
        let changes = serde_json::json!({"state": {(one): five, (two): zero}});
        let changes: AccountOverride = serde_json::from_value(changes).unwrap();
        override_account(&mut overlay, &address, changes, &mut Undo::default()).unwrap();
        let state: &dyn ReadState = &overlay;
        let slots = |address: Address| [1, 2, 3].map(|slot| state.slot(&address, U256::from(slot)).unwrap());
        assert_eq!(slots(address), [5, 0, 0].map(U256::from));
        assert_eq!(slots(other), [7, 7, 7].map(U256::from));
    }

    #[test]
    fn a_reason_is_read_out_of_a_revert_and_hostile_bytes_give_none() {
        let error = hex!(
            "08c379a00000000000000000000000000000000000000000000000000000000000000020000000000000000000000000000000000000000000000000000000000000000a75736572206572726f7200000000000000000000000000000000000000000000"
        );
        let failed = reverted(&Bytes::from(error));
        assert_eq!((failed.code, failed.message.as_ref()), (3, "execution reverted: user error"));
        assert_eq!(failed.data, Some(hex::encode_prefixed(error)));
        let panic = hex!("4e487b710000000000000000000000000000000000000000000000000000000000000001");
        assert_eq!(reverted(&Bytes::from(panic)).message, "execution reverted: assert(false)");
        let mut hostile = error;
        hostile[4..36].fill(0xff);
        for bytes in [&hostile[..], &error[..40], &error[..4], &[], &[1, 2, 3, 4, 5]] {
            assert_eq!(reverted(&Bytes::copy_from_slice(bytes)).message, "execution reverted");
        }
    }
}
