//! What one transaction sees and leaves behind while it runs, for native families and external processors alike.
//!
//! Reads see this transaction's writes, then what stands below. A transaction that removes a value reads nothing there
//! afterwards; the original sometimes gives the old value.

use crate::limits::TRANSACTION_WRITES_BYTES_MAX;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::address::{Address, prefix_from_hex};
use crate::messages::ledger::{
    Attribute, Event, StateChange, TransactionHeader, TransactionReceipt, state_change_kind,
};

/// What an event's attribute takes in memory beside its texts, bytes: the places of the two, and what the allocator adds.
const ATTRIBUTE_BYTES: usize = 64;

/// What stands below a transaction: earlier ones of its batch, then the state.
pub trait StateReader {
    fn read(&mut self, address: &Address) -> Option<Bytes>;
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Access {
    transaction_id: String,
    inputs: Prefixes,
    outputs: Prefixes,
    /// Where its family may write at all; anywhere if nothing is said.
    namespaces: Option<Prefixes>,
    /// In the order in which addresses were first written.
    order: Vec<Address>,
    writes: BTreeMap<Address, Option<Bytes>>,
    events: Vec<Event>,
    data: Vec<Bytes>,
    bytes: usize,
}

/// Beginnings of addresses. There may be very many, and looking one up takes no longer for that.
#[derive(Clone, Debug, Default)]
struct Prefixes {
    all: BTreeSet<Vec<u8>>,
    lengths: BTreeSet<usize>,
}

/// Why a request of a running transaction is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    #[error("Tried to access unauthorized address {0}")]
    Unauthorized(String),
    #[error("the transaction writes more than {TRANSACTION_WRITES_BYTES_MAX} bytes")]
    TooMuch,
}

impl Access {
    /// Fails with the entry of `inputs` or `outputs` that is no prefix of an address.
    pub fn new(transaction_id: &str, header: &TransactionHeader) -> Result<Self, String> {
        let prefixes = |texts: &[String]| {
            let parse = |text: &String| {
                prefix_from_hex(text)
                    .ok_or_else(|| format!("{text:?} among inputs or outputs is no prefix of an address"))
            };
            texts.iter().map(parse).collect::<Result<Prefixes, _>>()
        };
        Ok(Self {
            transaction_id: transaction_id.to_owned(),
            inputs: prefixes(&header.inputs)?,
            outputs: prefixes(&header.outputs)?,
            namespaces: None,
            order: Vec::new(),
            writes: BTreeMap::new(),
            events: Vec::new(),
            data: Vec::new(),
            bytes: 0,
        })
    }

    pub fn transaction_id(&self) -> &str {
        &self.transaction_id
    }

    /// All outputs begin with one of these.
    pub fn writes_only_below(&self, namespaces: &[Vec<u8>]) -> bool {
        let namespaces: Prefixes = namespaces.iter().cloned().collect();
        self.outputs.all.iter().all(|output| namespaces.begin(output))
    }

    /// It may write below these prefixes only, whatever it declares.
    pub fn confine(&mut self, namespaces: Option<Vec<Vec<u8>>>) {
        self.namespaces = namespaces.map(Prefixes::from_iter);
    }

    pub fn get(&self, below: &mut dyn StateReader, address: &str) -> Result<Option<Bytes>, AccessError> {
        let address = authorized(&self.inputs, address)?;
        Ok(match self.writes.get(&address) {
            Some(written) => written.clone(),
            None => below.read(&address),
        })
    }

    /// Several at once: all or nothing.
    pub fn set(&mut self, entries: Vec<(&str, Bytes)>) -> Result<(), AccessError> {
        let parse = |(address, value)| Ok((self.writable(address)?, Some(value)));
        let writes = entries.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        self.write(writes)
    }

    /// Several at once: all or nothing.
    pub fn delete(&mut self, addresses: &[&str]) -> Result<(), AccessError> {
        let parse = |address: &&str| Ok((self.writable(address)?, None));
        let writes = addresses.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        self.write(writes)
    }

    pub fn add_event(&mut self, event: Event) -> Result<(), AccessError> {
        let bytes = |attribute: &Attribute| ATTRIBUTE_BYTES + attribute.key.len() + attribute.value.len();
        let attributes = event.attributes.iter().map(bytes).sum::<usize>();
        self.grow(event.event_type.len() + event.data.len() + attributes)?;
        self.events.push(Event { data: kept(&event.data), ..event });
        Ok(())
    }

    pub fn add_data(&mut self, data: Bytes) -> Result<(), AccessError> {
        self.grow(data.len())?;
        self.data.push(kept(&data));
        Ok(())
    }

    /// About what it takes so far.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The writes, and the receipt: everything set in the order of first touch, then everything removed.
    pub fn finish(self) -> (BTreeMap<Address, Option<Bytes>>, TransactionReceipt) {
        let written = |address: &Address| self.writes.get(address).cloned().flatten();
        let change = |address: &Address, value: Option<Bytes>| StateChange {
            address: address.to_hex(),
            kind: if value.is_some() { state_change_kind::SET } else { state_change_kind::DELETE },
            value: value.unwrap_or_default(),
        };
        let set = self.order.iter().filter_map(|at| written(at).map(|value| change(at, Some(value))));
        let removed = self.order.iter().filter(|at| written(at).is_none()).map(|at| change(at, None));
        let state_changes = set.chain(removed).collect();
        let transaction_id = self.transaction_id.clone();
        let receipt = TransactionReceipt { state_changes, events: self.events, data: self.data, transaction_id };
        (self.writes, receipt)
    }

    fn writable(&self, text: &str) -> Result<Address, AccessError> {
        let address = authorized(&self.outputs, text)?;
        match &self.namespaces {
            Some(namespaces) => authorized(namespaces, text),
            None => Ok(address),
        }
    }

    fn write(&mut self, writes: Vec<(Address, Option<Bytes>)>) -> Result<(), AccessError> {
        let bytes = |value: &Option<Bytes>| 35 + value.as_ref().map_or(0, Bytes::len);
        self.grow(writes.iter().map(|(_, value)| bytes(value)).sum())?;
        for (address, value) in writes {
            if self.writes.insert(address, value.as_ref().map(kept)).is_none() {
                self.order.push(address);
            }
        }
        Ok(())
    }

    fn grow(&mut self, bytes: usize) -> Result<(), AccessError> {
        self.bytes = self.bytes.saturating_add(bytes + 16);
        if self.bytes > TRANSACTION_WRITES_BYTES_MAX { Err(AccessError::TooMuch) } else { Ok(()) }
    }
}

/// On its own: a part of a processor's message would keep all of that in memory.
fn kept(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

impl Prefixes {
    fn begin(&self, address: &[u8]) -> bool {
        let mut beginnings = self.lengths.iter().map_while(|length| address.get(..*length));
        beginnings.any(|beginning| self.all.contains(beginning))
    }
}

impl FromIterator<Vec<u8>> for Prefixes {
    fn from_iter<I: IntoIterator<Item = Vec<u8>>>(prefixes: I) -> Self {
        let all: BTreeSet<Vec<u8>> = prefixes.into_iter().collect();
        Self { lengths: all.iter().map(Vec::len).collect(), all }
    }
}

fn authorized(prefixes: &Prefixes, text: &str) -> Result<Address, AccessError> {
    let allowed = |address: &Address| prefixes.begin(&address.0);
    Address::from_hex(text).filter(allowed).ok_or_else(|| AccessError::Unauthorized(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl StateReader for Nothing {
        fn read(&mut self, _address: &Address) -> Option<Bytes> {
            None
        }
    }

    fn at(prefix: &str, last: char) -> String {
        format!("{prefix:0<69}{last}")
    }

    fn access() -> Access {
        let header = TransactionHeader {
            inputs: vec!["aa".into(), at("bb", '1')],
            outputs: vec!["aa".into()],
            ..TransactionHeader::default()
        };
        Access::new("t", &header).unwrap()
    }

    #[test]
    fn only_declared_addresses_are_reached() {
        let mut access = access();
        assert_eq!(access.get(&mut Nothing, &at("bb", '1')), Ok(None));
        let refused = |text: &str| Err(AccessError::Unauthorized(text.to_owned()));
        assert_eq!(access.get(&mut Nothing, &at("bb", '2')), refused(&at("bb", '2')));
        assert_eq!(access.get(&mut Nothing, "aa"), refused("aa"));
        let entries = [(at("aa", '1'), Bytes::new()), (at("bb", '1'), Bytes::new())];
        let entries = entries.iter().map(|(address, value)| (address.as_str(), value.clone())).collect();
        assert!(access.set(entries).is_err());
        assert_eq!(access.get(&mut Nothing, &at("aa", '1')), Ok(None), "all or nothing");
        let header = TransactionHeader { inputs: vec!["abc".into()], ..TransactionHeader::default() };
        assert!(Access::new("t", &header).is_err());
    }

    #[test]
    fn a_family_writes_only_in_its_namespaces_whatever_its_transactions_declare() {
        let mut access = access();
        access.confine(Some(vec![vec![0xaa, 0xaa]]));
        assert!(access.set(vec![(&at("aaaa", '1'), Bytes::new())]).is_ok());
        assert!(access.set(vec![(&at("aabb", '1'), Bytes::new())]).is_err());
        assert!(access.delete(&[&at("aabb", '1')]).is_err());
        assert_eq!(access.get(&mut Nothing, &at("aabb", '1')), Ok(None), "reading is another matter");
    }

    #[test]
    fn a_receipt_lists_what_was_set_then_what_was_removed() {
        let mut access = access();
        let (one, two, three) = (at("aa", '1'), at("aa", '2'), at("aa", '3'));
        access.delete(&[&one]).unwrap();
        access.set(vec![(&two, Bytes::from_static(b"2")), (&three, Bytes::new())]).unwrap();
        access.set(vec![(&two, Bytes::from_static(b"22"))]).unwrap();
        assert_eq!(access.get(&mut Nothing, &one), Ok(None));
        let (writes, receipt) = access.finish();
        let changes: Vec<_> =
            receipt.state_changes.iter().map(|change| (change.address.as_str(), change.kind)).collect();
        assert_eq!(changes, [(two.as_str(), 1), (three.as_str(), 1), (one.as_str(), 2)]);
        assert_eq!(receipt.state_changes[0].value, b"22"[..]);
        assert_eq!(writes[&Address::from_hex(&three).unwrap()], Some(Bytes::new()), "an empty value is a value");
    }

    #[test]
    fn what_a_transaction_leaves_behind_is_bounded() {
        let mut access = access();
        assert_eq!(access.add_data(vec![0; TRANSACTION_WRITES_BYTES_MAX].into()), Err(AccessError::TooMuch));
    }

    #[test]
    fn an_empty_attribute_takes_a_place_too() {
        let with = |attributes| Event { attributes: vec![Attribute::default(); attributes], ..Event::default() };
        let most = TRANSACTION_WRITES_BYTES_MAX / ATTRIBUTE_BYTES;
        assert_eq!(access().add_event(with(most)), Err(AccessError::TooMuch));
        let mut access = access();
        access.add_event(with(most - 1)).unwrap();
        assert!(access.bytes() > (most - 1) * ATTRIBUTE_BYTES);
    }

    #[test]
    fn nothing_of_the_messages_that_values_came_in_is_kept_with_them() {
        let message = Bytes::from(vec![7; 1_000]);
        let part = || message.slice(..10);
        let mut access = access();
        access.set(vec![(&at("aa", '1'), part())]).unwrap();
        access.add_data(part()).unwrap();
        access.add_event(Event { data: part(), ..Event::default() }).unwrap();
        assert!(message.is_unique(), "nobody else has a part of it");
        assert_eq!(access.get(&mut Nothing, &at("aa", '1')), Ok(Some(part())));
    }
}
