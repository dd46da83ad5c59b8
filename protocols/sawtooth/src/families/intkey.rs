//! `intkey` 1.0: named counters. A payload is a CBOR map of Verb, Name and Value; a row is a CBOR map of name to value.

use std::collections::BTreeMap;

use minicbor::{Decoder, Encoder};

use super::{Call, Facts, Invalid, hashed_address, invalid};
use crate::address::Address;

const NAMESPACE: [u8; 3] = [0x1c, 0xf1, 0x26];
const NAME_LENGTH_MAX: usize = 20;

/// Where a name's counter is.
pub fn address(name: &str) -> Address {
    hashed_address(NAMESPACE, name.as_bytes(), true)
}

pub fn apply(call: &mut Call<'_>, _facts: &Facts) -> Result<(), Invalid> {
    let Payload { verb, name, value } = decode(call.payload)?;
    let address = address(&name);
    let mut row = match call.get_value(&address)? {
        Some(row) => decode_row(&row).ok_or_else(|| Invalid("Failed to load state data".into()))?,
        None => BTreeMap::new(),
    };
    let current = row.get(&name).copied();
    let updated = match (verb.as_str(), current) {
        ("set", None) => value,
        ("set", Some(current)) => {
            return invalid(format!("Verb is \"set\", but already exists: Name: {name}, Value {current}"));
        }
        ("inc", Some(current)) => current
            .checked_add(value)
            .ok_or_else(|| Invalid(format!("Verb is \"inc\", but result would be greater than {}", u32::MAX)))?,
        ("dec", Some(current)) => current
            .checked_sub(value)
            .ok_or_else(|| Invalid("Verb is \"dec\", but result would be less than 0".into()))?,
        ("inc" | "dec", None) => return invalid(format!("Verb is \"{verb}\" but name \"{name}\" not in state")),
        _ => return invalid(VERBS),
    };
    row.insert(name, updated);
    call.set(&address, encode_row(&row))
}

struct Payload {
    verb: String,
    name: String,
    value: u32,
}

fn decode(bytes: &[u8]) -> Result<Payload, Invalid> {
    let unserialized = |_| Invalid("Invalid payload serialization".into());
    let mut decoder = Decoder::new(bytes);
    let (mut verb, mut name, mut value) = (None, None, None);
    let entries = decoder.map().map_err(unserialized)?;
    let entries = entries.ok_or_else(|| Invalid("Invalid payload serialization".into()))?;
    for _ in 0..entries {
        match decoder.str().map_err(unserialized)? {
            "Verb" => verb = decoder.str().ok().map(str::to_owned),
            "Name" => name = decoder.str().ok().map(str::to_owned),
            "Value" => value = Some(decoder.int().map_err(|_| Invalid(VALUE_RANGE.into()))?),
            _ => decoder.skip().map_err(unserialized)?,
        }
    }
    let verb = verb.ok_or_else(|| Invalid("Verb is required".into()))?;
    let name = name.ok_or_else(|| Invalid("Name is required".into()))?;
    let value = value.ok_or_else(|| Invalid("Value is required".into()))?;
    if !matches!(verb.as_str(), "set" | "inc" | "dec") {
        return invalid(VERBS);
    }
    if name.chars().count() > NAME_LENGTH_MAX {
        return invalid(format!("Name must be a string of no more than {NAME_LENGTH_MAX} characters"));
    }
    let value = u32::try_from(i128::from(value)).map_err(|_| Invalid(VALUE_RANGE.into()))?;
    Ok(Payload { verb, name, value })
}

const VERBS: &str = "Verb must be \"set\", \"inc\", or \"dec\"";

const VALUE_RANGE: &str = "Value must be an integer no less than 0 and no greater than 4294967295";

fn decode_row(bytes: &[u8]) -> Option<BTreeMap<String, u32>> {
    let mut decoder = Decoder::new(bytes);
    let entries = decoder.map().ok()??;
    let mut row = BTreeMap::new();
    for _ in 0..entries {
        row.insert(decoder.str().ok()?.to_owned(), decoder.u32().ok()?);
    }
    Some(row)
}

fn encode_row(row: &BTreeMap<String, u32>) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    let encoded = encoder.map(row.len() as u64).and_then(|encoder| {
        for (name, value) in row {
            encoder.str(name)?.u32(*value)?;
        }
        Ok(())
    });
    encoded.expect("memory takes every byte");
    encoder.into_writer()
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;

    fn send(world: &mut World, verb: &str, name: &str, value: u32) -> Result<(), String> {
        world.apply(apply, "", crate::testing::intkey(verb, name, value).payload).map(drop)
    }

    #[test]
    fn a_counter_is_set_once_and_then_counts_within_bounds() {
        let mut world = World::default();
        assert_eq!(send(&mut world, "inc", "foo", 1), Err("Verb is \"inc\" but name \"foo\" not in state".into()));
        send(&mut world, "set", "foo", 42).unwrap();
        assert_eq!(hex::encode(&world.0[&address("foo")]), "a163666f6f182a");
        assert!(send(&mut world, "set", "foo", 1).unwrap_err().contains("already exists"));
        send(&mut world, "dec", "foo", 2).unwrap();
        assert!(send(&mut world, "dec", "foo", 41).unwrap_err().contains("less than 0"));
        assert!(send(&mut world, "inc", "foo", u32::MAX).unwrap_err().contains("greater than"));
        assert_eq!(hex::encode(&world.0[&address("foo")]), "a163666f6f1828");
        assert!(send(&mut world, "double", "foo", 1).unwrap_err().contains("Verb must be"));
        assert!(send(&mut world, "set", &"x".repeat(21), 1).is_err());
    }

    #[test]
    fn what_is_no_payload_is_invalid() {
        let mut world = World::default();
        for bytes in [&b""[..], b"\xff", b"\xa1", b"\xa1\x64Name\x01", b"\xa3\x64Verb\x63set\x64Name\x61a\x65Value\x20"]
        {
            assert!(world.apply(apply, "", bytes.to_vec()).is_err(), "{bytes:?}");
        }
    }
}
