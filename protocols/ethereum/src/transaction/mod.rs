//! Transactions as they arrive: decoding, checks that need no state, and who sent them.
//!
//! All of it happens once, before ordering, on whichever node received the submission, on as many threads as there are.
//! What it found out (the sender, the signers of delegations) is kept beside the transaction, because recovering a
//! signature costs more than everything else in a transfer together.

mod decode;
mod env;
mod error;
mod rules;
mod sender;

#[cfg(test)]
mod tests;

use alloy_consensus::{EthereumTxEnvelope, Transaction as _, TxEip4844};
use alloy_primitives::{Address, B256, Signature, U256};
use bytes::Bytes;

pub use decode::recipient;
pub use error::TransactionError;
pub use rules::{AdmissionRules, INITCODE_BYTES_MAX};
pub(crate) use sender::recover_digest;

/// A signed transaction of any type, without blob sidecar: what goes into a block.
pub type Envelope = EthereumTxEnvelope<TxEip4844>;

/// A transaction with what admission found out about it.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub envelope: Envelope,
    pub hash: B256,
    pub sender: Address,
    /// The signer of each EIP-7702 authorization; `None` where the signature yields none, and the authorization is void.
    pub authorities: Vec<Option<Address>>,
    /// The EIP-2718 encoding.
    pub raw: Bytes,
}

impl Transaction {
    /// Decodes an EIP-2718 encoding and recovers every signer. `rules` decides what is allowed; see [`AdmissionRules`].
    pub fn admit(raw: Bytes, rules: &AdmissionRules) -> Result<Self, TransactionError> {
        let (envelope, hash) = decode::submission(&raw, rules)?;
        rules.check_signing(&envelope)?;
        let sender = sender::recover(&envelope)?;
        // Gas first: it bounds how many authorizations there are to recover.
        rules.check(&envelope)?;
        let authorities = sender::authorities(&envelope);
        Ok(Self { envelope, hash, sender, authorities, raw })
    }

    /// What [`Transaction::readmit`] needs to skip recovery: the sender, then 21 bytes for each authorization.
    pub fn finding(&self) -> Bytes {
        let mut finding = self.sender.to_vec();
        for authority in &self.authorities {
            finding.push(u8::from(authority.is_some()));
            finding.extend_from_slice(authority.unwrap_or_default().as_slice());
        }
        finding.into()
    }

    /// The same for what an attested node admitted and recovered.
    pub fn readmit(raw: Bytes, finding: &[u8]) -> Result<Self, TransactionError> {
        let (envelope, hash) = decode::included(&raw)?;
        let (sender, rest) = finding.split_first_chunk::<20>().ok_or(TransactionError::InvalidSender)?;
        let (chunks, []) = rest.as_chunks::<21>() else { return Err(TransactionError::InvalidSender) };
        if chunks.len() != envelope.authorization_list().map_or(0, <[_]>::len) {
            return Err(TransactionError::InvalidSender);
        }
        let authorities =
            chunks.iter().map(|[valid, authority @ ..]| (*valid == 1).then(|| Address::from(*authority))).collect();
        Ok(Self { envelope, hash, sender: Address::from(*sender), authorities, raw })
    }

    /// Decodes a transaction of a block and recovers its signers, without any rule of admission.
    pub fn recover(raw: Bytes) -> Result<Self, TransactionError> {
        let (envelope, hash) = decode::included(&raw)?;
        let sender = sender::recover_lenient(&envelope)?;
        let authorities = sender::authorities(&envelope);
        Ok(Self { envelope, hash, sender, authorities, raw })
    }

    /// A transaction that nobody signed, in the name of `sender`: for developers. Its signature is made up of the sender's address,
    /// so that it has a hash of its own, and can be told from a real one.
    pub fn impersonated(raw: Bytes, sender: Address, rules: &AdmissionRules) -> Result<Self, TransactionError> {
        let (envelope, hash) = decode::submission(&raw, rules)?;
        rules.check_signing(&envelope)?;
        rules.check(&envelope)?;
        let authorities = sender::authorities(&envelope);
        let transaction = Self { envelope, hash, sender, authorities, raw };
        if transaction.is_impersonated() { Ok(transaction) } else { Err(TransactionError::InvalidSender) }
    }

    /// One that waits for its signature.
    pub fn unsigned(raw: Bytes) -> Result<Self, TransactionError> {
        let (envelope, hash) = decode::included(&raw)?;
        Ok(Self { envelope, hash, sender: Address::ZERO, authorities: Vec::new(), raw })
    }

    /// The signature that stands for none.
    pub fn no_signature(sender: &Address) -> Signature {
        Signature::new(U256::from_be_slice(sender.as_slice()), U256::ONE, false)
    }

    /// Whether nobody signed it. To sign such that r is one's own address takes as long as to find any address's key.
    pub fn is_impersonated(&self) -> bool {
        *self.envelope.signature() == Self::no_signature(&self.sender)
    }

    pub fn nonce(&self) -> u64 {
        self.envelope.nonce()
    }

    /// What the sender must be able to pay: gas at the fee cap, blobs, and the value; saturating.
    pub fn cost_max(&self) -> U256 {
        let gas = U256::from(self.envelope.gas_limit()).saturating_mul(U256::from(self.envelope.max_fee_per_gas()));
        let blob_gas = U256::from(self.envelope.blob_gas_used().unwrap_or(0));
        let blobs = blob_gas.saturating_mul(U256::from(self.envelope.max_fee_per_blob_gas().unwrap_or(0)));
        gas.saturating_add(blobs).saturating_add(self.envelope.value())
    }
}
