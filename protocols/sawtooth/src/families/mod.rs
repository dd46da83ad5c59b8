//! Transaction families that run inside the node. Each is judged by what the original's processor does: the same addresses, the
//! same bytes in the state. One deviation: what the original calls an internal error, and retries for ever, is invalid here.

pub mod block_info;
pub mod identity;
pub mod intkey;
pub mod sabre;
pub mod settings;
pub mod smallbank;
pub mod xo;

use std::sync::Arc;

use bytes::Bytes;
use coco_crypto::sha512;

use crate::address::Address;
use crate::contracts::Contracts;
use crate::execute::{Access, AccessError, StateReader};
use crate::messages::ledger::{Attribute, Event, TransactionHeader};

/// A family's code.
pub type Native = fn(&mut Call<'_>, &Facts) -> Result<(), Invalid>;

/// What an execution may know besides the state.
#[derive(Clone, Default)]
pub struct Facts {
    /// The primary's clock.
    pub now_ms: u64,
    /// What contracts run on.
    pub contracts: Arc<Contracts>,
}

/// The transaction is invalid, and why, for whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// One transaction being executed by a family.
pub struct Call<'a> {
    pub header: &'a TransactionHeader,
    pub payload: &'a Bytes,
    pub access: &'a mut Access,
    pub below: &'a mut dyn StateReader,
    /// Steps that contracts may still take in this batch.
    pub fuel: &'a mut u64,
}

/// Families that belong to the validator itself: no processor can take their place.
pub fn core(family: &str, version: &str) -> Option<Native> {
    match (family, version) {
        ("sawtooth_settings", "1.0") => Some(settings::apply),
        ("sawtooth_identity", "1.0") => Some(identity::apply),
        ("block_info", "1.0") => Some(block_info::apply),
        _ => None,
    }
}

/// The example families: a processor that registers for one of them takes over.
pub fn example(family: &str, version: &str) -> Option<Native> {
    match (family, version) {
        ("intkey", "1.0") => Some(intkey::apply),
        ("xo", "1.0") => Some(xo::apply),
        ("smallbank", "1.0") => Some(smallbank::apply),
        _ => None,
    }
}

/// The family whose transactions are contracts, or execute them: it may take its time.
pub fn contracts(family: &str, version: &str) -> Option<Native> {
    matches!((family, version), ("sabre", "0.5" | "0.6" | "1")).then_some(sabre::apply)
}

impl Call<'_> {
    pub fn get(&mut self, address: &Address) -> Result<Option<Bytes>, Invalid> {
        Ok(self.access.get(self.below, &address.to_hex())?)
    }

    /// As processors see it: an empty value is none.
    pub fn get_value(&mut self, address: &Address) -> Result<Option<Bytes>, Invalid> {
        Ok(self.get(address)?.filter(|value| !value.is_empty()))
    }

    pub fn set(&mut self, address: &Address, value: impl Into<Bytes>) -> Result<(), Invalid> {
        Ok(self.access.set(vec![(&address.to_hex(), value.into())])?)
    }

    pub fn delete(&mut self, address: &Address) -> Result<(), Invalid> {
        Ok(self.access.delete(&[&address.to_hex()])?)
    }

    /// An event with one attribute.
    pub fn event(&mut self, event_type: &str, key: &str, value: &str) -> Result<(), Invalid> {
        let event = Event {
            event_type: event_type.to_owned(),
            attributes: vec![Attribute::new(key, value)],
            data: Bytes::new(),
        };
        Ok(self.access.add_event(event)?)
    }
}

impl From<AccessError> for Invalid {
    fn from(error: AccessError) -> Self {
        Self(error.to_string())
    }
}

pub(crate) fn invalid<T>(message: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(message.into()))
}

/// An address of a family that hashes names: three bytes of namespace, then 32 of SHA-512, the first or the last.
fn hashed_address(namespace: [u8; 3], name: &[u8], from_the_end: bool) -> Address {
    let hash = sha512(name);
    let half = if from_the_end { &hash[32..] } else { &hash[..32] };
    let mut bytes = [0; 35];
    bytes[..3].copy_from_slice(&namespace);
    bytes[3..].copy_from_slice(half);
    Address(bytes)
}

#[cfg(test)]
pub(crate) mod testing {
    use std::collections::BTreeMap;

    use super::*;
    use crate::limits::BATCH_FUEL;

    /// A state that a family's tests apply transactions to.
    #[derive(Default)]
    pub(crate) struct World(pub BTreeMap<Address, Bytes>, pub Arc<Contracts>);

    impl StateReader for World {
        fn read(&mut self, address: &Address) -> Option<Bytes> {
            self.0.get(address).cloned()
        }
    }

    impl World {
        /// Executes a transaction that may touch everything; the types of its events.
        pub fn apply(&mut self, family: Native, signer: &str, payload: impl Into<Bytes>) -> Result<Vec<Event>, String> {
            self.apply_at(0, family, signer, payload)
        }

        /// With so many steps for contracts; what is left stays.
        pub fn apply_with(
            &mut self,
            fuel: &mut u64,
            family: Native,
            signer: &str,
            payload: impl Into<Bytes>,
        ) -> Result<Vec<Event>, String> {
            self.applied(0, fuel, family, signer, payload)
        }

        pub fn apply_at(
            &mut self,
            now_ms: u64,
            family: Native,
            signer: &str,
            payload: impl Into<Bytes>,
        ) -> Result<Vec<Event>, String> {
            self.applied(now_ms, &mut { BATCH_FUEL }, family, signer, payload)
        }

        fn applied(
            &mut self,
            now_ms: u64,
            fuel: &mut u64,
            family: Native,
            signer: &str,
            payload: impl Into<Bytes>,
        ) -> Result<Vec<Event>, String> {
            let header = TransactionHeader {
                inputs: vec![String::new()],
                outputs: vec![String::new()],
                signer_public_key: signer.to_owned(),
                ..TransactionHeader::default()
            };
            let mut access = Access::new("t", &header).expect("usable prefixes");
            let payload = payload.into();
            let facts = Facts { now_ms, contracts: Arc::clone(&self.1) };
            let mut call = Call { header: &header, payload: &payload, access: &mut access, below: self, fuel };
            family(&mut call, &facts).map_err(|error| error.0)?;
            let (changes, receipt) = access.finish();
            for (address, value) in changes {
                match value {
                    Some(value) => self.0.insert(address, value),
                    None => self.0.remove(&address),
                };
            }
            Ok(receipt.events)
        }
    }
}
