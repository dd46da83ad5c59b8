//! The EVM's view of a transaction.

use alloy_consensus::{Transaction as _, Typed2718};
use revm::context::TxEnv;
use revm::context_interface::either::Either;
use revm::context_interface::transaction::{RecoveredAuthority, RecoveredAuthorization};

use super::Transaction;

impl Transaction {
    pub fn env(&self) -> TxEnv {
        let envelope = &self.envelope;
        let authorizations = envelope.authorization_list().unwrap_or_default();
        let recovered = |(authorization, authority): (&alloy_eips::eip7702::SignedAuthorization, &Option<_>)| {
            let authority = authority.map_or(RecoveredAuthority::Invalid, RecoveredAuthority::Valid);
            Either::Right(RecoveredAuthorization::new_unchecked(authorization.inner().clone(), authority))
        };
        TxEnv {
            tx_type: envelope.ty(),
            caller: self.sender,
            gas_limit: envelope.gas_limit(),
            gas_price: envelope.max_fee_per_gas(),
            kind: envelope.kind(),
            value: envelope.value(),
            data: envelope.input().clone(),
            nonce: envelope.nonce(),
            chain_id: envelope.chain_id(),
            access_list: envelope.access_list().cloned().unwrap_or_default(),
            gas_priority_fee: envelope.max_priority_fee_per_gas(),
            blob_hashes: envelope.blob_versioned_hashes().map(<[_]>::to_vec).unwrap_or_default(),
            max_fee_per_blob_gas: envelope.max_fee_per_blob_gas().unwrap_or_default(),
            authorization_list: authorizations.iter().zip(&self.authorities).map(recovered).collect(),
        }
    }
}
