//! One replica.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use coco_disk::Disk;
use coco_types::{ReplicaId, Seqno, View};
use raft::eraftpb::{Entry, EntryType, MessageType};
use raft::{RawNode, StateRole};

use crate::log::{Content, RaftLog, State};
use crate::membership::parse_conf_change;
use crate::outbox::Outbox;
use crate::reads::Reads;
use crate::resume::Written;
use crate::{
    BatchStore, Committed, Config, EntryKind, Error, LOG_FILE, Membership, NotPrimary, Output, PeerProgress, Persist,
    Refused, Role, RoleChange, SnapshotOffered, StartPoint,
};

/// Owns the raft crate's node and the log. Every call is quick; what follows from it is in [`Consensus::take_output`].
pub struct Consensus {
    config: Config,
    raw: RawNode<RaftLog>,
    random: Box<dyn FnMut() -> u64 + Send>,
    timeout: Timeout,
    outbox: Outbox,
    reads: Reads,
    membership: Membership,
    /// The last entry given out as committed.
    delivered: u64,
    role_told: RoleChange,
    /// The view in which reads are being asked for.
    reads_view: Option<View>,
    ticks: u64,
    /// When each peer last said something.
    heard: BTreeMap<ReplicaId, u64>,
    entries_since_state: u64,
    distrusted: Option<(ReplicaId, View)>,
    offered: Option<SnapshotOffered>,
    failed: bool,
}

/// The commit and applied indexes are recorded with every so many entries: after a restart, no more than about these are
/// committed again.
const ENTRIES_BETWEEN_STATES: u64 = 32;

/// An election timeout holds as long as (term, role, leader) does. It is drawn here and forced on the crate, which would
/// draw its own from the operating system.
struct Timeout {
    drawn_for: (u64, StateRole, u64),
    ticks: usize,
}

impl Consensus {
    /// A replica with a new log: the first of a network ([`StartPoint::genesis`] of itself), or a joiner, which starts
    /// where its snapshot ends and listens until the configuration that it receives says otherwise.
    pub fn create(
        config: Config,
        start: StartPoint,
        disk: Arc<dyn Disk>,
        batches: Box<dyn BatchStore>,
        random: Box<dyn FnMut() -> u64 + Send>,
    ) -> Result<Self, Error> {
        if !start.membership.is_sound() {
            return Err(Error::Config("the start point's membership contradicts itself".to_owned()));
        }
        let state = State {
            view: start.view,
            vote: 0,
            commit: start.index,
            applied: start.index,
            was_member: start.membership.contains(config.id),
            membership: start.membership.clone(),
        };
        let log = RaftLog::create(disk, batches, start, state, config.cache_bytes_max)?;
        Self::over(config, log, random)
    }

    /// A replica that was here before. Continues at [`Consensus::applied`]: the ledger up to there is the shell's to read.
    pub fn open(
        config: Config,
        disk: Arc<dyn Disk>,
        batches: Box<dyn BatchStore>,
        random: Box<dyn FnMut() -> u64 + Send>,
    ) -> Result<Self, Error> {
        let log = RaftLog::open(disk, batches, config.cache_bytes_max)?;
        if log.last_view() > log.state().view {
            return Err(Error::ResumeUnfinished);
        }
        Self::over(config, log, random)
    }

    fn over(config: Config, log: RaftLog, mut random: Box<dyn FnMut() -> u64 + Send>) -> Result<Self, Error> {
        let membership = log.state().membership.clone();
        let applied = log.state().applied;
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&raft_config(&config, applied), log, &logger)
            .map_err(|error| Error::Config(error.to_string()))?;
        let drawn_for = (raw.raft.term, raw.raft.state, raw.raft.leader_id);
        let timeout = Timeout { drawn_for, ticks: draw(&mut random, config.election_ticks) };
        let outbox = Outbox::new(config.guards.clone());
        let role_told = RoleChange { role: Role::Learner, view: View(0), primary: None };
        let mut consensus = Self {
            config,
            raw,
            random,
            timeout,
            outbox,
            reads: Reads::default(),
            membership,
            delivered: applied,
            role_told,
            reads_view: None,
            ticks: 0,
            heard: BTreeMap::new(),
            entries_since_state: 0,
            distrusted: None,
            offered: None,
            failed: false,
        };
        consensus.settle();
        consensus.role_told = consensus.role_now();
        Ok(consensus)
    }

    /// Time passes.
    pub fn tick(&mut self) {
        if self.failed {
            return;
        }
        self.ticks += 1;
        if !self.must_wait_for_disk() {
            self.raw.tick();
        }
        if self.ticks.is_multiple_of(self.config.election_ticks.max(1) as u64) {
            self.offer_again();
        }
        self.settle();
        self.reads.tick(self.config.heartbeat_ticks);
        self.start_read_round();
    }

    /// A message arrived on the channel of an endorsed replica. `Err`: it was not taken, and nothing changed.
    pub fn step(&mut self, from: ReplicaId, bytes: &[u8]) -> Result<(), Refused> {
        if self.failed {
            return Err(Refused::Stopped);
        }
        let mut message = self.admit(from, bytes)?;
        self.heard.insert(from, self.ticks);
        if message.get_msg_type() == MessageType::MsgSnapshot {
            self.offered = self.take_offer(&mut message);
        }
        let stepped = self.raw.step(message);
        self.settle();
        stepped.map_err(|_| Refused::Stranger)
    }

    /// Asks whether this replica still leads, to serve a linearizable read. The outcome comes in [`Output::reads`].
    pub fn read_index(&mut self, token: u64) -> Result<(), NotPrimary> {
        self.check_leads()?;
        self.reads_view = Some(self.view());
        self.reads.ask(token);
        self.start_read_round();
        Ok(())
    }

    /// The shell has synced the files named by [`Output::persist`] number `number`, and so all before.
    pub fn persisted(&mut self, number: u64) {
        if self.failed {
            return;
        }
        let durable = self.outbox.answered(number);
        self.raw.mut_store().set_synced(durable.log_len);
        if let Some(round) = durable.round {
            self.raw.on_persist_ready(round);
        }
        self.settle();
    }

    /// The shell has applied all committed entries up to `index`. Membership changes among them take effect now.
    ///
    /// # Panics
    /// If `index` was not given out as committed, or lies below an earlier one.
    pub fn applied(&mut self, index: u64) {
        if self.failed {
            return;
        }
        let before = self.raw.raft.raft_log.applied;
        assert!(before <= index && index <= self.delivered, "entries are applied in order, after they are committed");
        for membership_index in before + 1..=index {
            if let Some(bytes) = self.log().membership_at(membership_index).cloned() {
                self.apply_membership(membership_index, &bytes);
            }
        }
        if index > self.raw.raft.raft_log.applied {
            self.raw.advance_apply_to(index);
        }
        self.settle();
    }

    /// Everything that follows from the calls before. An error ends the replica.
    pub fn take_output(&mut self) -> Result<Output, Error> {
        if self.failed {
            return Err(Error::Failed);
        }
        let output = self.collect();
        self.failed = output.is_err();
        output
    }

    pub fn role(&self) -> Role {
        self.role_now().role
    }

    pub fn id(&self) -> ReplicaId {
        self.config.id
    }

    pub fn view(&self) -> View {
        View(self.raft().term)
    }

    pub fn primary(&self) -> Option<ReplicaId> {
        (self.raft().leader_id != 0).then_some(ReplicaId(self.raft().leader_id))
    }

    /// The last entry known to be committed.
    pub fn committed(&self) -> u64 {
        self.raft().raft_log.committed
    }

    /// The last entry that the shell has applied.
    pub fn applied_index(&self) -> u64 {
        self.raft().raft_log.applied
    }

    pub fn last_index(&self) -> u64 {
        self.raft().raft_log.last_index()
    }

    /// The last transaction at or below an entry; `None` outside the log.
    pub fn seqno_at(&self, index: u64) -> Option<Seqno> {
        self.log().seqno_at(index)
    }

    /// What its disk holds, all outputs taken. A replica that makes way for others finds it there again, or is no longer the same.
    pub fn written(&self) -> Written {
        Written::of(self.log())
    }

    /// The view of an entry; `None` outside the log.
    pub fn view_at(&self, index: u64) -> Option<View> {
        self.log().view_at(index)
    }

    /// What an entry holds; `None` outside the log.
    pub fn kind_at(&self, index: u64) -> Option<EntryKind> {
        self.log().kind_at(index)
    }

    /// The applied configuration.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Replicas whose removal was applied here.
    pub fn removed(&self) -> &BTreeSet<ReplicaId> {
        self.log().removed()
    }

    /// How each other replica of the configuration does; empty unless primary.
    pub fn progress(&self) -> Vec<PeerProgress> {
        if self.raft().state != StateRole::Leader {
            return Vec::new();
        }
        let others = self.membership.ids().into_iter().filter(|id| *id != self.config.id);
        others.filter_map(|id| self.progress_of(id)).collect()
    }

    fn progress_of(&self, id: ReplicaId) -> Option<PeerProgress> {
        let progress = self.raft().prs().get(id.0)?;
        let silent_ticks = self.ticks - self.heard.get(&id).copied().unwrap_or(0);
        Some(PeerProgress {
            id,
            matched: progress.matched,
            committed: progress.committed_index,
            silent_ticks,
            recent_active: silent_ticks < self.config.election_ticks as u64,
        })
    }

    /// Whether a majority of each active set, this replica counted, said something within two and a half election timeouts: by two, each
    /// backup of a primary that is gone has campaigned, and until then they say nothing to each other. Assumed while it has not run for so long.
    pub fn hears_quorum(&self) -> bool {
        let patience = 5 * self.config.election_ticks as u64 / 2;
        let recent = |heard: &u64| self.ticks - heard <= patience;
        let mut heard: BTreeSet<_> = self.heard.iter().filter(|(_, at)| recent(at)).map(|(id, _)| *id).collect();
        heard.insert(self.config.id);
        self.ticks <= patience || self.membership.has_quorum(&heard)
    }

    /// Primary, and an entry of its own view is applied: only now does it know all that was committed before.
    pub fn ready_to_lead(&self) -> bool {
        self.raft().state == StateRole::Leader && self.raft().apply_to_current_term()
    }

    /// Whether it has applied all that was ever committed before this view: an entry of the view itself is applied. A replica that has just started,
    /// or begins to lead, holds entries that clients were told of, and cannot know it yet.
    pub fn has_applied_of_this_view(&self) -> bool {
        self.raft().apply_to_current_term()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn raft(&self) -> &raft::Raft<RaftLog> {
        &self.raw.raft
    }

    pub(crate) fn raw(&mut self) -> &mut RawNode<RaftLog> {
        &mut self.raw
    }

    pub(crate) fn log(&self) -> &RaftLog {
        self.raw.store()
    }

    pub(crate) fn forget_log_lengths(&mut self) {
        self.outbox.forget_lengths();
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    pub(crate) fn set_distrusted(&mut self, primary: ReplicaId, view: View) {
        self.distrusted = Some((primary, view));
    }

    pub(crate) fn distrusts(&self, primary: ReplicaId, view: View) -> bool {
        self.distrusted == Some((primary, view))
    }

    /// Steps down within the view: nothing more is proposed in it.
    pub(crate) fn step_down(&mut self) {
        let term = self.raw.raft.term;
        self.raw.raft.become_follower(term, 0);
        self.settle();
    }

    /// To be called after everything that may have changed the crate's state.
    pub(crate) fn settle(&mut self) {
        let key = (self.raw.raft.term, self.raw.raft.state, self.raw.raft.leader_id);
        if key != self.timeout.drawn_for {
            self.timeout = Timeout { drawn_for: key, ticks: draw(&mut self.random, self.config.election_ticks) };
            if self.raw.raft.state == StateRole::Leader {
                self.heard = self.raw.raft.prs().iter().map(|(id, _)| (ReplicaId(*id), self.ticks)).collect();
            }
        }
        self.raw.raft.set_randomized_election_timeout(self.timeout.ticks);
        let leads = self.raw.raft.state == StateRole::Leader;
        if self.reads_view.is_some_and(|view| !leads || view != self.view()) {
            self.reads_view = None;
            self.reads.lose();
        }
    }

    /// A sole voter elects itself on the spot; the crate asserts that its whole log is durable by then.
    pub(crate) fn must_wait_for_disk(&self) -> bool {
        let raft = self.raft();
        let sole = raft.prs().is_singleton() && raft.promotable() && raft.state != StateRole::Leader;
        let behind = self.outbox.has_unanswered() || raft.raft_log.persisted < raft.raft_log.last_index();
        self.config.guards.sole_voter_waits_for_disk && sole && behind
    }

    fn start_read_round(&mut self) {
        if self.raw.raft.state == StateRole::Leader
            && let Some(context) = self.reads.next_round()
        {
            self.raw.read_index(context.to_vec());
        }
    }

    fn collect(&mut self) -> Result<Output, Error> {
        let mut output = Output::default();
        let mut dirty = false;
        while self.raw.has_ready() {
            self.handle_ready(&mut dirty, &mut output)?;
        }
        if let Some(error) = self.raw.mut_store().take_read_error() {
            return Err(error.into());
        }
        let flushed = self.raw.mut_store().flush()?;
        assert!(flushed.is_some() || !dirty, "what the crate wants durable was written");
        if let Some(flushed) = flushed {
            let number = self.outbox.issue(flushed.len);
            output.persist = Some(Persist { number, log_file: LOG_FILE, batches: flushed.batches });
        }
        output.truncated = self.raw.mut_store().take_truncated();
        output.messages = self.outbox.take();
        output.reads = self.reads.take(self.applied_index());
        self.start_read_round();
        output.snapshot_offered = self.offered.take();
        output.needs_snapshot = self.raw.mut_store().take_snapshots_wanted().into_iter().collect();
        let role = self.role_now();
        output.role_changed = (role != self.role_told).then_some(role);
        self.role_told = role;
        Ok(output)
    }

    /// One round of the crate: write, hold or send its messages, give out what is committed.
    fn handle_ready(&mut self, dirty: &mut bool, output: &mut Output) -> Result<(), Error> {
        let mut ready = self.raw.ready();
        *dirty |= ready.must_sync();
        let sync = self.outbox.sync_for(*dirty);
        let hard_state = self.raw.raft.hard_state();
        let state = self.log().state().clone();
        let term_changed = (hard_state.term, hard_state.vote) != (state.view.0, state.vote);
        if term_changed {
            self.outbox.term_changes_with(sync);
            let state = State { view: View(hard_state.term), vote: hard_state.vote, ..state.clone() };
            self.raw.mut_store().set_state(state);
        }
        let entries = ready.take_entries();
        self.entries_since_state += entries.len() as u64;
        for entry in entries {
            let (index, view, content) = classify(entry);
            self.raw.mut_store().append(index, view, content)?;
        }
        if term_changed || self.entries_since_state >= ENTRIES_BETWEEN_STATES {
            self.record_state();
        }
        for entry in ready.take_committed_entries() {
            let kind = self.log().kind_at(entry.index).expect("a committed entry is in the log");
            output.committed.push(Committed { index: entry.index, view: View(entry.term), kind });
            self.delivered = entry.index;
        }
        for state in ready.take_read_states() {
            self.reads.answered(&state.request_ctx, state.index);
        }
        self.outbox.post(ready.take_messages());
        self.outbox.post_after(sync, ready.take_persisted_messages());
        let number = ready.number();
        self.raw.advance_append_async(ready);
        if self.outbox.is_durable(sync) {
            self.raw.on_persist_ready(number);
        } else {
            self.outbox.wait_for(number, sync);
        }
        Ok(())
    }

    /// Records the commit index, and the applied index with its configuration, with whatever is written next.
    pub(crate) fn record_state(&mut self) {
        self.entries_since_state = 0;
        let hard_state = self.raw.raft.hard_state();
        let was_member = self.log().state().was_member || self.membership.contains(self.config.id);
        let state = State {
            view: View(hard_state.term),
            vote: hard_state.vote,
            commit: hard_state.commit.min(self.log().last_index()),
            applied: self.raw.raft.raft_log.applied,
            was_member,
            membership: self.membership.clone(),
        };
        self.raw.mut_store().set_state(state);
    }

    fn apply_membership(&mut self, index: u64, bytes: &[u8]) {
        let change = parse_conf_change(bytes).expect("only well-formed membership entries are taken");
        // A change that the crate refuses is refused by every replica alike, and changes nothing.
        if let Ok(state) = self.raw.apply_conf_change(&change) {
            let membership = Membership::from_conf_state(&state);
            debug_assert_eq!(membership, self.membership.after(&change), "a resume would count other voters");
            let gone: BTreeSet<_> = self.membership.ids().difference(&membership.ids()).copied().collect();
            self.membership = membership;
            for id in gone.into_iter().filter(|id| *id != self.config.id) {
                self.heard.remove(&id);
                self.raw.mut_store().set_removed(id);
            }
        }
        // The crate keeps a primary that is no voter in office for ever, and panics at its next commit.
        let leads = self.raw.raft.state == StateRole::Leader;
        if leads && !self.raw.raft.promotable() && self.config.guards.step_down_when_removed {
            self.step_down();
        }
        self.raw.advance_apply_to(index);
        if self.raw.raft.state == StateRole::Leader {
            let now = self.ticks;
            for id in self.membership.ids() {
                self.heard.entry(id).or_insert(now);
            }
        }
        self.record_state();
    }

    fn role_now(&self) -> RoleChange {
        let id = self.config.id;
        let role = match self.raft().state {
            StateRole::Leader => Role::Primary,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Follower if self.membership.is_voter(id) => Role::Backup,
            StateRole::Follower if !self.membership.contains(id) && self.log().state().was_member => Role::Removed,
            StateRole::Follower => Role::Learner,
        };
        RoleChange { role, view: self.view(), primary: self.primary() }
    }
}

fn raft_config(config: &Config, applied: u64) -> raft::Config {
    raft::Config {
        id: config.id.0,
        election_tick: config.election_ticks,
        heartbeat_tick: config.heartbeat_ticks,
        applied,
        max_size_per_msg: config.message_bytes_max,
        max_inflight_msgs: config.messages_in_flight(),
        check_quorum: true,
        pre_vote: true,
        max_uncommitted_size: raft::NO_LIMIT,
        ..raft::Config::default()
    }
}

fn draw(random: &mut dyn FnMut() -> u64, election_ticks: usize) -> usize {
    let spread = random() % (election_ticks as u64).max(1);
    election_ticks + usize::try_from(spread).unwrap_or(0)
}

/// By type, never by emptiness alone: leaving a joint configuration is a membership entry without bytes.
fn classify(entry: Entry) -> (u64, View, Content) {
    let content = match entry.get_entry_type() {
        EntryType::EntryNormal if entry.data.is_empty() => Content::Empty,
        EntryType::EntryNormal => Content::Batch(entry.data),
        EntryType::EntryConfChangeV2 | EntryType::EntryConfChange => Content::Membership(entry.data),
    };
    (entry.index, View(entry.term), content)
}
