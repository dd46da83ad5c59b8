//! What goes wrong, and how often.

use crate::random::Random;

/// Chances are "one in n"; 0 means never.
#[derive(Clone, Debug)]
pub struct Faults {
    pub delay_ms: (u64, u64),
    pub lose_one_in: u64,
    pub double_one_in: u64,
    /// Per step.
    pub crash_one_in: u64,
    pub partition_one_in: u64,
    pub heal_one_in: u64,
    /// Of an unsynced write, at a crash.
    pub torn_write_one_in: u64,
    /// How long a sync takes.
    pub sync_ms: (u64, u64),
    /// How long an event waits for a machine of the same node.
    pub machine_ms: (u64, u64),
    /// A primary is asked to hand over, as before a planned stop.
    pub hand_over_one_in: u64,
    /// A node is replaced by a fresh one, added, or voted out.
    pub swap_one_in: u64,
    /// Of the whole site.
    pub power_cut_one_in: u64,
    /// A node's disk has no room left; it stops at its next write.
    pub full_disk_one_in: u64,
    /// A node's clock jumps, or begins to run fast or slow.
    pub clock_one_in: u64,
    /// A node becomes slow in everything it does, or quick again.
    pub slow_node_one_in: u64,
    /// The host delivers an old message once more.
    pub replay_one_in: u64,
    /// The host holds back what one node is sent, or lets it through again.
    pub withhold_one_in: u64,
    /// Bits of a resting node's files turn over, or its host gives it old ledger files.
    pub rot_one_in: u64,
}

impl Faults {
    /// A quiet network.
    pub fn none() -> Self {
        Self {
            delay_ms: (1, 3),
            lose_one_in: 0,
            double_one_in: 0,
            crash_one_in: 0,
            partition_one_in: 0,
            heal_one_in: 1,
            torn_write_one_in: 0,
            sync_ms: (0, 2),
            machine_ms: (0, 0),
            hand_over_one_in: 0,
            swap_one_in: 0,
            power_cut_one_in: 0,
            full_disk_one_in: 0,
            clock_one_in: 0,
            slow_node_one_in: 0,
            replay_one_in: 0,
            withhold_one_in: 0,
            rot_one_in: 0,
        }
    }

    /// Everything at once, milder or wilder by chance.
    pub fn drawn(random: &mut Random) -> Self {
        let sometimes = |random: &mut Random, from, to| if random.one_in(4) { 0 } else { random.between(from, to) };
        let slowest_machine_ms = if random.one_in(4) { 60 } else { 8 };
        Self {
            delay_ms: (1, random.between(3, 120)),
            lose_one_in: sometimes(random, 8, 60),
            double_one_in: sometimes(random, 10, 60),
            crash_one_in: sometimes(random, 100, 1000),
            partition_one_in: sometimes(random, 100, 800),
            heal_one_in: random.between(30, 200),
            torn_write_one_in: sometimes(random, 2, 6),
            sync_ms: (0, random.between(2, 40)),
            machine_ms: (0, random.between(0, slowest_machine_ms)),
            hand_over_one_in: sometimes(random, 200, 2000),
            swap_one_in: sometimes(random, 400, 2000),
            power_cut_one_in: sometimes(random, 500, 5000),
            full_disk_one_in: sometimes(random, 300, 2000),
            clock_one_in: sometimes(random, 50, 500),
            slow_node_one_in: sometimes(random, 100, 600),
            replay_one_in: sometimes(random, 10, 100),
            withhold_one_in: sometimes(random, 150, 1000),
            rot_one_in: sometimes(random, 20, 100),
        }
    }

    pub fn delay_ms(&self, random: &mut Random) -> u64 {
        random.between(self.delay_ms.0, self.delay_ms.1)
    }

    pub fn loses(&self, random: &mut Random) -> bool {
        chance(self.lose_one_in, random)
    }

    pub fn doubles(&self, random: &mut Random) -> bool {
        chance(self.double_one_in, random)
    }

    pub fn crashes(&self, random: &mut Random) -> bool {
        chance(self.crash_one_in, random)
    }

    pub fn partitions(&self, random: &mut Random) -> bool {
        chance(self.partition_one_in, random)
    }

    pub fn heals(&self, random: &mut Random) -> bool {
        chance(self.heal_one_in, random)
    }

    pub fn sync_ms(&self, random: &mut Random) -> u64 {
        random.between(self.sync_ms.0, self.sync_ms.1)
    }

    pub fn machine_ms(&self, random: &mut Random) -> u64 {
        random.between(self.machine_ms.0, self.machine_ms.1)
    }

    pub fn hands_over(&self, random: &mut Random) -> bool {
        chance(self.hand_over_one_in, random)
    }

    pub fn swaps(&self, random: &mut Random) -> bool {
        chance(self.swap_one_in, random)
    }

    pub fn cuts_the_power(&self, random: &mut Random) -> bool {
        chance(self.power_cut_one_in, random)
    }

    pub fn fills_a_disk(&self, random: &mut Random) -> bool {
        chance(self.full_disk_one_in, random)
    }

    pub fn turns_a_clock(&self, random: &mut Random) -> bool {
        chance(self.clock_one_in, random)
    }

    pub fn slows_a_node(&self, random: &mut Random) -> bool {
        chance(self.slow_node_one_in, random)
    }

    pub fn replays(&self, random: &mut Random) -> bool {
        chance(self.replay_one_in, random)
    }

    pub fn withholds(&self, random: &mut Random) -> bool {
        chance(self.withhold_one_in, random)
    }

    pub fn rots(&self, random: &mut Random) -> bool {
        chance(self.rot_one_in, random)
    }

    /// What becomes of an unsynced write of `len` bytes when the power goes.
    pub fn survives(&self, len: usize, random: &mut Random) -> Option<usize> {
        if chance(self.torn_write_one_in, random) {
            return Some(usize::try_from(random.below(len as u64 + 1)).unwrap_or(len));
        }
        random.one_in(2).then_some(len)
    }
}

fn chance(one_in: u64, random: &mut Random) -> bool {
    one_in > 0 && random.one_in(one_in)
}
