//! The node as clients see it: what cannot be answered at once is answered by callback.

use crate::limits::{STATUS_ASK_AGAIN_MS, STATUS_WAIT_MS, SUBMISSION_BATCHES_MAX};
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use coco_protocol::{Caller, Idempotent, LedgerHandle, Rejection, RejectionReason, Submitted, Until};

use super::view::View;
use crate::address::is_id;
use crate::batch::SignedBatch;
use crate::chain::Chain;
use crate::events::{Hub, Subscriber, Wait};
use crate::local_roles::LocalRoles;
use crate::messages::client::{
    BatchStatus, BatchStatusRequest, BatchStatusResponse, Peer, PeersGetResponse, StatusGetResponse, batch_status,
    status, submit_status,
};
use crate::protocol::admitted;
use crate::tables::id_key;

/// See the module's text.
pub struct Node {
    handle: Arc<dyn LedgerHandle>,
    hub: Arc<Hub>,
    chain: Arc<Chain>,
    roles: Arc<LocalRoles>,
}

/// What became of a submission: its status, and a sentence for people.
pub type SubmitEnd = (i32, String);

impl Node {
    pub fn new(handle: Arc<dyn LedgerHandle>, hub: Arc<Hub>, chain: Arc<Chain>, roles: Arc<LocalRoles>) -> Self {
        Self { handle, hub, chain, roles }
    }

    pub fn view(&self, caller: &Caller) -> View {
        View::new(self.handle.reader(caller), self.chain.governed())
    }

    pub fn now_ms(&self) -> u64 {
        self.handle.now_ms()
    }

    /// As [`Node::submit`], if the key was no other submission's. Batches have ids of their own, by which one that comes again is known.
    pub fn submit_once(
        self: &Arc<Self>,
        key: Idempotent,
        caller: &Caller,
        batches: Vec<Bytes>,
        reply: Box<dyn FnOnce(SubmitEnd) + Send>,
    ) {
        let (node, caller) = (Arc::clone(self), caller.clone());
        let claimed = move |claimed: Result<(), Rejection>| match claimed {
            Ok(()) => node.submit(&caller, batches, reply),
            Err(rejection) if rejection == Idempotent::reused() => {
                reply((submit_status::REUSED_KEY, rejection.message))
            }
            Err(rejection) => reply((submit_status::INTERNAL_ERROR, rejection.message)),
        };
        self.handle.claim(key, Box::new(claimed));
    }

    /// Checks batches and hands them to the primary's pool. Those that are known already count as taken.
    pub fn submit(&self, caller: &Caller, batches: Vec<Bytes>, reply: Box<dyn FnOnce(SubmitEnd) + Send>) {
        if batches.len() > SUBMISSION_BATCHES_MAX {
            return reply((submit_status::INVALID_BATCH, format!("at most {SUBMISSION_BATCHES_MAX} batches at once")));
        }
        let permitted = |batch: SignedBatch| match self.roles.check(&batch) {
            Ok(()) => Ok(batch),
            Err(message) => {
                Err(Rejection::new(RejectionReason::Refused, i64::from(submit_status::INVALID_BATCH), message))
            }
        };
        let admit = |raw| SignedBatch::admit(raw).and_then(permitted).map(|batch| admitted(batch, caller.clone()));
        let checked: Result<Vec<_>, Rejection> = batches.into_iter().map(admit).collect();
        match checked {
            Err(rejection) => reply((submit_status::INVALID_BATCH, rejection.message)),
            Ok(batches) if batches.is_empty() => reply((submit_status::OK, String::new())),
            Ok(batches) => {
                let (hub, now_ms, kept) = (Arc::clone(&self.hub), self.now_ms(), batches.clone());
                let end = move |answers: Vec<Submitted>| {
                    let taken = kept.into_iter().zip(&answers).filter(|(_, answer)| is_taken(answer));
                    hub.outstanding.keep(taken.map(|(batch, _)| batch).collect(), now_ms);
                    reply(submit_end(answers));
                };
                self.handle.submit(batches, Until::Accepted, Box::new(end));
            }
        }
    }

    /// Where batches stand; after a while, if that is asked for.
    pub fn batch_statuses(
        self: &Arc<Self>,
        caller: &Caller,
        request: &BatchStatusRequest,
        reply: Box<dyn FnOnce(BatchStatusResponse) + Send>,
    ) {
        let ids = &request.batch_ids;
        let failed = |status| BatchStatusResponse { status, batch_statuses: Vec::new() };
        if ids.len() > SUBMISSION_BATCHES_MAX || ids.iter().any(|id| !is_id(id)) {
            return reply(failed(status::INVALID_ID));
        }
        if ids.is_empty() {
            return reply(failed(status::NO_RESOURCE));
        }
        let timeout_ms = match u64::from(request.timeout) * 1_000 {
            0 => STATUS_WAIT_MS,
            asked => asked.min(STATUS_WAIT_MS),
        };
        let until_ms = request.wait.then(|| self.now_ms() + timeout_ms);
        let (node, caller, ids) = (Arc::clone(self), caller.clone(), ids.clone());
        let undecided = undecided(&self.view(&caller), &ids);
        let then = move |pending: BTreeMap<Bytes, bool>| node.statuses_known(caller, ids, pending, until_ms, reply);
        self.ask_pending(undecided, Box::new(then));
    }

    /// Once it is known what the primary has: answers, or waits.
    fn statuses_known(
        self: &Arc<Self>,
        caller: Caller,
        ids: Vec<String>,
        pending: BTreeMap<Bytes, bool>,
        until_ms: Option<u64>,
        reply: Box<dyn FnOnce(BatchStatusResponse) + Send>,
    ) {
        let waiting = pending.iter().filter(|(_, is_pending)| **is_pending).map(|(id, _)| id.clone()).collect();
        let node = Arc::clone(self);
        let end = {
            let (caller, ids) = (caller.clone(), ids.clone());
            move || reply(statuses(&node.view(&caller), &ids, &pending))
        };
        let Some(until_ms) = until_ms else { return end() };
        let ask_ms = self.now_ms() + STATUS_ASK_AGAIN_MS;
        let number = self.hub.wait(Wait { pending: waiting, until_ms, ask_ms, end: Box::new(end) });
        // What was decided in between is told to nobody any more.
        if let Some(number) = number {
            let view = self.view(&caller);
            let decided: Vec<Bytes> = ids.iter().filter(|id| view.decided(id).is_some()).map(|id| id_key(id)).collect();
            self.hub.settle(number, &decided);
        }
    }

    /// Time passes: ends waits, and tells subscribers what they missed.
    pub fn tick(self: &Arc<Self>) {
        for (number, ids) in self.hub.tick(self.now_ms(), STATUS_ASK_AGAIN_MS) {
            let hub = Arc::clone(&self.hub);
            let then = move |pending: BTreeMap<Bytes, bool>| {
                let gone: Vec<Bytes> =
                    pending.into_iter().filter(|(_, is_pending)| !is_pending).map(|(id, _)| id).collect();
                hub.settle(number, &gone);
            };
            self.ask_pending(ids, Box::new(then));
        }
        self.hand_in_again();
        for subscriber in self.hub.subscribers() {
            self.catch_up(&subscriber);
        }
    }

    /// What this node took in and a new primary does not know.
    fn hand_in_again(self: &Arc<Self>) {
        let ids = self.hub.outstanding.to_ask(self.now_ms());
        let view = self.view(&Caller::Anonymous);
        let (decided, open): (Vec<_>, Vec<_>) =
            ids.into_iter().partition(|id| view.decided(&hex::encode(id)).is_some());
        decided.iter().for_each(|id| self.hub.outstanding.forget(id));
        let (node, in_order) = (Arc::clone(self), open.clone());
        let then = move |pending: BTreeMap<Bytes, bool>| {
            let gone: Vec<Bytes> = in_order.into_iter().filter(|id| pending.get(id) == Some(&false)).collect();
            let batches = node.hub.outstanding.batches(&gone);
            if batches.is_empty() {
                return;
            }
            tracing::info!(
                batches = batches.len(),
                "the primary has lost batches that it had taken: handing them in again"
            );
            let (hub, ids) = (Arc::clone(&node.hub), batches.iter().map(|batch| batch.id.clone()).collect::<Vec<_>>());
            let end = move |answers: Vec<Submitted>| {
                let refused = ids.iter().zip(&answers).filter(|(_, answer)| is_refused(answer));
                refused.for_each(|(id, _)| hub.outstanding.forget(id));
            };
            node.handle.submit(batches, Until::Accepted, Box::new(end));
        };
        self.ask_pending(open, Box::new(then));
    }

    /// A subscriber hears of blocks from now on, and of those that it missed.
    pub fn subscribe(&self, subscriber: &Arc<Subscriber>) {
        self.hub.subscribe(subscriber);
        self.catch_up(subscriber);
    }

    pub fn peers(&self) -> PeersGetResponse {
        PeersGetResponse { status: status::OK, peers: self.peer_endpoints() }
    }

    pub fn status(&self) -> StatusGetResponse {
        let peers = self.peer_endpoints().into_iter().map(|endpoint| Peer { endpoint }).collect();
        StatusGetResponse { status: status::OK, peers, endpoint: endpoint(self.handle.status().node) }
    }

    fn catch_up(&self, subscriber: &Subscriber) {
        subscriber.catch_up(|number| self.view(&Caller::Anonymous).block_events(number));
    }

    /// Which of these are in the primary's hands. Without a primary that is not known: then they still may be.
    fn ask_pending(&self, ids: Vec<Bytes>, then: Box<dyn FnOnce(BTreeMap<Bytes, bool>) + Send>) {
        if ids.is_empty() {
            return then(BTreeMap::new());
        }
        let question: Bytes = ids.concat().into();
        let answered = move |answer: Result<Bytes, Rejection>| {
            let known = answer.ok().filter(|answer| answer.len() == ids.len());
            let pending = |place: usize| known.as_ref().is_none_or(|known| known.get(place) == Some(&1));
            let pending: BTreeMap<_, _> = ids.into_iter().enumerate().map(|(place, id)| (id, pending(place))).collect();
            then(pending);
        };
        self.handle.ask_primary(&Caller::Anonymous, question, Box::new(answered));
    }

    fn peer_endpoints(&self) -> Vec<String> {
        let status = self.handle.status();
        (0..=status.peers).filter(|index| *index != status.node).map(endpoint).collect()
    }
}

/// Nodes are named by their index: where others can be reached is not known here.
fn endpoint(index: u32) -> String {
    format!("coco://node{index}")
}

fn undecided(view: &View, ids: &[String]) -> Vec<Bytes> {
    ids.iter().filter(|id| view.decided(id).is_none()).map(|id| id_key(id)).collect()
}

fn statuses(view: &View, ids: &[String], pending: &BTreeMap<Bytes, bool>) -> BatchStatusResponse {
    let of = |id: &String| {
        view.decided(id).unwrap_or_else(|| {
            let is_pending = pending.get(&id_key(id)).copied().unwrap_or(false);
            let status = if is_pending { batch_status::PENDING } else { batch_status::UNKNOWN };
            BatchStatus { batch_id: id.clone(), status, invalid_transactions: Vec::new() }
        })
    };
    BatchStatusResponse { status: status::OK, batch_statuses: ids.iter().map(of).collect() }
}

/// Or may have been: then it is handed in again unless it turns up.
fn is_taken(answer: &Submitted) -> bool {
    matches!(answer, Submitted::Accepted | Submitted::Unknown(_))
}

/// For good: trying again would not help.
fn is_refused(answer: &Submitted) -> bool {
    matches!(answer, Submitted::Rejected(rejection) if rejection.reason != RejectionReason::Busy)
}

/// The worst of the answers: all batches of a submission share one.
fn submit_end(answers: Vec<Submitted>) -> SubmitEnd {
    let mut end = (submit_status::OK, String::new());
    for answer in answers {
        match answer {
            Submitted::Accepted | Submitted::Committed { .. } | Submitted::Unknown(_) => {}
            Submitted::Rejected(rejection) => match rejection.reason {
                RejectionReason::Duplicate => {}
                // There is no status for it: a client that is told that nothing can be accepted reads why.
                RejectionReason::Busy | RejectionReason::Closed => end = (submit_status::QUEUE_FULL, rejection.message),
                RejectionReason::Invalid | RejectionReason::Refused => {
                    return (submit_status::INVALID_BATCH, rejection.message);
                }
            },
            Submitted::Unavailable => end = (submit_status::INTERNAL_ERROR, "there is no primary just now".to_owned()),
        }
    }
    end
}
