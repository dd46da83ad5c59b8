//! Values as Ethereum clients write them. Strict: what is unclear is refused, in the words that other clients use.

use std::fmt;

use alloy_primitives::{Address, B256, Bytes, FixedBytes, U256};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A value written in hex.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hex<T>(pub T);

/// What can be written in hex. Quantities take leading zeros, byte strings need whole bytes and their exact size.
pub trait FromHex: Sized {
    const WHAT: &'static str;

    fn from_digits(digits: &str) -> Result<Self, String>;
}

/// A number that some clients write as a JSON number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loose(pub u64);

/// Which block a method is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockParam {
    Earliest,
    /// Also `safe` and `finalized`: a committed block is final.
    Latest,
    Pending,
    Number(u64),
    Hash(B256),
}

impl<T: FromHex> Hex<T> {
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(format!("empty hex string, want {}", T::WHAT));
        }
        let digits = text.strip_prefix("0x").ok_or("hex string without 0x prefix")?;
        T::from_digits(digits).map(Self)
    }
}

impl FromHex for u64 {
    const WHAT: &'static str = "a quantity";

    fn from_digits(digits: &str) -> Result<Self, String> {
        let digits = quantity_digits(digits)?;
        if digits.len() > 16 {
            return Err("hex number > 64 bits".to_owned());
        }
        Self::from_str_radix(digits, 16).map_err(|_| "invalid hex string".to_owned())
    }
}

impl FromHex for u8 {
    const WHAT: &'static str = "a quantity";

    fn from_digits(digits: &str) -> Result<Self, String> {
        u64::from_digits(digits)?.try_into().map_err(|_| "hex number > 8 bits".to_owned())
    }
}

impl FromHex for u128 {
    const WHAT: &'static str = "a quantity";

    fn from_digits(digits: &str) -> Result<Self, String> {
        let digits = quantity_digits(digits)?;
        if digits.len() > 32 {
            return Err("hex number > 128 bits".to_owned());
        }
        Self::from_str_radix(digits, 16).map_err(|_| "invalid hex string".to_owned())
    }
}

impl FromHex for U256 {
    const WHAT: &'static str = "a quantity";

    fn from_digits(digits: &str) -> Result<Self, String> {
        let digits = quantity_digits(digits)?;
        if digits.len() > 64 {
            return Err("hex number > 256 bits".to_owned());
        }
        Self::from_str_radix(digits, 16).map_err(|_| "invalid hex string".to_owned())
    }
}

impl FromHex for Address {
    const WHAT: &'static str = "an address";

    fn from_digits(digits: &str) -> Result<Self, String> {
        fixed(digits).map(Self::new)
    }
}

impl FromHex for B256 {
    const WHAT: &'static str = "32 bytes";

    fn from_digits(digits: &str) -> Result<Self, String> {
        fixed(digits).map(Self::new)
    }
}

impl FromHex for FixedBytes<65> {
    const WHAT: &'static str = "a signature of 65 bytes";

    fn from_digits(digits: &str) -> Result<Self, String> {
        fixed(digits).map(Self::new)
    }
}

impl FromHex for Bytes {
    const WHAT: &'static str = "bytes";

    fn from_digits(digits: &str) -> Result<Self, String> {
        decode_hex(digits).map(Self::from)
    }
}

/// Decodes an even number of digits of either case.
pub fn decode_hex(digits: &str) -> Result<Vec<u8>, String> {
    if !digits.len().is_multiple_of(2) {
        return Err("hex string of odd length".to_owned());
    }
    let mut bytes = vec![0; digits.len() / 2];
    alloy_primitives::hex::decode_to_slice(digits, &mut bytes).map_err(|_| "invalid hex string")?;
    Ok(bytes)
}

fn fixed<const N: usize>(digits: &str) -> Result<[u8; N], String> {
    if !digits.len().is_multiple_of(2) {
        return Err("hex string of odd length".to_owned());
    }
    if digits.len() != N * 2 {
        return Err(format!("hex string has length {}, want {}", digits.len(), N * 2));
    }
    let mut bytes = [0; N];
    alloy_primitives::hex::decode_to_slice(digits, &mut bytes).map_err(|_| "invalid hex string")?;
    Ok(bytes)
}

/// The digits without leading zeros.
fn quantity_digits(digits: &str) -> Result<&str, String> {
    if digits.is_empty() {
        return Err("hex string \"0x\"".to_owned());
    }
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err("invalid hex string".to_owned());
    }
    let trimmed = digits.trim_start_matches('0');
    Ok(if trimmed.is_empty() { "0" } else { trimmed })
}

impl<'de, T: FromHex> Deserialize<'de> for Hex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<T>(std::marker::PhantomData<T>);
        impl<T: FromHex> Visitor<'_> for Text<T> {
            type Value = Hex<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{} as a hex string", T::WHAT)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Hex<T>, E> {
                Hex::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Loose;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a quantity as a hex string")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Loose, E> {
                Ok(Loose(number))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Loose, E> {
                Hex::parse(text).map(|Hex(number)| Loose(number)).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Number)
    }
}

impl BlockParam {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "latest" | "safe" | "finalized" => Self::Latest,
            "pending" => Self::Pending,
            "earliest" => Self::Earliest,
            _ if text.len() == 66 => Self::Hash(Hex::parse(text)?.0),
            _ => Self::Number(Self::number(text)?),
        })
    }

    fn number(text: &str) -> Result<u64, String> {
        let Hex(number) = Hex::<u64>::parse(text)?;
        if number > i64::MAX as u64 {
            return Err("block number larger than int64".to_owned());
        }
        Ok(number)
    }
}

impl<'de> Deserialize<'de> for BlockParam {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Block;
        impl<'de> Visitor<'de> for Block {
            type Value = BlockParam;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a block number, a tag or a block hash")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<BlockParam, E> {
                BlockParam::parse(text).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<BlockParam, A::Error> {
                #[derive(Deserialize)]
                #[serde(rename_all = "camelCase")]
                struct Fields {
                    block_hash: Option<Hex<B256>>,
                    block_number: Option<String>,
                }
                let fields = Fields::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                match (fields.block_hash, fields.block_number) {
                    (Some(Hex(hash)), None) => Ok(BlockParam::Hash(hash)),
                    (None, Some(text)) => BlockParam::parse(&text).map_err(A::Error::custom),
                    (Some(_), Some(_)) => Err(A::Error::custom("cannot specify both BlockHash and BlockNumber")),
                    (None, None) => Err(A::Error::custom("neither blockHash nor blockNumber")),
                }
            }
        }
        deserializer.deserialize_any(Block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault<T: for<'a> Deserialize<'a> + fmt::Debug>(text: &str) -> String {
        serde_json::from_str::<T>(text).unwrap_err().to_string()
    }

    #[test]
    fn quantities_need_a_prefix_digits_and_room() {
        assert_eq!(serde_json::from_str::<Hex<u64>>("\"0x0\"").unwrap(), Hex(0));
        assert_eq!(serde_json::from_str::<Hex<u64>>("\"0x0010\"").unwrap(), Hex(16));
        assert_eq!(serde_json::from_str::<Hex<U256>>(&format!("\"0x{}\"", "f".repeat(64))).unwrap(), Hex(U256::MAX));
        assert!(fault::<Hex<u64>>("\"2\"").starts_with("hex string without 0x prefix"));
        for wrong in [
            "\"0x\"",
            "\"\"",
            "\"0X1\"",
            "\"-0x1\"",
            "\"0x-1\"",
            "\"0x+1\"",
            "\"0xg\"",
            "1",
            "-1",
            "null",
            "\"0x1ffffffffffffffff\"",
        ] {
            fault::<Hex<u64>>(wrong);
        }
        fault::<Hex<U256>>(&format!("\"0x1{}\"", "0".repeat(64)));
        fault::<Hex<U256>>("\"0x_1\"");
    }

    #[test]
    fn byte_strings_have_whole_bytes_and_their_size() {
        assert_eq!(serde_json::from_str::<Hex<Bytes>>("\"0x\"").unwrap().0.len(), 0);
        assert_eq!(serde_json::from_str::<Hex<Bytes>>("\"0x0aFF\"").unwrap().0.as_ref(), [10, 255]);
        for digits in [38, 39, 41, 42] {
            fault::<Hex<Address>>(&format!("\"0x{}\"", "1".repeat(digits)));
        }
        fault::<Hex<B256>>(&format!("\"0x{}\"", "1".repeat(62)));
        for wrong in ["\"0x1\"", "\"0X11\"", "\"11\"", "\"0xzz\"", "\"0x0x\""] {
            fault::<Hex<Bytes>>(wrong);
        }
    }

    #[test]
    fn a_block_is_named_by_tag_number_or_hash() {
        let block = |text: &str| serde_json::from_str::<BlockParam>(text).unwrap();
        let hash = format!("0x{}", "a".repeat(64));
        let named = BlockParam::Hash(B256::repeat_byte(0xaa));
        for tag in ["latest", "safe", "finalized"] {
            assert_eq!(block(&format!("\"{tag}\"")), BlockParam::Latest);
        }
        assert_eq!(block("\"earliest\""), BlockParam::Earliest);
        assert_eq!(block("\"pending\""), BlockParam::Pending);
        assert_eq!(block("\"0x10\""), BlockParam::Number(16));
        assert_eq!(block(&format!("\"{hash}\"")), named);
        assert_eq!(block(&format!("{{\"blockHash\":\"{hash}\",\"requireCanonical\":true}}")), named);
        assert_eq!(block("{\"blockNumber\":\"0x1\"}"), BlockParam::Number(1));
        for wrong in ["\"2\"", "2", "{}", "[]", "\"newest\"", "\"0x8000000000000000\"", "true"] {
            fault::<BlockParam>(wrong);
        }
    }
}
