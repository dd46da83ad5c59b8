//! Wing and Gong's search with Lowe's cache (WGL): puts operations in order one by one, those first that may come first, and goes back when an
//! answer cannot be explained. What was tried is remembered as (which operations, state), and not tried again.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Action, Operation};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Linearizable,
    /// No order explains this key. The operation is the last that could not be put anywhere in the longest order found.
    Broken {
        key: String,
        stuck_at: Box<Operation>,
    },
    /// The search was given up after so many steps.
    Unknown {
        key: String,
    },
}

/// Far beyond what histories of a few thousand operations with a handful of clients take.
const STEPS_MAX: u64 = 20_000_000;

/// Judges each key's history apart; the first that is broken, or could not be judged.
pub fn check(operations: &[Operation]) -> Verdict {
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        keys.entry(&operation.key).or_default().push(operation);
    }
    let judged = keys.into_values().map(|operations| Search::new(operations).run());
    judged.into_iter().find(|verdict| *verdict != Verdict::Linearizable).unwrap_or(Verdict::Linearizable)
}

/// The one copy of the data.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct State {
    register: Option<String>,
    total: i64,
    list: Vec<String>,
    set: BTreeSet<String>,
    balances: BTreeMap<String, i64>,
}

impl State {
    /// `None`: it would have answered otherwise.
    fn after(&self, action: &Action) -> Option<Self> {
        let mut next = self.clone();
        let explained = match action {
            Action::Write(value) => {
                next.register = Some(value.clone());
                true
            }
            Action::Read(seen) => *seen == self.register,
            Action::Add { amount, total } => {
                next.total += amount;
                total.is_none_or(|total| total == next.total)
            }
            Action::Total(seen) => *seen == self.total,
            Action::Append(value) => {
                next.list.push(value.clone());
                true
            }
            Action::List(seen) => *seen == self.list,
            Action::Insert(value) => {
                next.set.insert(value.clone());
                true
            }
            Action::Set(seen) => {
                seen.iter().collect::<BTreeSet<_>>() == self.set.iter().collect() && seen.len() == self.set.len()
            }
            Action::Transfer { from, to, amount } => {
                *next.balances.entry(from.clone()).or_default() -= amount;
                *next.balances.entry(to.clone()).or_default() += amount;
                true
            }
            Action::Balances(seen) => {
                let some = |balances: &BTreeMap<String, i64>| -> BTreeMap<String, i64> {
                    balances
                        .iter()
                        .filter(|(_, amount)| **amount != 0)
                        .map(|(name, amount)| (name.clone(), *amount))
                        .collect()
                };
                some(seen) == some(&self.balances) && seen.values().sum::<i64>() == 0
            }
        };
        explained.then_some(next)
    }
}

/// A call or a return, in a doubly linked list by time: what is put in order is taken out, and put back when the search goes back.
struct Event {
    operation: usize,
    is_call: bool,
    before: usize,
    after: usize,
}

/// The head of the list; the operations' events follow.
const HEAD: usize = 0;

struct Search<'a> {
    operations: Vec<&'a Operation>,
    events: Vec<Event>,
    /// Where each operation returns, if it does.
    returns: Vec<Option<usize>>,
    done: Vec<u64>,
    tried: HashSet<(Vec<u64>, State)>,
}

impl<'a> Search<'a> {
    fn new(operations: Vec<&'a Operation>) -> Self {
        let mut times: Vec<(u64, bool, usize)> = Vec::new();
        for (number, operation) in operations.iter().enumerate() {
            times.push((operation.call, false, number));
            // What returns at the moment of another's call may have come after it.
            times.extend(operation.returned.map(|at| (at.max(operation.call), true, number)));
        }
        times.sort_unstable();
        let mut events = vec![Event { operation: usize::MAX, is_call: false, before: HEAD, after: HEAD }];
        let mut returns = vec![None; operations.len()];
        for (_, is_return, operation) in times {
            let at = events.len();
            if is_return {
                returns[operation] = Some(at);
            }
            let before = events[HEAD].before;
            events.push(Event { operation, is_call: !is_return, before, after: HEAD });
            events[before].after = at;
            events[HEAD].before = at;
        }
        let done = vec![0; operations.len().div_ceil(64)];
        Self { operations, events, returns, done, tried: HashSet::new() }
    }

    fn run(mut self) -> Verdict {
        let key = self.operations.first().map(|operation| operation.key.clone()).unwrap_or_default();
        let mut state = State::default();
        let mut ordered: Vec<(usize, State)> = Vec::new();
        let mut at = self.events[HEAD].after;
        let (mut longest, mut stuck_at) = (0, None);
        for _ in 0..STEPS_MAX {
            // Only operations that never returned are left, and they need not have happened.
            if at == HEAD {
                return Verdict::Linearizable;
            }
            let Event { operation, is_call, after, .. } = self.events[at];
            if is_call {
                match state.after(&self.operations[operation].action).filter(|next| self.is_new(operation, next)) {
                    Some(next) => {
                        self.take(operation, at);
                        ordered.push((at, std::mem::replace(&mut state, next)));
                        at = self.events[HEAD].after;
                    }
                    None => at = after,
                }
                continue;
            }
            // This one has returned, and cannot be put before here.
            if ordered.len() >= longest {
                (longest, stuck_at) = (ordered.len(), Some(operation));
            }
            let Some((call, before)) = ordered.pop() else {
                let stuck_at = self.operations[stuck_at.unwrap_or(operation)].clone();
                return Verdict::Broken { key, stuck_at: Box::new(stuck_at) };
            };
            state = before;
            self.put_back(self.events[call].operation, call);
            at = self.events[call].after;
        }
        Verdict::Unknown { key }
    }

    fn is_new(&mut self, operation: usize, next: &State) -> bool {
        let mut done = self.done.clone();
        done[operation / 64] |= 1 << (operation % 64);
        self.tried.insert((done, next.clone()))
    }

    fn take(&mut self, operation: usize, call: usize) {
        self.done[operation / 64] |= 1 << (operation % 64);
        for at in [Some(call), self.returns[operation]].into_iter().flatten() {
            let (before, after) = (self.events[at].before, self.events[at].after);
            self.events[before].after = after;
            self.events[after].before = before;
        }
    }

    fn put_back(&mut self, operation: usize, call: usize) {
        self.done[operation / 64] &= !(1 << (operation % 64));
        for at in [self.returns[operation], Some(call)].into_iter().flatten() {
            let (before, after) = (self.events[at].before, self.events[at].after);
            self.events[before].after = at;
            self.events[after].before = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &str, call: u64, returned: impl Into<Option<u64>>, action: Action) -> Operation {
        Operation { client: call, key: key.to_owned(), call, returned: returned.into(), action }
    }

    fn write(call: u64, returned: impl Into<Option<u64>>, value: &str) -> Operation {
        of("r", call, returned, Action::Write(value.to_owned()))
    }

    fn read(call: u64, returned: u64, value: &str) -> Operation {
        of("r", call, returned, Action::Read((!value.is_empty()).then(|| value.to_owned())))
    }

    fn is_good(operations: &[Operation]) -> bool {
        check(operations) == Verdict::Linearizable
    }

    #[test]
    fn a_read_during_a_write_may_see_either_value_and_one_after_it_only_the_new_one() {
        assert!(is_good(&[write(1, 10, "a"), read(2, 3, ""), read(4, 5, "a"), read(11, 12, "a")]));
        assert!(!is_good(&[write(1, 10, "a"), read(11, 12, "")]), "a stale read");
        assert!(!is_good(&[write(1, 10, "a"), read(2, 3, "a"), read(4, 5, "")]), "back in time");
        assert!(!is_good(&[write(1, 2, "a"), read(3, 4, "b")]), "out of thin air");
        assert!(!is_good(&[write(1, 2, "a"), write(3, 4, "b"), read(5, 6, "a")]), "a lost write");
    }

    #[test]
    fn a_write_that_never_returned_may_have_happened_at_any_time_or_never() {
        assert!(is_good(&[write(1, None, "a"), read(5, 6, ""), read(7, 8, "a")]));
        assert!(is_good(&[write(1, None, "a"), read(5, 6, ""), read(7, 8, "")]));
        assert!(!is_good(&[write(1, None, "a"), read(5, 6, "a"), read(7, 8, "")]));
    }

    #[test]
    fn two_readers_must_agree_on_the_order_of_two_writes() {
        let writes = [write(1, 100, "a"), write(2, 100, "b")];
        let good = [read(10, 11, "a"), read(12, 13, "b"), read(14, 15, "b")];
        let bad = [read(10, 11, "a"), read(12, 13, "b"), read(14, 15, "a")];
        assert!(is_good(&[&writes[..], &good].concat()));
        assert!(!is_good(&[&writes[..], &bad].concat()));
    }

    #[test]
    fn keys_are_judged_apart_and_the_broken_one_is_named() {
        let other = of("q", 1, 2, Action::Read(Some("nothing wrote this".to_owned())));
        let verdict = check(&[write(1, 2, "a"), other.clone()]);
        assert_eq!(verdict, Verdict::Broken { key: "q".to_owned(), stuck_at: Box::new(other) });
    }

    #[test]
    fn a_counter_that_lost_or_doubled_an_addition_is_found() {
        let add = |call, returned: Option<u64>, total| of("c", call, returned, Action::Add { amount: 1, total });
        let total = |call, value| of("c", call, call + 1, Action::Total(value));
        assert!(is_good(&[add(1, Some(5), Some(1)), add(2, Some(6), Some(2)), total(7, 2)]));
        assert!(is_good(&[add(1, Some(5), Some(2)), add(2, Some(6), Some(1)), total(7, 2)]));
        assert!(!is_good(&[add(1, Some(5), Some(1)), add(2, Some(6), Some(1))]), "both got the same total");
        assert!(!is_good(&[add(1, Some(5), Some(1)), total(6, 2)]), "counted twice");
        assert!(!is_good(&[add(1, Some(5), None), total(6, 0)]), "lost");
        assert!(is_good(&[add(1, None, None), total(6, 0), total(8, 1)]));
    }

    #[test]
    fn lists_keep_order_and_sets_do_not() {
        let append = |call, value: &str| of("l", call, call + 1, Action::Append(value.to_owned()));
        let insert = |call, value: &str| of("s", call, call + 1, Action::Insert(value.to_owned()));
        let values = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        let list = |seen: &[&str]| of("l", 10, 11, Action::List(values(seen)));
        let set = |seen: &[&str]| of("s", 10, 11, Action::Set(values(seen)));
        assert!(is_good(&[append(1, "a"), append(3, "b"), list(&["a", "b"])]));
        assert!(!is_good(&[append(1, "a"), append(3, "b"), list(&["b", "a"])]));
        assert!(!is_good(&[append(1, "a"), append(3, "b"), list(&["b"])]), "lost");
        assert!(!is_good(&[append(1, "a"), list(&["a", "a"])]), "twice");
        assert!(is_good(&[insert(1, "a"), insert(3, "b"), set(&["b", "a"])]));
        assert!(!is_good(&[insert(1, "a"), insert(3, "b"), set(&["b"])]));
        assert!(!is_good(&[insert(1, "a"), set(&["a", "a"])]));
    }

    #[test]
    fn money_is_neither_made_nor_lost() {
        let transfer = |call, from: &str, to: &str, amount| {
            of("bank", call, call + 1, Action::Transfer { from: from.to_owned(), to: to.to_owned(), amount })
        };
        let balances = |seen: &[(&str, i64)]| {
            of(
                "bank",
                10,
                11,
                Action::Balances(seen.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect()),
            )
        };
        let moved = [transfer(1, "a", "b", 5), transfer(3, "b", "c", 2)];
        assert!(is_good(&[&moved[..], &[balances(&[("a", -5), ("b", 3), ("c", 2)])]].concat()));
        assert!(!is_good(&[&moved[..], &[balances(&[("a", -5), ("b", 5), ("c", 2)])]].concat()), "made");
        assert!(!is_good(&[&moved[..], &[balances(&[("a", -5), ("b", 5), ("c", 0)])]].concat()), "half of a transfer");
    }

    #[test]
    fn a_history_of_thousands_of_operations_by_a_few_clients_is_judged_at_once() {
        let mut operations = Vec::new();
        let mut value = String::new();
        for step in 0..3_000_u64 {
            let at = step * 10;
            if step.is_multiple_of(3) {
                value = format!("v{step}");
                operations.push(write(at, at + 12, &value));
            } else {
                operations.push(read(at + 3, at + 14, &value));
            }
        }
        assert!(is_good(&operations));
        operations.push(read(40_000, 40_001, "v0"));
        assert!(!is_good(&operations));
    }
}
