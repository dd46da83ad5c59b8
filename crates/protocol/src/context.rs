//! What one execution may draw on besides the state.

use coco_types::TxId;

/// Given to [`crate::Protocol::execute`] on the primary. What it yields enters the ledger only through what is written,
/// so backups never need to reproduce it.
pub struct Context<'a> {
    /// The name this transaction will have if it commits.
    pub txid: TxId,
    /// Ledger time, milliseconds since 1970: the primary's clock, which never runs backwards.
    pub now_ms: u64,
    random: &'a dyn Fn(&mut [u8]),
}

impl<'a> Context<'a> {
    pub fn new(txid: TxId, now_ms: u64, random: &'a dyn Fn(&mut [u8])) -> Self {
        Self { txid, now_ms, random }
    }

    /// Fresh randomness of the enclave: unpredictable, and different at each call.
    pub fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        (self.random)(&mut bytes);
        bytes
    }
}
