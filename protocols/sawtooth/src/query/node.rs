//! The node as clients see it: what cannot be answered at once is answered by callback.

use crate::limits::{STATUS_ASK_AGAIN_MS, STATUS_WAIT_MS, SUBMISSION_BATCHES_MAX};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use coco_protocol::{Admitted, Caller, Idempotent, LedgerHandle, Rejection, RejectionReason, Submitted, Until};

use super::asked::Asked;
use super::view::{View, distinct};
use crate::address::is_id;
use crate::batch::SignedBatch;
use crate::chain::Chain;
use crate::events::{Hub, Subscriber, Wait, WholeBlock};
use crate::local_roles::LocalRoles;
use crate::messages::client::{
    BatchStatusRequest, BatchStatusResponse, Peer, PeersGetResponse, StatusGetResponse, status, submit_status,
};
use crate::protocol::admitted;

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
        View::new(self.handle.reader(caller), Arc::clone(&self.chain))
    }

    pub fn now_ms(&self) -> u64 {
        self.handle.now_ms()
    }

    /// As [`Node::submit`], if the key was no other submission's. Batches have ids of their own, by which one that comes again is known: so keys
    /// are kept only of those who are known themselves, and of what could be taken in.
    pub fn submit_once(
        self: &Arc<Self>,
        key: Idempotent,
        caller: &Caller,
        batches: Vec<Bytes>,
        reply: Box<dyn FnOnce(SubmitEnd) + Send>,
    ) {
        if matches!(caller, Caller::Anonymous) {
            return self.submit(caller, batches, reply);
        }
        let batches = match self.checked(caller, batches) {
            Ok(batches) => batches,
            Err(end) => return reply(end),
        };
        let node = Arc::clone(self);
        let claimed = move |claimed: Result<(), Rejection>| match claimed {
            Ok(()) => node.hand_in(batches, reply),
            Err(rejection) if rejection == Idempotent::reused() => {
                reply((submit_status::REUSED_KEY, rejection.message))
            }
            Err(rejection) => reply((submit_status::INTERNAL_ERROR, rejection.message)),
        };
        self.handle.claim(key, Box::new(claimed));
    }

    /// Checks batches and hands them to the primary's pool. Those that are known already count as taken.
    pub fn submit(&self, caller: &Caller, batches: Vec<Bytes>, reply: Box<dyn FnOnce(SubmitEnd) + Send>) {
        match self.checked(caller, batches) {
            Ok(batches) => self.hand_in(batches, reply),
            Err(end) => reply(end),
        }
    }

    /// All that can be said of batches before anybody else is asked.
    fn checked(&self, caller: &Caller, batches: Vec<Bytes>) -> Result<Vec<Admitted>, SubmitEnd> {
        if batches.len() > SUBMISSION_BATCHES_MAX {
            let message = format!("at most {SUBMISSION_BATCHES_MAX} batches at once");
            return Err((submit_status::INVALID_BATCH, message));
        }
        let permitted = |batch: SignedBatch| match self.roles.check(&batch) {
            Ok(()) => Ok(batch),
            Err(message) => {
                Err(Rejection::new(RejectionReason::Refused, i64::from(submit_status::INVALID_BATCH), message))
            }
        };
        let admit = |raw| SignedBatch::admit(raw).and_then(permitted).map(|batch| admitted(batch, caller.clone()));
        let checked: Result<Vec<_>, Rejection> = batches.into_iter().map(admit).collect();
        checked.map_err(|rejection| (submit_status::INVALID_BATCH, rejection.message))
    }

    /// What this node could not keep until it is decided it does not hand in.
    fn hand_in(&self, batches: Vec<Admitted>, reply: Box<dyn FnOnce(SubmitEnd) + Send>) {
        if batches.is_empty() {
            return reply((submit_status::OK, String::new()));
        }
        let Some(kept) = self.hub.outstanding.keep(&batches, self.now_ms()) else {
            let message = "too many batches that were handed in at this node are not decided yet".to_owned();
            return reply((submit_status::QUEUE_FULL, message));
        };
        let (hub, kept) = (Arc::clone(&self.hub), kept.into_iter().collect::<BTreeSet<_>>());
        let ids: Vec<_> = batches.iter().map(|batch| batch.id.clone()).collect();
        let end = move |answers: Vec<Submitted>| {
            let left = ids.iter().zip(&answers).filter(|(id, answer)| !is_taken(answer) && kept.contains(*id));
            left.for_each(|(id, _)| hub.outstanding.forget(id));
            reply(submit_end(answers));
        };
        self.handle.submit(batches, Until::Accepted, Box::new(end));
    }

    /// Where batches stand; after a while, if that is asked for. Each is told once.
    pub fn batch_statuses(
        self: &Arc<Self>,
        caller: &Caller,
        request: &BatchStatusRequest,
        reply: Box<dyn FnOnce(BatchStatusResponse) + Send>,
    ) {
        let ids = distinct(&request.batch_ids);
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
        let view = self.view(caller);
        let asked = Asked::about(ids, &view);
        let open = asked.open();
        if open.is_empty() {
            return reply(asked.answer(&view));
        }
        let (node, caller) = (Arc::clone(self), caller.clone());
        // Where workers have no room the answer comes on a thread that others wait for.
        let then = move |pending: BTreeMap<Bytes, bool>| {
            let hub = Arc::clone(&node.hub);
            hub.answer(move || node.statuses_known(caller, asked.with(&pending), until_ms, reply));
        };
        self.ask_pending(open, Box::new(then));
    }

    /// Once it is known what the primary has: answers, or waits.
    fn statuses_known(
        self: &Arc<Self>,
        caller: Caller,
        asked: Asked,
        until_ms: Option<u64>,
        reply: Box<dyn FnOnce(BatchStatusResponse) + Send>,
    ) {
        let Some(until_ms) = until_ms else { return reply(asked.answer(&self.view(&caller))) };
        let (pending, ids) = (asked.pending(), asked.ids());
        let (node, asking, ask_ms) = (Arc::clone(self), caller.clone(), self.now_ms() + STATUS_ASK_AGAIN_MS);
        let end = Box::new(move || {
            let view = node.view(&asking);
            reply(asked.looked_up(&view).answer(&view));
        });
        let number = self.hub.wait(Wait { pending: pending.iter().cloned().collect(), ids, until_ms, ask_ms, end });
        // What was decided in between is told to nobody any more.
        if let Some(number) = number {
            let view = self.view(&caller);
            let is_decided = |id: &Bytes| view.decided(&hex::encode(id)).is_some();
            let decided: Vec<Bytes> = pending.into_iter().filter(is_decided).collect();
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
        self.hub.wake();
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

    /// Takes a subscriber in; `begin` is called before it hears anything. `false` if there are too many.
    pub fn subscribe(&self, subscriber: &Arc<Subscriber>, begin: impl FnOnce()) -> bool {
        let has_room = self.hub.subscribe(subscriber);
        if has_room {
            begin();
            self.hub.begin(subscriber);
        }
        has_room
    }

    /// A committed block, for subscribers.
    pub fn block_to_tell(&self, number: u64) -> Option<Arc<WholeBlock>> {
        self.hub.block(number, || self.view(&Caller::Anonymous).whole_block(number))
    }

    pub fn peers(&self) -> PeersGetResponse {
        PeersGetResponse { status: status::OK, peers: self.peer_endpoints() }
    }

    pub fn status(&self) -> StatusGetResponse {
        let peers = self.peer_endpoints().into_iter().map(|endpoint| Peer { endpoint }).collect();
        StatusGetResponse { status: status::OK, peers, endpoint: endpoint(self.handle.status().node) }
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
