//! The logs in a block's record, read where they lie.
//!
//! Whoever searches reads many logs and wants few: nothing is copied, and of a transaction without a match nothing else is looked at.

use alloy_primitives::{Address, B256, Log};
use alloy_rlp::{Decodable, Header as RlpHeader};

use crate::transaction::Transaction;

/// Fields of a transaction between the finding of its admission and the index of its first log.
const FIELDS_BETWEEN: usize = 5;
/// A topic's RLP: a length of 32, and the topic.
const TOPIC_RLP_BYTES: usize = 33;
const TOPIC_RLP_FIRST: u8 = 0x80 + 32;

/// Where a log is in its block.
#[derive(Clone, Copy, Debug)]
pub struct LogPlace<'a> {
    pub transaction_hash: &'a B256,
    pub transaction_index: usize,
    pub log_index: u64,
}

/// What a transaction logged.
#[derive(Clone, Copy, Debug)]
pub struct Logged<'a> {
    /// All of the transaction in the record.
    pub entry: &'a [u8],
    /// Its first fields, of which [`transaction_of`] makes the transaction.
    pub front: &'a [u8],
    /// Index of its first log in the block.
    pub first_log_index: u64,
    /// Its logs, one behind the other, for [`logs_in`].
    pub logs: &'a [u8],
}

/// A log.
#[derive(Clone, Copy, Debug)]
pub struct LogRef<'a> {
    pub address: &'a Address,
    pub topics: Topics<'a>,
    pub data: &'a [u8],
}

/// A log's topics, as decoded or as RLP.
#[derive(Clone, Copy, Debug)]
pub enum Topics<'a> {
    Decoded(&'a [B256]),
    Encoded(&'a [[u8; TOPIC_RLP_BYTES]]),
}

/// The logs of each of the transactions that lie one behind the other; `None` for one that is damaged.
pub fn logged_in(mut transactions: &[u8]) -> impl Iterator<Item = Option<Logged<'_>>> {
    std::iter::from_fn(move || next_item(&mut transactions).map(Logged::decode))
}

/// Logs that lie one behind the other; `None` for one that is damaged, and nothing behind that.
pub fn logs_in(mut logs: &[u8]) -> impl Iterator<Item = Option<LogRef<'_>>> {
    std::iter::from_fn(move || LogRef::next(&mut logs))
}

/// The transaction that begins like this in a record.
pub fn transaction_of(mut front: &[u8]) -> Option<Transaction> {
    let raw = RlpHeader::decode_bytes(&mut front, false).ok()?;
    let finding = RlpHeader::decode_bytes(&mut front, false).ok()?;
    Transaction::readmit(raw.to_vec().into(), finding).ok()
}

/// The next item, with its header; moves past it.
pub(super) fn next_item<'a>(items: &mut &'a [u8]) -> Option<&'a [u8]> {
    let mut after = *items;
    let header = RlpHeader::decode(&mut after).ok()?;
    let length = (items.len() - after.len()).checked_add(header.payload_length)?;
    let (item, rest) = items.split_at_checked(length)?;
    *items = rest;
    Some(item)
}

impl<'a> Logged<'a> {
    fn decode(entry: &'a [u8]) -> Option<Self> {
        let mut fields = RlpHeader::decode_bytes(&mut &entry[..], true).ok()?;
        let all = fields;
        next_item(&mut fields)?;
        next_item(&mut fields)?;
        let front = &all[..all.len() - fields.len()];
        for _ in 0..FIELDS_BETWEEN {
            next_item(&mut fields)?;
        }
        let first_log_index = u64::decode(&mut fields).ok()?;
        let logs = RlpHeader::decode_bytes(&mut fields, true).ok()?;
        Some(Self { entry, front, first_log_index, logs })
    }
}

impl<'a> LogRef<'a> {
    /// The first of logs that lie one behind the other; moves past it, and to the end if it is damaged.
    pub fn next(logs: &mut &'a [u8]) -> Option<Option<Self>> {
        let log = (!logs.is_empty()).then(|| Self::decode(logs))?;
        if log.is_none() {
            *logs = &[];
        }
        Some(log)
    }

    fn decode(rest: &mut &'a [u8]) -> Option<Self> {
        let mut log = RlpHeader::decode_bytes(rest, true).ok()?;
        let address = RlpHeader::decode_bytes(&mut log, false).ok()?.try_into().ok()?;
        let topics = RlpHeader::decode_bytes(&mut log, true).ok()?;
        let (topics, []) = topics.as_chunks::<TOPIC_RLP_BYTES>() else { return None };
        if topics.iter().any(|[first, ..]| *first != TOPIC_RLP_FIRST) {
            return None;
        }
        let data = RlpHeader::decode_bytes(&mut log, false).ok()?;
        log.is_empty().then_some(Self { address, topics: Topics::Encoded(topics), data })
    }
}

impl<'a> From<&'a Log> for LogRef<'a> {
    fn from(log: &'a Log) -> Self {
        Self { address: &log.address, topics: Topics::Decoded(log.topics()), data: &log.data.data }
    }
}

impl<'a> Topics<'a> {
    pub fn count(&self) -> usize {
        match self {
            Self::Decoded(topics) => topics.len(),
            Self::Encoded(topics) => topics.len(),
        }
    }

    pub fn at(&self, position: usize) -> Option<&'a B256> {
        match self {
            Self::Decoded(topics) => topics.get(position),
            Self::Encoded(topics) => topics.get(position).map(|[_, topic @ ..]| topic.into()),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a B256> + use<'a> {
        let topics = *self;
        (0..topics.count()).map_while(move |position| topics.at(position))
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::Bytes;
    use alloy_rlp::Encodable;

    use super::*;
    use crate::testing::logging_block;

    fn log(number: u8, topics: u8) -> Log {
        let topics = (0..topics).map(|position| B256::repeat_byte(16 * number + position)).collect();
        Log::new_unchecked(Address::repeat_byte(number), topics, vec![number; usize::from(number) * 20].into())
    }

    #[test]
    fn logs_are_read_as_they_were_written_without_the_transactions() {
        let (record, included) = logging_block(vec![vec![log(1, 0), log(2, 4)], Vec::new(), vec![log(3, 1)]]);
        let logged: Vec<_> = logged_in(record.transactions_rlp()).map(Option::unwrap).collect();
        assert_eq!(logged.len(), included.len());
        for (logged, included) in logged.iter().zip(&included) {
            assert_eq!(logged.first_log_index, included.first_log_index);
            assert_eq!(transaction_of(logged.front).unwrap().hash, included.transaction.hash);
            let read = |log: LogRef<'_>| {
                let topics: Vec<B256> = log.topics.iter().copied().collect();
                assert_eq!(topics.len(), log.topics.count());
                Log::new_unchecked(*log.address, topics, Bytes::copy_from_slice(log.data))
            };
            assert_eq!(logs_in(logged.logs).map(|log| read(log.unwrap())).collect::<Vec<_>>(), included.logs);
        }
    }

    #[test]
    fn a_damaged_log_is_told_and_nothing_is_read_behind_it() {
        let mut logs = Vec::new();
        [log(1, 2), log(2, 2), log(3, 2)].iter().for_each(|log| log.encode(&mut logs));
        let found = |logs: &[u8]| -> Vec<bool> { logs_in(logs).map(|log| log.is_some()).collect() };
        assert_eq!(found(&logs), [true; 3]);
        assert_eq!(found(&logs[..logs.len() - 1]), [true, true, false]);
        let topic = logs.iter().position(|byte| *byte == TOPIC_RLP_FIRST).unwrap();
        logs[topic] = TOPIC_RLP_FIRST - 1;
        assert_eq!(found(&logs), [false]);
    }
}
