//! Reads one JSON-RPC message: a request or a batch. Borrows from the body; arguments stay text until a method wants them.

use std::borrow::Cow;

use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::error::RpcError;
use super::limits::{BATCH_ENTRIES_MAX, BATCH_READ_MS_MAX, NESTING_MAX, READ_MS_MAX};

/// What a client sent.
#[derive(Debug)]
pub enum Message<'a> {
    Single(&'a RawValue),
    Batch(Vec<&'a RawValue>),
}

/// One call.
#[derive(Debug)]
pub struct Request<'a> {
    /// Echoed as it came; `None` makes it a notification.
    pub id: Option<&'a RawValue>,
    pub method: Cow<'a, str>,
    pub params: Option<&'a RawValue>,
}

/// A request that is none, with the id to answer under, if it showed one.
#[derive(Debug)]
pub struct BadRequest<'a> {
    pub id: Option<&'a RawValue>,
    pub error: RpcError,
}

impl<'a> Message<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, RpcError> {
        let text = std::str::from_utf8(body).map_err(|_| RpcError::parse())?;
        if nesting(body) > NESTING_MAX {
            return Err(RpcError::parse());
        }
        if !text.trim_ascii_start().starts_with('[') {
            return serde_json::from_str(text).map(Self::Single).map_err(|_| RpcError::parse());
        }
        let Entries(entries) = serde_json::from_str(text).map_err(|error| {
            if error.is_data() {
                RpcError::invalid_request(format!("batch too large, at most {BATCH_ENTRIES_MAX} entries"))
            } else {
                RpcError::parse()
            }
        })?;
        if entries.is_empty() {
            return Err(RpcError::invalid_request("empty batch"));
        }
        Ok(Self::Batch(entries))
    }

    pub fn entries(&self) -> &[&'a RawValue] {
        match self {
            Self::Single(entry) => std::slice::from_ref(entry),
            Self::Batch(entries) => entries,
        }
    }

    pub fn is_batch(&self) -> bool {
        matches!(self, Self::Batch(_))
    }

    /// What all its reads may take together.
    pub fn read_ms_max(&self) -> u64 {
        if self.is_batch() { BATCH_READ_MS_MAX } else { READ_MS_MAX }
    }
}

impl<'a> Request<'a> {
    pub fn parse(raw: &'a RawValue) -> Result<Self, BadRequest<'a>> {
        let bad = |id, message: &'static str| BadRequest { id, error: RpcError::invalid_request(message) };
        let fields: Fields<'a> = serde_json::from_str(raw.get()).map_err(|_| bad(None, "invalid request"))?;
        let id = match fields.id {
            Some(id) if !is_id(id) => return Err(bad(None, "invalid id")),
            id => id,
        };
        if fields.jsonrpc.is_none_or(|version| version.get() != "\"2.0\"") {
            return Err(bad(id, "invalid request: jsonrpc must be \"2.0\""));
        }
        let method = fields.method.ok_or_else(|| bad(id, "invalid request: no method"))?;
        let Text(method) =
            serde_json::from_str(method.get()).map_err(|_| bad(id, "invalid request: method must be a string"))?;
        Ok(Self { id, method, params: fields.params })
    }
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Tells `null` from absent: an `id` of `null` is an id.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// A number, a string or `null`.
fn is_id(id: &RawValue) -> bool {
    matches!(id.get().as_bytes().first(), Some(b'"' | b'-' | b'0'..=b'9' | b'n'))
}

/// The entries of a batch; reading stops at the first one too many, so that a long list costs no memory.
struct Entries<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a batch")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while entries.len() < BATCH_ENTRIES_MAX {
                    match seq.next_element()? {
                        Some(entry) => entries.push(entry),
                        None => return Ok(Entries(entries)),
                    }
                }
                match seq.next_element::<IgnoredAny>()? {
                    Some(_) => Err(A::Error::custom("too many entries")),
                    None => Ok(Entries(entries)),
                }
            }
        }
        deserializer.deserialize_seq(Collect)
    }
}

/// How deep lists and objects nest, counted without parsing: the parser recurses, so depth is checked before it runs.
fn nesting(body: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0usize, 0usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in body {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn single(text: &str) -> Result<(Option<String>, String), (Option<String>, i64)> {
        let owned = |id: Option<&RawValue>| id.map(|id| id.get().to_owned());
        match Message::parse(text.as_bytes()) {
            Ok(Message::Single(raw)) => match Request::parse(raw) {
                Ok(request) => Ok((owned(request.id), request.method.into_owned())),
                Err(bad) => Err((owned(bad.id), bad.error.code)),
            },
            Ok(Message::Batch(_)) => panic!("{text} is no batch"),
            Err(error) => Err((None, error.code)),
        }
    }

    #[test]
    fn the_id_keeps_its_type_and_null_differs_from_absent() {
        let with_id = |id: &str| single(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"m"}}"#));
        for id in ["1", "-7", "1.5", "\"one\"", "null", "18446744073709551616"] {
            assert_eq!(with_id(id), Ok((Some(id.to_owned()), "m".to_owned())));
        }
        assert_eq!(single(r#"{"jsonrpc":"2.0","method":"m"}"#), Ok((None, "m".to_owned())));
        for id in ["{}", "[1]", "true"] {
            assert_eq!(with_id(id), Err((None, -32600)));
        }
    }

    #[test]
    fn what_is_json_but_no_request_is_told_from_what_is_no_json() {
        for text in ["", "{", "nonsense", r#"{"jsonrpc":"2.0","id":1,"method":"m""#, "[1,"] {
            assert_eq!(Message::parse(text.as_bytes()).unwrap_err().code, -32700, "{text}");
        }
        assert_eq!(Message::parse(b"{\"jsonrpc\":\"\xff\"}").unwrap_err().code, -32700);
        assert_eq!(single("5"), Err((None, -32600)));
        assert_eq!(single(r#"{"id":1,"method":"m"}"#), Err((Some("1".to_owned()), -32600)));
        assert_eq!(single(r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#), Err((Some("1".to_owned()), -32600)));
        assert_eq!(single(r#"{"jsonrpc":"2.0","id":1}"#), Err((Some("1".to_owned()), -32600)));
        assert_eq!(single(r#"{"jsonrpc":"2.0","id":1,"method":7}"#), Err((Some("1".to_owned()), -32600)));
    }

    #[test]
    fn batches_have_a_first_and_a_last_size() {
        let batch = |count: usize| Message::parse(format!("[{}]", vec!["0"; count].join(",")).as_bytes()).map(drop);
        assert_eq!(batch(0).unwrap_err().code, -32600);
        assert!(batch(1).is_ok());
        assert!(batch(BATCH_ENTRIES_MAX).is_ok());
        assert_eq!(batch(BATCH_ENTRIES_MAX + 1).unwrap_err().code, -32600);
    }

    #[test]
    fn deep_nesting_is_refused_before_it_is_parsed() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Message::parse(nested(NESTING_MAX).as_bytes()).is_ok());
        assert_eq!(Message::parse(nested(NESTING_MAX + 1).as_bytes()).unwrap_err().code, -32700);
        assert_eq!(Message::parse("[".repeat(1_000_000).as_bytes()).unwrap_err().code, -32700);
        assert_eq!(nesting(br#"{"a":"[[[[\"[["}"#), 1);
    }
}
