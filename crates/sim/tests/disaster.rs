//! Networks that are lost, all nodes at once, and recovered from what one of them leaves.

use coco_sim::{Length, World};

#[test]
fn a_lost_network_is_recovered_from_the_ledger_of_any_one_node() {
    for seed in [5, 37, 69, 485, 1605] {
        let report = World::run(seed, Length::SHORT).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        assert_eq!(report.counts.recoveries, 1, "seed {seed}");
    }
}
