//! What a block replaced, as it is kept with the block: changes that lead back to the state before it.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use crate::address::Address;
use crate::messages::ledger::{StateChange, StateChangeList, state_change_kind};

pub fn undo(before: &BTreeMap<Address, Option<Bytes>>) -> Bytes {
    let change = |(address, value): (&Address, &Option<Bytes>)| StateChange {
        address: address.to_hex(),
        value: value.clone().unwrap_or_default(),
        kind: if value.is_some() { state_change_kind::SET } else { state_change_kind::DELETE },
    };
    StateChangeList { state_changes: before.iter().map(change).collect() }.encode_to_vec().into()
}

/// What the changed addresses held before; nothing if the record does not decode.
pub fn before(record: Bytes) -> Option<BTreeMap<Address, Option<Bytes>>> {
    let list = StateChangeList::decode(record).ok()?;
    let was = |change: StateChange| {
        let value = (change.kind == state_change_kind::SET).then_some(change.value);
        Some((Address::from_hex(&change.address)?, value))
    };
    list.state_changes.into_iter().map(was).collect()
}
