//! Everything at once, by seed: loss, delay, duplication, reordering, cuts, crashes with torn writes, slow disks, transfers, swaps, power cuts
//! with an old disk put back and the resume after them. The invariants are checked at every step; afterwards the network must go on.

use std::panic::{AssertUnwindSafe, catch_unwind};

use coco_consensus::{Consensus, MembershipChange, MembershipRefused, Resume, Resumption, Role};

use crate::network::{Faults, Network, id, ids};
use crate::{Coverage, Mutant, Story, resume};

/// What a seed is run with.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long the trouble lasts.
    pub ticks: u64,
    pub mutant: Option<Mutant>,
    /// Keep what happens, for a reader.
    pub told: bool,
}

impl Options {
    pub const SHORT: Self = Self { ticks: 150, mutant: None, told: false };
    pub const LONG: Self = Self { ticks: 2_000, mutant: None, told: false };
}

/// A clean run.
pub struct Report {
    pub seed: u64,
    pub committed: usize,
    pub coverage: Coverage,
    /// Empty unless it was to be told.
    pub story: Story,
}

/// A run in which something broke.
pub struct Failure {
    pub seed: u64,
    pub why: String,
    pub story: Story,
}

/// Everything that a primary has must be on all members within so many ticks after the faults end.
const RECOVERY_TICKS: u64 = 800;
const SMALL_MESSAGE_BYTES: u64 = 60;

/// One seed from beginning to end. Panics of the code under test count as findings.
pub fn run(seed: u64, options: &Options) -> Result<Report, Failure> {
    let mut network = founded(seed, options);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        trouble(&mut network, options.ticks)?;
        recover(&mut network)
    }));
    let failed = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(panic) => Some(network.violation().map_or_else(|| said(panic.as_ref()), str::to_owned)),
    };
    let story = network.story.take().unwrap_or_default();
    let committed = network.invariants.committed.len();
    match failed {
        None => Ok(Report { seed, committed, coverage: network.coverage, story }),
        Some(why) => Err(Failure { seed, why, story }),
    }
}

/// What a panic says.
pub fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("without words"))
}

/// One, three or five voters, by the seed, and a joiner.
pub fn founded(seed: u64, options: &Options) -> Network {
    let voters = match seed % 10 {
        0..=6 => 3,
        7 | 8 => 5,
        _ => 1,
    };
    let message_bytes_max = if seed % 4 == 1 { SMALL_MESSAGE_BYTES } else { 1 << 20 };
    let mut network = Network::with_mutant(voters, seed, options.mutant, message_bytes_max);
    network.story = options.told.then(Story::default);
    network.join_learner(voters + 1, voters);
    network.honest = options.mutant.is_none();
    for replica in network.replicas.values_mut() {
        replica.applies_slowly = seed.is_multiple_of(3);
    }
    network.faults = Faults { loss: 8, duplication: 8, delay_max: 4 };
    network
}

/// Disturbs and proposes for so many ticks.
pub fn trouble(network: &mut Network, ticks: u64) -> Result<(), String> {
    let members = network.replicas.len() as u64;
    for tick in 0..ticks {
        if network.random.percent(12) {
            disturb(network, members);
        }
        if network.random.percent(60)
            && let Some(primary) = network.primary()
        {
            network.propose(primary, &tick.to_le_bytes());
        }
        network.step();
        sound(network)?;
    }
    Ok(())
}

fn sound(network: &Network) -> Result<(), String> {
    network.violation().map_or(Ok(()), |why| Err(why.to_owned()))
}

fn disturb(network: &mut Network, members: u64) {
    let victim = 1 + network.random.below(members);
    match network.random.below(17) {
        0 if network.view_of(victim).is_some() => {
            network.count("crash");
            network.crash(victim);
        }
        1..=3 => restart_one(network),
        4 => {
            network.count("replica cut off");
            network.isolate(victim);
        }
        5 => {
            let other = 1 + network.random.below(members);
            network.count("one direction cut");
            network.cut.insert((victim, other));
        }
        6 | 7 => {
            network.count("healed");
            network.heal();
        }
        8 => {
            let slow = network.random.below(15);
            network.count("slow disk");
            network.replicas.get_mut(&victim).expect("a member").sync_ticks = slow;
        }
        9 => hand_over(network, victim),
        10 if network.view_of(victim).is_some() => {
            network.count("campaign");
            network.core(victim).campaign();
            network.collect(victim);
        }
        11 | 12 => reconfigure(network),
        13 if network.random.one_in(4) => power_cut(network),
        _ => read(network),
    }
}

fn restart_one(network: &mut Network) {
    let stopped = network.replicas.iter().find(|(id, replica)| replica.core.is_none() && !network.retired.contains(id));
    if let Some(stopped) = stopped.map(|(id, _)| *id) {
        network.count("restart");
        network.restart(stopped);
    }
}

fn hand_over(network: &mut Network, to: u64) {
    if let Some(primary) = network.primary() {
        network.count("hand over");
        // Refused if it cannot be now.
        let _ = network.core(primary).transfer(id(to));
        network.collect(primary);
    }
}

fn read(network: &mut Network) {
    network.count("read");
    // Everybody who believes to lead is asked.
    for replica in network.running() {
        let token = network.now * 16 + replica;
        network.read(replica, token);
    }
}

/// The power of all goes, an old disk may be put back, and all resume, perhaps after further cuts in the middle.
fn power_cut(network: &mut Network) {
    network.count("power cut");
    for id in network.running() {
        network.crash(id);
    }
    let present: Vec<u64> = network.replicas.keys().copied().filter(|id| !network.retired.contains(id)).collect();
    let copy = network.mutant != Some(Mutant::ResumesWithoutCopying);
    let careless = network.mutant == Some(Mutant::GoesOnFromAnOldDisk);
    put_back(network, &present);
    if !careless && may_resume(network, &present, 0) {
        let cut_at = network.random.below(12);
        let mut steps = 0;
        let interrupted = network.random.one_in(2);
        let done = resume::exchange(network, &present, copy, || {
            steps += 1;
            interrupted && steps > cut_at
        });
        if !done {
            network.count("resume interrupted");
            for id in &present {
                network.replicas[id].disk.crash(|_| None);
            }
            resume::exchange(network, &present, copy, || false);
        }
    }
    for id in present {
        network.restart(id);
    }
}

/// One disk goes back in time, if all are enough for a resume with one such.
fn put_back(network: &mut Network, present: &[u64]) {
    let any = present[usize::try_from(network.random.below(present.len() as u64)).unwrap_or(0)];
    let Some(image) = network.images.get(&any).map(coco_disk::MemoryDisk::image) else { return };
    if network.mutant == Some(Mutant::GoesOnFromAnOldDisk) || !network.random.one_in(2) {
        return;
    }
    let replica = network.replicas.get_mut(&any).expect("it is present");
    let newest = std::mem::replace(&mut replica.disk, image);
    if may_resume(network, present, 1) {
        network.count("old disk put back");
    } else {
        network.replicas.get_mut(&any).expect("it is present").disk = newest;
    }
}

fn may_resume(network: &Network, present: &[u64], rolled_back: usize) -> bool {
    let states: Vec<_> = present.iter().map(|id| Resume::state(&network.resting(*id))).collect();
    Resumption::of(&states, rolled_back).is_some()
}

/// One step towards a configuration in which the last replica and the first take turns.
fn reconfigure(network: &mut Network) {
    let Some(primary) = network.primary() else { return };
    let last = network.replicas.keys().copied().max().expect("there are replicas");
    let core = network.core(primary);
    if !core.ready_to_lead() {
        return;
    }
    let membership = core.membership().clone();
    let _ = if membership.is_joint() {
        match core.leave_joint() {
            Err(MembershipRefused::HandOverFirst) => {
                let heir = *membership.voters.iter().next().expect("a configuration has voters");
                core.transfer(heir).map_err(|_| MembershipRefused::HandOverFirst)
            }
            left => left.map(|_| ()),
        }
    } else if membership.learners.contains(&id(last)) {
        let leaver = membership.voters.iter().next().expect("a configuration has voters").0;
        core.propose_membership(&MembershipChange::Joint { promote: ids(&[last]), remove: ids(&[leaver]) }).map(|_| ())
    } else {
        core.propose_membership(&MembershipChange::AddLearner(id(last))).map(|_| ())
    };
    network.count("membership step");
    network.collect(primary);
}

/// All faults end: a primary that is in no joint configuration, a further commit, and the same on everybody who is a member.
pub fn recover(network: &mut Network) -> Result<(), String> {
    network.heal();
    network.faults = Faults::default();
    for replica in network.replicas.values_mut() {
        replica.sync_ticks = 0;
        replica.applies_slowly = false;
    }
    let down = |network: &Network| {
        let mut all = network.replicas.iter();
        all.any(|(id, replica)| replica.core.is_none() && !network.retired.contains(id))
    };
    while down(network) {
        restart_one(network);
    }
    network.run(60);
    let left = network.run_until(RECOVERY_TICKS, |network| {
        if network.primary().is_some_and(|primary| network.core(primary).membership().is_joint()) {
            reconfigure(network);
        }
        leads_alone(network).is_some()
    });
    sound(network)?;
    if !left {
        return Err("no primary outside a joint configuration after all faults ended".to_owned());
    }
    let mut proposed = None;
    let all = network.run_until(RECOVERY_TICKS, |network| {
        if proposed.is_none_or(|(primary, _)| network.primary() != Some(primary)) {
            proposed =
                leads_alone(network).and_then(|primary| Some((primary, network.propose(primary, b"recovered")?)));
        }
        proposed.is_some_and(|(_, index)| members_have(network, index))
    });
    sound(network)?;
    if all { Ok(()) } else { Err("the members do not come to the same state after all faults ended".to_owned()) }
}

fn leads_alone(network: &Network) -> Option<u64> {
    let primary = network.primary()?;
    let leads =
        |core: &Consensus| core.role() == Role::Primary && core.ready_to_lead() && !core.membership().is_joint();
    network.view_of(primary).is_some_and(leads).then_some(primary)
}

fn members_have(network: &Network, index: u64) -> bool {
    let Some(core) = network.primary().and_then(|primary| network.view_of(primary)) else { return false };
    let has = |id: &coco_types::ReplicaId| network.view_of(id.0).is_none_or(|core| core.applied_index() >= index);
    core.membership().ids().iter().all(has)
}
