//! A large consortium: 1,000 members with three texts of ballots among them, 10,000 proposals in the past: `cargo bench -p coco-governance`.
//!
//! The budget is 50 ms each for proposing, voting, deciding and listing, on one core. What a looping ballot costs is shown beside it. Times are those of this
//! thread on a processor, so that what else the machine does is not part of them; the wall clock's are beside them.

#[path = "../src/fixture.rs"]
#[allow(dead_code)]
mod fixture;

use std::hint::black_box;
use std::time::{Duration, Instant};

use coco_crypto::{Curve, SeededCrypto};
use coco_governance::{
    Addresses, Draft, Facts, Founding, FoundingActor, Network, NodeInfo, NodeRow, NodeStatus, Operation, Proposal,
    ProposalInfo, Request, ResumePolicy, Session, certificates, constitution, found, tables,
};
use coco_kv::Store;
use fixture::{Actor, NOW_S, ROOT};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

const MEMBERS: usize = 1_000;
const PAST: u64 = 10_000;
const MEASURED: u64 = 200;
const OPEN: u64 = 100;
const BUDGET: Duration = Duration::from_millis(50);
/// What the past was decided under: it is lived through in seconds, and leaves the same rows.
const BRIEF: &str = "export function validate(input) { return { valid: true, description: '' } }
    export function resolve(proposal, proposerId, votes) { return 'Open' }
    export function apply(proposal, proposalId) {}";
const BALLOTS: [&str; 3] = [
    "export function vote() { return true }",
    "export function vote(proposal) { return JSON.parse(proposal).actions.length === 1 }",
    "export function vote(proposal, proposerId) { return proposerId.length === 64 }",
];

fn main() {
    // Cargo passes `--bench`, and `cargo test` runs this without: then there is nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut network = LargeNetwork::new();
    network.live_through(PAST);
    network.adopt(constitution::DEFAULT);
    println!("{:<44} {:>9} {:>9} {:>9} {:>9}", "", "p50 ms", "max ms", "wall p50", "wall max");
    let mut slowest = Duration::ZERO;
    let mut show = |what: &str, times: &mut Vec<Spent>| {
        let of = |kind: fn(&Spent) -> Duration| {
            let mut of_kind: Vec<_> = times.iter().map(kind).collect();
            of_kind.sort_unstable();
            (of_kind[of_kind.len() / 2], of_kind[of_kind.len() - 1])
        };
        let ((middle, max), (wall, wall_max)) = (of(|spent| spent.processor), of(|spent| spent.wall));
        let [middle_ms, max_ms, wall, wall_max] = [middle, max, wall, wall_max].map(millis);
        println!("{what:<44} {middle_ms:>9.1} {max_ms:>9.1} {wall:>9.1} {wall_max:>9.1}");
        slowest = slowest.max(max);
    };
    show("propose, or withdraw", &mut network.live_through(MEASURED));
    let ids: Vec<String> = (0..OPEN).map(|_| network.propose().1).collect();
    let mut votes = Vec::new();
    let mut decision = Vec::new();
    for member in 0..=MEMBERS / 2 {
        let (time, answer) = network.vote(member, &ids[0], BALLOTS[member % BALLOTS.len()]);
        let carried = answer["proposalState"] == "Accepted";
        assert_eq!(carried, member == MEMBERS / 2, "a majority decides");
        if carried { decision.push(time) } else { votes.push(time) }
    }
    let late = votes.len() - 100;
    show("vote, the first 400", &mut votes[..late].to_vec());
    show("vote, with 400 to 500 ballots there", &mut votes[late..].to_vec());
    show("the vote that carries it", &mut decision);
    show("list", &mut (0..20).map(|_| network.list()).collect());
    show("show one", &mut (0..20).map(|_| network.show(&ids[1])).collect());
    let (first, _) = network.vote(0, &ids[1], "export function vote() { for (;;) {} }");
    let (again, _) = network.vote(1, &ids[1], BALLOTS[0]);
    show("a ballot that loops, with its resolution", &mut vec![first]);
    show("the vote after it", &mut vec![again]);
    assert!(slowest < BUDGET, "the slowest takes {:.1} ms, and 50 are the budget", millis(slowest));
}

/// What something took.
#[derive(Clone, Copy)]
struct Spent {
    processor: Duration,
    wall: Duration,
}

/// A clock of both kinds.
struct Watch {
    processor: Duration,
    wall: Instant,
}

impl Watch {
    fn start() -> Self {
        Self { processor: on_processor(), wall: Instant::now() }
    }

    fn spent(&self) -> Spent {
        Spent { processor: on_processor().saturating_sub(self.processor), wall: self.wall.elapsed() }
    }
}

/// This thread's time on a processor since it began.
fn on_processor() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a thread's time is not negative")
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

struct LargeNetwork {
    crypto: SeededCrypto,
    members: Vec<Actor>,
    store: Store,
    now_s: u64,
}

impl LargeNetwork {
    fn new() -> Self {
        let crypto = SeededCrypto::new(1);
        let members: Vec<_> = (0..MEMBERS).map(|_| Actor::new(&crypto, Curve::P256, "member")).collect();
        let store = fixture::founded(&crypto, &members.iter().collect::<Vec<_>>(), BRIEF);
        let network = Self { crypto, members, store, now_s: NOW_S - 2 * PAST };
        let ack = json!({ "stateDigest": ROOT }).to_string();
        for at in 0..MEMBERS {
            let member = network.members[at].id();
            network.send(at, "state_digest", None, Operation::UpdateDigest { member: member.clone() }, "");
            network.send(at, "ack", None, Operation::Acknowledge { member }, &ack);
        }
        network
    }

    fn adopt(&self, constitution: &str) {
        let mut tx = self.store.begin();
        let text = serde_json::to_vec(constitution).expect("a text is JSON");
        tx.put(&tables::CONSTITUTION, tables::SINGLETON.to_vec(), text);
        let next = self.store.newest().next();
        self.store.apply(next, tx.writes()).expect("it is the next version");
        self.store.commit(next);
    }

    /// Proposals that are made and withdrawn; the time of each request.
    fn live_through(&mut self, proposals: u64) -> Vec<Spent> {
        let pair = |_| {
            let (time, id) = self.propose();
            let operation = Operation::Withdraw { proposal: id.clone() };
            [time, self.send(0, "withdrawal", Some(&id), operation, "").0]
        };
        (0..proposals).flat_map(pair).collect()
    }

    fn propose(&mut self) -> (Spent, String) {
        self.now_s += 1;
        let args = json!({"member_id": self.members[1].id(), "member_data": {"at": self.now_s}});
        let text = json!({"actions": [{"name": "set_member_data", "args": args}]}).to_string();
        let (time, answer) = self.send(0, "proposal", None, Operation::Propose, &text);
        (time, answer["proposalId"].as_str().expect("a proposal has an id").to_owned())
    }

    fn vote(&self, member: usize, proposal: &str, ballot: &str) -> (Spent, Value) {
        let operation = Operation::Vote { proposal: proposal.to_owned(), member: self.members[member].id() };
        self.send(member, "ballot", Some(proposal), operation, &json!({ "ballot": ballot }).to_string())
    }

    fn send(
        &self,
        member: usize,
        kind: &str,
        proposal: Option<&str>,
        operation: Operation,
        payload: &str,
    ) -> (Spent, Value) {
        let actor = &self.members[member];
        let draft = Draft {
            key_id: actor.id(),
            kind: kind.to_owned(),
            proposal_id: proposal.map(str::to_owned),
            created_at: self.now_s,
            payload: payload.as_bytes().to_vec(),
        };
        let message = draft.sign(&self.crypto, &actor.key).into();
        let watch = Watch::start();
        let session = fixture::session(&self.store);
        let answer = session.handle(&Request { operation, message }).expect("the request is in order");
        let time = watch.spent();
        fixture::commit(&self.store, session);
        (time, answer.body.unwrap_or_default())
    }

    /// What `GET /gov/members/proposals` does.
    fn list(&self) -> Spent {
        let watch = Watch::start();
        let proposals = ProposalInfo::all(&mut self.store.snapshot()).expect("rows of this version");
        let answers: Vec<Proposal> = proposals.iter().map(|(id, info)| info.answer(id)).collect();
        black_box(serde_json::to_vec(&answers).expect("answers have only string keys"));
        watch.spent()
    }

    fn show(&self, id: &str) -> Spent {
        let watch = Watch::start();
        let info = ProposalInfo::read(&mut self.store.snapshot(), id).expect("a row of this version");
        let answer = info.expect("it is open").answer(id);
        black_box(serde_json::to_vec(&answer).expect("an answer has only string keys"));
        watch.spent()
    }
}
