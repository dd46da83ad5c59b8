//! What a hostile host does to a node, beside stopping it: it fills its disk, turns its clock, slows it, holds back and repeats its
//! messages, flips bits of its files, and feeds it old ones. (Old disks as a whole: `returning`.)

use coco_disk::{Disk, MemoryDisk};
use coco_types::ReplicaId;

use crate::invariants::Violation;
use crate::world::World;

/// A clock jumps by at most this, either way.
const JUMP_MS: u64 = 5_000;
/// What a clock gains or loses in a tick of 50 ms: a tenth.
const DRIFT_MS: u64 = 5;

impl World {
    pub(crate) fn turn_the_host_hostile(&mut self, any: ReplicaId) -> Result<(), Violation> {
        let runs = self.nodes[&any].runs();
        if self.faults.fills_a_disk(&mut self.random) && runs && self.may_starve() {
            self.note(|| format!("{any} has no room on its disk"));
            self.count("disk full");
            self.starved.insert(any);
            self.node(any).set_room(Some(1));
        }
        if self.faults.turns_a_clock(&mut self.random) {
            self.turn_clock(any);
        }
        if self.faults.slows_a_node(&mut self.random) {
            self.count("slow node");
            if !self.slow.remove(&any) {
                self.slow.insert(any);
            }
        }
        let now_ms = self.now_ms();
        if self.faults.replays(&mut self.random) && self.network.replay(now_ms, &mut self.random) {
            self.count("message replayed");
        }
        if self.faults.withholds(&mut self.random) {
            self.count("messages withheld");
            self.network.withhold(any);
        }
        if self.faults.rots(&mut self.random) && !runs && self.may_rot(any) {
            self.rot(any)?;
        }
        Ok(())
    }

    pub(crate) fn tolerates_old_disks(&self) -> bool {
        self.setting.options.rolled_back_disks > 0
    }

    /// A node that is out of room is down: where all are needed for a resume, it counts as a crash.
    fn may_starve(&mut self) -> bool {
        self.may_crash()
    }

    fn turn_clock(&mut self, id: ReplicaId) {
        let jump = i64::try_from(self.random.below(2 * JUMP_MS)).unwrap_or(0) - i64::try_from(JUMP_MS).unwrap_or(0);
        let drift = i64::try_from(self.random.below(2 * DRIFT_MS)).unwrap_or(0) - i64::try_from(DRIFT_MS).unwrap_or(0);
        let jumps = self.random.one_in(2);
        self.count(if jumps { "clock jumps" } else { "clock drifts" });
        self.note(|| format!("{id} has its clock turned: {}", if jumps { jump } else { drift }));
        let node = self.node_mut(id);
        if jumps {
            *node.clock_offset_ms.lock() = jump;
        } else {
            node.drift_ms = drift;
        }
    }

    /// Damage is like an old disk: only networks that tolerate one of those promise anything, if all others live.
    fn may_rot(&mut self, id: ReplicaId) -> bool {
        let mut others = self.members().into_iter().filter(|other| *other != id);
        // One without room stops at its next write.
        let all_live = others.all(|other| self.nodes[&other].machines.is_some() && !self.starved.contains(&other));
        let calm = self.rotten.is_empty() && self.put_back.is_empty() && self.may_crash();
        self.tolerates_old_disks() && all_live && calm && self.primary().is_some()
    }

    /// One byte of one file, or the ledger's files as they once were.
    fn rot(&mut self, id: ReplicaId) -> Result<(), Violation> {
        let failed = |error: std::io::Error| Violation(error.to_string());
        let old_files = self.random.one_in(4);
        if let Some([ledger, ..]) = self.nodes[&id].image.as_ref().filter(|_| old_files) {
            let ledger = ledger.image();
            self.node_mut(id).ledger_disk = ledger;
            self.count("old ledger files");
        } else {
            let node = &self.nodes[&id];
            let disks = [&node.ledger_disk, &node.log_disk, &node.snapshot_disk].map(MemoryDisk::clone);
            let disk = &disks[usize::try_from(self.random.below(3)).unwrap_or(0)];
            let names = disk.names().map_err(failed)?;
            let Some(any) = names.len().checked_sub(1) else { return Ok(()) };
            let name = &names[usize::try_from(self.random.between(0, any as u64)).unwrap_or(0)];
            let len = disk.len(name).map_err(failed)?;
            if len == 0 {
                return Ok(());
            }
            let (at, bit) = (self.random.below(len), self.random.below(8));
            disk.flip(name, at, 1 << bit).map_err(failed)?;
            let name = name.clone();
            self.note(|| format!("{id} has a bit turned over in {name} at {at}"));
            self.count("bit rot");
        }
        let index = self.nodes[&id].index;
        self.put_back.insert(index);
        self.rotten.insert(id);
        Ok(())
    }
}
