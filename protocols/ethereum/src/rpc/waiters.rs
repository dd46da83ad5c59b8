//! Callers that wait until their transaction is in a block.
//!
//! Whoever waited too long is told at the next tick of the node's clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use alloy_primitives::B256;
use coco_protocol::Caller;
use parking_lot::Mutex;

use super::committed::{CommittedBlock, receipt_json};
use super::error::RpcError;
use super::failures;
use super::json::Json;
use super::limits::RECEIPT_WAITERS_MAX;
use super::reply::Responder;
use super::server::Server;
use super::view::ChainView;
use crate::events::{Channel, Event, Keep};

/// Everybody who waits, by transaction.
#[derive(Default)]
pub struct Waiters {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    by_hash: BTreeMap<B256, Vec<Waiter>>,
    /// All of them.
    count: usize,
    /// Nobody's time is over before.
    soonest_ms: u64,
}

impl Waiting {
    fn take(&mut self, hash: &B256) -> Vec<Waiter> {
        let waiters = self.by_hash.remove(hash).unwrap_or_default();
        self.count -= waiters.len();
        waiters
    }

    fn take_of_hash(&mut self, hash: &B256) -> Vec<Waiter> {
        let Some(waiters) = self.by_hash.get_mut(hash) else { return Vec::new() };
        let taken: Vec<Waiter> = waiters.extract_if(.., |waiter| waiter.wants == Wants::Hash).collect();
        if waiters.is_empty() {
            self.by_hash.remove(hash);
        }
        self.count -= taken.len();
        taken
    }
}

/// One caller.
pub struct Waiter {
    pub responder: Responder,
    pub caller: Caller,
    pub wants: Wants,
    pub ends_ms: u64,
}

/// What a waiting caller is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// The receipt, or an error when the time is over.
    Receipt { timeout_ms: u64 },
    /// The receipt, or null when the time is over.
    ReceiptIfAny,
    /// The hash, whatever happened.
    Hash,
}

impl Waiters {
    /// Lets blocks answer. The server is held weakly: it owns the waiters.
    pub fn listen(server: &Arc<Server>) {
        let weak: Weak<Server> = Arc::downgrade(server);
        server.ledger.events.listen(
            Channel::Blocks,
            Arc::new(move |event| {
                let Some(server) = weak.upgrade() else { return Keep::No };
                if let Event::Block(block) = event {
                    server.waiters.included(&server, block);
                    server.waiters.expire(server.handle.now_ms());
                }
                Keep::Yes
            }),
        );
    }

    pub fn add(&self, hash: B256, waiter: Waiter) {
        let mut waiting = self.waiting.lock();
        if waiting.count >= RECEIPT_WAITERS_MAX {
            drop(waiting);
            if waiter.wants == Wants::ReceiptIfAny {
                return waiter.responder.send(Ok(Json::null()));
            }
            return waiter.responder.send(Err(RpcError::limit(format!("{RECEIPT_WAITERS_MAX} waiting callers"))));
        }
        waiting.soonest_ms = if waiting.count == 0 { waiter.ends_ms } else { waiting.soonest_ms.min(waiter.ends_ms) };
        waiting.count += 1;
        waiting.by_hash.entry(hash).or_default().push(waiter);
    }

    /// Ends the waiting of everybody who wants a transaction's hash. Who wants its receipt waits on.
    pub fn answer_hash(&self, hash: &B256) {
        let waiters = self.waiting.lock().take_of_hash(hash);
        for waiter in waiters {
            waiter.responder.send(Ok(Json::data(hash.as_slice())));
        }
    }

    /// Answers who waited too long.
    pub fn expire(&self, now_ms: u64) {
        let mut expired = Vec::new();
        let mut waiting = self.waiting.lock();
        if waiting.count == 0 || now_ms <= waiting.soonest_ms {
            return;
        }
        let mut soonest_ms = u64::MAX;
        waiting.by_hash.retain(|hash, waiters| {
            expired.extend(waiters.extract_if(.., |waiter| waiter.ends_ms < now_ms).map(|waiter| (*hash, waiter)));
            soonest_ms = waiters.iter().map(|waiter| waiter.ends_ms).fold(soonest_ms, u64::min);
            !waiters.is_empty()
        });
        waiting.soonest_ms = soonest_ms;
        waiting.count -= expired.len();
        drop(waiting);
        for (hash, waiter) in expired {
            waiter.responder.send(match waiter.wants {
                Wants::Hash => Ok(Json::data(hash.as_slice())),
                Wants::ReceiptIfAny => Ok(Json::null()),
                Wants::Receipt { timeout_ms } => Err(timed_out(&hash, timeout_ms)),
            });
        }
    }

    /// Answers everybody who waits for a transaction of this block.
    pub fn included(&self, server: &Arc<Server>, block: &CommittedBlock) {
        if self.waiting.lock().count == 0 {
            return;
        }
        for (index, hash) in block.hashes().iter().enumerate() {
            let waiters = self.waiting.lock().take(hash);
            for waiter in waiters {
                let Some(included) = block.transaction(index) else { continue };
                let transaction = &included.transaction;
                if waiter.wants == Wants::Hash && server.options.failures_are_errors && included.has_failed() {
                    failures::answer(server, waiter.caller, transaction.hash, waiter.responder);
                    continue;
                }
                let answer = match waiter.wants {
                    Wants::Hash => Ok(Json::data(transaction.hash.as_slice())),
                    Wants::Receipt { .. } | Wants::ReceiptIfAny => {
                        let reader = server.handle.reader(&waiter.caller);
                        let chain = ChainView::new(server, &reader);
                        let seen = chain.discloses_transaction(transaction);
                        Ok(if seen { receipt_json(&block.head, included, index) } else { Json::null() })
                    }
                };
                waiter.responder.send(answer);
            }
        }
    }
}

/// Error 4 carries the hash, so that the caller can go on asking.
fn timed_out(hash: &B256, timeout_ms: u64) -> RpcError {
    let message = format!("the transaction was added to the pool but was not included within {timeout_ms} ms");
    RpcError::new(4, message).with_data(hash.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::rpc::reply::{Replies, Unsent};

    /// Has somebody wait until `ends_ms`; gives where the answer appears.
    fn wait(waiters: &Waiters, wants: Wants, ends_ms: u64) -> Arc<Mutex<Option<String>>> {
        let answer = Arc::new(Mutex::new(None));
        let sink = answer.clone();
        let replies = Replies::new(1, false, &Unsent::default(), Box::new(move |text| *sink.lock() = text));
        let responder = replies.responder(0, Some("1"));
        waiters.add(B256::repeat_byte(7), Waiter { responder, caller: Caller::Anonymous, wants, ends_ms });
        answer
    }

    #[test]
    fn who_waits_too_long_is_told_the_hash() {
        let waiters = Waiters::default();
        let receipt = wait(&waiters, Wants::Receipt { timeout_ms: 50 }, 100);
        let hash = wait(&waiters, Wants::Hash, 200);
        let if_any = wait(&waiters, Wants::ReceiptIfAny, 100);
        waiters.expire(100);
        assert_eq!((receipt.lock().clone(), hash.lock().clone()), (None, None));
        waiters.expire(101);
        let told = receipt.lock().clone().unwrap();
        assert!(told.contains("\"code\":4,") && told.contains(&B256::repeat_byte(7).to_string()), "{told}");
        assert!(if_any.lock().clone().unwrap().contains("\"result\":null"));
        assert_eq!(*hash.lock(), None);
        waiters.expire(201);
        assert!(hash.lock().clone().unwrap().contains("\"result\":\"0x0707"));
        let waiting = waiters.waiting.lock();
        assert_eq!((waiting.count, waiting.by_hash.len()), (0, 0));
    }

    #[test]
    fn who_wants_a_receipt_is_not_told_the_hash_when_others_are() {
        let waiters = Waiters::default();
        let hash = wait(&waiters, Wants::Hash, 100);
        let if_any = wait(&waiters, Wants::ReceiptIfAny, 100);
        waiters.answer_hash(&B256::repeat_byte(7));
        waiters.answer_hash(&B256::repeat_byte(8));
        assert!(hash.lock().clone().unwrap().contains("\"result\":\"0x0707"));
        assert_eq!(*if_any.lock(), None);
        waiters.expire(101);
        assert!(if_any.lock().clone().unwrap().contains("\"result\":null"));
        assert_eq!(waiters.waiting.lock().count, 0);
    }

    #[test]
    fn so_many_callers_wait_and_no_more_be_it_for_one_transaction() {
        let waiters = Waiters::default();
        let all: Vec<_> = (0..=RECEIPT_WAITERS_MAX).map(|_| wait(&waiters, Wants::Hash, 100)).collect();
        let refused = all.last().and_then(|answer| answer.lock().clone()).unwrap();
        assert!(refused.contains("-32005"), "{refused}");
        assert_eq!(waiters.waiting.lock().count, RECEIPT_WAITERS_MAX);
        waiters.expire(101);
        assert!(all.iter().all(|answer| answer.lock().is_some()));
    }
}
