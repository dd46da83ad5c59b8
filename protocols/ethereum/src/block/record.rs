//! A block as the history keeps it: header, transactions with their senders, ledger positions and receipts.
//!
//! An RLP list: header, transactions, ommers, withdrawals, time of the seal in milliseconds. A transaction is a list: raw bytes,
//! finding of admission, view, seqno, status or state root, gas used, cumulative gas, index of its first log, logs, and, if it asked the
//! Coco precompile, that one's seed and time. One transaction can be read without decoding the others, and the logs without either
//! ([`super::logged`]). Blooms, hashes and contract addresses follow from the rest.

use std::ops::Range;
use std::sync::OnceLock;

use alloy_consensus::{Eip658Value, Header};
use alloy_eips::eip4895::Withdrawals;
use alloy_primitives::{Address, B256, Log, TxKind};
use alloy_rlp::{Decodable, Encodable, Header as RlpHeader};
use bytes::Bytes;
use coco_types::{Seqno, TxId, View};

use super::logged::{logged_in, logs_in, next_item};
use super::{BlockAttributes, Included};
use crate::execute::Told;
use crate::transaction::{self, Transaction};

/// Where a transaction can be found in: the account that it was sent to or was to create, and the address and topics of each of its logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    pub recipient: Address,
    pub logs: Vec<(Address, Vec<B256>)>,
}

/// A block's record. Its structure was checked, its parts are decoded when asked for.
#[derive(Clone, Debug)]
pub struct BlockRecord {
    bytes: Bytes,
    header: Bytes,
    /// One behind the other.
    transactions: Bytes,
    /// Where each of them ends.
    ends: Vec<u32>,
    ommers: Bytes,
    withdrawals: Bytes,
    sealed_ms: u64,
}

impl BlockRecord {
    /// Block 0: a header alone.
    pub(crate) fn genesis(header: &Header) -> Self {
        Self::new(header, &[], &BlockAttributes::default(), 0)
    }

    pub(crate) fn new(header: &Header, included: &[Included], attributes: &BlockAttributes, sealed_ms: u64) -> Self {
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
        let transactions = bytes.slice_ref(RlpHeader::decode_bytes(&mut fields, true).ok()?);
        let (mut list, mut ends) = (&transactions[..], Vec::new());
        while !list.is_empty() {
            next_item(&mut list)?;
            ends.push(u32::try_from(transactions.len() - list.len()).ok()?);
        }
        let ommers = item(&bytes, &mut fields)?;
        let withdrawals = item(&bytes, &mut fields)?;
        let sealed_ms = u64::decode(&mut fields).ok().filter(|_| fields.is_empty())?;
        Some(Self { header, transactions, ends, ommers, withdrawals, sealed_ms, bytes })
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
        self.ends.len()
    }

    pub fn transaction(&self, index: usize) -> Option<Included> {
        decode_included(self.entry(index)?, &self.bytes)
    }

    /// All transactions; ends early at one that does not decode.
    pub fn transactions(&self) -> impl Iterator<Item = Included> + '_ {
        (0..self.transaction_count()).map_while(|index| self.transaction(index))
    }

    /// A transaction as it was submitted.
    pub fn raw(&self, index: usize) -> Option<&[u8]> {
        let mut fields = RlpHeader::decode_bytes(&mut self.entry(index)?, true).ok()?;
        RlpHeader::decode_bytes(&mut fields, false).ok()
    }

    /// Where a transaction can be found in, without decoding all of it.
    pub fn touched(&self, index: usize) -> Option<Touched> {
        let recipient = match transaction::recipient(self.raw(index)?)? {
            TxKind::Call(to) => to,
            TxKind::Create => self.transaction(index)?.contract_address()?,
        };
        let logged = logged_in(self.entry(index)?).next()??;
        let places =
            logs_in(logged.logs).map(|log| log.map(|log| (*log.address, log.topics.iter().copied().collect())));
        Some(Touched { recipient, logs: places.collect::<Option<_>>()? })
    }

    /// The transactions, one behind the other, for [`super::logged_in`].
    pub fn transactions_rlp(&self) -> &[u8] {
        &self.transactions
    }

    /// Where a part of this record lies in it.
    pub fn range_of(&self, part: &[u8]) -> Range<usize> {
        let start = part.as_ptr() as usize - self.bytes.as_ptr() as usize;
        start..start + part.len()
    }

    fn entry(&self, index: usize) -> Option<&[u8]> {
        let end = |index: usize| self.ends.get(index).and_then(|end| usize::try_from(*end).ok());
        let start = if index == 0 { 0 } else { end(index - 1)? };
        self.transactions.get(start..end(index)?)
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

/// `entry` lies inside `all`.
fn decode_included(mut entry: &[u8], all: &Bytes) -> Option<Included> {
    let mut fields = RlpHeader::decode_bytes(&mut entry, true).ok()?;
    let raw = RlpHeader::decode_bytes(&mut fields, false).ok()?;
    let raw = all.slice_ref(raw);
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
    next_item(fields).map(|item| all.slice_ref(item))
}
