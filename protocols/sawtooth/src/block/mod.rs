//! Blocks: opening one, executing batches in it, sealing it.

mod injector;
mod open;
mod rules;
mod undo;

pub use open::{Beside, OpenBlock, SealedBlock, Verdict, duplicate};
pub use rules::Rules;
pub use undo::{before, undo};

pub use crate::limits::STATES_KEPT;
use bytes::Bytes;
use coco_kv::Tx;

use crate::address::Address;
use crate::execute::StateReader;
use crate::tables::STATE;

/// The state within a transaction of the store.
pub struct TxState<'a>(pub &'a mut Tx);

impl StateReader for TxState<'_> {
    fn read(&mut self, address: &Address) -> Option<Bytes> {
        self.0.get(&STATE, &address.0)
    }
}
