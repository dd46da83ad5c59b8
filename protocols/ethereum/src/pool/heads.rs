//! The competition for a place in a block: each sender's first transaction, by what it pays now, then by age.
//!
//! What a transaction pays per gas depends on the base fee: its tip, or what its fee cap leaves above the base fee. So there are
//! two orders, one of those whose tip counts and one of those whose fee cap does; when the base fee moves, only those that it
//! moves past change sides.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;

/// What counts about a sender's first transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub tip: u128,
    pub fee_cap: u128,
    /// The lower, the older.
    pub order: u64,
}

#[derive(Default, Debug)]
pub(super) struct Heads {
    base_fee: u128,
    heads: BTreeMap<Address, Head>,
    /// Heads that pay their whole tip at this base fee.
    by_tip: Side,
    /// Heads whose fee cap leaves less than their tip, or nothing.
    by_fee_cap: Side,
    fee_caps: BTreeSet<(u128, Address)>,
}

#[derive(Default, Debug)]
struct Side {
    best_first: BTreeSet<(Reverse<u128>, u64, Address)>,
    /// By the highest base fee at which the whole tip is paid.
    by_slack: BTreeSet<(u128, Address)>,
}

impl Head {
    fn slack(&self) -> u128 {
        self.fee_cap.saturating_sub(self.tip)
    }
}

impl Heads {
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    pub fn insert(&mut self, sender: Address, head: Head) {
        self.remove(&sender);
        self.heads.insert(sender, head);
        self.fee_caps.insert((head.fee_cap, sender));
        let pays_tip = head.slack() >= self.base_fee;
        self.side(pays_tip).insert(sender, &head, pays_tip);
    }

    pub fn remove(&mut self, sender: &Address) -> Option<Head> {
        let head = self.heads.remove(sender)?;
        self.fee_caps.remove(&(head.fee_cap, *sender));
        let pays_tip = head.slack() >= self.base_fee;
        self.side(pays_tip).remove(sender, &head, pays_tip);
        Some(head)
    }

    /// The highest base fee that any head can pay.
    pub fn fee_cap_max(&self) -> Option<u128> {
        self.fee_caps.last().map(|(fee_cap, _)| *fee_cap)
    }

    pub fn set_base_fee(&mut self, base_fee: u64) {
        let base_fee = u128::from(base_fee);
        // Those that the rising base fee has passed, or the falling one has left.
        let crossing: Vec<Address> = if base_fee > self.base_fee {
            self.by_tip.by_slack.range(..(base_fee, Address::ZERO)).map(|(_, sender)| *sender).collect()
        } else {
            self.by_fee_cap.by_slack.range((base_fee, Address::ZERO)..).map(|(_, sender)| *sender).collect()
        };
        let moved: Vec<_> = crossing.iter().filter_map(|sender| Some((*sender, self.remove(sender)?))).collect();
        self.base_fee = base_fee;
        for (sender, head) in moved {
            self.insert(sender, head);
        }
    }

    /// The one that pays most at the base fee that was set; the oldest among equals.
    pub fn best(&self) -> Option<Address> {
        let by_tip = self.by_tip.best_first.first().map(|(Reverse(tip), order, sender)| (*tip, *order, *sender));
        let by_fee_cap =
            self.by_fee_cap.best_first.first().and_then(|(Reverse(fee_cap), order, sender)| {
                Some((fee_cap.checked_sub(self.base_fee)?, *order, *sender))
            });
        let (_, _, sender) =
            by_tip.into_iter().chain(by_fee_cap).max_by_key(|(pays, order, _)| (*pays, Reverse(*order)))?;
        Some(sender)
    }

    fn side(&mut self, pays_tip: bool) -> &mut Side {
        if pays_tip { &mut self.by_tip } else { &mut self.by_fee_cap }
    }
}

impl Side {
    fn insert(&mut self, sender: Address, head: &Head, pays_tip: bool) {
        let price = if pays_tip { head.tip } else { head.fee_cap };
        self.best_first.insert((Reverse(price), head.order, sender));
        self.by_slack.insert((head.slack(), sender));
    }

    fn remove(&mut self, sender: &Address, head: &Head, pays_tip: bool) {
        let price = if pays_tip { head.tip } else { head.fee_cap };
        self.best_first.remove(&(Reverse(price), head.order, *sender));
        self.by_slack.remove(&(head.slack(), *sender));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn best_by_looking(heads: &BTreeMap<Address, Head>, base_fee: u128) -> Option<Address> {
        let payers = heads.iter().filter(|(_, head)| head.fee_cap >= base_fee);
        payers
            .max_by_key(|(_, head)| (head.tip.min(head.fee_cap - base_fee), Reverse(head.order)))
            .map(|(sender, _)| *sender)
    }

    proptest! {
        #[test]
        fn the_best_is_always_the_one_that_looking_at_all_would_find(
            steps in prop::collection::vec((0u8..20, 0u128..30, 0u128..30, 0u64..40, 0u8..4), 1..200)
        ) {
            let mut heads = Heads::default();
            let mut all = BTreeMap::new();
            let mut base_fee = 0;
            for (order, (sender, tip, above, fee, action)) in steps.into_iter().enumerate() {
                let sender = Address::with_last_byte(sender);
                match action {
                    0 => {
                        base_fee = fee;
                        heads.set_base_fee(fee);
                    }
                    1 => prop_assert_eq!(heads.remove(&sender), all.remove(&sender)),
                    _ => {
                        let head = Head { tip, fee_cap: tip + above, order: order as u64 };
                        heads.insert(sender, head);
                        all.insert(sender, head);
                    }
                }
                prop_assert_eq!(heads.best(), best_by_looking(&all, base_fee.into()));
                prop_assert_eq!(heads.fee_cap_max() >= Some(base_fee.into()), heads.best().is_some());
                prop_assert_eq!(heads.len(), all.len());
            }
        }
    }
}
