//! Everything at once, by seed: see [`coco_replicas::chaos`]. `coco-sim replicas` runs as many of them as one likes.

use coco_consensus::Role;
use coco_replicas::chaos::{self, Options, founded, trouble};
use coco_replicas::network::Network;
use coco_replicas::{Coverage, Story, can_meet};

fn clean(seeds: std::ops::Range<u64>, options: &Options) -> (usize, Coverage) {
    let (mut committed, mut coverage) = (0, Coverage::default());
    for seed in seeds {
        match chaos::run(seed, options) {
            Ok(report) => {
                committed += report.committed;
                coverage.add(&report.coverage);
            }
            Err(failure) => panic!("seed {seed}: {}", failure.why),
        }
    }
    (committed, coverage)
}

#[test]
fn short_seeds_keep_every_promise_and_commit() {
    let (committed, coverage) = clean(0..120, &Options::SHORT);
    assert!(committed > 120 * 20, "only {committed} entries were committed: the runs prove little");
    // Two primaries at once last for a tick or two: `coco-sim replicas` meets them.
    let missing = coverage.missing().into_iter().filter(|(fault, state)| can_meet(fault, state));
    let missing: Vec<_> = missing.filter(|(_, state)| *state != "two believe to lead").collect();
    assert_eq!(missing, [], "what was never hit is not tested");
}

#[test]
fn long_seeds_keep_every_promise() {
    clean(1_000..1_010, &Options { ticks: 600, ..Options::SHORT });
}

#[test]
fn a_seed_replays_byte_for_byte() {
    for seed in 3_000..3_006 {
        let traces = [(); 2].map(|()| {
            let mut network = founded(seed, &Options { told: true, ..Options::SHORT });
            network.trace = Some(Vec::new());
            trouble(&mut network, 150).unwrap();
            let story: Vec<_> = network.story.as_ref().map(Story::lines).into_iter().flatten().collect();
            (network.trace.unwrap(), story)
        });
        assert!(!traces[0].0.is_empty() && !traces[0].1.is_empty());
        assert!(traces[0] == traces[1], "seed {seed}");
    }
}

#[test]
fn an_asymmetric_cut_costs_no_committed_data_and_heals() {
    // Finding 10: a primary that is heard but does not hear, and the reverse.
    for seed in 0..8 {
        for mute in [true, false] {
            let mut network = Network::new(3, seed);
            let primary = network.elect();
            for other in (1..=3).filter(|other| *other != primary) {
                network.cut.insert(if mute { (primary, other) } else { (other, primary) });
            }
            let changed = network.run_until(120, |network| {
                network.primary().is_some_and(|now| now != primary && network.core(now).role() == Role::Primary)
            });
            assert!(changed, "seed {seed}, mute {mute}: nobody takes over");
            network.commit(b"meanwhile");
            network.heal();
            network.commit(b"after");
            network.settle();
        }
    }
}
