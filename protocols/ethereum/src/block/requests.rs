//! Requests from the execution layer to a consensus layer (EIP-7685): deposits, withdrawals, consolidations.
//!
//! No consensus layer listens to a Coco network, but the header commits to them and contracts may queue them.

use alloy_eips::eip6110::DEPOSIT_REQUEST_TYPE;
use alloy_eips::eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_TYPE};
use alloy_eips::eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_TYPE};
use alloy_eips::eip7685::Requests;
use alloy_primitives::{B256, Bytes, Log, b256};

use super::{BlockError, OpenBlock};
use crate::execute::CodeCache;
use crate::state::State;

/// `DepositEvent(bytes,bytes,bytes,bytes,bytes)`.
const DEPOSIT_EVENT: B256 = b256!("649bbc62d0e31342afea4e5cd82d4049e7e1ee912fc0889aa790803be39038c5");

/// Where each field of a deposit event lies in its data, and how long it is: public key, withdrawal credentials, amount,
/// signature, index. The event's ABI encoding is fixed (EIP-6110).
const DEPOSIT_FIELDS: [(usize, usize); 5] = [(192, 48), (288, 32), (352, 8), (416, 96), (544, 8)];
const DEPOSIT_DATA_BYTES: usize = 576;

impl OpenBlock {
    pub(super) fn requests(&mut self, state: &mut dyn State, codes: &CodeCache) -> Result<Requests, BlockError> {
        let mut requests = Requests::default();
        let mut deposits = Vec::new();
        let logs = self.included.iter().flat_map(|included| &included.logs);
        for log in logs.filter(|log| Some(log.address) == self.deposit_contract) {
            deposit(log, &mut deposits)?;
        }
        if !deposits.is_empty() {
            requests.push_request_with_type(DEPOSIT_REQUEST_TYPE, deposits);
        }
        for (kind, contract) in [
            (WITHDRAWAL_REQUEST_TYPE, WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS),
            (CONSOLIDATION_REQUEST_TYPE, CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS),
        ] {
            let output = self.system_call(state, codes, contract, Bytes::new())?;
            if let Some(output) = output.filter(|output| !output.is_empty()) {
                requests.push_request_with_type(kind, output);
            }
        }
        Ok(requests)
    }
}

fn deposit(log: &Log, out: &mut Vec<u8>) -> Result<(), BlockError> {
    if log.topics().first() != Some(&DEPOSIT_EVENT) {
        return Ok(());
    }
    if log.data.data.len() != DEPOSIT_DATA_BYTES {
        return Err(BlockError::Deposit);
    }
    for (start, length) in DEPOSIT_FIELDS {
        out.extend_from_slice(&log.data.data[start..start + length]);
    }
    Ok(())
}
