//! What the network's settings say about blocks. They are read before a block and hold for the whole of it.
//!
//! Of the block validation rules only the limits on families (`NofX`) are followed: the others speak of positions, and a block's
//! batches keep the order in which they came.

use std::collections::BTreeMap;

use crate::batch::SignedBatch;
use crate::execute::StateReader;
use crate::settings::{self, BATCH_INJECTORS, BLOCK_VALIDATION_RULES, MAX_BATCHES_PER_BLOCK};

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    batches_max: Option<usize>,
    /// Transactions of a family that one block may hold.
    of_family_max: BTreeMap<String, usize>,
    /// The node adds its own transaction about the block before.
    pub injects_block_info: bool,
}

impl Rules {
    pub fn read(state: &mut dyn StateReader) -> Self {
        let batches_max = settings::value(state, MAX_BATCHES_PER_BLOCK).and_then(|text| text.trim().parse().ok());
        let rules = settings::value(state, BLOCK_VALIDATION_RULES).unwrap_or_default();
        Self {
            batches_max: batches_max.filter(|max| *max > 0),
            of_family_max: rules.split(';').filter_map(limit_on_family).collect(),
            injects_block_info: settings::list(state, BATCH_INJECTORS).iter().any(|name| name == "block_info"),
        }
    }

    /// Whether a block of so many batches, and so many transactions of each family, may take in one more.
    pub fn allow(&self, batches: usize, of_family: &BTreeMap<String, usize>, batch: &SignedBatch) -> bool {
        let mut families: BTreeMap<&str, usize> = BTreeMap::new();
        for transaction in &batch.transactions {
            *families.entry(&transaction.header.family_name).or_default() += 1;
        }
        let fits = |(family, count): (&str, usize)| {
            let present = of_family.get(family).copied().unwrap_or(0);
            self.of_family_max.get(family).is_none_or(|max| present + count <= *max)
        };
        self.batches_max.is_none_or(|max| batches < max) && families.into_iter().all(fits)
    }

    /// Whether the batch would not even fit into a block of its own.
    pub fn never_allow(&self, batch: &SignedBatch) -> bool {
        !self.allow(0, &BTreeMap::new(), batch)
    }
}

/// `NofX:n,family`.
fn limit_on_family(rule: &str) -> Option<(String, usize)> {
    let (count, family) = rule.trim().strip_prefix("NofX:")?.split_once(',')?;
    Some((family.trim().to_owned(), count.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::testing::World;
    use crate::testing::{Signer, intkey};

    fn rules(settings: &[(&str, &str)]) -> Rules {
        let mut world = World::default();
        for (key, value) in settings {
            world.0.insert(settings::address(key), settings::row_with(None, key, value));
        }
        Rules::read(&mut world)
    }

    #[test]
    fn a_block_takes_as_much_as_the_settings_allow() {
        let batch = SignedBatch::admit(Signer::new(1).single(&intkey("set", "a", 1))).unwrap();
        let none = BTreeMap::new();
        assert!(rules(&[]).allow(1_000, &none, &batch));
        assert!(rules(&[(MAX_BATCHES_PER_BLOCK, "0")]).allow(1_000, &none, &batch));
        assert!(!rules(&[(MAX_BATCHES_PER_BLOCK, "2")]).allow(2, &none, &batch));
        let limited = rules(&[(BLOCK_VALIDATION_RULES, "XatY:intkey,0; NofX:1,intkey;NofX:x,y")]);
        assert!(limited.allow(5, &none, &batch) && !limited.never_allow(&batch));
        assert!(!limited.allow(5, &BTreeMap::from([("intkey".to_owned(), 1)]), &batch));
        assert!(rules(&[(BLOCK_VALIDATION_RULES, "NofX:0,intkey")]).never_allow(&batch));
    }
}
