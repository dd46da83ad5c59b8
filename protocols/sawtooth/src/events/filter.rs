//! Which events a subscriber wants. Patterns are matched anywhere in a value, by an engine that takes linear time: look-around and
//! back-references, which Python has, are refused. How long a value takes still grows with the pattern, so what a subscriber's patterns are tried on is
//! weighed and bounded ([`Effort`]): whoever subscribes chooses the patterns, and others choose the events.

use crate::limits::{
    FILTERS_MAX, MATCHED_ATTRIBUTE_BYTES, MATCHED_BYTES_MAX, PATTERN_BYTES_MAX, PATTERN_COMPILED_BYTES_MAX,
    SUBSCRIPTIONS_MAX,
};
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
    Matches { pattern: Regex, weight: usize },
}

/// What patterns have been tried on, bytes times their weights, in one block or for one question.
#[derive(Clone, Copy, Debug, Default)]
pub struct Effort(usize);

/// Patterns would have to be tried on more than [`MATCHED_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the patterns of a subscription would have to be tried on too much")]
pub struct TooMuch;

impl Effort {
    pub fn spent(self) -> usize {
        self.0
    }

    fn spend(&mut self, bytes: usize, weight: usize) -> Result<(), TooMuch> {
        self.0 = self.0.saturating_add(bytes.max(MATCHED_ATTRIBUTE_BYTES).saturating_mul(weight));
        if self.0 > MATCHED_BYTES_MAX { Err(TooMuch) } else { Ok(()) }
    }
}

/// A filter was not understood, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidFilter(pub String);

impl Subscriptions {
    pub fn new(subscriptions: &[EventSubscription]) -> Result<Self, InvalidFilter> {
        let filters = subscriptions.iter().map(|subscription| subscription.filters.len()).sum();
        Self::check_count(subscriptions.len(), filters)?;
        let compile = |subscription: &EventSubscription| {
            bounded(&subscription.event_type)?;
            let filters = subscription.filters.iter().map(Filter::new).collect::<Result<_, _>>()?;
            Ok(Subscription { event_type: subscription.event_type.clone(), filters })
        };
        subscriptions.iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there may be so many, also before they are decoded.
    pub fn check_count(subscriptions: usize, filters: usize) -> Result<(), InvalidFilter> {
        if subscriptions <= SUBSCRIPTIONS_MAX && filters <= FILTERS_MAX {
            return Ok(());
        }
        Err(InvalidFilter(format!("at most {SUBSCRIPTIONS_MAX} subscriptions and {FILTERS_MAX} filters")))
    }

    /// How many patterns it is going to match.
    pub fn patterns(&self) -> usize {
        let filters = self.0.iter().flat_map(|subscription| &subscription.filters);
        filters.filter(|filter| matches!(filter.test, Test::Matches { .. })).count()
    }

    pub fn want(&self, event: &Event, effort: &mut Effort) -> Result<bool, TooMuch> {
        for subscription in self.0.iter().filter(|one| one.event_type == event.event_type) {
            let mut passes = true;
            for filter in &subscription.filters {
                passes = passes && filter.passes(event, effort)?;
            }
            if passes {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Filter {
    fn new(filter: &crate::messages::ledger::EventFilter) -> Result<Self, InvalidFilter> {
        let text = bounded(&filter.match_string)?;
        bounded(&filter.key)?;
        let (of_all, test) = match filter.filter_type {
            filter_type::SIMPLE_ANY => (false, Test::Equal(text.to_owned())),
            filter_type::SIMPLE_ALL => (true, Test::Equal(text.to_owned())),
            filter_type::REGEX_ANY => (false, compile(text)?),
            filter_type::REGEX_ALL => (true, compile(text)?),
            other => return Err(InvalidFilter(format!("unknown filter type {other}"))),
        };
        Ok(Self { key: filter.key.clone(), of_all, test })
    }

    fn passes(&self, event: &Event, effort: &mut Effort) -> Result<bool, TooMuch> {
        for attribute in event.attributes.iter().filter(|attribute| attribute.key == self.key) {
            let passes = match &self.test {
                Test::Equal(text) => attribute.value == *text,
                Test::Matches { pattern, weight } => {
                    effort.spend(attribute.value.len(), *weight)?;
                    pattern.is_match(&attribute.value)
                }
            };
            if passes != self.of_all {
                return Ok(passes);
            }
        }
        Ok(self.of_all)
    }
}

/// The text, unless it is too long to be kept for a subscriber.
fn bounded(text: &str) -> Result<&str, InvalidFilter> {
    let too_long = || InvalidFilter(format!("a filter's texts have at most {PATTERN_BYTES_MAX} bytes each"));
    (text.len() <= PATTERN_BYTES_MAX).then_some(text).ok_or_else(too_long)
}

fn compile(pattern: &str) -> Result<Test, InvalidFilter> {
    // What it takes compiled is only told by not exceeding a limit.
    let mut bytes = SMALL_PATTERN_BYTES;
    loop {
        match RegexBuilder::new(pattern).size_limit(bytes).dfa_size_limit(PATTERN_COMPILED_BYTES_MAX).build() {
            Ok(pattern) => return Ok(Test::Matches { pattern, weight: bytes / SMALL_PATTERN_BYTES }),
            Err(regex::Error::CompiledTooBig(_)) if bytes < PATTERN_COMPILED_BYTES_MAX => bytes *= 2,
            Err(error) => return Err(InvalidFilter(format!("Invalid regex: {error}"))),
        }
    }
}

/// A pattern of so many bytes, compiled, weighs one.
const SMALL_PATTERN_BYTES: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::ledger::{Attribute, EventFilter};

    fn wants(kind: i32, text: &str, values: &[&str]) -> Result<bool, InvalidFilter> {
        let filter = EventFilter { key: "k".into(), match_string: text.into(), filter_type: kind };
        let subscription = EventSubscription { event_type: "t".into(), filters: vec![filter] };
        let attributes = values.iter().map(|value| Attribute::new("k", *value)).collect();
        let event = Event { event_type: "t".into(), attributes, ..Event::default() };
        Ok(Subscriptions::new(&[subscription])?.want(&event, &mut Effort::default()).unwrap())
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

    #[test]
    fn no_text_of_a_subscription_is_longer_than_a_pattern_may_be() {
        let understood = |kind: i32, of_type: usize, of_key: usize, of_value: usize| {
            let text = |bytes: usize| "a".repeat(bytes);
            let filter = EventFilter { key: text(of_key), match_string: text(of_value), filter_type: kind };
            Subscriptions::new(&[EventSubscription { event_type: text(of_type), filters: vec![filter] }]).is_ok()
        };
        let (most, more) = (PATTERN_BYTES_MAX, PATTERN_BYTES_MAX + 1);
        for kind in [filter_type::SIMPLE_ANY, filter_type::SIMPLE_ALL, filter_type::REGEX_ANY, filter_type::REGEX_ALL] {
            assert!(understood(kind, most, most, most));
            assert!(!understood(kind, more, most, most));
            assert!(!understood(kind, most, more, most));
            assert!(!understood(kind, most, most, more));
        }
    }

    #[test]
    fn what_the_patterns_of_one_subscriber_are_tried_on_is_bounded_the_more_the_larger_they_are() {
        let tried_on = |pattern: &str| {
            let filter =
                EventFilter { key: "k".into(), match_string: pattern.into(), filter_type: filter_type::REGEX_ANY };
            let subscription = EventSubscription { event_type: "t".into(), filters: vec![filter] };
            let wanted = Subscriptions::new(&[subscription]).unwrap();
            let attributes = vec![Attribute::new("k", "x".repeat(1 << 10))];
            let event = Event { event_type: "t".into(), attributes, ..Event::default() };
            let mut effort = Effort::default();
            (0..).take_while(|_| wanted.want(&event, &mut effort).is_ok()).count()
        };
        let all = MATCHED_BYTES_MAX >> 10;
        assert_eq!(tried_on("^1cf126[0-9a-f]{64}$"), all);
        assert!(tried_on("[0-9a-f]{1300}y") <= all / 8);
        let other = Event { event_type: "other".into(), ..Event::default() };
        let mut effort = Effort::default();
        assert!(!Subscriptions::default().want(&other, &mut effort).unwrap() && effort.spent() == 0);
    }
}
