//! A simulator that finds nothing may be blind. Here a protection is taken away, and it must notice.
//!
//! Not all can be shown on whole nodes: the reconciler hands over before a primary is removed, and nothing is executed before the
//! term is durable, so those guards of the consensus are second ones here. Its own scenarios show them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use coco_consensus::Guards;
use coco_sim::{Length, Options, Violation, World};
use coco_types::ReplicaId;

#[test]
fn disks_that_lie_about_syncs_are_found_out() {
    assert!(is_found_by_seeds(&Options { lying_disks: true, ..Options::default() }));
}

#[test]
fn replicas_that_refuse_strangers_are_found_out() {
    assert!(!breaks(&Options::default(), stale_configuration));
    assert!(breaks(&without(|guards| guards.accept_strangers = false), stale_configuration));
}

/// A node is replaced while another hears nothing of it, and then those two are the majority.
fn stale_configuration(options: &Options) -> Result<(), Violation> {
    let mut world = World::quiet(1, 3, options.clone())?;
    let primary = world.primary().expect("a primary");
    let backups: Vec<_> = world.ids().into_iter().filter(|id| *id != primary).collect();
    let [stale, replaced] = backups.as_slice() else { panic!("three nodes") };
    world.isolate(*stale);
    let index = world.node(*replaced).index;
    world.admit(index)?;
    world.run_until(10_000, "the change", |world| {
        let membership = world.membership(primary);
        membership.voters.contains(&ReplicaId(4)) && !membership.is_joint()
    })?;
    world.heal();
    world.isolate(primary);
    world.run_until(10_000, "another primary", |world| world.primary().is_some_and(|id| id != primary))
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
