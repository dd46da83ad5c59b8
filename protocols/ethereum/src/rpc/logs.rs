//! Which logs somebody wants, and finding them.

use alloy_primitives::{Address, B256, Bloom, BloomInput, Log};
use serde::{Deserialize, Deserializer};

use super::call::Deadline;
use super::committed::{BlockHead, CommittedBlock};
use super::error::RpcError;
use super::json::Json;
use super::limits::{LOG_BLOCKS_MAX, LOGS_MAX, RESPONSE_BYTES_MAX, TOPICS_MAX};
use super::values::{BlockParam, Hex};
use super::view::ChainView;
use crate::block::Included;
use crate::index::Tag;

/// A filter object as clients send it, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogQuery {
    pub blocks: LogBlocks,
    /// Any of these, sorted; empty for all.
    addresses: Vec<Address>,
    /// For each position any of these, sorted; empty for all. A log must have every position.
    topics: Vec<Vec<B256>>,
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogBlocks {
    One(B256),
    Range { from: Option<BlockParam>, to: Option<BlockParam> },
}

impl LogQuery {
    pub fn everything() -> Self {
        Self { blocks: LogBlocks::Range { from: None, to: None }, addresses: Vec::new(), topics: Vec::new() }
    }

    pub fn matches(&self, log: &Log) -> bool {
        self.fits(&log.address, log.topics())
    }

    /// Whether a log of this contract with these topics matches.
    fn fits(&self, address: &Address, topics: &[B256]) -> bool {
        (self.addresses.is_empty() || self.addresses.binary_search(address).is_ok())
            && topics.len() >= self.topics.len()
            && self.topics.iter().zip(topics).all(|(any, topic)| any.is_empty() || any.binary_search(topic).is_ok())
    }

    /// Whether a block with this bloom can hold a match.
    pub fn may_match(&self, bloom: &Bloom) -> bool {
        let holds = |bytes: &[u8]| bloom.contains_input(BloomInput::Raw(bytes));
        (self.addresses.is_empty() || self.addresses.iter().any(|address| holds(address.as_slice())))
            && self.topics.iter().all(|any| any.is_empty() || any.iter().any(|topic| holds(topic.as_slice())))
    }

    /// The blocks to look at, or why not.
    pub fn range(&self, chain: &ChainView<'_>) -> Result<(u64, u64), RpcError> {
        let head = chain.head()?;
        let number = |block: Option<BlockParam>, default: u64| match block {
            None | Some(BlockParam::Latest | BlockParam::Pending) => Ok(default),
            Some(BlockParam::Earliest) => Ok(0),
            Some(BlockParam::Number(number)) => Ok(number),
            Some(BlockParam::Hash(_)) => Err(RpcError::invalid_argument(0, "a range is given by numbers or tags")),
        };
        let (from, to) = match self.blocks {
            LogBlocks::One(hash) => {
                let number = chain.number_of(&hash)?.ok_or_else(|| RpcError::server("unknown block"))?;
                (number, number)
            }
            LogBlocks::Range { from, to } => (number(from, head)?, number(to, head)?),
        };
        if from > to {
            return Err(RpcError::invalid_params("invalid block range params"));
        }
        if to > head {
            return Err(RpcError::invalid_params("block range extends beyond current head block"));
        }
        if to - from >= LOG_BLOCKS_MAX {
            let last = from + LOG_BLOCKS_MAX - 1;
            return Err(RpcError::limit(format!(
                "at most {LOG_BLOCKS_MAX} blocks, such as the range [{from:#x}, {last:#x}]"
            )));
        }
        Ok((from, to))
    }

    /// The matching logs of blocks `from` to `to` that the caller may see.
    pub fn collect(
        &self,
        chain: &ChainView<'_>,
        (from, to): (u64, u64),
        deadline: &Deadline,
    ) -> Result<Json, RpcError> {
        let mut search = Search { query: self, chain, first: from, found: 0, out: String::from("[") };
        let ((index, _), tags) = (chain.index()?, self.tags());
        let mut next = from;
        while next <= to {
            deadline.check()?;
            let Some(blocks) = index.some(&tags, &mut next)? else { break };
            for number in blocks.into_iter().take_while(|number| *number <= to) {
                deadline.check()?;
                search.look_into(number)?;
            }
        }
        // The newest blocks are not indexed yet.
        for number in next..=to {
            if number % 64 == 0 {
                deadline.check()?;
            }
            search.look_into(number)?;
        }
        search.out.push(']');
        Ok(Json(search.out))
    }

    /// A block can hold a match only if it has a tag of each of these groups.
    fn tags(&self) -> Vec<Vec<Tag>> {
        let topics = self.topics.iter().enumerate();
        let of_position = |(position, any): (usize, &Vec<B256>)| -> Vec<Tag> {
            any.iter().map(|topic| Tag::topic(position, topic)).collect()
        };
        let mut groups: Vec<Vec<Tag>> = topics.map(of_position).collect();
        groups.push(self.addresses.iter().map(Tag::emitter).collect());
        groups.retain(|group| !group.is_empty());
        if groups.is_empty() {
            groups.push(vec![Tag::any_log()]);
        }
        groups
    }
}

/// What was found so far.
struct Search<'a, 'b> {
    query: &'a LogQuery,
    chain: &'a ChainView<'b>,
    first: u64,
    found: usize,
    out: String,
}

impl Search<'_, '_> {
    fn look_into(&mut self, number: u64) -> Result<(), RpcError> {
        match self.chain.recent(number)? {
            Some(block) => self.look_into_recent(&block),
            None => self.look_into_stored(number)?,
        }
        if self.found > LOGS_MAX || self.out.len() > RESPONSE_BYTES_MAX {
            return Err(too_many(self.first, number));
        }
        Ok(())
    }

    fn look_into_recent(&mut self, block: &CommittedBlock) {
        if !self.query.may_match(&block.head.header.logs_bloom) {
            return;
        }
        for (included, index, position, log) in block.logs() {
            if self.query.matches(log) {
                self.push(&block.head, included, index, position, log);
            }
        }
    }

    /// Only transactions with a match are decoded whole.
    fn look_into_stored(&mut self, number: u64) -> Result<(), RpcError> {
        let damaged = || RpcError::internal(format!("damaged record: block {number}"));
        let Some(record) = self.chain.block_record(number)? else { return Ok(()) };
        let header = record.header().ok_or_else(damaged)?;
        if !self.query.may_match(&header.logs_bloom) {
            return Ok(());
        }
        let hash = header.hash_slow();
        if !self.chain.discloses_block(&hash) {
            return Ok(());
        }
        let head = BlockHead::new(header, hash, &self.chain.network().schedule);
        for index in 0..record.transaction_count() {
            if !record.any_log(index, |address, topics| self.query.fits(address, topics)).ok_or_else(damaged)? {
                continue;
            }
            let included = record.transaction(index).ok_or_else(damaged)?;
            for (position, log) in included.logs.iter().enumerate().filter(|(_, log)| self.query.matches(log)) {
                self.push(&head, &included, index, position, log);
            }
        }
        Ok(())
    }

    fn push(&mut self, head: &BlockHead, included: &Included, index: usize, position: usize, log: &Log) {
        if !self.chain.discloses_log(&included.transaction, log) {
            return;
        }
        if self.out.len() > 1 {
            self.out.push(',');
        }
        head.push_log(&mut self.out, included, index, position, log);
        self.found += 1;
    }
}

fn too_many(from: u64, reached: u64) -> RpcError {
    match reached.checked_sub(1).filter(|last| *last >= from) {
        Some(last) => RpcError::limit(format!("more than {LOGS_MAX} logs, try the range [{from:#x}, {last:#x}]")),
        None => RpcError::limit(format!("more than {LOGS_MAX} logs in block {reached:#x}, narrow the filter")),
    }
}

impl<'de> Deserialize<'de> for LogQuery {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let fields = Fields::deserialize(deserializer)?;
        let blocks = match fields.block_hash {
            Some(_) if fields.from_block.is_some() || fields.to_block.is_some() => {
                let both = "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other";
                return Err(D::Error::custom(both));
            }
            Some(Hex(hash)) => LogBlocks::One(hash),
            None => LogBlocks::Range { from: fields.from_block, to: fields.to_block },
        };
        let topics: Vec<Vec<B256>> = fields.topics.unwrap_or_default().into_iter().map(Choice::sorted).collect();
        if topics.len() > TOPICS_MAX {
            return Err(D::Error::custom(format!("at most {TOPICS_MAX} topic positions")));
        }
        Ok(Self { blocks, addresses: fields.address.map(|Any(any)| any.sorted()).unwrap_or_default(), topics })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    from_block: Option<BlockParam>,
    to_block: Option<BlockParam>,
    block_hash: Option<Hex<B256>>,
    address: Option<Any<Address>>,
    topics: Option<Vec<Choice<B256>>>,
}

struct Any<T>(Choice<T>);

/// Nothing, one value or several; a `null` among several matches everything.
struct Choice<T>(Vec<T>);

impl<T: Ord> Choice<T> {
    fn sorted(self) -> Vec<T> {
        let mut values = self.0;
        values.sort_unstable();
        values.dedup();
        values
    }
}

impl<'de, T> Deserialize<'de> for Any<T>
where
    Choice<T>: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Deserialize::deserialize(deserializer).map(Self)
    }
}

impl<'de, T: super::values::FromHex> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values<T>(std::marker::PhantomData<T>);
        impl<'de, T: super::values::FromHex> serde::de::Visitor<'de> for Values<T> {
            type Value = Choice<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a hex string, a list of them, or null")
            }

            fn visit_unit<E>(self) -> Result<Choice<T>, E> {
                Ok(Choice(Vec::new()))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Choice<T>, E> {
                Hex::parse(text).map(|Hex(value)| Choice(vec![value])).map_err(E::custom)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Choice<T>, A::Error> {
                let mut values = Vec::new();
                let mut everything = false;
                while let Some(item) = seq.next_element::<Option<Hex<T>>>()? {
                    match item {
                        Some(Hex(value)) => values.push(value),
                        None => everything = true,
                    }
                }
                if everything {
                    values.clear();
                }
                Ok(Choice(values))
            }
        }
        deserializer.deserialize_any(Values(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use alloy_primitives::Bytes;

    fn query(text: &str) -> Result<LogQuery, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    fn hex(byte: u8) -> String {
        format!("\"{}\"", B256::repeat_byte(byte))
    }

    fn log(address: u8, topics: &[u8]) -> Log {
        let topics = topics.iter().map(|byte| B256::repeat_byte(*byte)).collect();
        Log::new_unchecked(Address::repeat_byte(address), topics, Bytes::new())
    }

    #[test]
    fn topics_match_by_position_with_choices_and_wildcards() {
        let matches = |topics: &str, log: &Log| query(&format!("{{\"topics\":{topics}}}")).unwrap().matches(log);
        let (a, b) = (hex(1), hex(2));
        assert!(matches("[]", &log(9, &[])));
        assert!(matches("[null]", &log(9, &[7])));
        assert!(!matches("[null]", &log(9, &[])), "a position that is named must be there");
        assert!(matches(&format!("[{a}]"), &log(9, &[1, 2])));
        assert!(!matches(&format!("[{a}]"), &log(9, &[2, 1])));
        assert!(matches(&format!("[null,{b}]"), &log(9, &[1, 2])));
        assert!(matches(&format!("[[{a},{b}]]"), &log(9, &[2])));
        assert!(matches(&format!("[[{a},null]]"), &log(9, &[3])));
        assert!(matches("[[]]", &log(9, &[3])));
    }

    #[test]
    fn an_address_may_be_one_or_several() {
        let one = Address::repeat_byte(1);
        let matches = |text: &str, address: u8| query(text).unwrap().matches(&log(address, &[]));
        for text in [format!("{{\"address\":\"{one:?}\"}}"), format!("{{\"address\":[\"{one:?}\"]}}")] {
            assert!(matches(&text, 1));
            assert!(!matches(&text, 2));
        }
        assert!(matches("{\"address\":null}", 2));
        assert!(matches("{\"address\":[]}", 2));
    }

    #[test]
    fn the_bloom_never_hides_a_match() {
        let log = log(1, &[2, 3]);
        let bloom = alloy_primitives::logs_bloom([&log]);
        let wanted =
            query(&format!("{{\"address\":\"{:?}\",\"topics\":[null,{}]}}", Address::repeat_byte(1), hex(3))).unwrap();
        assert!(wanted.matches(&log) && wanted.may_match(&bloom));
        assert!(!wanted.may_match(&Bloom::ZERO));
    }

    #[test]
    fn filters_that_mean_nothing_are_refused() {
        let five = ["null"; 5].join(",");
        let hash = hex(1);
        for text in [
            "5".to_owned(),
            format!("{{\"blockHash\":{hash},\"fromBlock\":\"0x1\"}}"),
            format!("{{\"topics\":[{five}]}}"),
            "{\"topics\":[\"0x11\"]}".to_owned(),
            format!("{{\"topics\":[[[{hash}]]]}}"),
            "{\"address\":\"0x11\"}".to_owned(),
            "{\"fromBlock\":\"newest\"}".to_owned(),
        ] {
            assert!(query(&text).is_err(), "{text}");
        }
    }
}
