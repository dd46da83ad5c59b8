//! A block as the history keeps it: header, transactions with their senders, ledger positions and receipts.
//!
//! An RLP list: header, transactions, ommers, withdrawals, time of the seal in milliseconds. A transaction is a list: raw bytes,
//! finding of admission, view, seqno, status or state root, gas used, cumulative gas, index of its first log, logs, and, if it asked the
//! Coco precompile, that one's seed and time. One transaction can be read without decoding the others. Blooms, hashes and contract addresses follow from the rest.

use std::sync::OnceLock;

use alloy_consensus::{Eip658Value, Header};
use alloy_eips::eip4895::Withdrawals;
use alloy_primitives::{Address, B256, Log, TxKind};
use alloy_rlp::{Decodable, Encodable, Header as RlpHeader};
use bytes::Bytes;
use coco_types::{Seqno, TxId, View};

use super::{BlockAttributes, Included};
use crate::execute::Told;
use crate::transaction::{self, Transaction};

/// Where a transaction can be found in: the account that it was sent to or was to create, and its logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    pub recipient: Address,
    pub logs: Vec<Log>,
}

/// Topics of a log: the EVM has no instruction for more.
const TOPICS_MAX: usize = 4;
/// Fields of a transaction before its logs.
const LOGS_FIELD: usize = 8;

/// A block's record. Its structure was checked, its parts are decoded when asked for.
#[derive(Clone, Debug)]
pub struct BlockRecord {
    bytes: Bytes,
    header: Bytes,
    transactions: Vec<Bytes>,
    ommers: Bytes,
    withdrawals: Bytes,
    sealed_ms: u64,
}

impl BlockRecord {
    /// Block 0: a header alone.
    pub(crate) fn genesis(header: &Header) -> Self {
        Self::new(header, &[], &BlockAttributes::default(), 0)
    }

    pub(super) fn new(header: &Header, included: &[Included], attributes: &BlockAttributes, sealed_ms: u64) -> Self {
        let of_logs = |included: &Included| included.logs.iter().map(|log| log.data.data.len() + 192).sum::<usize>();
        let of_one = |included: &Included| included.transaction.raw.len() + 96 + of_logs(included);
        let mut transactions = Vec::with_capacity(included.iter().map(of_one).sum());
        included.iter().for_each(|included| encode_included(included, &mut transactions));
        let no_ommers = Vec::new();
        let ommers = attributes.proof_of_work.as_ref().map_or(&no_ommers, |work| &work.ommers);
        let mut payload = Vec::with_capacity(transactions.len() + 1024);
        header.encode(&mut payload);
        encode_list(&transactions, &mut payload);
        ommers.encode(&mut payload);
        attributes.withdrawals.encode(&mut payload);
        sealed_ms.encode(&mut payload);
        let mut bytes = Vec::with_capacity(payload.len() + 9);
        encode_list(&payload, &mut bytes);
        Self::decode(bytes.into()).expect("what was encoded decodes")
    }

    /// `None` if the bytes are no such record.
    pub fn decode(bytes: Bytes) -> Option<Self> {
        let mut rest = &bytes[..];
        let mut fields = RlpHeader::decode_bytes(&mut rest, true).ok().filter(|_| rest.is_empty())?;
        let header = item(&bytes, &mut fields)?;
        let mut list = RlpHeader::decode_bytes(&mut fields, true).ok()?;
        let mut transactions = Vec::new();
        while !list.is_empty() {
            transactions.push(item(&bytes, &mut list)?);
        }
        let ommers = item(&bytes, &mut fields)?;
        let withdrawals = item(&bytes, &mut fields)?;
        let sealed_ms = u64::decode(&mut fields).ok().filter(|_| fields.is_empty())?;
        Some(Self { header, transactions, ommers, withdrawals, sealed_ms, bytes })
    }

    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub fn header(&self) -> Option<Header> {
        Header::decode(&mut &self.header[..]).ok()
    }

    pub fn header_rlp(&self) -> Bytes {
        self.header.clone()
    }

    pub fn transaction_count(&self) -> usize {
        self.transactions.len()
    }

    pub fn transaction(&self, index: usize) -> Option<Included> {
        decode_included(self.transactions.get(index)?)
    }

    /// All transactions; ends early at one that does not decode.
    pub fn transactions(&self) -> impl Iterator<Item = Included> + '_ {
        self.transactions.iter().map_while(decode_included)
    }

    /// A transaction as it was submitted.
    pub fn raw(&self, index: usize) -> Option<&[u8]> {
        let mut fields = RlpHeader::decode_bytes(&mut &self.transactions.get(index)?[..], true).ok()?;
        RlpHeader::decode_bytes(&mut fields, false).ok()
    }

    /// Where a transaction can be found in, without decoding all of it.
    pub fn touched(&self, index: usize) -> Option<Touched> {
        let recipient = match transaction::recipient(self.raw(index)?)? {
            TxKind::Call(to) => to,
            TxKind::Create => self.transaction(index)?.contract_address()?,
        };
        let logs = Vec::<Log>::decode(&mut self.fields_at_logs(index)?).ok()?;
        Some(Touched { recipient, logs })
    }

    /// Whether `matches` holds for any of a transaction's logs, by address and topics. Whoever searches reads many and needs few: nothing else is
    /// decoded.
    pub fn any_log(&self, index: usize, matches: impl Fn(&Address, &[B256]) -> bool) -> Option<bool> {
        let mut fields = self.fields_at_logs(index)?;
        let mut logs = RlpHeader::decode_bytes(&mut fields, true).ok()?;
        while !logs.is_empty() {
            let mut log = RlpHeader::decode_bytes(&mut logs, true).ok()?;
            let address = Address::decode(&mut log).ok()?;
            let mut topics = RlpHeader::decode_bytes(&mut log, true).ok()?;
            let (mut found, mut count) = ([B256::ZERO; TOPICS_MAX], 0);
            while !topics.is_empty() {
                *found.get_mut(count)? = B256::decode(&mut topics).ok()?;
                count += 1;
            }
            if matches(&address, found.get(..count)?) {
                return Some(true);
            }
        }
        Some(false)
    }

    /// A transaction's fields from its logs on.
    fn fields_at_logs(&self, index: usize) -> Option<&[u8]> {
        let mut fields = RlpHeader::decode_bytes(&mut &self.transactions.get(index)?[..], true).ok()?;
        for _ in 0..LOGS_FIELD {
            let field = RlpHeader::decode(&mut fields).ok()?;
            fields = fields.get(field.payload_length..)?;
        }
        Some(fields)
    }

    pub fn ommers(&self) -> Option<Vec<Header>> {
        Vec::decode(&mut &self.ommers[..]).ok()
    }

    pub fn withdrawals(&self) -> Option<Withdrawals> {
        Withdrawals::decode(&mut &self.withdrawals[..]).ok()
    }

    /// When it was sealed, milliseconds since 1970; 0 for imported blocks.
    pub fn sealed_ms(&self) -> u64 {
        self.sealed_ms
    }
}

fn encode_included(included: &Included, out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(included.transaction.raw.len() + 96);
    included.transaction.raw[..].encode(&mut payload);
    included.transaction.finding()[..].encode(&mut payload);
    included.txid.view.0.encode(&mut payload);
    included.txid.seqno.0.encode(&mut payload);
    match &included.status {
        Eip658Value::Eip658(success) => success.encode(&mut payload),
        Eip658Value::PostState(root) => root.encode(&mut payload),
    }
    included.gas_used.encode(&mut payload);
    included.cumulative_gas_used.encode(&mut payload);
    included.first_log_index.encode(&mut payload);
    included.logs.encode(&mut payload);
    payload.extend(included.told.iter().flat_map(Told::encode));
    encode_list(&payload, out);
}

fn decode_included(entry: &Bytes) -> Option<Included> {
    let mut fields = RlpHeader::decode_bytes(&mut &entry[..], true).ok()?;
    let raw = RlpHeader::decode_bytes(&mut fields, false).ok()?;
    let raw = entry.slice_ref(raw);
    let finding = RlpHeader::decode_bytes(&mut fields, false).ok()?;
    let view = View(u64::decode(&mut fields).ok()?);
    let seqno = Seqno(u64::decode(&mut fields).ok()?);
    // A status is one byte, a state root is 33.
    let status = match fields.first()? {
        0xa0 => Eip658Value::PostState(B256::decode(&mut fields).ok()?),
        _ => Eip658Value::Eip658(bool::decode(&mut fields).ok()?),
    };
    let txid = TxId::new(view, seqno);
    let included = Included {
        transaction: Transaction::readmit(raw, finding).ok()?,
        txid,
        status,
        gas_used: u64::decode(&mut fields).ok()?,
        cumulative_gas_used: u64::decode(&mut fields).ok()?,
        first_log_index: u64::decode(&mut fields).ok()?,
        logs: Vec::<Log>::decode(&mut fields).ok()?,
        told: if fields.is_empty() { None } else { Some(Told::decode(&mut fields, txid)?) },
        bloom: OnceLock::new(),
    };
    fields.is_empty().then_some(included)
}

fn encode_list(payload: &[u8], out: &mut Vec<u8>) {
    RlpHeader { list: true, payload_length: payload.len() }.encode(out);
    out.extend_from_slice(payload);
}

/// The next item of `fields`, which lies inside `all`; moves past it.
fn item(all: &Bytes, fields: &mut &[u8]) -> Option<Bytes> {
    let mut after = *fields;
    let header = RlpHeader::decode(&mut after).ok()?;
    let length = (fields.len() - after.len()).checked_add(header.payload_length)?;
    let (item, rest) = fields.split_at_checked(length)?;
    *fields = rest;
    Some(all.slice_ref(item))
}
