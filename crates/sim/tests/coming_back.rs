//! Whole nodes that are started again: by swap, by resume, on old disks, and with the exchange cut in the middle.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use coco_disk::Disk;
use coco_governance::{NodeRole, ResumePolicy, ResumeRow, tables};
use coco_node::known::Known;
use coco_node::reuse;
use coco_sim::{Faults, Length, Options, Violation, World};
use coco_types::{ReplicaId, Seqno, TxId, View};

/// Simulated milliseconds in which anything that needs an election or two must have happened.
const SOON_MS: u64 = 10_000;

#[test]
fn a_restarted_node_comes_back_as_a_fresh_replica_however_old_its_disk_is() {
    for (seed, old_disk) in [(1, false), (2, true)] {
        let mut world = quiet(seed, Options::default());
        let old = backup(&world);
        world.keep_image(old);
        acknowledge(&mut world, 10);
        world.crash(old);
        acknowledge(&mut world, 3);
        if old_disk {
            world.put_back(old);
        }
        let index = world.node(old).index;
        world.start(old).unwrap();
        until(&mut world, "its swap", |world| voters(world).contains(&ReplicaId(4)));
        settle(&mut world);
        assert_eq!(world.node(ReplicaId(4)).index, index);
        assert!(!voters(&world).contains(&old) && voters(&world).len() == 3);
        acknowledge(&mut world, 2);
        world.check_end().unwrap();
    }
}

#[test]
fn the_primary_comes_back_as_a_fresh_replica_too() {
    let mut world = quiet(3, Options::default());
    acknowledge(&mut world, 3);
    let old = world.primary().unwrap();
    world.kill(old);
    world.start(old).unwrap();
    until(&mut world, "its swap", |world| voters(world).contains(&ReplicaId(4)));
    settle(&mut world);
    assert!(!voters(&world).contains(&old));
}

#[test]
fn a_network_that_lost_power_resumes_with_its_replicas_and_its_ledger_says_so() {
    for seed in 4..=6 {
        let mut world = quiet(seed, Options::default());
        acknowledge(&mut world, 5);
        let before = voters(&world);
        crash_all(&mut world);
        start_all(&mut world);
        acknowledge(&mut world, 2);
        settle(&mut world);
        assert_eq!(voters(&world), before, "nobody came as a fresh replica");
        let rows = resumes(&world);
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!(row.replicas, before.iter().copied().collect::<Vec<_>>());
    }
}

#[test]
fn what_lies_before_a_snapshot_is_checked_apart_from_what_a_state_is_read_from() {
    let mut world = quiet(29, Options::default());
    let id = backup(&world);
    acknowledge(&mut world, 150);
    world.crash(id);
    let node = world.node(id);
    let (ledger, service) = (node.resting_ledger().unwrap(), node.identity.service.keys());
    let snapshots: Arc<dyn Disk> = Arc::new(node.snapshot_disk.clone());
    let anchor = reuse::anchor(&ledger, &snapshots, &service).expect("a ledger long enough for snapshots");
    let check = || {
        let behind = reuse::check_behind(&ledger, &service, &anchor).map_err(|error| error.to_string());
        (behind, reuse::check_before(&ledger, &service, &anchor, &|| true).map_err(|error| error.to_string()))
    };
    assert_eq!(check(), (Ok(()), Ok(())));
    let at = anchor.place.txid.seqno;
    for (seqno, is_before) in [(Seqno(1), true), (at, true), (at.next(), false)] {
        let chunk = ledger.chunk_of(seqno).unwrap();
        let middle = node.ledger_disk.len(&chunk).unwrap() / 2;
        node.ledger_disk.flip(&chunk, middle, 1).unwrap();
        let (behind, before) = check();
        let (why, other) = if is_before { (before, behind) } else { (behind, before) };
        assert!(why.as_ref().is_err_and(|why| why.contains(&chunk)), "{chunk}: {why:?}");
        assert_eq!(other, Ok(()));
        node.ledger_disk.flip(&chunk, middle, 1).unwrap();
    }
    assert_eq!(reuse::check_before(&ledger, &service, &anchor, &|| false).map_err(|error| error.to_string()), Ok(()));
}

#[test]
fn what_a_disk_changed_in_the_tree_s_file_is_put_right_when_the_ledger_is_checked() {
    /// The node above leaves 0 to 3, beside which the paths of 4 and 6 lead.
    const NODE: u64 = 6 * 32;
    let mut world = quiet(31, Options::default());
    let id = backup(&world);
    acknowledge(&mut world, 150);
    world.crash(id);
    let node = world.node(id);
    node.ledger_disk.flip("merkle.ignored", NODE, 1).unwrap();
    let (ledger, service) = (node.resting_ledger().unwrap(), node.identity.service.keys());
    let txid = TxId::new(ledger.view_of(Seqno(4)).unwrap(), Seqno(4));
    assert!(ledger.receipt(txid).is_err());
    node.check_folder(&service).unwrap();
    assert!(ledger.receipt(txid).unwrap().is_some());
}

#[test]
fn one_node_alone_resumes() {
    let mut world = World::quiet(7, 1, Options::default()).unwrap();
    acknowledge(&mut world, 3);
    for _ in 0..3 {
        world.crash(ReplicaId(1));
        world.start(ReplicaId(1)).unwrap();
        acknowledge(&mut world, 2);
    }
    world.check_end().unwrap();
    assert_eq!(resumes(&world).len(), 3);
}

#[test]
fn enough_replicas_resume_without_the_rest_and_a_late_one_comes_back_by_a_swap() {
    let mut world = quiet(8, Options::default());
    acknowledge(&mut world, 5);
    crash_all(&mut world);
    for id in [1, 3].map(ReplicaId) {
        world.start(id).unwrap();
    }
    acknowledge(&mut world, 2);
    world.start(ReplicaId(2)).unwrap();
    until(&mut world, "its swap", |world| voters(world).contains(&ReplicaId(4)));
    settle(&mut world);
    assert!(!voters(&world).contains(&ReplicaId(2)));
}

#[test]
fn one_that_was_down_while_all_others_were_replaced_finds_those_who_are_there_now() {
    let mut world = World::quiet(30, 5, Options::default()).unwrap();
    acknowledge(&mut world, 5);
    let sleeper = ReplicaId(1);
    world.crash(sleeper);
    for (before, after) in (2..=5).zip(6..) {
        world.crash(ReplicaId(before));
        world.run_for(SOON_MS).unwrap();
        world.start(ReplicaId(before)).unwrap();
        until(&mut world, "its swap", |world| voters(world).contains(&ReplicaId(after)));
    }
    world.start(sleeper).unwrap();
    let back = |world: &World| voters(world).contains(&ReplicaId(10));
    world.run_until(2 * SOON_MS, "the swap of the last one", back).unwrap();
    settle(&mut world);
    assert_eq!(voters(&world), (6..=10).map(ReplicaId).collect());
}

#[test]
fn one_replica_too_few_waits() {
    let mut world = quiet(9, tolerant());
    acknowledge(&mut world, 5);
    crash_all(&mut world);
    for id in [1, 2].map(ReplicaId) {
        world.start(id).unwrap();
    }
    world.run_for(SOON_MS).unwrap();
    assert!(world.returns(ReplicaId(1)) && world.returns(ReplicaId(2)) && world.primary().is_none());
    world.start(ReplicaId(3)).unwrap();
    acknowledge(&mut world, 1);
    settle(&mut world);
}

#[test]
fn two_of_four_who_could_elect_nobody_wait_for_a_third() {
    let mut world = World::quiet(31, 4, Options::default()).unwrap();
    acknowledge(&mut world, 5);
    let all: Vec<_> = voters(&world).into_iter().collect();
    crash_all(&mut world);
    for id in &all[..2] {
        world.start(*id).unwrap();
    }
    // They had resumed in vain within a second.
    for _ in 0..10 {
        world.run_for(SOON_MS / 10).unwrap();
        assert!(all[..2].iter().all(|id| world.returns(*id)));
    }
    world.start(all[2]).unwrap();
    acknowledge(&mut world, 1);
    world.start(all[3]).unwrap();
    settle(&mut world);
}

#[test]
fn an_old_disk_whose_file_is_gone_or_says_less_than_the_members_chose_does_not_bring_the_network_back_with_too_few() {
    let laxer = ResumePolicy { allowed: true, rolled_back_disks: 0 };
    // Of a time that the disk does not reach: nothing on it says otherwise.
    let file = Known { resume: Some(laxer), at: TxId::new(View(1_000), Seqno(1_000_000)), nodes: Vec::new() };
    for (seed, file) in [(26, Known::default()), (27, file)] {
        for (old, other) in [(1, 2), (2, 1), (3, 2)].map(|(old, other)| (ReplicaId(old), ReplicaId(other))) {
            let mut world = quiet(seed, tolerant());
            acknowledge(&mut world, 2);
            world.keep_image(old);
            acknowledge(&mut world, 5);
            crash_all(&mut world);
            world.put_back(old);
            world.keeps_in_file(old, file.clone());
            for id in [old, other] {
                world.start(id).unwrap();
            }
            world.run_for(SOON_MS).unwrap();
            assert!(world.returns(old) && world.returns(other) && world.primary().is_none(), "{old} with {other}");
            start_all(&mut world);
            acknowledge(&mut world, 1);
            settle(&mut world);
            assert!(resumes(&world).iter().all(|row| row.rolled_back_disks == 1));
        }
    }
}

#[test]
fn a_node_that_neither_file_nor_ledger_allows_to_resume_waits_for_a_primary() {
    let mut world = quiet(28, Options::default());
    acknowledge(&mut world, 3);
    crash_all(&mut world);
    let forbidden = ResumePolicy { allowed: false, rolled_back_disks: 0 };
    let file = Known { resume: Some(forbidden), at: TxId::new(View(1_000), Seqno(1_000_000)), nodes: Vec::new() };
    world.keeps_in_file(ReplicaId(1), file.clone());
    world.keeps_in_file(ReplicaId(2), file);
    start_all(&mut world);
    world.run_for(SOON_MS).unwrap();
    assert!([1, 2, 3].iter().all(|id| world.returns(ReplicaId(*id))) && world.primary().is_none());
}

#[test]
fn a_replica_that_runs_without_a_majority_returns_when_others_need_it() {
    let mut world = quiet(10, Options::default());
    acknowledge(&mut world, 5);
    let (left, one) = (ReplicaId(1), ReplicaId(2));
    world.crash(one);
    world.crash(ReplicaId(3));
    world.run_for(SOON_MS).unwrap();
    world.start(one).unwrap();
    acknowledge(&mut world, 2);
    assert!(resumes(&world).iter().any(|row| row.replicas == [left, one]));
    world.start(ReplicaId(3)).unwrap();
    settle(&mut world);
}

#[test]
fn replicas_that_made_way_for_one_that_is_gone_go_on_without_it() {
    let mut world = quiet(29, tolerant());
    acknowledge(&mut world, 5);
    let [left, lost, right] = [1, 2, 3].map(ReplicaId);
    world.crash(lost);
    world.isolate(left);
    world.run_for(SOON_MS).unwrap();
    world.start(lost).unwrap();
    until(&mut world, "the way that is made", |world| world.returns(right));
    // The disks of all three would be needed to resume; this one never comes again.
    world.crash(lost);
    world.heal();
    acknowledge(&mut world, 2);
    assert!(resumes(&world).is_empty(), "both are what they were");
}

#[test]
fn an_exchange_that_is_interrupted_at_any_moment_starts_again_and_loses_nothing() {
    for seed in 11..=22 {
        let mut world = quiet(seed, tolerant());
        acknowledge(&mut world, 4);
        old_disks_resume(&mut world, seed).unwrap();
        settle(&mut world);
    }
}

#[test]
fn one_that_made_way_and_began_anew_at_a_snapshot_goes_on_without_the_one_that_is_gone() {
    let mut world = quiet(51, tolerant());
    acknowledge(&mut world, 5);
    let right = backup(&world);
    world.isolate(right);
    acknowledge(&mut world, 150);
    let others: Vec<ReplicaId> = world.members().into_iter().filter(|id| *id != right).collect();
    let [left, lost] = [others[0], others[1]];
    world.crash(lost);
    world.heal();
    world.isolate(left);
    let snapshots = |world: &World| -> Vec<String> {
        let mut names = world.node(right).snapshot_disk.names().unwrap();
        names.retain(|name| !name.ends_with(".receiving"));
        names
    };
    let before = snapshots(&world);
    world.start(lost).unwrap();
    until(&mut world, "a snapshot", |world| snapshots(world).iter().any(|name| !before.contains(name)));
    world.run_for(300).unwrap();
    assert!(world.returns(right), "the disks of all three would be needed");
    world.crash(lost);
    world.heal();
    acknowledge(&mut world, 2);
    assert!(resumes(&world).is_empty(), "both are what they were");
}

/// Two of three voters are left, and the log of one begins where the other's has long ended: neither can copy it.
#[test]
fn one_whose_log_ends_before_the_others_begin_fetches_a_snapshot_to_resume_with_them() {
    for (seed, lose_one_in, interrupted) in [(47, 0, false), (48, 20, false), (49, 0, true), (50, 20, true)] {
        let mut world = quiet(seed, Options::default());
        acknowledge(&mut world, 5);
        let behind = backup(&world);
        world.isolate(behind);
        acknowledge(&mut world, 150);
        let lost = world.members().into_iter().find(|id| *id != behind).unwrap();
        crash_all(&mut world);
        world.heal();
        world.set_faults(Faults { lose_one_in, ..Faults::none() });
        let rest: Vec<ReplicaId> = world.members().into_iter().filter(|id| *id != lost).collect();
        let [one, other] = [rest[0], rest[1]].map(|id| world.node(id).resting_log().unwrap().log.state());
        assert_eq!(one.common_with(&other), None, "the test needs a longer ledger");
        rest.iter().for_each(|id| world.start(*id).unwrap());
        if interrupted {
            world.run_for(200 + 40 * (seed % 10)).unwrap();
            rest.iter().for_each(|id| world.crash(*id));
            rest.iter().for_each(|id| world.start(*id).unwrap());
        }
        acknowledge(&mut world, 2);
        assert!(resumes(&world).iter().any(|row| row.replicas == rest), "{:?}", resumes(&world));
        world.start(lost).unwrap();
        world.set_faults(Faults::none());
        world.run_until(3 * SOON_MS, "whole ledgers", World::ledgers_are_whole).unwrap();
        settle(&mut world);
    }
}

#[test]
fn a_node_whose_place_was_taken_ends() {
    let mut world = quiet(23, Options::default());
    let old = backup(&world);
    world.crash(old);
    let index = world.node(old).index;
    world.admit(index).unwrap();
    settle(&mut world);
    world.start(old).unwrap();
    until(&mut world, "its end", |world| world.node(old).removed);
    assert!(world.node(old).stopped_by.as_ref().is_some_and(|why| why.contains("in its place")));
    settle(&mut world);
}

#[test]
fn a_reader_follows_for_ever_comes_back_as_a_reader_and_is_never_counted() {
    let mut world = quiet(25, Options::default());
    world.admit_as(3, NodeRole::Reader).unwrap();
    settle(&mut world);
    let reader = ReplicaId(4);
    assert_eq!(voters(&world), [1, 2, 3].map(ReplicaId).into());
    acknowledge(&mut world, 3);
    until(&mut world, "the same state", |world| world.visible(reader) == world.visible(world.primary().unwrap()));
    world.crash(reader);
    world.start(reader).unwrap();
    until(&mut world, "its swap", |world| world.ids().contains(&ReplicaId(5)));
    settle(&mut world);
    assert_eq!(voters(&world), [1, 2, 3].map(ReplicaId).into());
    // Two voters down of three: the reader is no majority with the third.
    let gone: Vec<_> = voters(&world).into_iter().filter(|id| Some(*id) != world.primary()).collect();
    gone.iter().for_each(|id| world.crash(*id));
    world.run_for(SOON_MS).unwrap();
    assert!(world.primary().is_none());
}

#[test]
fn a_place_is_swapped_once_in_an_interval() {
    let mut world = quiet(24, Options::default());
    let mut id = backup(&world);
    for fresh in [4, 5].map(ReplicaId) {
        world.crash(id);
        let at = world.now_ms();
        world.start(id).unwrap();
        until(&mut world, "its swap", |world| world.ids().contains(&fresh));
        let waited = world.now_ms() - at;
        assert_eq!(waited > 400, fresh == ReplicaId(5), "{waited} ms");
        until(&mut world, "its vote", |world| voters(world).contains(&fresh));
        id = fresh;
    }
    settle(&mut world);
}

#[test]
fn without_asking_first_an_old_disk_loses_what_was_acknowledged_and_that_is_noticed() {
    let careless = Options { ask_before_acting: false, ..Options::default() };
    assert!((1..=10).any(|seed| loses(seed, &careless)));
}

#[test]
fn with_one_replica_too_few_a_resume_loses_what_was_acknowledged_and_that_is_noticed() {
    // The members said that no disk is rolled back, and one is.
    assert!((1..=10).any(|seed| loses(seed, &Options::default())));
    assert!((1..=10).all(|seed| !loses(seed, &tolerant())));
}

#[test]
fn short_seeds_with_old_disks_keep_every_promise() {
    for seed in 4001..=4030 {
        let options = Options { disks_put_back: 1, ..tolerant() };
        if let Err(violation) = World::run_with(seed, Length::SHORT, options, None) {
            panic!("seed {seed}: {violation}");
        }
    }
}

/// Two backups hold everything, one of them forgets it, and the primary comes late.
fn loses(seed: u64, options: &Options) -> bool {
    let scenario = || -> Result<(), Violation> {
        let mut world = World::quiet(seed, 3, options.clone())?;
        try_acknowledge(&mut world, 2)?;
        let primary = world.primary().expect("a quiet network has one");
        let backups: Vec<_> = world.ids().into_iter().filter(|id| *id != primary).collect();
        let [forgetful, absent] = backups.as_slice() else { panic!("three nodes") };
        world.keep_image(*forgetful);
        world.isolate(*absent);
        try_acknowledge(&mut world, 5)?;
        crash_all(&mut world);
        world.heal();
        world.put_back(*forgetful);
        for id in &backups {
            world.start(*id)?;
        }
        world.run_for(5_000)?;
        world.start(primary)?;
        try_acknowledge(&mut world, 2)?;
        world.run_until(3 * SOON_MS, "quiet", |world| world.membership_is_settled() && world.members_agree())?;
        world.check_end()
    };
    !matches!(catch_unwind(AssertUnwindSafe(scenario)), Ok(Ok(())))
}

/// Four power cuts, each with another disk put back to an old state, and with nodes that fail while they return.
fn old_disks_resume(world: &mut World, seed: u64) -> Result<(), Violation> {
    for round in 0..4 {
        world.set_faults(Faults { lose_one_in: 20, ..Faults::none() });
        let ids: Vec<ReplicaId> = world.members().into_iter().collect();
        let old = ids[usize::try_from((seed + round) % 3).unwrap_or(0)];
        world.keep_image(old);
        try_acknowledge(world, 3)?;
        crash_all(world);
        world.put_back(old);
        for moment in 0..3 {
            start_all(world);
            world.run_for(1 + (seed * 7 + round * 31 + moment * 113) % 400)?;
            let fails = ids[usize::try_from((seed + moment) % 3).unwrap_or(0)];
            if world.returns(fails) {
                world.crash(fails);
            }
        }
        start_all(world);
        try_acknowledge(world, 2)?;
        world.set_faults(Faults::none());
        world.run_until(3 * SOON_MS, "quiet", |world| world.membership_is_settled() && world.members_agree())?;
        world.check_end()?;
    }
    Ok(())
}

fn quiet(seed: u64, options: Options) -> World {
    World::quiet(seed, 3, options).unwrap()
}

fn tolerant() -> Options {
    Options { rolled_back_disks: 1, ..Options::default() }
}

fn crash_all(world: &mut World) {
    world.members().into_iter().for_each(|id| world.crash(id));
}

fn start_all(world: &mut World) {
    for id in world.members() {
        if !world.runs(id) {
            world.start(id).unwrap();
        }
    }
}

fn backup(world: &World) -> ReplicaId {
    let primary = world.primary();
    world.members().into_iter().find(|id| Some(*id) != primary).expect("more than one member")
}

fn voters(world: &World) -> std::collections::BTreeSet<ReplicaId> {
    let membership = world.primary().map(|id| world.membership(id)).unwrap_or_default();
    if membership.is_joint() { Default::default() } else { membership.voters }
}

/// What the ledger says about resumes, oldest first.
fn resumes(world: &World) -> Vec<ResumeRow> {
    let primary = world.primary().expect("a primary");
    let state = world.node(primary).machines.as_ref().expect("it runs").visible.state();
    let rows = state.iter(&tables::RESUMES).map(|(_, value)| serde_json::from_slice(&value).expect("a row"));
    let mut rows: Vec<ResumeRow> = rows.collect();
    rows.sort_by_key(|row| row.view);
    rows
}

fn until(world: &mut World, what: &str, done: impl Fn(&World) -> bool) {
    world.run_until(SOON_MS, what, done).unwrap();
}

fn acknowledge(world: &mut World, count: usize) {
    try_acknowledge(world, count).unwrap();
}

/// Submits until so many more are acknowledged.
fn try_acknowledge(world: &mut World, count: usize) -> Result<(), Violation> {
    let wanted = world.invariants().acknowledged_count() + count;
    let until = world.now_ms() + 3 * SOON_MS;
    while world.invariants().acknowledged_count() < wanted {
        if world.now_ms() > until {
            return Err(Violation("no progress".to_owned()));
        }
        if let Some(primary) = world.primary() {
            world.submit(primary, "counter");
        }
        world.run_for(20)?;
    }
    Ok(())
}

fn settle(world: &mut World) {
    world.set_faults(Faults::none());
    world.run_until(3 * SOON_MS, "quiet", |world| world.membership_is_settled() && world.members_agree()).unwrap();
    world.check_end().unwrap();
}
