//! Transactions and RLP.

use alloy_primitives::{U512, hex};
use alloy_rlp::{Encodable, Header};
use serde_json::Value;

use super::{Outcome, networks};
use crate::transaction::{AdmissionRules, INITCODE_BYTES_MAX, Transaction};

/// Their fees are larger than all ether there is.
const HIGH_FEES: [&str; 3] = ["GasLimitPriceProductOverflowtMinusOne", "TransactionWithHighGasPrice", "V_equals38"];

pub(crate) fn judge_transaction(file: &str, test: &Value) -> Vec<(String, Outcome)> {
    let mut outcomes = Vec::new();
    let raw = test["txbytes"].as_str().and_then(|text| hex::decode(text).ok());
    for (fork, result) in test["result"].as_object().unwrap() {
        let Some(schedule) = networks::schedule(fork, None) else {
            outcomes.push((fork.clone(), Outcome::Apart("a fork that is not known")));
            continue;
        };
        let rules = AdmissionRules {
            spec: schedule.spec(0, 0),
            chain_id: 1,
            block_gas_limit: u64::MAX,
            allow_unprotected: true,
            allow_blobs: true,
            fee_cap_min: 0,
            initcode_bytes_max: INITCODE_BYTES_MAX,
        };
        let admitted = raw.clone().and_then(|raw| Transaction::admit(raw.into(), &rules).ok());
        let found = admitted.map(|transaction| (transaction.hash.to_string(), format!("{:?}", transaction.sender)));
        let text = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
        let expected = result.get("exception").is_none().then(|| (text("hash"), text("sender")));
        let outcome = match found == expected {
            true => Outcome::Passed,
            false if HIGH_FEES.iter().any(|name| file.contains(name)) => {
                Outcome::Apart("fees above 128 bits are refused")
            }
            false if fork == "Frontier" && file.contains("Svalue") => Outcome::Apart("a high s is always refused"),
            false => Outcome::Failed(format!("expected {expected:?} {}, found {found:?}", result["exception"])),
        };
        outcomes.push((fork.clone(), outcome));
    }
    outcomes
}

pub(crate) fn judge_rlp(_: &str, test: &Value) -> Vec<(String, Outcome)> {
    let bytes = hex::decode(test["out"].as_str().unwrap()).unwrap();
    let right = match test["in"].as_str() {
        Some("INVALID") => !is_whole(&bytes),
        Some("VALID") => is_whole(&bytes),
        _ => {
            let mut encoded = Vec::new();
            encode(&test["in"], &mut encoded);
            encoded == bytes && is_whole(&bytes)
        }
    };
    vec![(String::new(), if right { Outcome::Passed } else { Outcome::Failed(test.to_string()) })]
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => match text.strip_prefix('#') {
            Some(number) => number.parse::<U512>().unwrap_or_default().to_be_bytes_trimmed_vec()[..].encode(out),
            None => text.as_bytes().encode(out),
        },
        Value::Number(number) => number.as_u64().unwrap().encode(out),
        Value::Array(items) => {
            let mut payload = Vec::new();
            items.iter().for_each(|item| encode(item, &mut payload));
            Header { list: true, payload_length: payload.len() }.encode(out);
            out.extend(payload);
        }
        other => panic!("RLP of {other}"),
    }
}

/// One item, and all items in it.
fn is_whole(bytes: &[u8]) -> bool {
    fn item(bytes: &mut &[u8]) -> Option<()> {
        let header = Header::decode(bytes).ok()?;
        let (mut payload, rest) = bytes.split_at_checked(header.payload_length)?;
        *bytes = rest;
        while header.list && !payload.is_empty() {
            item(&mut payload)?;
        }
        Some(())
    }
    let mut rest = bytes;
    item(&mut rest).is_some() && rest.is_empty()
}
