//! Messages as JSON: protobuf's mapping with the original field names and with defaults, and headers decoded.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use prost::Message as _;
use serde_json::{Map, Value, json};

use crate::messages::client::{BatchStatus, batch_status};
use crate::messages::ledger::{
    Batch, BatchHeader, Block, BlockHeader, Event, StateChange, Transaction, TransactionHeader, TransactionReceipt,
    state_change_kind,
};
use crate::query::Kind;

/// A block, batch or transaction; nothing if it does not decode.
pub fn item(kind: Kind, bytes: Bytes) -> Option<Value> {
    match kind {
        Kind::Block => block(bytes),
        Kind::Batch => batch(&Batch::decode(bytes).ok()?),
        Kind::Transaction => transaction(&Transaction::decode(bytes).ok()?),
    }
}

pub fn base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

fn block(bytes: Bytes) -> Option<Value> {
    let block = Block::decode(bytes).ok()?;
    let header = BlockHeader::decode(block.header).ok()?;
    let batches: Option<Vec<_>> = block.batches.into_iter().map(|raw| batch(&Batch::decode(raw).ok()?)).collect();
    Some(json!({
        "batches": batches?,
        "header": {
            "batch_ids": header.batch_ids,
            "block_num": header.block_num.to_string(),
            "consensus": base64(&header.consensus),
            "previous_block_id": header.previous_block_id,
            "signer_public_key": header.signer_public_key,
            "state_root_hash": header.state_root_hash,
        },
        "header_signature": block.header_signature,
    }))
}

fn batch(batch: &Batch) -> Option<Value> {
    let header = BatchHeader::decode(batch.header.clone()).ok()?;
    let transactions: Option<Vec<_>> = batch.transactions.iter().map(transaction).collect();
    Some(json!({
        "header": { "signer_public_key": header.signer_public_key, "transaction_ids": header.transaction_ids },
        "header_signature": batch.header_signature,
        "trace": batch.trace,
        "transactions": transactions?,
    }))
}

fn transaction(transaction: &Transaction) -> Option<Value> {
    let header = TransactionHeader::decode(transaction.header.clone()).ok()?;
    Some(json!({
        "header": {
            "batcher_public_key": header.batcher_public_key,
            "dependencies": header.dependencies,
            "family_name": header.family_name,
            "family_version": header.family_version,
            "inputs": header.inputs,
            "nonce": header.nonce,
            "outputs": header.outputs,
            "payload_sha512": header.payload_sha512,
            "signer_public_key": header.signer_public_key,
        },
        "header_signature": transaction.header_signature,
        "payload": base64(&transaction.payload),
    }))
}

/// With `id` for every key that ends so, and without empty texts.
pub fn status(status: &BatchStatus) -> Value {
    let name = match status.status {
        batch_status::COMMITTED => "COMMITTED",
        batch_status::INVALID => "INVALID",
        batch_status::PENDING => "PENDING",
        _ => "UNKNOWN",
    };
    let invalid = status.invalid_transactions.iter().map(|invalid| {
        let extended_data = base64(&invalid.extended_data);
        compact(&[("id", &invalid.transaction_id), ("message", &invalid.message), ("extended_data", &extended_data)])
    });
    let invalid: Vec<_> = invalid.map(Value::Object).collect();
    json!({ "id": status.batch_id, "status": name, "invalid_transactions": invalid })
}

/// As for statuses.
pub fn receipt(receipt: &TransactionReceipt) -> Value {
    json!({
        "id": receipt.transaction_id,
        "state_changes": receipt.state_changes.iter().map(|change| Value::Object(receipt_change(change))).collect::<Vec<_>>(),
        "events": receipt.events.iter().map(event).collect::<Vec<_>>(),
        // The original drops the empty ones of other texts, but not of a list.
        "data": receipt.data.iter().map(|data| base64(data)).collect::<Vec<_>>(),
    })
}

/// A change as subscribers get it.
pub fn change(change: &StateChange) -> Value {
    json!({ "address": change.address, "value": base64(&change.value), "type": change_type(change) })
}

fn receipt_change(change: &StateChange) -> Map<String, Value> {
    compact(&[("address", &change.address), ("value", &base64(&change.value)), ("type", change_type(change))])
}

fn change_type(change: &StateChange) -> &'static str {
    match change.kind {
        state_change_kind::SET => "SET",
        state_change_kind::DELETE => "DELETE",
        _ => "TYPE_UNSET",
    }
}

fn event(event: &Event) -> Value {
    let attributes =
        event.attributes.iter().map(|attribute| compact(&[("key", &attribute.key), ("value", &attribute.value)]));
    let mut object = compact(&[("event_type", &event.event_type), ("data", &base64(&event.data))]);
    object.insert("attributes".to_owned(), attributes.map(Value::Object).collect());
    Value::Object(object)
}

fn compact(fields: &[(&str, &str)]) -> Map<String, Value> {
    let kept = fields.iter().filter(|(_, value)| !value.is_empty());
    kept.map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect()
}

/// Keys in order, two spaces, ASCII only.
pub fn text(value: &Value) -> String {
    let pretty = serde_json::to_string_pretty(&sorted(value)).unwrap_or_default();
    if pretty.is_ascii() {
        return pretty;
    }
    let mut escaped = String::with_capacity(pretty.len());
    for character in pretty.chars() {
        if character.is_ascii() {
            escaped.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<_> = object.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            entries.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_as_the_original_writes_it() {
        let value = json!({ "b": [], "a": { "d": "ä😀", "c": null } });
        assert_eq!(
            text(&value),
            "{\n  \"a\": {\n    \"c\": null,\n    \"d\": \"\\u00e4\\ud83d\\ude00\"\n  },\n  \"b\": []\n}"
        );
    }
}
