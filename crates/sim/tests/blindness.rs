//! A simulator that finds nothing may be blind. Here a protection is taken away, and it must notice.
//!
//! Not all can be shown on whole nodes: the reconciler hands over before a primary is removed, and nothing is executed before the
//! term is durable, so those guards of the consensus are second ones here. Its own scenarios show them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use coco_consensus::Guards;
use coco_sim::{Length, Options, Violation, World};

#[test]
fn disks_that_lie_about_syncs_are_found_out() {
    assert!(is_found_by_seeds(&Options { lying_disks: true, ..Options::default() }));
}

#[test]
fn replicas_that_refuse_strangers_are_found_out() {
    assert!(is_found_by_seeds(&without(|guards| guards.accept_strangers = false)));
}

#[test]
fn heartbeats_answered_behind_a_slow_disk_are_found_out() {
    assert!(!breaks(&Options::default(), slow_disks));
    assert!(breaks(&without(|guards| guards.answer_heartbeats_early = false), slow_disks));
}

/// The lead must not be lost because disks take their time.
fn slow_disks(options: &Options) -> Result<(), Violation> {
    let mut world = World::quiet(1, 3, options.clone())?;
    let primary = world.primary().expect("a primary");
    for id in world.ids() {
        world.node_mut(id).disk_hangs = id != primary;
    }
    world.submit(primary, "counter");
    world.run_for(5_000)?;
    if world.primary() == Some(primary) { Ok(()) } else { Err(Violation("the lead was lost".to_owned())) }
}

fn without(remove: impl FnOnce(&mut Guards)) -> Options {
    let mut options = Options::default();
    remove(&mut options.guards);
    options
}

/// A violation, or an assertion of the code under test.
fn breaks(options: &Options, scenario: impl FnOnce(&Options) -> Result<(), Violation>) -> bool {
    !matches!(catch_unwind(AssertUnwindSafe(|| scenario(options))), Ok(Ok(())))
}

fn is_found_by_seeds(options: &Options) -> bool {
    (1..=30)
        .any(|seed| breaks(options, |options| World::run_with(seed, Length::SHORT, options.clone(), None).map(drop)))
}
