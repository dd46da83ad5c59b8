//! How a restarted replica comes back: it asks before it acts.
//!
//! ```text
//!                    ┌──────────────── a primary lives ──────────────▶ swap: join as a fresh replica, with this folder
//!   returning ──ask──┤
//!                    └─ no primary, enough voters return ─▶ plan ─▶ copy the best log ─▶ adopt ─▶ all have ─▶ resume
//!
//!   running ──asked by one that returns, no majority──▶ makes way: as above ──a primary lives, or nobody needs it──▶ goes on
//! ```
//!
//! A returning replica does not tick, vote or acknowledge: its disk may be older than what it said. It asks all others, ten times a
//! second, and answers whoever asks with its *card*: what its log says, under a nonce of this life. Cards count only if they came as
//! answers to the life that asked, so that a host cannot put old ones in.
//!
//! The lowest replica that returns coordinates. It waits until enough are there ([`Resumption`]), a little longer for the rest, and puts
//! a *plan* on its card: who takes part, in which life, whose log all adopt and in which view. Each copies, makes the log and the view
//! durable, and says so on its card. When all have, the coordinator says that the plan is complete, and whoever hears that goes on.
//! Whatever is interrupted starts again under new lives: nothing ticked meanwhile, so that nothing was promised. A replica whose log
//! ends before the best one begins cannot copy: it [fetches](fetching) a snapshot first, begins at that, and asks again.
//!
//! A replica that runs answers with the primary that it follows, if any. One that runs without hearing a majority makes way: it stops
//! running and returns too ([`Askers`] says when), because those that return may need its log. It promises nothing by that. Its process did
//! not end, so that it knows what its disk must show; as long as it has changed none of it, or only begun it anew at a snapshot, it goes on as it was once a
//! primary lives, or nobody is left who needs it. Otherwise one late question, of a replica that has long come back another way, could cost a majority.
//!
//! A replica that was away while all others were replaced knows nobody who still answers. When it has heard nobody that runs for a while, it
//! tries the swap all the same: the owner asks at the addresses that it knows, where others may live now.
//!
//! One that the ledger has retired has no way back. It ends once it has left the consensus, and not before: if all fail meanwhile, they resume with it.
//!
//! A synchronous machine: [`Returning::turn`] gives what to ask, [`Returning::asked`] and [`Returning::answered`] take in what others
//! say. It deliberately does not join: the owner does, when the way is [`Way::Swap`].

mod askers;
mod copying;
mod fetching;
mod message;

use std::collections::BTreeMap;

use bytes::Bytes;
use coco_consensus::{Resume, ResumeEntry, ResumeState, Resumption, Written};
use coco_governance::{Addresses, NodeRow, NodeStatus, ResumeRow};
use coco_protocol::{Outcome, Rejection, RejectionReason};
use coco_types::{Digest, ReplicaId, limits};

pub use askers::Askers;
pub use fetching::{Arrival, Snapshots, Verdict};
pub use message::{Card, Malformed, Participant, Plan, Running, YourPlace, is_of_returning, running_reply};

use fetching::Fetching;
use message::{Ask, Reply};

use crate::executor::SystemCommand;

/// The way back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// A primary lives: come back as a fresh replica.
    Swap,
    /// Everybody in the plan has adopted the same log: go on as this replica.
    Resume(Plan),
    /// It made way, and is not needed: go on as this replica.
    GoOn,
    /// A snapshot has come that the log does not hold: begin at it, and come back with that.
    BeginAnew,
    /// Another has taken this replica's place, or it was retired.
    Gone,
}

/// Who returns, and with what.
pub struct Origin {
    pub replica: ReplicaId,
    /// Where this node listens now.
    pub addresses: Addresses,
    /// `None`: it was lost, and this replica may not act on what is left.
    pub log: Option<Resume>,
    /// Disks that may show an old state at a resume; `None` if the consortium forbids resuming, or nothing says that it allows it.
    pub rolled_back: Option<usize>,
    /// The others as this replica knew them.
    pub others: Vec<ReplicaId>,
    /// Where the log stood when this process's replica made way.
    pub written: Option<Written>,
    /// `None` if the log is.
    pub snapshots: Option<Snapshots>,
}

/// Who is there, in which life, and where.
type Lives = BTreeMap<ReplicaId, (Digest, Addresses)>;

/// Fresh nonces.
pub type Nonces = Box<dyn FnMut() -> Digest + Send>;

/// See the module's text.
pub struct Returning {
    origin: Origin,
    /// See [`Card::made_way`].
    made_way: bool,
    /// Since when it comes back, or a plan failed.
    since_ms: Option<u64>,
    /// When one that needs others was last heard.
    wanted_ms: u64,
    /// Of the log, as of the last change to it.
    state: Option<ResumeState>,
    nonces: Nonces,
    /// Who this is, from the start or the last interruption on.
    life: Digest,
    others: BTreeMap<ReplicaId, Other>,
    plan: Option<Plan>,
    adopted: bool,
    /// The next entry to copy, while copying.
    next_index: Option<u64>,
    /// Entries that arrived and are not in the log yet.
    copied: Vec<(u64, Vec<ResumeEntry>)>,
    /// When a request for entries was sent.
    copying_since_ms: Option<u64>,
    fetching: Fetching,
    /// Since when enough voters are there.
    enough_since_ms: Option<u64>,
    plan_since_ms: u64,
    ask_at_ms: u64,
    /// No swap before: the last one was refused.
    swap_from_ms: u64,
    /// When it last tried a swap although it knew of no primary.
    knocked_ms: u64,
    way: Option<(Way, u64)>,
}

/// What another replica last said.
#[derive(Default)]
struct Other {
    /// Of a returning one, as an answer to this life.
    card: Option<(u64, Card)>,
    running: Option<(u64, Running)>,
    /// Where it says that it listens now.
    announced: Option<Addresses>,
    /// It knows that the plan is complete.
    goes_on: bool,
}

impl Returning {
    pub fn new(origin: Origin, mut nonces: Nonces) -> Self {
        let others =
            origin.others.iter().filter(|id| **id != origin.replica).map(|id| (*id, Other::default())).collect();
        let state = origin.log.as_ref().map(Resume::state);
        let unchanged = origin.log.as_ref().zip(origin.written.as_ref());
        Self {
            made_way: unchanged.is_some_and(|(log, written)| log.is_as(written)),
            since_ms: None,
            wanted_ms: 0,
            life: nonces(),
            origin,
            nonces,
            others,
            plan: None,
            adopted: false,
            next_index: None,
            copied: Vec::new(),
            copying_since_ms: None,
            fetching: Fetching::default(),
            enough_since_ms: None,
            plan_since_ms: 0,
            ask_at_ms: 0,
            swap_from_ms: 0,
            knocked_ms: 0,
            state,
            way: None,
        }
    }

    pub fn replica(&self) -> ReplicaId {
        self.origin.replica
    }

    /// Goes as far as possible now; returns what to ask of whom. An error is damage, or that more disks were rolled back than was
    /// said: the node stops.
    pub fn turn(&mut self, now_ms: u64) -> Result<Vec<(ReplicaId, Bytes)>, coco_consensus::Error> {
        while self.advance(now_ms)? {}
        let mut asks = self.ask_for_entries(now_ms);
        asks.extend(self.ask_for_snapshot(now_ms));
        if now_ms >= self.ask_at_ms {
            self.ask_at_ms = now_ms + limits::COMEBACK_ASK_MS;
            let ask = Ask::Card(Box::new(self.card())).encode();
            asks.extend(self.others.keys().map(|id| (*id, ask.clone())));
        }
        Ok(asks)
    }

    /// What to answer to another returning replica.
    pub fn asked(&mut self, from: ReplicaId, body: &[u8], now_ms: u64) -> Result<Option<Bytes>, Malformed> {
        match Ask::decode(body)? {
            Ask::Card(card) if card.replica == from => {
                let echo = card.life;
                self.hear_need(&card, now_ms);
                let known = self.others.entry(from).or_default();
                known.announced = Some(card.addresses);
                // Never its log's state: an ask may be old. That a plan is complete stays true.
                self.hear_of_completion(from, &card, now_ms);
                Ok(Some(Reply::Card { echo, card: Box::new(self.card()) }.encode()))
            }
            Ask::Card(_) => Err(Malformed),
            Ask::Entries { plan, first_index } => Ok(self.entries_for(plan, first_index)),
            Ask::Snapshot => Ok(self.snapshot_for(from)),
            Ask::Piece(request) => Ok(self.piece_for(from, request)),
        }
    }

    pub fn answered(&mut self, from: ReplicaId, body: Bytes, now_ms: u64) -> Result<(), Malformed> {
        let reply = Reply::decode(body)?;
        let own = self.state.as_ref().map(|state| state.view).unwrap_or_default();
        match reply {
            Reply::Card { card, .. } if !card.in_reach_of(own) => return Err(Malformed),
            Reply::Card { echo, card } if card.replica == from && echo == self.life => {
                self.hear_need(&card, now_ms);
                let known = self.others.entry(from).or_default();
                known.announced = Some(card.addresses);
                known.running = None;
                self.hear_of_completion(from, &card, now_ms);
                self.follow_plan_of(from, &card, now_ms);
                self.others.entry(from).or_default().card = Some((now_ms, *card));
            }
            Reply::Running { echo, running } if echo == self.life => {
                let known = self.others.entry(from).or_default();
                known.goes_on |= running.resumed.is_some() && running.resumed == self.plan.as_ref().map(|plan| plan.id);
                known.card = None;
                known.running = Some((now_ms, running));
            }
            // To an earlier life.
            Reply::Card { .. } | Reply::Running { .. } => {}
            Reply::Entries { first_index, entries } => self.copy(first_index, entries, now_ms),
            Reply::Snapshot(note) => self.named(from, note),
            Reply::Piece { request, piece } => self.piece_arrived(from, &request, piece, now_ms),
        }
        Ok(())
    }

    /// The way back, once it is clear and nobody needs this replica's answers any more.
    pub fn way(&self, now_ms: u64) -> Option<&Way> {
        let (way, since_ms) = self.way.as_ref()?;
        let Way::Resume(plan) = way else { return Some(way) };
        let told =
            |participant: &&Participant| self.others.get(&participant.replica).is_some_and(|other| other.goes_on);
        let others = plan.participants.iter().filter(|participant| participant.replica != self.origin.replica);
        // The coordinator is asked by those that have not heard yet.
        let leads = plan.coordinator == self.origin.replica;
        let over = if leads { others.filter(|one| !told(one)).count() == 0 } else { true };
        (over || now_ms >= since_ms + limits::COMEBACK_LINGER_MS).then_some(way)
    }

    /// A swap was refused, or nobody answered: asks again, a little later.
    pub fn swap_refused(&mut self, now_ms: u64) {
        if matches!(self.way, Some((Way::Swap, _))) {
            if self.primary(now_ms).is_none() {
                self.knocked_ms = now_ms;
            }
            self.way = None;
            self.swap_from_ms = now_ms + limits::SWAP_RETRY_MS;
        }
    }

    /// The primary that others follow.
    pub fn primary(&self, now_ms: u64) -> Option<ReplicaId> {
        let running = self.others.values().filter_map(|other| other.running.as_ref());
        let mut fresh = running.filter(|(at, _)| is_fresh(*at, now_ms)).map(|(_, running)| running);
        fresh.find_map(|running| running.primary.filter(|primary| *primary != self.origin.replica))
    }

    /// Where others say that they listen now.
    pub fn announced(&self) -> BTreeMap<ReplicaId, Addresses> {
        self.others.iter().filter_map(|(id, other)| Some((*id, other.announced?))).collect()
    }

    /// Where the log stands, if this replica made way and has changed none of it.
    pub fn unchanged(&self) -> Option<Written> {
        self.origin.log.as_ref().filter(|_| self.made_way).map(Resume::written)
    }

    /// Gives the log back, if there is one.
    pub fn into_log(self) -> Option<Resume> {
        self.origin.log
    }

    /// In words, for the log and for operators.
    pub fn waits_for(&self, now_ms: u64) -> String {
        let count = |heard: fn(&Other) -> Option<u64>| {
            let fresh = |other: &&Other| heard(other).is_some_and(|at| is_fresh(at, now_ms));
            self.others.values().filter(fresh).count()
        };
        let returning = count(|other| other.card.as_ref().map(|(at, _)| *at));
        let running = count(|other| other.running.as_ref().map(|(at, _)| *at));
        let known = self.others.len();
        let why = match (&self.plan, self.origin.rolled_back) {
            (Some(_), _) => "copying the best log",
            (None, _) if self.fetching.is_under_way() => {
                "fetching a snapshot: this log cannot be continued from the best one"
            }
            (None, None) => "waits for a primary: nothing here says that the consortium allows resuming",
            (None, Some(_)) if self.origin.log.is_none() => "waits for a primary: this replica's own log is missing",
            (None, Some(_)) => "waits for a primary, or for enough voters to resume with",
        };
        format!("{why}; of {known} others {running} run without a primary and {returning} return")
    }

    fn card(&self) -> Card {
        Card {
            replica: self.origin.replica,
            life: self.life,
            addresses: self.origin.addresses,
            state: self.state.clone().filter(|_| self.origin.rolled_back.is_some()),
            rolled_back: self.origin.rolled_back,
            plan: self.plan.clone(),
            adopted: self.adopted,
            complete: matches!(self.way, Some((Way::Resume(_), _))),
            made_way: self.made_way,
        }
    }

    /// One step; `false` if there is none to make.
    fn advance(&mut self, now_ms: u64) -> Result<bool, coco_consensus::Error> {
        if self.way.is_some() {
            return Ok(false);
        }
        if let Some(way) = self.way_of_those_that_run(now_ms) {
            return Ok(self.go(way, now_ms));
        }
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        let Some(plan) = self.plan.clone() else {
            let needed = now_ms < self.wanted_ms.max(since_ms) + limits::COMEBACK_FRESH_MS;
            let long = now_ms >= since_ms.max(self.fetching.heard_ms) + limits::COMEBACK_WAY_MADE_MS;
            let goes_on = self.made_way && (long || !needed);
            return Ok(if goes_on { self.go(Way::GoOn, now_ms) } else { self.propose(now_ms) });
        };
        if self.plan_is_dead(&plan, now_ms) {
            self.start_again();
            return Ok(true);
        }
        if !self.adopted {
            return self.adopt_when_copied(&plan, now_ms);
        }
        if plan.coordinator == self.origin.replica && plan.participants.iter().all(|one| self.has_adopted(&plan, one)) {
            return Ok(self.go(Way::Resume(plan), now_ms));
        }
        Ok(false)
    }

    fn go(&mut self, way: Way, now_ms: u64) -> bool {
        self.way = Some((way, now_ms));
        // Those that wait for it hear it now.
        self.ask_at_ms = 0;
        true
    }

    fn way_of_those_that_run(&self, now_ms: u64) -> Option<Way> {
        let running = || self.others.values().filter_map(|other| other.running.as_ref());
        let fresh = || running().filter(|(at, _)| is_fresh(*at, now_ms)).map(|(_, running)| running);
        if let Some(plan) = self.plan.as_ref().filter(|_| self.adopted)
            && fresh().any(|running| running.resumed == Some(plan.id))
        {
            return Some(Way::Resume(plan.clone()));
        }
        if fresh().any(|running| running.you == YourPlace::Gone) {
            return Some(Way::Gone);
        }
        if self.made_way {
            return self.hears_primary(now_ms).then_some(Way::GoOn);
        }
        if fresh().any(|running| running.you == YourPlace::Leaving) {
            return None;
        }
        let lives = |running: &Running| running.primary.is_some_and(|primary| primary != self.origin.replica);
        (now_ms >= self.swap_from_ms && (fresh().any(lives) || self.knocks(now_ms))).then_some(Way::Swap)
    }

    /// Those whom this replica knew may all have been replaced.
    fn knocks(&self, now_ms: u64) -> bool {
        let heard = self.others.values().filter_map(|other| Some(other.running.as_ref()?.0)).max();
        let silent_from = self.since_ms.map(|since| since.max(heard.unwrap_or(0)).max(self.knocked_ms));
        self.plan.is_none() && silent_from.is_some_and(|from| now_ms >= from + limits::COMEBACK_KNOCK_MS)
    }

    /// From itself: what others say of it may be out of date, and costs a swap only an attempt.
    fn hears_primary(&self, now_ms: u64) -> bool {
        self.others.iter().any(|(id, other)| {
            let fresh = other.running.as_ref().filter(|(at, _)| is_fresh(*at, now_ms));
            fresh.is_some_and(|(_, running)| running.primary == Some(*id))
        })
    }

    fn hear_need(&mut self, card: &Card, now_ms: u64) {
        if card.needs_others() {
            self.wanted_ms = now_ms;
        }
    }

    /// As the lowest of those that can resume, makes a plan once enough are there.
    fn propose(&mut self, now_ms: u64) -> bool {
        let Some((resumption, lives, rolled_back)) = self.quorum(now_ms) else {
            self.enough_since_ms = None;
            return false;
        };
        let since_ms = *self.enough_since_ms.get_or_insert(now_ms);
        let all = resumption.voters.iter().all(|voter| lives.contains_key(voter));
        let coordinates = lives.keys().next() == Some(&self.origin.replica);
        if !coordinates || !(all || now_ms >= since_ms + limits::COMEBACK_GRACE_MS) {
            return false;
        }
        let participant = |(replica, (life, addresses))| Participant { replica, life, addresses };
        self.plan = Some(Plan {
            id: (self.nonces)(),
            coordinator: self.origin.replica,
            participants: lives.into_iter().map(participant).collect(),
            best: resumption.best,
            view: resumption.view,
            rolled_back,
        });
        self.plan_since_ms = now_ms;
        self.ask_at_ms = 0;
        true
    }

    /// The voters that are there, if they are enough, and for how many old disks. The strictest of those that are there decides: what this
    /// replica knows of the members' choice may be as old as its disk.
    fn quorum(&self, now_ms: u64) -> Option<(Resumption, Lives, usize)> {
        self.origin.rolled_back?;
        let own = self.card();
        let cards = self.others.values().filter_map(|other| other.card.as_ref());
        let fresh = cards.filter(|(at, _)| is_fresh(*at, now_ms)).map(|(_, card)| card);
        let mut cards: Vec<&Card> = fresh.filter(|card| card.plan.is_none()).chain([&own]).collect();
        cards.retain(|card| card.state.is_some());
        let rolled_back = cards.iter().filter_map(|card| card.rolled_back).max()?;
        loop {
            let states: Vec<ResumeState> = cards.iter().filter_map(|card| card.state.clone()).collect();
            let best = ResumeState::best(&states)?;
            let copies = |card: &&Card| card.state.as_ref().is_some_and(|state| state.common_with(best).is_some());
            let before = cards.len();
            cards.retain(copies);
            let Some(resumption) = (cards.len() == before).then(|| Resumption::of(&states, rolled_back)) else {
                continue;
            };
            // Those that run vote too: a joiner may have got its vote without having heard of it, and makes way for nobody.
            let present = cards.iter().map(|card| card.replica).chain(self.running(now_ms));
            let resumption = resumption.filter(|resumption| resumption.elects(&present.collect()))?;
            // Learners, and whoever is out already, come back once there is a primary.
            cards.retain(|card| resumption.voters.contains(&card.replica));
            if cards.len() == before {
                let lives = cards.iter().map(|card| (card.replica, (card.life, card.addresses))).collect();
                return Some((resumption, lives, rolled_back));
            }
        }
    }

    fn running(&self, now_ms: u64) -> impl Iterator<Item = ReplicaId> {
        let runs = move |other: &Other| other.running.as_ref().is_some_and(|(at, _)| is_fresh(*at, now_ms));
        self.others.iter().filter(move |(_, other)| runs(other)).map(|(id, _)| *id)
    }

    fn follow_plan_of(&mut self, from: ReplicaId, card: &Card, now_ms: u64) {
        let Some(plan) = card.plan.as_ref().filter(|plan| plan.coordinator == from) else { return };
        let invited = plan.participants.iter().any(|one| one.replica == self.origin.replica && one.life == self.life);
        let higher = self.state.as_ref().is_some_and(|state| plan.view > state.view);
        // The coordinator heard of this replica's own choice, or it is of another life.
        let strict = self.origin.rolled_back.is_some_and(|own| plan.rolled_back >= own);
        if self.plan.is_none() && self.way.is_none() && invited && higher && strict {
            self.plan = Some(plan.clone());
            self.plan_since_ms = now_ms;
            self.ask_at_ms = 0;
        }
    }

    fn hear_of_completion(&mut self, from: ReplicaId, card: &Card, now_ms: u64) {
        let Some(plan) = self.plan.clone().filter(|own| card.plan.as_ref().is_some_and(|plan| plan.id == own.id))
        else {
            return;
        };
        if card.complete {
            self.others.entry(from).or_default().goes_on = true;
            if self.adopted && self.way.is_none() {
                self.go(Way::Resume(plan), now_ms);
            }
        }
    }

    /// The coordinator watches the participants, they watch the coordinator.
    fn plan_is_dead(&self, plan: &Plan, now_ms: u64) -> bool {
        let patience_ms = if self.adopted { limits::COMEBACK_PLAN_MS } else { limits::COMEBACK_FRESH_MS };
        let left = |participant: &Participant| {
            let card = self.others.get(&participant.replica).and_then(|other| other.card.as_ref());
            let Some((at, card)) = card else {
                return now_ms > self.plan_since_ms + patience_ms;
            };
            let in_plan = card.plan.as_ref().is_some_and(|theirs| theirs.id == plan.id);
            // The coordinator had the plan before anybody; the others have it soon, or follow another.
            let late = card.plan.is_some() || now_ms > self.plan_since_ms + limits::COMEBACK_FRESH_MS;
            let leads = participant.replica == plan.coordinator;
            let deserted = card.life != participant.life || (!in_plan && (leads || late));
            deserted || now_ms > at + patience_ms
        };
        let coordinates = plan.coordinator == self.origin.replica;
        let watched =
            |one: &&Participant| one.replica != self.origin.replica && (coordinates || one.replica == plan.coordinator);
        plan.participants.iter().filter(watched).any(left)
    }

    fn start_again(&mut self) {
        self.state = self.origin.log.as_ref().map(Resume::state);
        self.life = (self.nonces)();
        self.since_ms = None;
        self.plan = None;
        self.adopted = false;
        self.next_index = None;
        self.copied.clear();
        self.copying_since_ms = None;
        self.enough_since_ms = None;
        self.others.values_mut().for_each(|other| (other.card, other.goes_on) = (None, false));
        self.ask_at_ms = 0;
    }

    fn has_adopted(&self, plan: &Plan, participant: &Participant) -> bool {
        if participant.replica == self.origin.replica {
            return self.adopted;
        }
        let card = self.others.get(&participant.replica).and_then(|other| other.card.as_ref());
        card.is_some_and(|(_, card)| {
            let in_plan = card.plan.as_ref().is_some_and(|theirs| theirs.id == plan.id);
            in_plan && card.adopted && card.life == participant.life
        })
    }
}

/// Writes down that the network resumed by this plan: a transaction of a primary that was in it.
pub fn record(plan: &Plan) -> SystemCommand {
    let row = ResumeRow {
        view: plan.view,
        replicas: plan.participants.iter().map(|one| one.replica).collect(),
        adopted: plan.best,
        rolled_back_disks: u32::try_from(plan.rolled_back).unwrap_or(u32::MAX),
    };
    let addresses = plan.participants.iter().map(|one| (one.replica, one.addresses)).collect();
    Box::new(move |tx, _| {
        let refused = |error: coco_governance::Error| Rejection::new(RejectionReason::Invalid, 0, error.to_string());
        coco_governance::record_resume(tx, row, &addresses).map_err(refused)?;
        Ok(Outcome::default())
    })
}

/// What the ledger says of a replica that returns.
pub fn place_of(nodes: &[NodeRow], replica: ReplicaId, is_voter: bool) -> YourPlace {
    let row = nodes.iter().find(|node| node.info.replica == replica);
    match row.is_some_and(|node| node.info.status == NodeStatus::Retired) {
        false => YourPlace::Held,
        true if is_voter => YourPlace::Leaving,
        true => YourPlace::Gone,
    }
}

fn is_fresh(at_ms: u64, now_ms: u64) -> bool {
    now_ms <= at_ms + limits::COMEBACK_FRESH_MS
}
