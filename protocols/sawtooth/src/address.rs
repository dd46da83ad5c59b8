//! Addresses of the state, and the texts that name things.

use bytes::Bytes;

/// Bytes of an address; twice as many hex digits in a message.
pub const ADDRESS_BYTES: usize = 35;

/// Where a value is in the state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Address(pub [u8; ADDRESS_BYTES]);

impl Address {
    /// Seventy lower-case hex digits, or nothing.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; ADDRESS_BYTES];
        (is_lower_hex(text) && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(Self(bytes))
    }

    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// As a key of the state's map.
    pub fn key(self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }

    pub fn from_key(key: &[u8]) -> Option<Self> {
        key.try_into().ok().map(Self)
    }
}

/// The beginning of addresses: up to seventy lower-case hex digits, an even number. None at all means every address.
pub fn prefix_from_hex(text: &str) -> Option<Vec<u8>> {
    (is_lower_hex(text) && text.len() <= 2 * ADDRESS_BYTES).then(|| hex::decode(text).ok()).flatten()
}

/// The least text of bytes behind all that begin with a prefix; nothing if there is none.
pub fn behind_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut behind = prefix.get(..=last)?.to_vec();
    *behind.last_mut()? += 1;
    Some(behind)
}

/// The id of a transaction, batch or block: its signature, 128 lower-case hex digits.
pub fn is_id(text: &str) -> bool {
    text.len() == 128 && is_lower_hex(text)
}

/// A state root: 64 lower-case hex digits.
pub fn is_root(text: &str) -> bool {
    text.len() == 64 && is_lower_hex(text)
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_prefix_is_the_first_that_does_not_begin_with_it() {
        assert_eq!(behind_prefix(&[1, 2]).unwrap(), [1, 3]);
        assert_eq!(behind_prefix(&[1, 255]).unwrap(), [2]);
        assert_eq!((behind_prefix(&[255]), behind_prefix(&[])), (None, None));
    }

    #[test]
    fn only_lower_case_of_the_right_length_names_something() {
        let address = "1cf126".to_owned() + &"0".repeat(64);
        assert_eq!(Address::from_hex(&address).unwrap().to_hex(), address);
        assert_eq!(Address::from_hex(&address.to_uppercase()), None);
        assert_eq!(Address::from_hex(&address[2..]), None);
        assert_eq!(prefix_from_hex("").unwrap(), [0; 0]);
        assert_eq!(prefix_from_hex("1cf126").unwrap(), [0x1c, 0xf1, 0x26]);
        assert_eq!(prefix_from_hex("1cf"), None);
        assert_eq!(prefix_from_hex(&(address + "00")), None);
        assert!(is_id(&"a0".repeat(64)) && !is_id(&"A0".repeat(64)) && !is_id("a0"));
    }
}
