//! Which logs somebody wants.

use alloy_primitives::{Address, B256, Bloom, BloomInput, keccak256};
use serde::{Deserialize, Deserializer};

use super::error::RpcError;
use super::limits::{LOG_BLOCKS_MAX, LOG_CHOICES_MAX, TOPICS_MAX};
use super::values::{BlockParam, Hex};
use super::view::ChainView;
use crate::block::LogRef;
use crate::index::{Mark, Tag};

/// A filter object as clients send it, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogQuery {
    pub blocks: LogBlocks,
    /// Any of these, sorted; empty for all.
    addresses: Vec<Address>,
    /// For each position any of these, sorted; empty for all. A log must have every position.
    topics: Vec<Vec<B256>>,
    /// What blooms are asked for: one of each group. Hashed once, since a subscription asks every block's.
    hashes: Vec<Vec<B256>>,
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogBlocks {
    One(B256),
    Range { from: Option<BlockParam>, to: Option<BlockParam> },
}

impl LogQuery {
    pub fn everything() -> Self {
        Self::new(LogBlocks::Range { from: None, to: None }, Vec::new(), Vec::new())
    }

    fn new(blocks: LogBlocks, addresses: Vec<Address>, topics: Vec<Vec<B256>>) -> Self {
        let mut hashes: Vec<Vec<B256>> = topics.iter().map(|any| any.iter().map(keccak256).collect()).collect();
        hashes.push(addresses.iter().map(keccak256).collect());
        hashes.retain(|any| !any.is_empty());
        Self { blocks, addresses, topics, hashes }
    }

    /// How many addresses and topics it names.
    pub fn choices(&self) -> usize {
        self.addresses.len() + self.topics.iter().map(Vec::len).sum::<usize>()
    }

    pub fn matches(&self, log: LogRef<'_>) -> bool {
        let fits = |(any, topic): (&Vec<B256>, &B256)| any.is_empty() || any.binary_search(topic).is_ok();
        (self.addresses.is_empty() || self.addresses.binary_search(log.address).is_ok())
            && log.topics.count() >= self.topics.len()
            && self.topics.iter().zip(log.topics.iter()).all(fits)
    }

    /// Whether a block with this bloom can hold a match.
    pub fn may_match(&self, bloom: &Bloom) -> bool {
        let holds = |hash: &B256| bloom.contains_input(BloomInput::Hash(*hash));
        self.hashes.iter().all(|any| any.iter().any(holds))
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

    /// A block can hold a match only if it has a tag of each of these groups.
    pub(super) fn tags(&self) -> Vec<Vec<Tag>> {
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

    /// And a stretch of a block only if it has a mark of each of these, of which those that are empty ask for nothing.
    pub(super) fn marks(&self) -> Vec<Vec<Mark>> {
        let of_position = |(position, any): (usize, &Vec<B256>)| -> Vec<Mark> {
            any.iter().map(|topic| Mark::topic(position, topic)).collect()
        };
        let topics = self.topics.iter().enumerate().map(of_position);
        topics.chain([self.addresses.iter().map(Mark::emitter).collect()]).collect()
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
        let addresses = fields.address.map(|Any(any)| any.sorted()).unwrap_or_default();
        let topics = fields.topics.map(|Positions(all)| all.into_iter().map(Choice::sorted).collect());
        let query = Self::new(blocks, addresses, topics.unwrap_or_default());
        if query.choices() > LOG_CHOICES_MAX {
            return Err(too_many_choices());
        }
        Ok(query)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    from_block: Option<BlockParam>,
    to_block: Option<BlockParam>,
    block_hash: Option<Hex<B256>>,
    address: Option<Any<Address>>,
    topics: Option<Positions>,
}

struct Any<T>(Choice<T>);

struct Positions(Vec<Choice<B256>>);

/// Nothing, one value or several; a `null` among several matches everything.
struct Choice<T>(Vec<T>);

impl<T: Ord> Choice<T> {
    fn sorted(self) -> Vec<T> {
        let mut values = self.0;
        values.sort_unstable();
        values.dedup();
        values.shrink_to_fit();
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
                for count in 0.. {
                    let Some(item) = seq.next_element::<Option<Hex<T>>>()? else { break };
                    if count == LOG_CHOICES_MAX {
                        return Err(too_many_choices());
                    }
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

impl<'de> Deserialize<'de> for Positions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> serde::de::Visitor<'de> for All {
            type Value = Positions;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of topics")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Positions, A::Error> {
                let mut all = Vec::new();
                while let Some(choice) = seq.next_element()? {
                    if all.len() == TOPICS_MAX {
                        return Err(serde::de::Error::custom(format!(
                            "exceed max topics: at most {TOPICS_MAX} positions"
                        )));
                    }
                    all.push(choice);
                }
                Ok(Positions(all))
            }
        }
        deserializer.deserialize_seq(All)
    }
}

fn too_many_choices<E: serde::de::Error>() -> E {
    E::custom(format!("exceed max addresses or topics: at most {LOG_CHOICES_MAX} together"))
}

#[cfg(test)]
mod tests {
    use super::*;

    use alloy_primitives::{Bytes, Log};

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
        let matches = |topics: &str, log: &Log| query(&format!("{{\"topics\":{topics}}}")).unwrap().matches(log.into());
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
        let matches = |text: &str, address: u8| query(text).unwrap().matches((&log(address, &[])).into());
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
        assert!(wanted.matches((&log).into()) && wanted.may_match(&bloom));
        assert!(!wanted.may_match(&Bloom::ZERO));
    }

    #[test]
    fn a_query_names_so_many_addresses_and_topics_and_no_more() {
        let listed = |from: usize, count: usize| {
            let all: Vec<B256> = (from..from + count).map(|n| B256::left_padding_from(&n.to_be_bytes())).collect();
            serde_json::to_string(&all).unwrap()
        };
        let topics = |all: &[String]| query(&format!("{{\"topics\":[{}]}}", all.join(",")));
        let half = LOG_CHOICES_MAX / 2;
        let most = topics(&[listed(0, half), listed(half, half)]).unwrap();
        assert_eq!(most.choices(), LOG_CHOICES_MAX);
        let too_many = topics(&[listed(0, half), listed(half, half), hex(1)]).unwrap_err();
        assert!(too_many.starts_with("exceed max addresses or topics"), "{too_many}");
    }

    #[test]
    fn of_what_names_too_much_no_more_is_read() {
        let address = format!("\"{:?}\",", Address::repeat_byte(1));
        for (text, fault) in [
            (format!("{{\"address\":[{}", address.repeat(LOG_CHOICES_MAX + 1)), "exceed max addresses"),
            (format!("{{\"topics\":[[{}", "null,".repeat(LOG_CHOICES_MAX + 1)), "exceed max addresses"),
            (format!("{{\"topics\":[{}", "null,".repeat(TOPICS_MAX + 1)), "exceed max topics"),
        ] {
            let error = query(&text).unwrap_err();
            assert!(error.starts_with(fault), "it would be told that the text ends too early: {error}");
        }
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
