//! Who waits for what on the primary.

use std::collections::BTreeMap;

use bytes::Bytes;
use coco_protocol::{Rejection, Submitted};
use coco_types::{Seqno, TxId};

/// Called once, with an answer for each submission of a group, in order.
pub type Reply = Box<dyn FnOnce(Vec<Submitted>) + Send>;

/// One submission's place in its group.
#[derive(Clone, Copy, Debug)]
pub struct Ticket {
    pub group: u64,
    pub position: usize,
}

/// Submissions handed in together are answered together. Bounded by what the pools and the executor hold.
#[derive(Default)]
pub struct Submissions {
    next_group: u64,
    groups: BTreeMap<u64, Group>,
    /// In a pool, by ledger and the protocol's id.
    pooled: BTreeMap<(usize, Bytes), Ticket>,
    /// Executed, by seqno.
    executed: BTreeMap<Seqno, Executed>,
}

struct Group {
    answers: Vec<Option<Submitted>>,
    missing: usize,
    reply: Reply,
}

struct Executed {
    txid: TxId,
    response: Bytes,
    ticket: Ticket,
}

impl Submissions {
    pub fn open(&mut self, count: usize, reply: Reply) -> u64 {
        let group = self.next_group;
        self.next_group += 1;
        if count == 0 {
            reply(Vec::new());
        } else {
            self.groups.insert(group, Group { answers: vec![None; count], missing: count, reply });
        }
        group
    }

    /// The submission is answered; the group is, once all its submissions are.
    pub fn settle(&mut self, ticket: Ticket, answer: Submitted) {
        let Some(group) = self.groups.get_mut(&ticket.group) else { return };
        let Some(place) = group.answers.get_mut(ticket.position).filter(|place| place.is_none()) else { return };
        *place = Some(answer);
        group.missing -= 1;
        if group.missing == 0 {
            let group = self.groups.remove(&ticket.group).expect("found above");
            (group.reply)(group.answers.into_iter().flatten().collect());
        }
    }

    pub fn await_execution(&mut self, ledger: usize, id: Bytes, ticket: Ticket) {
        if let Some(earlier) = self.pooled.insert((ledger, id), ticket) {
            self.settle(earlier, Submitted::Unavailable);
        }
    }

    pub fn await_commit(&mut self, txid: TxId, response: Bytes, ticket: Ticket) {
        self.executed.insert(txid.seqno, Executed { txid, response, ticket });
    }

    pub fn executed(&mut self, ledger: usize, id: &Bytes, txid: TxId, response: Bytes) {
        if let Some(ticket) = self.pooled.remove(&(ledger, id.clone())) {
            self.await_commit(txid, response, ticket);
        }
    }

    pub fn rejected(&mut self, ledger: usize, id: &Bytes, rejection: Rejection) {
        if let Some(ticket) = self.pooled.remove(&(ledger, id.clone())) {
            self.settle(ticket, Submitted::Rejected(rejection));
        }
    }

    /// Everything of a ledger that was not executed yet.
    pub fn refuse_pooled(&mut self, ledger: usize, rejection: &Rejection) {
        let of_ledger: Vec<_> = self.pooled.keys().filter(|(of, _)| *of == ledger).cloned().collect();
        for (ledger, id) in of_ledger {
            self.rejected(ledger, &id, rejection.clone());
        }
    }

    /// Everything up to `seqno` is committed and readable.
    pub fn committed(&mut self, seqno: Seqno) {
        let later = self.executed.split_off(&seqno.next());
        for (_, Executed { txid, response, ticket }) in std::mem::replace(&mut self.executed, later) {
            self.settle(ticket, Submitted::Committed { txid, response });
        }
    }

    /// The reign ended: what was executed may or may not commit, what was pooled was not executed.
    pub fn abandon(&mut self) {
        for (_, executed) in std::mem::take(&mut self.executed) {
            self.settle(executed.ticket, Submitted::Unknown(Some(executed.txid)));
        }
        for (_, ticket) in std::mem::take(&mut self.pooled) {
            self.settle(ticket, Submitted::Unavailable);
        }
        for (_, group) in std::mem::take(&mut self.groups) {
            let answers = group.answers.into_iter().map(|answer| answer.unwrap_or(Submitted::Unavailable));
            (group.reply)(answers.collect());
        }
    }
}
