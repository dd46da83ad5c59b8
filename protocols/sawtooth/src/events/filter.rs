//! Which events a subscriber wants. Patterns are matched anywhere in a value, by an engine that takes linear time: look-around and
//! back-references, which Python has, are refused.

use crate::limits::{FILTERS_MAX, PATTERN_BYTES_MAX, PATTERN_COMPILED_BYTES_MAX, SUBSCRIPTIONS_MAX};
use regex::{Regex, RegexBuilder};

use crate::messages::ledger::{Event, EventSubscription, filter_type};

/// Subscriptions that were understood.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions(Vec<Subscription>);

#[derive(Clone, Debug)]
struct Subscription {
    event_type: String,
    filters: Vec<Filter>,
}

#[derive(Clone, Debug)]
struct Filter {
    key: String,
    /// True also for an event without the key.
    of_all: bool,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Equal(String),
    Matches(Regex),
}

/// A filter was not understood, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidFilter(pub String);

impl Subscriptions {
    pub fn new(subscriptions: &[EventSubscription]) -> Result<Self, InvalidFilter> {
        let filters = subscriptions.iter().map(|subscription| subscription.filters.len()).sum::<usize>();
        if subscriptions.len() > SUBSCRIPTIONS_MAX || filters > FILTERS_MAX {
            return Err(InvalidFilter(format!("at most {SUBSCRIPTIONS_MAX} subscriptions and {FILTERS_MAX} filters")));
        }
        let compile = |subscription: &EventSubscription| {
            let filters = subscription.filters.iter().map(Filter::new).collect::<Result<_, _>>()?;
            Ok(Subscription { event_type: subscription.event_type.clone(), filters })
        };
        subscriptions.iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// How many patterns it is going to match.
    pub fn patterns(&self) -> usize {
        let filters = self.0.iter().flat_map(|subscription| &subscription.filters);
        filters.filter(|filter| matches!(filter.test, Test::Matches(_))).count()
    }

    pub fn want(&self, event: &Event) -> bool {
        self.0.iter().any(|subscription| {
            subscription.event_type == event.event_type
                && subscription.filters.iter().all(|filter| filter.passes(event))
        })
    }
}

impl Filter {
    fn new(filter: &crate::messages::ledger::EventFilter) -> Result<Self, InvalidFilter> {
        let text = &filter.match_string;
        let (of_all, test) = match filter.filter_type {
            filter_type::SIMPLE_ANY => (false, Test::Equal(text.clone())),
            filter_type::SIMPLE_ALL => (true, Test::Equal(text.clone())),
            filter_type::REGEX_ANY => (false, Test::Matches(compile(text)?)),
            filter_type::REGEX_ALL => (true, Test::Matches(compile(text)?)),
            other => return Err(InvalidFilter(format!("unknown filter type {other}"))),
        };
        Ok(Self { key: filter.key.clone(), of_all, test })
    }

    fn passes(&self, event: &Event) -> bool {
        let mut values = event.attributes.iter().filter(|attribute| attribute.key == self.key);
        let test = |value: &str| match &self.test {
            Test::Equal(text) => value == text,
            Test::Matches(pattern) => pattern.is_match(value),
        };
        match self.of_all {
            true => values.all(|attribute| test(&attribute.value)),
            false => values.any(|attribute| test(&attribute.value)),
        }
    }
}

fn compile(pattern: &str) -> Result<Regex, InvalidFilter> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(InvalidFilter(format!("a pattern has at most {PATTERN_BYTES_MAX} bytes")));
    }
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(PATTERN_COMPILED_BYTES_MAX).dfa_size_limit(PATTERN_COMPILED_BYTES_MAX);
    builder.build().map_err(|error| InvalidFilter(format!("Invalid regex: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::ledger::{Attribute, EventFilter};

    fn wants(kind: i32, text: &str, values: &[&str]) -> Result<bool, InvalidFilter> {
        let filter = EventFilter { key: "k".into(), match_string: text.into(), filter_type: kind };
        let subscription = EventSubscription { event_type: "t".into(), filters: vec![filter] };
        let attributes = values.iter().map(|value| Attribute::new("k", *value)).collect();
        let event = Event { event_type: "t".into(), attributes, ..Event::default() };
        Ok(Subscriptions::new(&[subscription])?.want(&event))
    }

    #[test]
    fn filters_test_some_or_all_values_of_a_key() {
        assert_eq!(wants(filter_type::SIMPLE_ANY, "a", &["a", "b"]), Ok(true));
        assert_eq!(wants(filter_type::SIMPLE_ALL, "a", &["a", "b"]), Ok(false));
        assert_eq!(wants(filter_type::SIMPLE_ANY, "a", &[]), Ok(false));
        assert_eq!(wants(filter_type::SIMPLE_ALL, "a", &[]), Ok(true));
        assert_eq!(wants(filter_type::REGEX_ANY, "b.?d", &["abcde"]), Ok(true));
        assert_eq!(wants(filter_type::REGEX_ALL, "^a", &["ab", "ba"]), Ok(false));
    }

    #[test]
    fn patterns_of_addresses_and_words_are_small_enough() {
        for pattern in ["^1cf126[0-9a-f]{64}$", r"^(1cf126|5b7349|000000).*", r"^\w+@\w+$", "(?i)account|transfer"] {
            assert!(wants(filter_type::REGEX_ANY, pattern, &[]).is_ok(), "{pattern}");
        }
        assert!(wants(filter_type::REGEX_ANY, r"\w{40}", &[]).is_err(), "each of them has thousands of letters");
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        assert!(wants(0, "a", &[]).is_err());
        assert!(wants(filter_type::REGEX_ANY, "(", &[]).is_err());
        assert!(wants(filter_type::REGEX_ANY, "(?=a)", &[]).is_err());
        assert!(wants(filter_type::REGEX_ANY, "(((a{99}){99}){99}){99}", &[]).is_err());
        assert!(wants(filter_type::REGEX_ANY, &"a".repeat(1_001), &[]).is_err());
        assert!(Subscriptions::new(&vec![EventSubscription::default(); 101]).is_err());
    }
}
