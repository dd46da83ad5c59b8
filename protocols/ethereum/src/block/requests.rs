//! Requests from the execution layer to a consensus layer (EIP-7685): deposits, withdrawals, consolidations.
//!
//! No consensus layer listens to a Coco network, but the header commits to them and contracts may queue them.

use alloy_eips::eip6110::DEPOSIT_REQUEST_TYPE;
use alloy_eips::eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_TYPE};
use alloy_eips::eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_TYPE};
use alloy_eips::eip7685::Requests;
use alloy_primitives::{B256, Bytes, Log, b256};
use revm::primitives::hardfork::SpecId;

use super::{BlockError, OpenBlock};
use crate::execute::CodeCache;
use crate::state::State;
use crate::transaction::TransactionError;

/// `DepositEvent(bytes,bytes,bytes,bytes,bytes)`.
const DEPOSIT_EVENT: B256 = b256!("649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5");

/// Where each field of a deposit event lies in its data, and how long it is: public key, withdrawal credentials, amount,
/// signature, index. The event's ABI encoding is fixed (EIP-6110).
const DEPOSIT_FIELDS: [(usize, usize); 5] = [(192, 48), (288, 32), (352, 8), (416, 96), (544, 8)];
const DEPOSIT_DATA_BYTES: usize = 576;

impl OpenBlock {
    /// A block with a malformed deposit is invalid (EIP-6110), so that its transaction is refused.
    pub(super) fn check_deposits(&self, logs: &[Log]) -> Result<(), TransactionError> {
        let is_wrong = |log: &Log| {
            Some(log.address) == self.deposit_contract && is_deposit(log) && log.data.data.len() != DEPOSIT_DATA_BYTES
        };
        let since_prague = self.environment.spec().is_enabled_in(SpecId::PRAGUE);
        if since_prague && logs.iter().any(is_wrong) {
            return Err(TransactionError::Invalid("deposit event is malformed".into()));
        }
        Ok(())
    }

    pub(super) fn requests(&mut self, state: &mut dyn State, codes: &CodeCache) -> Result<Requests, BlockError> {
        let mut requests = Requests::default();
        let mut deposits = Vec::new();
        let logs = self.included.iter().flat_map(|included| &included.logs);
        for log in logs.filter(|log| Some(log.address) == self.deposit_contract) {
            deposit(log, &mut deposits);
        }
        if !deposits.is_empty() {
            requests.push_request_with_type(DEPOSIT_REQUEST_TYPE, deposits);
        }
        for (kind, contract) in [
            (WITHDRAWAL_REQUEST_TYPE, WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS),
            (CONSOLIDATION_REQUEST_TYPE, CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS),
        ] {
            let output = match self.system_call(state, codes, contract, Bytes::new()) {
                // Transactions are executed by now and cannot be taken back; nobody here waits for requests.
                Err(BlockError::SystemContract { .. }) if self.attributes.is_own => None,
                output => output?,
            };
            if let Some(output) = output.filter(|output| !output.is_empty()) {
                requests.push_request_with_type(kind, output);
            }
        }
        Ok(requests)
    }
}

/// The fields of a deposit event. [`OpenBlock::check_deposits`] saw to its size.
fn deposit(log: &Log, out: &mut Vec<u8>) {
    let fields = DEPOSIT_FIELDS.iter().filter(|_| is_deposit(log));
    for field in fields.filter_map(|(start, length)| log.data.data.get(*start..start + length)) {
        out.extend_from_slice(field);
    }
}

fn is_deposit(log: &Log) -> bool {
    log.topics().first() == Some(&DEPOSIT_EVENT)
}
