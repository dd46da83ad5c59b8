//! Several replicas in one thread, over a network and disks that fail by a seed. Every invariant is checked at every step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use coco_consensus::{
    Committed, Config, Consensus, EntryKind, Error, Guards, MembershipChange, MembershipRefused, Output, Persist,
    ReadOutcome, Refused, Role, SnapshotOffered, StartPoint,
};
use coco_disk::{Disk, MemoryDisk};
use coco_types::{ReplicaId, View};

use crate::batches::{FileBatches, LEDGER_FILE, seal};
use crate::invariants::{Invariants, parse};
use crate::mutating::Grants;
use crate::seen::{FAULTS, STATES, describe};
use crate::{Coverage, Mutant, Story};

/// SplitMix64.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What the network does to messages, in percent and ticks.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub loss: u64,
    pub duplication: u64,
    pub delay_max: u64,
}

pub struct Replica {
    pub core: Option<Consensus>,
    pub disk: MemoryDisk,
    pub guards: Guards,
    /// Ticks that a sync takes; `u64::MAX`: it never ends.
    pub sync_ticks: u64,
    pub ledger: FileBatches,
    /// Committed entries are applied one a tick instead of at once.
    pub applies_slowly: bool,
    /// The last entry given out as committed.
    delivered: u64,
    pub reads: Vec<ReadOutcome>,
    pub needs_snapshot: BTreeSet<ReplicaId>,
    pub offered: Option<SnapshotOffered>,
    /// Asked for, with the view that each makes durable.
    syncs: VecDeque<(Persist, View)>,
    /// One at a time, as a disk does; with the tick at which it ends.
    syncing: Option<(u64, Persist, View)>,
}

struct Packet {
    due: u64,
    from: u64,
    to: u64,
    bytes: Bytes,
    /// Cuts do not hold it up.
    injected: bool,
}

pub struct Network {
    pub now: u64,
    pub random: Random,
    pub faults: Faults,
    pub replicas: BTreeMap<u64, Replica>,
    pub invariants: Invariants,
    /// Directed: from, to.
    pub cut: BTreeSet<(u64, u64)>,
    /// Delivered messages of this type from this replica are dropped.
    pub muted: BTreeSet<(u64, MessageTypeOrd)>,
    pub refused: Vec<(u64, Refused)>,
    /// Everything that left a replica, as it left: the trace of a run.
    pub trace: Option<Vec<u8>>,
    /// No message is forged: the refusals that only a faulty peer earns must not happen.
    pub honest: bool,
    /// A bug that every replica has.
    pub mutant: Option<Mutant>,
    /// Entries are gathered into one message up to this size.
    pub message_bytes_max: u64,
    /// Old states of disks, to be put back.
    pub images: BTreeMap<u64, MemoryDisk>,
    /// Gone for good.
    pub retired: BTreeSet<u64>,
    pub coverage: Coverage,
    pub story: Option<Story>,
    pub(crate) grants: Grants,
    /// What was committed anywhere when a read was asked for.
    read_floors: BTreeMap<u64, u64>,
    wire: Vec<Packet>,
}

/// The crate's message types have no order.
pub type MessageTypeOrd = i32;

pub fn id(id: u64) -> ReplicaId {
    ReplicaId(id)
}

pub fn ids(list: &[u64]) -> BTreeSet<ReplicaId> {
    list.iter().copied().map(ReplicaId).collect()
}

pub fn config(id: u64) -> Config {
    Config { election_ticks: 10, heartbeat_ticks: 2, ..Config::new(ReplicaId(id)) }
}

impl Network {
    /// Voters 1 to `voters`.
    pub fn new(voters: u64, seed: u64) -> Self {
        Self::with_guards(voters, seed, &Guards::default())
    }

    pub fn with_guards(voters: u64, seed: u64, guards: &Guards) -> Self {
        let mut network = Self::empty(seed);
        network.found(voters, guards);
        network
    }

    /// With a bug in every replica. Violations are kept, not panicked about.
    pub fn with_mutant(voters: u64, seed: u64, mutant: Option<Mutant>, message_bytes_max: u64) -> Self {
        let mut network = Self::empty(seed);
        network.invariants.expect_violation = true;
        (network.mutant, network.message_bytes_max) = (mutant, message_bytes_max);
        network.found(voters, &network.guards());
        network
    }

    /// What replicas are made with.
    pub fn guards(&self) -> Guards {
        self.mutant.map(Mutant::guards).unwrap_or_default()
    }

    pub(crate) fn found(&mut self, voters: u64, guards: &Guards) {
        for voter in 1..=voters {
            self.join(voter, StartPoint::genesis((1..=voters).map(ReplicaId)), guards);
        }
    }

    fn empty(seed: u64) -> Self {
        Self {
            now: 0,
            random: Random(seed),
            faults: Faults::default(),
            replicas: BTreeMap::new(),
            invariants: Invariants::default(),
            cut: BTreeSet::new(),
            muted: BTreeSet::new(),
            refused: Vec::new(),
            trace: None,
            honest: false,
            mutant: None,
            message_bytes_max: config(1).message_bytes_max,
            images: BTreeMap::new(),
            retired: BTreeSet::new(),
            coverage: Coverage::new(FAULTS, STATES),
            story: None,
            grants: Grants::default(),
            read_floors: BTreeMap::new(),
            wire: Vec::new(),
        }
    }

    pub fn join(&mut self, id: u64, start: StartPoint, guards: &Guards) {
        self.create(id, start, guards, MemoryDisk::new());
    }

    /// A joiner that brings the ledger's files up to its start point.
    pub fn join_with_ledger(&mut self, id: u64, start: StartPoint, ledger: &FileBatches) {
        let disk = MemoryDisk::new();
        ledger.copy_to(&disk);
        self.create(id, start, &Guards::default(), disk);
    }

    fn create(&mut self, id: u64, start: StartPoint, guards: &Guards, disk: MemoryDisk) {
        let ledger = FileBatches::open(disk.clone());
        self.plant_in(&ledger);
        let config = Config { guards: guards.clone(), message_bytes_max: self.message_bytes_max, ..config(id) };
        self.invariants.durable_view.insert(id, start.view);
        let batches = Box::new(ledger.clone());
        let core = Consensus::create(config, start, Arc::new(disk.clone()), batches, self.source(id)).unwrap();
        let replica = Replica {
            core: Some(core),
            disk,
            ledger,
            guards: guards.clone(),
            sync_ticks: 0,
            applies_slowly: false,
            delivered: 0,
            reads: Vec::new(),
            needs_snapshot: BTreeSet::new(),
            offered: None,
            syncs: VecDeque::new(),
            syncing: None,
        };
        self.replicas.insert(id, replica);
    }

    /// A joiner that copies the whole log.
    pub fn join_learner(&mut self, id: u64, genesis_voters: u64) {
        self.join(id, StartPoint::genesis((1..=genesis_voters).map(ReplicaId)), &self.guards());
    }

    fn source(&mut self, id: u64) -> Box<dyn FnMut() -> u64 + Send> {
        let mut random = Random(self.random.draw() ^ id);
        Box::new(move || random.draw())
    }

    pub fn core(&mut self, id: u64) -> &mut Consensus {
        self.replicas.get_mut(&id).unwrap().core.as_mut().unwrap()
    }

    pub fn view_of(&self, id: u64) -> Option<&Consensus> {
        self.replicas.get(&id)?.core.as_ref()
    }

    pub fn running(&self) -> Vec<u64> {
        self.replicas.iter().filter(|(_, replica)| replica.core.is_some()).map(|(id, _)| *id).collect()
    }

    /// One tick of everybody.
    pub fn step(&mut self) {
        self.now += 1;
        self.keep_old_disks();
        for id in self.running() {
            self.core(id).tick();
            self.apply_more(id);
            self.collect(id);
        }
        self.finish_syncs();
        self.deliver();
    }

    fn apply_more(&mut self, id: u64) {
        let Replica { applies_slowly, delivered, .. } = self.replicas[&id];
        let applied = self.core(id).applied_index();
        if applied < delivered {
            self.core(id).applied(if applies_slowly { applied + 1 } else { delivered });
        }
    }

    pub fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.step();
        }
    }

    /// Steps until the condition holds; `false` if it does not within `ticks`.
    pub fn run_until(&mut self, ticks: u64, mut holds: impl FnMut(&mut Self) -> bool) -> bool {
        for _ in 0..ticks {
            if holds(self) {
                return true;
            }
            self.step();
        }
        holds(self)
    }

    /// Delivers what is due, until nothing is due any more.
    fn deliver(&mut self) {
        for _ in 0..64 {
            let due: Vec<_> = self.wire.extract_if(.., |packet| packet.due <= self.now).collect();
            if due.is_empty() {
                return;
            }
            for packet in due {
                self.deliver_one(packet);
            }
            self.finish_syncs();
        }
    }

    fn deliver_one(&mut self, packet: Packet) {
        let Packet { from, to, bytes, injected, .. } = packet;
        if (self.cut.contains(&(from, to)) && !injected) || self.view_of(to).is_none() {
            return;
        }
        self.tell(to, Some(from), || describe(&bytes));
        let bytes = self.heard(from, to, bytes);
        self.invariants.before_delivery(from, to, &bytes);
        if let Err(refused) = self.core(to).step(ReplicaId(from), &bytes) {
            let harmless = [Refused::Stranger, Refused::Removed, Refused::NotFromPrimary].contains(&refused);
            assert!(harmless || !self.honest, "{to} refused an honest message of {from}: {refused}");
            self.refused.push((to, refused));
        }
        self.collect(to);
        self.after_delivery(to, &bytes);
    }

    fn finish_syncs(&mut self) {
        for id in self.running() {
            let lies = self.mutant == Some(Mutant::AnswersBeforeSync);
            while let Some((persist, view)) =
                self.replicas.get_mut(&id).and_then(|replica| replica.sync(self.now, lies))
            {
                self.invariants.durable_view.insert(id, view);
                self.core(id).persisted(persist.number);
                self.collect(id);
            }
        }
    }

    /// Takes a replica's output, acts on it, checks it.
    pub fn collect(&mut self, id: u64) {
        loop {
            let output = match self.core(id).take_output() {
                Ok(output) => output,
                Err(Error::Disk(_) | Error::Failed) => {
                    self.replicas.get_mut(&id).unwrap().core = None;
                    return;
                }
                Err(error) => panic!("replica {id}: {error}"),
            };
            let quiet = output == Output::default();
            self.act(id, output);
            if quiet {
                return;
            }
        }
    }

    fn act(&mut self, id: u64, output: Output) {
        let core = self.replicas[&id].core.as_ref().unwrap();
        self.invariants.check(id, core, &output);
        for committed in &output.committed {
            self.check_committed(id, committed);
        }
        let view = self.core(id).view();
        if let Some(change) = output.role_changed {
            self.tell(id, None, || format!("{:?} in view {}", change.role, change.view));
        }
        if let Some(last) = output.committed.last() {
            self.tell(id, None, || format!("has committed {}", last.index));
        }
        let replica = self.replicas.get_mut(&id).unwrap();
        if let Some(persist) = output.persist {
            replica.syncs.push_back((persist, view));
        }
        for read in &output.reads {
            if let ReadOutcome::Confirmed { token, index } = read
                && let Some(floor) = self.read_floors.get(token)
            {
                let met = index >= floor;
                self.invariants
                    .require(met, || format!("a read was confirmed at {index}, after {floor} was committed"));
            }
        }
        replica.reads.extend(output.reads);
        replica.needs_snapshot.extend(output.needs_snapshot);
        replica.offered = output.snapshot_offered.or(replica.offered.take());
        if let Some(last) = output.committed.last() {
            replica.delivered = last.index;
        }
        if !replica.applies_slowly && !output.committed.is_empty() {
            let delivered = replica.delivered;
            self.core(id).applied(delivered);
        }
        for (to, bytes) in output.messages {
            let bytes = self.said(id, to.0, bytes);
            self.send(id, to.0, bytes);
        }
    }

    pub(crate) fn check_committed(&mut self, id: u64, committed: &Committed) {
        let bytes = match committed.kind {
            EntryKind::Batch(span) => self.replicas[&id].ledger.bytes_of(span).unwrap(),
            _ => Bytes::new(),
        };
        let view = self.core(id).view();
        self.invariants.committed(id, committed, bytes, view);
    }

    fn send(&mut self, from: u64, to: u64, bytes: Bytes) {
        self.invariants.sent(from, to, &bytes);
        if let Some(trace) = &mut self.trace {
            trace.extend_from_slice(&self.now.to_le_bytes());
            trace.extend_from_slice(&bytes);
        }
        let kind = parse(&bytes).get_msg_type() as i32;
        if self.random.percent(self.faults.loss) || self.muted.contains(&(from, kind)) {
            self.count("message lost");
            return;
        }
        let copies = 1 + u64::from(self.random.percent(self.faults.duplication));
        if copies > 1 {
            self.count("message doubled");
        }
        for _ in 0..copies {
            let delay = self.random.below(self.faults.delay_max + 1);
            self.wire.push(Packet { due: self.now + delay, from, to, bytes: bytes.clone(), injected: false });
        }
    }

    /// Puts a message on the wire as if it had been sent, also where it is cut.
    pub fn inject(&mut self, from: u64, to: u64, bytes: Bytes) {
        self.wire.push(Packet { due: self.now, from, to, bytes, injected: true });
    }

    /// Asks a replica for a read; whether it took the question.
    pub fn read(&mut self, id: u64, token: u64) -> bool {
        let floor = self.invariants.committed.keys().last().copied().unwrap_or(0);
        let asked = self.core(id).read_index(token).is_ok();
        if asked {
            self.read_floors.insert(token, floor);
            self.answer_read_at_once(id, token, floor);
        }
        self.collect(id);
        asked
    }

    /// The primary of the highest view, if it still runs.
    pub fn primary(&self) -> Option<u64> {
        let primaries = self.replicas.iter().filter_map(|(id, replica)| {
            let core = replica.core.as_ref()?;
            (core.role() == Role::Primary).then(|| (core.view(), *id))
        });
        primaries.max().map(|(_, id)| id)
    }

    /// Runs until some replica is ready to lead.
    #[track_caller]
    pub fn elect(&mut self) -> u64 {
        let elected = self.run_until(400, |network| network.ready().is_some());
        assert!(elected, "no primary within 400 ticks");
        self.ready().unwrap()
    }

    fn ready(&self) -> Option<u64> {
        self.primary().filter(|id| self.view_of(*id).is_some_and(Consensus::ready_to_lead))
    }

    /// Makes one replica primary: another primary hands over, or it campaigns until it leads.
    #[track_caller]
    pub fn elect_this(&mut self, id: u64) {
        let elected = self.run_until(600, |network| {
            let primary = network.primary().filter(|primary| !network.cut.contains(&(*primary, id)));
            match primary {
                Some(primary) if primary == id => return network.core(id).ready_to_lead(),
                Some(primary) => {
                    let _ = network.core(primary).transfer(ReplicaId(id));
                    network.collect(primary);
                }
                None if network.now % 25 == 0 => {
                    network.core(id).campaign();
                    network.collect(id);
                }
                None => {}
            }
            false
        });
        assert!(elected, "{id} does not get elected");
    }

    /// Seals and proposes one batch; its index, or `None` if this replica cannot now.
    pub fn propose(&mut self, id: u64, payload: &[u8]) -> Option<u64> {
        let core = self.core(id);
        let slot = core.slot().ok()?;
        let before = core.seqno_at(slot.index - 1)?;
        let batch = seal(slot.view, before, &[payload]);
        core.propose(slot, batch).expect("a slot just read is good");
        self.collect(id);
        self.apply_early(id, slot.index);
        Some(slot.index)
    }

    /// Proposes and runs until everybody alive has applied it.
    #[track_caller]
    pub fn commit(&mut self, payload: &[u8]) -> u64 {
        let primary = self.elect();
        let index = self.propose(primary, payload).expect("a primary that is ready proposes");
        let done = self.run_until(200, |network| network.core(primary).applied_index() >= index);
        assert!(done, "entry {index} is not committed within 200 ticks");
        index
    }

    /// Runs until every member that is alive has applied all that the primary has.
    #[track_caller]
    pub fn settle(&mut self) {
        let done = self.run_until(300, |network| {
            let Some(primary) = network.ready() else { return false };
            let last = network.core(primary).last_index();
            let members = network.core(primary).membership().ids();
            let running = network.running();
            running
                .iter()
                .filter(|id| members.contains(&ReplicaId(**id)))
                .all(|id| network.view_of(*id).is_some_and(|core| core.applied_index() >= last))
        });
        assert!(done, "the replicas do not come to the same state");
    }

    /// Proposes a change and runs until the primary has applied it.
    #[track_caller]
    pub fn change(&mut self, change: &MembershipChange) {
        let (primary, index) = self.propose_change(change);
        let applied = self.run_until(200, |network| network.core(primary).applied_index() >= index);
        assert!(applied, "{change:?} is not applied within 200 ticks");
    }

    /// The primary that proposed it, and the index.
    #[track_caller]
    pub fn propose_change(&mut self, change: &MembershipChange) -> (u64, u64) {
        let mut proposed = None;
        self.run_until(200, |network| {
            let primary = network.elect();
            proposed = Some((primary, network.core(primary).propose_membership(change)));
            network.collect(primary);
            !matches!(proposed, Some((_, Err(MembershipRefused::Behind { .. } | MembershipRefused::Pending))))
        });
        let (primary, proposed) = proposed.unwrap();
        (primary, proposed.unwrap().index)
    }

    /// Cuts a replica off, in both directions.
    pub fn isolate(&mut self, id: u64) {
        for other in self.replicas.keys().copied().filter(|other| *other != id) {
            self.cut.insert((id, other));
            self.cut.insert((other, id));
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// A power cut: unsynced writes survive whole, in part or not at all, by the seed.
    pub fn crash(&mut self, id: u64) {
        let mut random = self.random.clone();
        self.random.draw();
        self.crash_with(id, |len| match random.below(3) {
            0 => None,
            1 => Some(len),
            _ => Some(usize::try_from(random.below(len as u64 + 1)).unwrap()),
        });
    }

    pub fn crash_with(&mut self, id: u64, survives: impl FnMut(usize) -> Option<usize>) {
        self.tell(id, None, || "goes down".to_owned());
        let replica = self.replicas.get_mut(&id).unwrap();
        replica.core = None;
        replica.delivered = 0;
        replica.syncs.clear();
        replica.syncing = None;
        replica.disk.crash(survives);
        self.invariants.crashed(id);
    }

    /// The process ends; the disk keeps all.
    pub fn stop(&mut self, id: u64) {
        self.crash_with(id, Some);
    }

    /// # Panics
    /// If its disk does not hold what it must.
    pub fn restart(&mut self, id: u64) {
        if self.retired.contains(&id) {
            return;
        }
        self.tell(id, None, || "starts again".to_owned());
        let source = self.source(id);
        self.before_restart(id);
        let message_bytes_max = self.message_bytes_max;
        let replica = self.replicas.get_mut(&id).unwrap();
        assert!(replica.core.is_none(), "{id} still runs");
        replica.ledger = FileBatches::open(replica.disk.clone());
        let ledger = replica.ledger.clone();
        self.plant_in(&ledger);
        let replica = self.replicas.get_mut(&id).unwrap();
        let batches = Box::new(ledger);
        let config = Config { guards: replica.guards.clone(), message_bytes_max, ..config(id) };
        let core = Consensus::open(config, Arc::new(replica.disk.clone()), batches, source).unwrap();
        self.invariants.durable_view.insert(id, core.view());
        replica.core = Some(core);
        self.collect(id);
    }

    /// What was found wrong, if a violation is expected.
    pub fn violation(&self) -> Option<&str> {
        self.invariants.violation.as_deref()
    }
}

impl Replica {
    /// The sync that ends now. The next one covers all that was asked for meanwhile.
    fn sync(&mut self, now: u64, lies: bool) -> Option<(Persist, View)> {
        self.core.as_ref()?;
        if self.syncing.is_none() {
            let (persist, view) = self.syncs.drain(..).next_back()?;
            self.syncing = Some((now.saturating_add(self.sync_ticks), persist, view));
        }
        let (_, persist, view) = self.syncing.take_if(|(due, ..)| *due <= now)?;
        if !lies {
            self.disk.sync(LEDGER_FILE).unwrap();
            self.disk.sync(persist.log_file).unwrap();
        }
        Some((persist, view))
    }
}
