//! What happened in governance lately, for whoever follows it: `GET /gov/events`.
//!
//! The front tells of each committed batch once it is readable. Whoever follows is told on the front's thread, which only queues what is to be sent. Who
//! comes back finds what it has missed here, or in the ledger files ([`crate::ledger::NodeLedger::news`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use coco_governance::{News, news};
use coco_protocol::CommittedBatch;
use coco_rpc::endpoints::Listener;
use coco_types::{Seqno, TxId, limits};
use parking_lot::Mutex;

/// See the module's text. Shared.
pub struct Bulletin(Arc<Mutex<Board>>);

struct Board {
    /// Everything behind this is in `kept`, up to `at`.
    since: Seqno,
    at: TxId,
    kept: VecDeque<(TxId, Vec<News>)>,
    listeners: BTreeMap<u64, Listener>,
    last_listener: u64,
}

/// Transactions with what they say, oldest first.
pub type Told = Vec<(TxId, Vec<News>)>;

/// Somebody follows, until this is dropped.
pub struct Following {
    board: Arc<Mutex<Board>>,
    listener: u64,
}

impl Bulletin {
    /// Of a node that begins to tell behind this transaction.
    pub fn new(at: TxId) -> Self {
        let (kept, listeners) = (VecDeque::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(Board { since: at.seqno, at, kept, listeners, last_listener: 0 })))
    }

    /// A batch has become readable, up to `last`.
    pub fn deliver(&self, batch: &CommittedBatch, last: TxId) {
        let told: Vec<_> = batch.transactions.iter().map(|each| (each.txid, news(&each.writes))).collect();
        let mut board = self.0.lock();
        for (txid, news) in told.into_iter().filter(|(_, news)| !news.is_empty()) {
            board.listeners.retain(|_, listener| listener(txid, &news));
            board.kept.push_back((txid, news));
            if board.kept.len() > limits::NEWS_KEPT
                && let Some((dropped, _)) = board.kept.pop_front()
            {
                board.since = dropped.seqno;
            }
        }
        board.at = last;
    }

    /// Shows all who follow that they are still told.
    pub fn pulse(&self) {
        let mut board = self.0.lock();
        let at = board.at;
        board.listeners.retain(|_, listener| listener(at, &[]));
    }

    /// Everything up to here is told.
    pub fn at(&self) -> TxId {
        self.0.lock().at
    }

    /// The same, and what is kept behind `after`; the latter is an error if something in between is not kept.
    pub fn since(&self, after: Seqno) -> (TxId, Result<Told, Seqno>) {
        let board = self.0.lock();
        let behind = board.kept.iter().filter(|(txid, _)| txid.seqno > after).cloned().collect();
        (board.at, if after < board.since { Err(board.since) } else { Ok(behind) })
    }

    /// Tells of everything behind `at`.
    pub fn follow(&self, at: TxId, mut listener: Listener) -> Following {
        let mut board = self.0.lock();
        let missed = board.kept.iter().filter(|(txid, _)| txid.seqno > at.seqno);
        let there = missed.fold(true, |there, (txid, news)| there && listener(*txid, news));
        board.last_listener += 1;
        let id = board.last_listener;
        if there {
            board.listeners.insert(id, listener);
        }
        Following { board: self.0.clone(), listener: id }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.board.lock().listeners.remove(&self.listener);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use bytes::Bytes;
    use coco_governance::tables::MEMBER_INFO;
    use coco_protocol::CommittedTransaction;
    use coco_types::{View, WriteSet};

    use super::*;

    fn at(seqno: u64) -> TxId {
        TxId::new(View(2), Seqno(seqno))
    }

    /// A transaction that removes a member, or is none of governance's.
    fn batch(seqno: u64, removes: Option<&str>) -> CommittedBatch {
        let mut writes = WriteSet::new();
        if let Some(member) = removes {
            writes.insert(&MEMBER_INFO, Bytes::copy_from_slice(member.as_bytes()), None);
        }
        CommittedBatch { transactions: vec![CommittedTransaction { txid: at(seqno), writes: Arc::new(writes) }] }
    }

    #[test]
    fn who_follows_is_told_once_of_everything_behind_where_it_was() {
        let bulletin = Bulletin::new(at(10));
        let tell = |seqno, removes| bulletin.deliver(&batch(seqno, removes), at(seqno));
        tell(11, Some("a"));
        let (tell_it, told) = mpsc::channel();
        let listener: Listener = Box::new(move |txid, news| tell_it.send((txid, news.len())).is_ok());
        let following = bulletin.follow(at(10), listener);
        tell(12, None);
        tell(13, Some("b"));
        bulletin.pulse();
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [(at(11), 1), (at(13), 1), (at(13), 0)]);
        drop(following);
        tell(14, Some("c"));
        assert!(told.try_recv().is_err());
        assert_eq!(bulletin.since(Seqno(12)).1.map(|news| news.len()), Ok(2));
        assert_eq!(bulletin.since(Seqno(9)), (at(14), Err(Seqno(10))));
    }

    #[test]
    fn who_does_not_listen_any_more_is_forgotten_and_so_is_what_is_long_past() {
        let bulletin = Bulletin::new(at(0));
        let _following = bulletin.follow(at(0), Box::new(|_, _| false));
        let most = limits::NEWS_KEPT as u64;
        for seqno in 1..=most + 1 {
            bulletin.deliver(&batch(seqno, Some("a")), at(seqno));
        }
        assert!(bulletin.0.lock().listeners.is_empty());
        assert_eq!(bulletin.since(Seqno(0)).1, Err(Seqno(1)));
        assert_eq!(bulletin.since(Seqno(1)).1.map(|news| news.len()), Ok(limits::NEWS_KEPT));
    }
}
