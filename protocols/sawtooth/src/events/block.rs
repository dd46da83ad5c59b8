//! A block's events: that it was committed, what its transactions said, and what changed in the state.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;

use crate::messages::ledger::{Attribute, BlockHeader, Event, StateChange, StateChangeList, TransactionReceipt};

pub const BLOCK_COMMIT: &str = "sawtooth/block-commit";
pub const STATE_DELTA: &str = "sawtooth/state-delta";

/// A committed block with everything that could be told of it, before it is anybody's.
pub struct WholeBlock {
    pub id: String,
    pub header: BlockHeader,
    pub batches: Vec<WholeBatch>,
    /// Of the records that it was read from.
    pub bytes: usize,
}

/// One batch of it.
pub struct WholeBatch {
    pub id: String,
    /// As it was handed in.
    pub batch: Bytes,
    pub receipts: Vec<TransactionReceipt>,
}

/// A committed block and what its transactions did, as somebody may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockEvents {
    pub id: String,
    pub header: BlockHeader,
    pub receipts: Vec<TransactionReceipt>,
}

impl BlockEvents {
    /// In the order in which the original tells them.
    pub fn events(&self) -> Vec<Event> {
        let mut events = vec![self.commit()];
        events.extend(self.receipts.iter().flat_map(|receipt| receipt.events.iter().cloned()));
        events.push(self.delta());
        events
    }

    /// The last change of each address, from the last transaction backwards.
    pub fn state_changes(&self) -> Vec<StateChange> {
        let mut seen = BTreeSet::new();
        let changes = self.receipts.iter().rev().flat_map(|receipt| receipt.state_changes.iter().rev());
        changes.filter(|change| seen.insert(change.address.as_str())).cloned().collect()
    }

    fn commit(&self) -> Event {
        let attributes = vec![
            Attribute::new("block_id", &self.id),
            Attribute::new("block_num", self.header.block_num.to_string()),
            Attribute::new("state_root_hash", &self.header.state_root_hash),
            Attribute::new("previous_block_id", &self.header.previous_block_id),
        ];
        Event { event_type: BLOCK_COMMIT.to_owned(), attributes, data: Bytes::new() }
    }

    /// Told even if nothing changed: the official REST API fails without it.
    fn delta(&self) -> Event {
        let state_changes = self.state_changes();
        let attributes = state_changes.iter().map(|change| Attribute::new("address", &change.address)).collect();
        let data = StateChangeList { state_changes }.encode_to_vec().into();
        Event { event_type: STATE_DELTA.to_owned(), attributes, data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_lists_the_last_change_of_each_address_backwards() {
        let change = |address: &str, value: &'static str| StateChange {
            address: address.to_owned(),
            value: Bytes::from_static(value.as_bytes()),
            kind: 1,
        };
        let receipt = |changes| TransactionReceipt { state_changes: changes, ..TransactionReceipt::default() };
        let block = BlockEvents {
            id: "b".into(),
            header: BlockHeader { block_num: 7, ..BlockHeader::default() },
            receipts: vec![receipt(vec![change("a", "1"), change("b", "1")]), receipt(vec![change("a", "2")])],
        };
        let events = block.events();
        assert_eq!(
            events.iter().map(|event| event.event_type.as_str()).collect::<Vec<_>>(),
            [BLOCK_COMMIT, STATE_DELTA]
        );
        assert_eq!(events[0].attributes[1], Attribute::new("block_num", "7"));
        assert_eq!(block.state_changes(), [change("a", "2"), change("b", "1")]);
    }
}
