//! What one execution may draw on besides the state.

use std::any::Any;

use coco_types::{MapName, TxId};

/// Given to [`crate::Protocol::execute`] on the primary. What it yields enters the ledger only through what is written,
/// so backups never need to reproduce it.
pub struct Context<'a> {
    /// The name this transaction will have if it commits.
    pub txid: TxId,
    /// Ledger time, milliseconds since 1970: the primary's clock, which never runs backwards.
    pub now_ms: u64,
    random: &'a dyn Fn(&mut [u8]),
    prepared: Option<&'a (dyn Any + Send + Sync)>,
    published: &'a dyn Fn(&MapName) -> bool,
}

impl<'a> Context<'a> {
    pub fn new(txid: TxId, now_ms: u64, random: &'a dyn Fn(&mut [u8])) -> Self {
        Self { txid, now_ms, random, prepared: None, published: &|_| false }
    }

    /// With what the transaction's execution came to ([`crate::Protocol::prepare`]).
    #[must_use]
    pub fn with_prepared(self, result: Option<&'a (dyn Any + Send + Sync)>) -> Self {
        Self { prepared: result, ..self }
    }

    /// With the maps whose writes the members have in the ledger a second time, in clear.
    #[must_use]
    pub fn with_published(self, published: &'a dyn Fn(&MapName) -> bool) -> Self {
        Self { published, ..self }
    }

    /// Whether what is written to this map takes twice the room: see [`Self::with_published`].
    pub fn is_published(&self, map: &MapName) -> bool {
        (self.published)(map)
    }

    /// What was prepared, if it is of type `T`.
    pub fn prepared<T: 'static>(&self) -> Option<&T> {
        self.prepared?.downcast_ref()
    }

    /// Fresh randomness of the enclave: unpredictable, and different at each call.
    pub fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        (self.random)(&mut bytes);
        bytes
    }
}
