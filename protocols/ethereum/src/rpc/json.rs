//! Writes JSON straight into a string. Ethereum's values are hex strings in objects whose names are known beforehand, so a
//! writer of a few lines does the work, without a tree of values in between.

use std::fmt::{LowerHex, Write};

use alloy_primitives::{Address, B256, hex};

/// A finished JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(pub String);

/// Bytes that become digits in one piece.
const DATA_BYTES_AT_ONCE: usize = 64;

impl Json {
    pub fn null() -> Self {
        Self("null".to_owned())
    }

    pub fn bool(value: bool) -> Self {
        Self(if value { "true" } else { "false" }.to_owned())
    }

    pub fn quantity(value: impl LowerHex) -> Self {
        let mut out = String::with_capacity(18);
        push_quantity(&mut out, value);
        Self(out)
    }

    pub fn data(bytes: &[u8]) -> Self {
        let mut out = String::with_capacity(bytes.len() * 2 + 4);
        push_data(&mut out, bytes);
        Self(out)
    }

    pub fn string(text: &str) -> Self {
        let mut out = String::with_capacity(text.len() + 2);
        push_string(&mut out, text);
        Self(out)
    }

    pub fn object(fill: impl FnOnce(&mut Object<'_>)) -> Self {
        let mut out = String::with_capacity(256);
        push_object(&mut out, fill);
        Self(out)
    }

    /// A list; `push` writes one item.
    pub fn list<T>(items: impl IntoIterator<Item = T>, push: impl FnMut(&mut String, T)) -> Self {
        let mut out = String::with_capacity(256);
        push_list(&mut out, items, push);
        Self(out)
    }
}

/// An object being written: fields appear in the order of the calls.
pub struct Object<'a> {
    out: &'a mut String,
    empty: bool,
}

impl Object<'_> {
    /// Starts a field; the caller writes its value. `name` must need no escaping.
    pub fn field(&mut self, name: &str) -> &mut String {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\":");
        self.out
    }

    /// Where the next field begins.
    pub fn written(&self) -> usize {
        self.out.len()
    }

    pub fn quantity(&mut self, name: &str, value: impl LowerHex) {
        push_quantity(self.field(name), value);
    }

    pub fn optional_quantity(&mut self, name: &str, value: Option<impl LowerHex>) {
        match value {
            Some(value) => self.quantity(name, value),
            None => self.null(name),
        }
    }

    pub fn data(&mut self, name: &str, bytes: &[u8]) {
        push_data(self.field(name), bytes);
    }

    pub fn optional_data(&mut self, name: &str, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.data(name, bytes),
            None => self.null(name),
        }
    }

    pub fn address(&mut self, name: &str, address: &Address) {
        self.data(name, address.as_slice());
    }

    pub fn hash(&mut self, name: &str, hash: &B256) {
        self.data(name, hash.as_slice());
    }

    pub fn null(&mut self, name: &str) {
        self.field(name).push_str("null");
    }

    pub fn bool(&mut self, name: &str, value: bool) {
        self.field(name).push_str(if value { "true" } else { "false" });
    }

    pub fn string(&mut self, name: &str, text: &str) {
        push_string(self.field(name), text);
    }

    /// A value that is JSON already.
    pub fn json(&mut self, name: &str, value: &str) {
        self.field(name).push_str(value);
    }

    pub fn list<T>(&mut self, name: &str, items: impl IntoIterator<Item = T>, push: impl FnMut(&mut String, T)) {
        push_list(self.field(name), items, push);
    }

    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        push_object(self.field(name), fill);
    }
}

pub fn push_object(out: &mut String, fill: impl FnOnce(&mut Object<'_>)) {
    out.push('{');
    fill(&mut Object { out, empty: true });
    out.push('}');
}

pub fn push_list<T>(out: &mut String, items: impl IntoIterator<Item = T>, mut push: impl FnMut(&mut String, T)) {
    out.push('[');
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        push(out, item);
    }
    out.push(']');
}

/// Hex without leading zeros; zero is `0x0`.
pub fn push_quantity(out: &mut String, value: impl LowerHex) {
    // Writing to a string cannot fail.
    let _ = write!(out, "\"{value:#x}\"");
}

/// Two hex digits for each byte.
pub fn push_data(out: &mut String, bytes: &[u8]) {
    out.reserve(bytes.len() * 2 + 4);
    out.push_str("\"0x");
    let mut digits = [0; 2 * DATA_BYTES_AT_ONCE];
    for bytes in bytes.chunks(DATA_BYTES_AT_ONCE) {
        // There is room for as much.
        out.push_str(hex::encode_to_str(bytes, &mut digits[..2 * bytes.len()]).unwrap_or_default());
    }
    out.push('"');
}

pub fn push_string(out: &mut String, text: &str) {
    // Text always has a JSON form.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    use alloy_primitives::U256;

    #[test]
    fn quantities_have_no_leading_zeros_and_data_keeps_them() {
        assert_eq!(Json::quantity(0u64).0, "\"0x0\"");
        assert_eq!(Json::quantity(U256::ZERO).0, "\"0x0\"");
        assert_eq!(Json::quantity(U256::from(1024)).0, "\"0x400\"");
        assert_eq!(Json::quantity(1024u64).0, "\"0x400\"");
        assert_eq!(Json::quantity(U256::MAX).0.len(), 68);
        assert_eq!(Json::data(&[]).0, "\"0x\"");
        assert_eq!(Json::data(&[0, 10]).0, "\"0x000a\"");
    }

    #[test]
    fn what_is_written_is_json() {
        let json = Json::object(|object| {
            object.quantity("a", 1u64);
            object.list("b", [1u64, 2], push_quantity);
            object.string("c", "quote \" and \u{1}");
            object.object("d", |_| {});
            object.optional_data("e", None);
        });
        let value: serde_json::Value = serde_json::from_str(&json.0).unwrap();
        let expected =
            serde_json::json!({"a": "0x1", "b": ["0x1", "0x2"], "c": "quote \" and \u{1}", "d": {}, "e": null});
        assert_eq!(value, expected);
    }
}
