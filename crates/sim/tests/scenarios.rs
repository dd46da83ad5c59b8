//! Whole nodes in named situations. Random trouble is in `seeds.rs`; the consensus alone has its own scenarios.

use coco_consensus::Role;
use coco_disk::Disk;
use coco_governance::attestation::APPRAISALS;
use coco_governance::{AlarmRow, tables};
use coco_protocol::{Submitted, TransactionStatus};
use coco_sim::{Faults, Options, ReadEnd, World};
use coco_types::{ReplicaId, TxId, limits};

/// Simulated milliseconds in which anything that needs an election or two must have happened.
const SOON_MS: u64 = 10_000;

#[test]
fn a_new_primary_waits_for_its_front_and_first_seals_a_signature_alone() {
    for seed in 1..=5 {
        let mut world = three(seed);
        // The front is far behind the replica when the election is won; that the executor leads only once it has caught up, and
        // that each view begins with a signature alone, is checked at every step of every run.
        world.set_faults(Faults { machine_ms: (30, 90), ..Faults::none() });
        let old = primary(&world);
        for _ in 0..20 {
            world.submit(old, "counter");
            world.run_for(5).unwrap();
        }
        world.hand_over().unwrap();
        world.run_until(SOON_MS, "another primary", |world| world.primary().is_some_and(|id| id != old)).unwrap();
        let new = primary(&world);
        let id = world.submit(new, "counter");
        world.run_until(SOON_MS, "an answer", |world| world.answer(id).is_some()).unwrap();
        assert!(matches!(world.answer(id), Some(Submitted::Committed { .. })), "seed {seed}");
    }
}

#[test]
fn a_primary_that_loses_the_lead_says_unknown_and_the_ids_later_status_is_true() {
    let mut world = three(2);
    let old = primary(&world);
    world.isolate(old);
    let ids: Vec<u64> = (0..3).map(|_| world.submit(old, "counter")).collect();
    world.run_until(SOON_MS, "its end as primary", |world| ids.iter().all(|id| world.answer(*id).is_some())).unwrap();
    let txids: Vec<TxId> = ids.iter().map(|id| unknown(&world, *id)).collect();
    for txid in &txids {
        assert_eq!(world.node(old).transaction_status(*txid), Some(TransactionStatus::Pending));
    }
    acknowledge(&mut world, 3);
    world.heal();
    settle(&mut world);
    for node in world.ids() {
        for txid in &txids {
            assert_eq!(world.node(node).transaction_status(*txid), Some(TransactionStatus::Invalid));
        }
    }
}

#[test]
fn what_was_unknown_and_reached_a_majority_is_committed_by_the_next_primary() {
    let mut world = three(3);
    let old = primary(&world);
    // Its messages leave, no answers come back.
    world.cut_towards(old);
    let id = world.submit(old, "counter");
    world.run_until(SOON_MS, "its end as primary", |world| world.answer(id).is_some()).unwrap();
    let txid = unknown(&world, id);
    world.heal();
    settle(&mut world);
    for node in world.ids() {
        assert_eq!(world.node(node).transaction_status(txid), Some(TransactionStatus::Committed));
    }
}

#[test]
fn what_is_committed_between_the_executors_end_and_the_replicas_knowledge_of_it_is_not_lost() {
    for seed in 1..=20 {
        let mut world = three(seed);
        let old = primary(&world);
        world.set_faults(Faults { machine_ms: (2, 8), ..Faults::none() });
        // The others get its last batches and elect one of them; it hears nothing of either.
        world.cut_towards(old);
        for _ in 0..5 {
            world.submit(old, "counter");
            world.run_for(10).unwrap();
        }
        world.isolate(old);
        let elected = |world: &World| world.ids().into_iter().any(|id| id != old && world.role(id) == Role::Primary);
        world.run_until(SOON_MS, "another primary", elected).unwrap();
        // Now it is told, first that another leads, a moment later that its batches are committed.
        world.heal();
        world.run_for(1_000).unwrap();
        assert_eq!(world.node(old).stopped_by, None, "seed {seed}");
        settle(&mut world);
    }
}

#[test]
fn nothing_is_answered_as_committed_before_a_majority_has_it_on_disk() {
    for hanging in [[1, 2], [0, 1], [0, 2]] {
        let mut world = three(4);
        let primary = primary(&world);
        let backups = world.ids().into_iter().filter(|id| *id != primary);
        let nodes: Vec<ReplicaId> = std::iter::once(primary).chain(backups).collect();
        for position in hanging {
            world.node_mut(nodes[position]).disk_hangs = true;
        }
        let id = world.submit(primary, "counter");
        world.run_for(5_000).unwrap();
        assert_eq!(world.answer(id), None);
        assert_eq!(world.primary(), Some(primary), "a slow disk is no reason for an election");
        world.node_mut(nodes[hanging[0]]).disk_hangs = false;
        world.run_until(SOON_MS, "an answer", |world| world.answer(id).is_some()).unwrap();
        assert!(matches!(world.answer(id), Some(Submitted::Committed { .. })));
    }
}

#[test]
fn a_batch_that_finds_no_slot_dies_with_its_view() {
    let mut world = three(5);
    let old = primary(&world);
    let view = world.view(old);
    // While the lead is being handed over nothing is sealed: what is executed meanwhile waits, and is told to be unknown.
    world.set_faults(Faults { delay_ms: (40, 60), ..Faults::none() });
    world.hand_over().unwrap();
    let id = world.submit(old, "counter");
    world.run_until(SOON_MS, "an answer", |world| world.answer(id).is_some()).unwrap();
    let txid = unknown(&world, id);
    assert_eq!(txid.view, view);
    acknowledge(&mut world, 1);
    settle(&mut world);
    assert!(!world.invariants().is_committed(txid));
    assert!(world.invariants().committed_txids().all(|committed| committed.view != view || committed < txid));
    assert_eq!(world.node(old).transaction_status(txid), Some(TransactionStatus::Invalid));
}

#[test]
fn a_retired_node_leaves_the_consensus_and_its_replica_stops() {
    for retire_primary in [false, true] {
        let mut world = three(6);
        let leading = primary(&world);
        let id = if retire_primary { leading } else { other_than(&world, leading) };
        let node = world.node(id).node_id();
        world.retire(id);
        world.run_until(SOON_MS, "its end", |world| world.node(id).removed).unwrap();
        assert_eq!(world.node(id).stopped_by.as_deref(), Some("removed from the network"));
        settle(&mut world);
        let primary = primary(&world);
        assert_eq!(world.membership(primary).voters.len(), 2);
        world
            .run_until(SOON_MS, "the record of it", |world| {
                world.standing(primary, node).is_some_and(|row| row.info.retired_committed)
            })
            .unwrap();
        acknowledge(&mut world, 1);
    }
}

#[test]
fn a_removed_node_that_is_killed_before_it_has_left_is_waited_for_only_until_another_is_back() {
    for seed in 1..=6 {
        let mut world = World::quiet(seed, 4, Options::default()).unwrap();
        acknowledge(&mut world, 3);
        let leading = primary(&world);
        let backups: Vec<_> = world.members().into_iter().filter(|id| *id != leading).collect();
        let (down, gone) = (backups[0], backups[1]);
        let node = world.node(gone).node_id();
        world.crash(down);
        world.retire(gone);
        // Its row says that it is retired; consensus still counts on it, and on a majority of four.
        let is_retired = |world: &World| {
            world.standing(leading, node).is_some_and(|row| row.info.status == coco_governance::NodeStatus::Retired)
        };
        world.run_until(SOON_MS, "the vote", is_retired).unwrap();
        world.crash(gone);
        world.run_for(3_000).unwrap();
        world.start(down).unwrap();
        acknowledge(&mut world, 3);
        settle(&mut world);
        let voters = world.membership(primary(&world)).voters;
        assert!(voters.len() == 3 && !voters.contains(&gone), "seed {seed}: {voters:?}");
    }
}

#[test]
fn a_fresh_node_takes_the_place_of_one_that_died() {
    swap(7, true);
}

#[test]
fn a_fresh_node_takes_the_place_of_one_that_still_runs() {
    swap(8, false);
}

fn swap(seed: u64, dead: bool) {
    let mut world = three(seed);
    let old = other_than(&world, primary(&world));
    let (node, index) = (world.node(old).node_id(), world.node(old).index);
    if dead {
        world.crash(old);
    }
    world.admit(index).unwrap();
    let fresh = ReplicaId(4);
    world
        .run_until(SOON_MS, "the learner", |world| world.membership(primary(world)).learners.contains(&fresh))
        .unwrap();
    assert!(world.membership(primary(&world)).voters.contains(&old), "the old one votes until the fresh one can");
    world
        .run_until(SOON_MS, "the change", |world| {
            let membership = world.membership(primary(world));
            let swapped = membership.voters.contains(&fresh) && !membership.voters.contains(&old);
            assert_eq!(swapped, membership.voters.contains(&fresh), "one change does both");
            swapped && !membership.is_joint()
        })
        .unwrap();
    assert!(dead || world.node(old).removed || world.run_until(SOON_MS, "its end", |w| w.node(old).removed).is_ok());
    settle(&mut world);
    world
        .run_until(SOON_MS, "the record of it", |world| {
            world.standing(fresh, node).is_some_and(|row| row.info.retired_committed)
        })
        .unwrap();
    acknowledge(&mut world, 2);
    world.check_end().unwrap();
}

#[test]
fn a_joiner_that_dies_at_once_gives_way_together_with_the_node_it_was_to_replace() {
    let mut world = three(16);
    let old = other_than(&world, primary(&world));
    let index = world.node(old).index;
    world.crash(old);
    for fresh in [ReplicaId(4), ReplicaId(5)] {
        world.admit(index).unwrap();
        world.run_until(SOON_MS, "its admission", |world| world.ids().contains(&fresh)).unwrap();
        if fresh == ReplicaId(4) {
            world.crash(fresh);
            // The interval between two swaps at one place.
            world.run_for(600).unwrap();
        }
    }
    settle(&mut world);
    let voters = world.membership(primary(&world)).voters;
    assert!(voters.len() == 3 && voters.contains(&ReplicaId(5)) && !voters.contains(&old), "{voters:?}");
}

#[test]
fn a_node_whose_disk_is_full_stops_and_loses_nothing() {
    fail_and_restart(9, |disks| disks.iter().for_each(|disk| disk.set_bytes_max(Some(1))), "no storage space");
}

#[test]
fn a_node_whose_disk_fails_a_sync_stops_and_loses_nothing() {
    fail_and_restart(10, |disks| disks.iter().for_each(|disk| disk.fail_syncs(true)), "sync");
}

fn fail_and_restart(seed: u64, fail: impl Fn(&[&coco_disk::MemoryDisk; 2]), why: &str) {
    for fail_primary in [true, false] {
        let mut world = three(seed);
        acknowledge(&mut world, 3);
        let leading = primary(&world);
        let id = if fail_primary { leading } else { other_than(&world, leading) };
        fail(&[&world.node(id).ledger_disk, &world.node(id).log_disk]);
        world.submit(leading, "counter");
        world.run_until(SOON_MS, "its end", |world| world.node(id).stopped_by.is_some()).unwrap();
        let reason = world.node(id).stopped_by.clone().unwrap_or_default();
        assert!(reason.contains(why), "{reason}");
        acknowledge(&mut world, 3);
        for disk in [&world.node(id).ledger_disk, &world.node(id).log_disk] {
            disk.set_bytes_max(None);
            disk.fail_syncs(false);
        }
        world.start(id).unwrap();
        settle(&mut world);
    }
}

#[test]
fn a_damaged_chunk_is_named_when_its_node_starts() {
    let mut world = three(11);
    acknowledge(&mut world, 40);
    let id = other_than(&world, primary(&world));
    world.crash(id);
    let disk = &world.node(id).ledger_disk;
    let chunk = disk.names().unwrap().into_iter().find(|name| name.ends_with(".committed")).expect("a complete chunk");
    disk.flip(&chunk, disk.len(&chunk).unwrap() / 2, 0x40).unwrap();
    // It would read there whether it may resume.
    let why = format!("{:?}", world.start(id).unwrap_err());
    assert!(why.contains(&chunk), "{why}");
    acknowledge(&mut world, 1);
}

#[test]
fn a_power_cut_of_all_nodes_keeps_every_acknowledged_submission_and_its_receipt() {
    for seed in 12..=14 {
        let mut world = three(seed);
        for _ in 0..3 {
            acknowledge(&mut world, 5);
            let primary = primary(&world);
            world.submit(primary, "counter");
            world.run_for(3).unwrap();
            for id in world.ids() {
                world.crash(id);
            }
            for id in world.ids() {
                world.start(id).unwrap();
            }
        }
        acknowledge(&mut world, 1);
        settle(&mut world);
        assert!(world.invariants().acknowledged_count() >= 16);
    }
}

#[test]
fn a_deposed_primary_shows_old_state_but_confirms_no_linearizable_read() {
    let mut world = three(15);
    let old = primary(&world);
    world.isolate(old);
    let stale = world.read(old).unwrap();
    world.run_until(SOON_MS, "another primary", |world| world.primary().is_some_and(|id| id != old)).unwrap();
    acknowledge(&mut world, 2);
    let known = world.invariants().newest_acknowledged();
    // A snapshot read there misses what was acknowledged: a history checker that saw no difference would be blind.
    assert!(world.visible(old) < known);
    assert!(world.invariants().read(old, known, world.visible(old)).is_err());
    assert!(matches!(world.read_end(stale), None | Some(ReadEnd::Lost)));
    let refused = world.read(old).unwrap();
    world.run_for(3_000).unwrap();
    assert_eq!(world.read_end(refused), Some(ReadEnd::Lost));
    let primary = primary(&world);
    let fresh = world.read(primary).unwrap();
    world.run_until(SOON_MS, "a confirmed read", |world| world.read_end(fresh).is_some()).unwrap();
    assert!(matches!(world.read_end(fresh), Some(ReadEnd::Seen(seen)) if seen >= known));
}

#[test]
fn a_damaged_snapshot_is_set_aside_for_the_one_before_it_and_without_any_the_ledger_is_read() {
    // How it comes back is not the point here: it opens its folder in place, again and again.
    let mut world = World::quiet(8, 3, Options { ask_before_acting: false, ..Options::default() }).unwrap();
    let backup = other_than(&world, primary(&world));
    acknowledge(&mut world, 150);
    let snapshots = |world: &World| -> Vec<String> {
        let names = world.node(backup).snapshot_disk.names().unwrap();
        names.into_iter().filter(|name| !name.contains('.')).collect()
    };
    assert_eq!(snapshots(&world).len(), limits::SNAPSHOTS_KEPT, "the test needs a longer ledger");
    // What was applied last may not have been on disk: the newest snapshot is then not used.
    let mut starts = Vec::new();
    while starts.last() != Some(&TxId::default()) {
        world.crash(backup);
        world.start(backup).unwrap();
        let from = world.node(backup).machines.as_ref().unwrap().restored_from;
        assert!(starts.last().is_none_or(|before| from < *before));
        starts.push(from);
        if from > TxId::default() {
            let disk = &world.node(backup).snapshot_disk;
            disk.flip(&format!("snapshot_{}", from.seqno), 2_000, 1).unwrap();
        }
    }
    assert!(starts.len() > 1, "no start from a snapshot: the test proves little");
    let damaged = world.node(backup).snapshot_disk.names().unwrap();
    assert_eq!(damaged.iter().filter(|name| name.ends_with(".damaged")).count(), starts.len() - 1);
    settle(&mut world);
}

#[test]
fn a_node_that_lags_behind_the_others_logs_comes_back_by_a_snapshot_and_its_ledger_becomes_whole() {
    let mut world = in_place(9);
    let backup = other_than(&world, primary(&world));
    acknowledge(&mut world, 10);
    let missed = world.visible(backup);
    world.crash(backup);
    acknowledge(&mut world, 150);
    world.start(backup).unwrap();
    let from = |world: &World| world.node(backup).machines.as_ref().unwrap().restored_from;
    world.run_until(3 * SOON_MS, "a snapshot", |world| from(world) > missed).unwrap();
    world.run_until(3 * SOON_MS, "agreement", World::members_agree).unwrap();
    world.run_until(3 * SOON_MS, "a whole ledger", World::ledgers_are_whole).unwrap();
    settle(&mut world);
    assert_same_chunks(&world, backup, primary(&world));
    // Its vote counts: the other backup goes.
    let other = world.members().into_iter().find(|id| *id != backup && *id != primary(&world)).unwrap();
    world.crash(other);
    acknowledge(&mut world, 3);
}

#[test]
fn a_joiner_gets_a_snapshot_votes_and_then_completes_its_ledger_through_crashes_at_every_step() {
    for crash_at_ms in (0..400).step_by(20) {
        let mut world = in_place(10);
        acknowledge(&mut world, 120);
        let before = world.ids();
        world.admit(3).unwrap();
        world.run_until(SOON_MS, "the joiner", |world| world.ids().len() > before.len()).unwrap();
        let joiner = world.ids().into_iter().find(|id| !before.contains(id)).unwrap();
        world.set_faults(Faults { torn_write_one_in: 3, ..Faults::none() });
        world.run_for(crash_at_ms).unwrap();
        world.crash(joiner);
        world.start(joiner).unwrap();
        world
            .run_until(3 * SOON_MS, "a fourth voter", |world| {
                let membership = world.membership(world.primary().unwrap_or(joiner));
                membership.voters.contains(&joiner) && !membership.is_joint()
            })
            .unwrap();
        world.run_until(3 * SOON_MS, "a whole ledger", World::ledgers_are_whole).unwrap();
        settle(&mut world);
        assert_same_chunks(&world, joiner, primary(&world));
    }
}

#[test]
fn a_joiner_whose_disk_is_full_for_a_moment_completes_its_ledger_all_the_same() {
    let mut went_on = 0;
    for full_at_ms in (0..100).step_by(5) {
        let mut world = in_place(10);
        acknowledge(&mut world, 120);
        let before = world.ids();
        world.admit(3).unwrap();
        world.run_until(SOON_MS, "the joiner", |world| world.ids().len() > before.len()).unwrap();
        let joiner = world.ids().into_iter().find(|id| !before.contains(id)).unwrap();
        let fetches =
            |world: &World| world.node(joiner).machines.as_ref().is_some_and(|machines| !machines.archive.is_whole());
        world.run_until(SOON_MS, "its snapshot", fetches).unwrap();
        world.run_for(full_at_ms).unwrap();
        let full = fetches(&world);
        // Its log has room: what fails is what it fetches.
        world.node(joiner).ledger_disk.set_bytes_max(Some(0));
        world.run_for(10).unwrap();
        world.node(joiner).ledger_disk.set_bytes_max(None);
        if world.node(joiner).stopped_for_room() {
            world.start(joiner).unwrap();
        } else if full {
            went_on += 1;
        }
        let votes = |world: &World| world.primary().is_some_and(|id| world.membership(id).voters.contains(&joiner));
        world.run_until(3 * SOON_MS, "its vote", votes).unwrap();
        world.run_until(3 * SOON_MS, "a whole ledger", World::ledgers_are_whole).unwrap();
        settle(&mut world);
        assert_same_chunks(&world, joiner, primary(&world));
    }
    assert!(went_on > 0);
}

#[test]
fn a_network_changes_its_ledger_secret_under_load_across_leads_restarts_and_lagging_replicas() {
    for seed in 1..=3 {
        let mut world = three(seed);
        let lagging = other_than(&world, primary(&world));
        for round in 0..6 {
            acknowledge(&mut world, 2);
            world.rekey();
            acknowledge(&mut world, 2);
            match round {
                1 => world.hand_over().unwrap(),
                2 => world.isolate(lagging),
                4 => {
                    world.heal();
                    world.crash(lagging);
                    world.run_for(200).unwrap();
                    world.start(lagging).unwrap();
                }
                _ => {}
            }
        }
        settle(&mut world);
        for id in world.ids() {
            let Some(machines) = &world.node(id).machines else { continue };
            assert!(machines.ledger.keys().epochs().count() >= 6, "seed {seed}, replica {id}");
            let kept = world.node(id).identity.service.epochs.epochs();
            assert!(kept.eq(machines.ledger.keys().epochs()), "seed {seed}, replica {id}");
        }
    }
}

/// From the first transaction on; the newest chunks may be complete on one of them only so far: that waits for a sync.
fn assert_same_chunks(world: &World, one: ReplicaId, other: ReplicaId) {
    let (one, other) = (chunks(world, one), chunks(world, other));
    let shorter = one.len().min(other.len());
    assert!(shorter > 1 && one[0].0.starts_with("ledger_1-"));
    for (one, other) in one.iter().zip(&other).take(shorter) {
        assert!(one == other, "{} differs from {}", one.0, other.0);
    }
}

/// The committed chunks of a node's folder, in order.
fn chunks(world: &World, id: ReplicaId) -> Vec<(String, Vec<u8>)> {
    let disk = &world.node(id).ledger_disk;
    let names = disk.names().unwrap().into_iter().filter(|name| name.ends_with(".committed"));
    let mut chunks: Vec<_> = names.map(|name| (name.clone(), disk.read_all(&name).unwrap())).collect();
    chunks
        .sort_by_key(|(name, _)| name["ledger_".len()..].split('-').next().and_then(|first| first.parse::<u64>().ok()));
    chunks
}

/// Nodes open their folders in place: how they come back is not the point.
fn in_place(seed: u64) -> World {
    World::quiet(seed, 3, Options { ask_before_acting: false, ..Options::default() }).unwrap()
}

fn three(seed: u64) -> World {
    World::quiet(seed, 3, Options::default()).unwrap()
}

fn primary(world: &World) -> ReplicaId {
    world.primary().expect("a primary")
}

fn other_than(world: &World, id: ReplicaId) -> ReplicaId {
    world.members().into_iter().find(|other| *other != id).expect("more than one member")
}

/// Submits until so many more are acknowledged.
fn acknowledge(world: &mut World, count: usize) {
    let wanted = world.invariants().acknowledged_count() + count;
    let until = world.now_ms() + SOON_MS;
    while world.invariants().acknowledged_count() < wanted {
        assert!(world.now_ms() < until, "no progress");
        if let Some(primary) = world.primary() {
            world.submit(primary, "counter");
        }
        world.run_for(20).unwrap();
    }
}

/// Waits until all is quiet, and checks everything that must hold then.
fn settle(world: &mut World) {
    world.set_faults(Faults::none());
    world.run_until(3 * SOON_MS, "quiet", |world| world.membership_is_settled() && world.members_agree()).unwrap();
    world.check_end().unwrap();
}

fn unknown(world: &World, id: u64) -> TxId {
    match world.answer(id) {
        Some(Submitted::Unknown(Some(txid))) => *txid,
        other => panic!("submission {id} was answered {other:?}"),
    }
}

#[test]
fn three_that_are_left_of_four_go_on_with_two_while_one_is_down_and_one_is_removed() {
    for seed in 1..=4 {
        for removes_primary in [false, true] {
            let mut world = World::quiet(seed, 4, Options::default()).unwrap();
            acknowledge(&mut world, 3);
            let leading = primary(&world);
            let backups: Vec<_> = world.members().into_iter().filter(|id| *id != leading).collect();
            let (down, gone) = (backups[0], if removes_primary { leading } else { backups[1] });
            let node = world.node(gone).node_id();
            world.crash(down);
            world.set_faults(Faults { delay_ms: (1, 30), lose_one_in: 50, ..Faults::none() });
            world.retire(gone);
            let is_out = |world: &World| {
                let members = world.primary().filter(|id| *id != gone).map(|id| (id, world.membership(id)));
                let recorded = |id| world.standing(id, node).is_some_and(|row| row.info.retired_committed);
                members.is_some_and(|(id, members)| !members.voters.contains(&gone) && recorded(id))
            };
            world.run_until(SOON_MS, "its removal", is_out).unwrap();
            // Two of the three that are left are a majority, whether or not the third has heard yet that it is out: nobody waits for it, nor for
            // the one that is down.
            world.isolate(gone);
            for _ in 0..10 {
                let begun = world.now_ms();
                acknowledge(&mut world, 1);
                let took = world.now_ms() - begun;
                assert!(took <= 4 * limits::ELECTION_TIMEOUT_MS, "seed {seed}: a write took {took} ms");
                world.run_for(500).unwrap();
            }
            let voters = world.membership(primary(&world)).voters;
            assert!(voters.len() == 3 && voters.contains(&down), "seed {seed}: {voters:?}");
            world.heal();
            world.start(down).unwrap();
            settle(&mut world);
            assert!(world.node(gone).removed, "seed {seed}");
        }
    }
}

#[test]
fn a_joiner_that_crashes_as_it_gets_its_vote_while_another_comes_back_stops_nobody() {
    // Disks so slow that it is back, and asks to be admitted, before the change that gives it its vote is in force.
    let slow = Faults { sync_ms: (200, 200), ..Faults::none() };
    for crashes_after_ms in (0..=1_500).step_by(50) {
        let mut world = World::quiet(21, 4, Options::default()).unwrap();
        acknowledge(&mut world, 3);
        world.set_faults(slow.clone());
        let leading = primary(&world);
        let backups: Vec<_> = world.members().into_iter().filter(|id| *id != leading).collect();
        let (down, replaced) = (backups[0], backups[1]);
        // Its vote is nobody's from now on, until the replica that it comes back as has one.
        world.crash(down);
        world.start(down).unwrap();
        let fresh = ReplicaId(5);
        world.run_until(SOON_MS, "its way back", |world| world.ids().contains(&fresh)).unwrap();
        world.isolate(fresh);
        world.admit(world.node(replaced).index).unwrap();
        let joiner = ReplicaId(6);
        world.run_until(SOON_MS, "the joiner", |world| world.ids().contains(&joiner)).unwrap();
        world.run_for(crashes_after_ms).unwrap();
        world.crash(joiner);
        world.start(joiner).unwrap();
        world.run_for(2_000).unwrap();
        world.heal();
        acknowledge(&mut world, 1);
        settle(&mut world);
        let voters = world.membership(primary(&world)).voters;
        assert!(voters.len() == 4 && !voters.contains(&down) && !voters.contains(&replaced), "{voters:?}");
    }
}

#[test]
fn a_wide_area_network_of_100_ms_round_trips_keeps_its_primary_and_survives_losing_it() {
    // Heartbeats every 400 ms, elections after two seconds: `timing` in a node's configuration, raised in proportion.
    let mut world = World::quiet(17, 3, Options { election_ticks: 40, ..Options::default() }).unwrap();
    world.set_faults(Faults { delay_ms: (45, 55), lose_one_in: 200, ..Faults::none() });
    let leads = primary(&world);
    for _ in 0..3 {
        acknowledge(&mut world, 5);
        world.run_for(10_000).unwrap();
    }
    assert_eq!(world.primary(), Some(leads), "nobody takes over from a primary that is merely far away");
    world.crash(leads);
    world.run_until(SOON_MS, "another primary", |world| world.primary().is_some_and(|id| id != leads)).unwrap();
    acknowledge(&mut world, 3);
}

#[test]
fn a_primary_whose_signatures_are_not_the_services_loses_its_view_and_is_named_on_the_ledger() {
    let forger = ReplicaId(2);
    let mut world = World::quiet(11, 3, Options { forger: Some(forger), ..Options::default() }).unwrap();
    for _ in 0..10 {
        world.hand_over().unwrap();
        world.run_until(SOON_MS, "a primary", |world| world.primary().is_some()).unwrap();
        world.run_for(500).unwrap();
        if !alarms(&world).is_empty() {
            break;
        }
    }
    world.run_until(SOON_MS, "the alarm on the ledger", |world| !alarms(world).is_empty()).unwrap();
    assert_ne!(world.primary(), Some(forger), "its view ended");
    let rows = alarms(&world);
    assert!(rows.iter().all(|row| row.primary == forger && row.reported_by != forger), "{rows:?}");
    acknowledge(&mut world, 3);
}

#[test]
fn a_primary_that_admits_what_its_evidence_does_not_show_loses_its_view() {
    let suspect = ReplicaId(1);
    let mut world = World::quiet(12, 3, Options { suspect: Some(suspect), ..Options::default() }).unwrap();
    assert_eq!(primary(&world), suspect);
    world.record_false_admission(suspect, ReplicaId(2));
    world.run_until(SOON_MS, "the alarm on the ledger", |world| !alarms(world).is_empty()).unwrap();
    let rows = alarms(&world);
    assert!(rows.iter().all(|row| row.primary == suspect && row.why.contains("it admitted")), "{rows:?}");
    assert_ne!(world.primary(), Some(suspect), "its view ended");
    acknowledge(&mut world, 3);
}

#[test]
fn a_primary_whose_clock_is_turned_retires_nobody_and_loses_its_view() {
    let suspect = ReplicaId(1);
    let year_ms = 365 * 24 * 3_600_000;
    for (seed, start_ms, offset_ms) in [(13, 1_000_000, year_ms), (14, 2 * year_ms as u64, -year_ms)] {
        let mut world =
            World::quiet(seed, 3, Options { suspect: Some(suspect), start_ms, ..Options::default() }).unwrap();
        assert_eq!(primary(&world), suspect);
        *world.node(suspect).clock_offset_ms.lock() = offset_ms;
        // Nothing passes: by the primary's clock everybody is found out now.
        world.vote_policy("network", serde_json::json!({ "hardware": "unique", "grace_s": 0 }));
        world.run_for(500).unwrap();
        world.reappraise().unwrap();
        world.run_until(SOON_MS, "the alarm on the ledger", |world| !alarms(world).is_empty()).unwrap();
        let rows = alarms(&world);
        assert!(
            rows.iter().all(|row| row.primary == suspect && row.why.contains("far from this replica's own")),
            "{rows:?}"
        );
        assert_ne!(world.primary(), Some(suspect), "its view ended");
        assert_eq!(world.members().len(), 3, "nobody was retired");
        acknowledge(&mut world, 3);
    }
}

#[test]
fn clocks_that_differ_by_a_little_keep_nobody_from_judging() {
    let mut world = World::quiet(15, 3, Options { start_ms: 1_000_000_000, ..Options::default() }).unwrap();
    let leads = primary(&world);
    *world.node(leads).clock_offset_ms.lock() = 120_000;
    world.vote_policy("network", serde_json::json!({ "hardware": "unique", "grace_s": 100_000 }));
    world.run_for(500).unwrap();
    world.reappraise().unwrap();
    acknowledge(&mut world, 3);
    assert_eq!(world.primary(), Some(leads));
    let state = world.node(leads).machines.as_ref().expect("it runs").visible.state();
    let at_risk = state.iter(&APPRAISALS).filter(|(_, row)| String::from_utf8_lossy(row).contains("at_risk"));
    assert!(at_risk.count() > 0, "judged all the same");
}

/// What the ledger says of primaries that contradicted others.
fn alarms(world: &World) -> Vec<AlarmRow> {
    let machines = world.primary().and_then(|id| world.node(id).machines.as_ref());
    let Some(machines) = machines else { return Vec::new() };
    let state = machines.visible.state();
    state.iter(&tables::ALARMS).map(|(_, row)| serde_json::from_slice(&row).expect("a row")).collect()
}
