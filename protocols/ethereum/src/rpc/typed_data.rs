//! Structured data as wallets sign it (EIP-712).
//!
//! ```text
//!   hash = keccak(0x19 0x01 ‖ hashStruct(domain) ‖ hashStruct(message))
//!   hashStruct(s) = keccak(keccak(encodeType(s)) ‖ encodeData(s))
//! ```

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, I256, U256, keccak256};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::values::{Hex, decode_hex};

/// What to sign, and the types that say how.
pub struct TypedData {
    types: BTreeMap<String, Vec<Field>>,
    primary_type: String,
    domain: Value,
    message: Value,
}

#[derive(Deserialize)]
struct Field {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

/// Structs inside one another. A type may name itself, the data ends it.
const DEPTH_MAX: usize = 32;

impl TypedData {
    pub fn hash(&self) -> Result<B256, String> {
        let mut bytes = vec![0x19, 0x01];
        bytes.extend_from_slice(self.hash_struct("EIP712Domain", &self.domain, 0)?.as_slice());
        if self.primary_type != "EIP712Domain" {
            bytes.extend_from_slice(self.hash_struct(&self.primary_type, &self.message, 0)?.as_slice());
        }
        Ok(keccak256(bytes))
    }

    fn hash_struct(&self, name: &str, value: &Value, depth: usize) -> Result<B256, String> {
        if depth > DEPTH_MAX {
            return Err("structs nest too deep".to_owned());
        }
        let fields = self.fields(name)?;
        let object: &Map<String, Value> = value.as_object().ok_or_else(|| format!("{name} is no object"))?;
        let mut bytes = keccak256(self.encode_type(name)?).to_vec();
        for field in fields {
            let value = object.get(&field.name).unwrap_or(&Value::Null);
            let word =
                self.encode_value(&field.kind, value, depth).map_err(|fault| format!("{}: {fault}", field.name))?;
            bytes.extend_from_slice(word.as_slice());
        }
        Ok(keccak256(bytes))
    }

    fn fields(&self, name: &str) -> Result<&[Field], String> {
        self.types.get(name).map(Vec::as_slice).ok_or_else(|| format!("no type {name}"))
    }

    /// `Name(type name,…)`, followed by the types it refers to in alphabetical order.
    fn encode_type(&self, name: &str) -> Result<String, String> {
        let mut referred = BTreeSet::new();
        let mut open = vec![name];
        while let Some(next) = open.pop() {
            for field in self.fields(next)? {
                let base = base_type(&field.kind);
                if base != name && self.types.contains_key(base) && referred.insert(base) {
                    open.push(base);
                }
            }
        }
        let mut text = String::new();
        for name in [name].into_iter().chain(referred) {
            let fields: Vec<String> =
                self.fields(name)?.iter().map(|field| format!("{} {}", field.kind, field.name)).collect();
            text.push_str(&format!("{name}({})", fields.join(",")));
        }
        Ok(text)
    }

    fn encode_value(&self, kind: &str, value: &Value, depth: usize) -> Result<B256, String> {
        if let Some((item, count)) = kind.strip_suffix(']').and_then(|array| array.rsplit_once('[')) {
            return self.encode_array(item, count, value, depth);
        }
        if self.types.contains_key(kind) {
            return match value {
                Value::Null => Ok(B256::ZERO),
                value => self.hash_struct(kind, value, depth + 1),
            };
        }
        encode_atom(kind, value)
    }

    fn encode_array(&self, item: &str, count: &str, value: &Value, depth: usize) -> Result<B256, String> {
        let items = value.as_array().ok_or("not a list")?;
        if !count.is_empty() && count.parse() != Ok(items.len()) {
            return Err(format!("a list of {count} has {} items", items.len()));
        }
        let mut bytes = Vec::with_capacity(items.len() * 32);
        for value in items {
            bytes.extend_from_slice(self.encode_value(item, value, depth + 1)?.as_slice());
        }
        Ok(keccak256(bytes))
    }
}

fn base_type(kind: &str) -> &str {
    kind.split_once('[').map_or(kind, |(base, _)| base)
}

fn encode_atom(kind: &str, value: &Value) -> Result<B256, String> {
    let text = || value.as_str().ok_or_else(|| format!("{kind} is no text"));
    match kind {
        "string" => Ok(keccak256(text()?)),
        "bytes" => Ok(keccak256(hex_bytes(text()?)?)),
        "bool" => Ok(B256::with_last_byte(value.as_bool().ok_or("not a boolean")?.into())),
        "address" => Hex::<Address>::parse(text()?).map(|Hex(address)| address.into_word()),
        _ => match (kind.strip_prefix("bytes"), kind.strip_prefix("uint"), kind.strip_prefix("int")) {
            (Some(size), _, _) => fixed_bytes(size, text()?),
            (_, Some(bits), _) => unsigned(bits, value),
            (_, _, Some(bits)) => signed(bits, value),
            _ => Err(format!("no type {kind}")),
        },
    }
}

fn hex_bytes(text: &str) -> Result<Vec<u8>, String> {
    decode_hex(text.strip_prefix("0x").ok_or("hex string without 0x prefix")?)
}

fn fixed_bytes(size: &str, text: &str) -> Result<B256, String> {
    let bytes = hex_bytes(text)?;
    let size: usize = size.parse().ok().filter(|size| (1..=32).contains(size)).ok_or("no such type")?;
    if bytes.len() != size {
        return Err(format!("{} bytes, want {size}", bytes.len()));
    }
    Ok(B256::right_padding_from(&bytes))
}

fn bits_of(bits: &str) -> Result<usize, String> {
    let valid = |bits: &usize| bits.is_multiple_of(8) && (8..=256).contains(bits);
    if bits.is_empty() { Ok(256) } else { bits.parse().ok().filter(valid).ok_or_else(|| "no such type".to_owned()) }
}

/// A number, or decimal or hex digits.
fn digits(value: &Value) -> Result<String, String> {
    match value {
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => Ok(text.clone()),
        _ => Err("not a number".to_owned()),
    }
}

fn unsigned(bits: &str, value: &Value) -> Result<B256, String> {
    let bits = bits_of(bits)?;
    let number: U256 = digits(value)?.parse().map_err(|_| "not a number".to_owned())?;
    if number.bit_len() > bits {
        return Err(format!("larger than {bits} bits"));
    }
    Ok(number.into())
}

fn signed(bits: &str, value: &Value) -> Result<B256, String> {
    let bits = bits_of(bits)?;
    let number: I256 = digits(value)?.parse().map_err(|_| "not a number".to_owned())?;
    if number.bits() as usize > bits {
        return Err(format!("larger than {bits} bits"));
    }
    Ok(number.into_raw().into())
}

impl<'de> Deserialize<'de> for TypedData {
    /// An object, or a text that holds one.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Parts {
            types: BTreeMap<String, Vec<Field>>,
            primary_type: String,
            domain: Value,
            message: Value,
        }
        let parts = match Value::deserialize(deserializer)? {
            Value::String(text) => serde_json::from_str(&text),
            value => serde_json::from_value(value),
        };
        let Parts { mut types, primary_type, domain, message } = parts.map_err(D::Error::custom)?;
        types.entry("EIP712Domain".to_owned()).or_insert_with(|| domain_type(&domain));
        Ok(Self { types, primary_type, domain, message })
    }
}

/// The domain's type where the caller leaves it out: the known fields that it has.
fn domain_type(domain: &Value) -> Vec<Field> {
    let known = [
        ("name", "string"),
        ("version", "string"),
        ("chainId", "uint256"),
        ("verifyingContract", "address"),
        ("salt", "bytes32"),
    ];
    let present = known.iter().filter(|(name, _)| domain.get(name).is_some());
    present.map(|(name, kind)| Field { name: (*name).to_owned(), kind: (*kind).to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    fn mail() -> Value {
        json!({
            "types": {
                "EIP712Domain": [
                    {"name": "name", "type": "string"}, {"name": "version", "type": "string"},
                    {"name": "chainId", "type": "uint256"}, {"name": "verifyingContract", "type": "address"}
                ],
                "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}],
                "Mail": [
                    {"name": "from", "type": "Person"}, {"name": "to", "type": "Person"},
                    {"name": "contents", "type": "string"}
                ]
            },
            "primaryType": "Mail",
            "domain": {
                "name": "Ether Mail", "version": "1", "chainId": 1,
                "verifyingContract": "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC"
            },
            "message": {
                "from": {"name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
                "to": {"name": "Bob", "wallet": "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},
                "contents": "Hello, Bob!"
            }
        })
    }

    fn hash(value: &Value) -> Result<B256, String> {
        serde_json::from_str::<TypedData>(&value.to_string()).map_err(|error| error.to_string())?.hash()
    }

    #[test]
    fn the_example_of_the_standard_has_its_hash() {
        let expected = "0xbe609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2";
        assert_eq!(hash(&mail()).unwrap().to_string(), expected);
        assert_eq!(hash(&Value::String(mail().to_string())).unwrap().to_string(), expected);
        let mut without_domain_type = mail();
        without_domain_type["types"].as_object_mut().unwrap().remove("EIP712Domain");
        assert_eq!(hash(&without_domain_type).unwrap().to_string(), expected);
    }

    #[test]
    fn what_does_not_fit_its_type_is_refused() {
        let with = |path: &str, value: Value| {
            let mut data = mail();
            *data.pointer_mut(path).unwrap() = value;
            hash(&data)
        };
        assert!(with("/primaryType", json!("Letter")).is_err());
        assert!(with("/message/from", json!(5)).is_err());
        assert!(with("/message/from/wallet", json!("0x11")).is_err());
        assert!(with("/domain/chainId", json!("-1")).is_err());
        assert!(with("/types/Mail/2/type", json!("uint7")).is_err());
        assert!(with("/types/Mail/2/type", json!("string[2]")).is_err());
    }

    #[test]
    fn data_that_nests_without_end_is_refused() {
        let mut value = json!({"next": null});
        for _ in 0..60 {
            value = json!({"next": value});
        }
        let data = json!({"types": {"Node": [{"name": "next", "type": "Node"}]}, "primaryType": "Node", "domain": {}, "message": value});
        assert_eq!(hash(&data).unwrap_err().split(": ").last(), Some("structs nest too deep"));
    }
}
