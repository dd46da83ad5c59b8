//! Has another node remember what this one, being the primary, took into its pool ([`crate::held`]), before its clients are told.
//!
//! One message is on its way at a time; what comes meanwhile shares the next. So a lone transaction waits for one round trip, and under load
//! a message carries many.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coco_protocol::Admitted;
use parking_lot::Mutex;

use super::server::Server;

/// Called when it is remembered, or nobody is there to remember it.
type Then = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub struct Entrusting {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    on_its_way: bool,
    admitted: Vec<Admitted>,
    then: Vec<Then>,
}

impl Server {
    /// Answers through `then` once two nodes remember what was taken.
    pub(super) fn entrust(self: &Arc<Self>, admitted: Vec<Admitted>, then: Then) {
        let status = self.handle.status();
        if admitted.is_empty() || !status.is_primary || status.peers == 0 {
            return then();
        }
        {
            let mut waiting = self.entrusting.waiting.lock();
            waiting.admitted.extend(admitted);
            waiting.then.push(then);
            if std::mem::replace(&mut waiting.on_its_way, true) {
                return;
            }
        }
        self.entrust_waiting();
    }

    fn entrust_waiting(self: &Arc<Self>) {
        loop {
            let (admitted, then) = {
                let mut waiting = self.entrusting.waiting.lock();
                let taken = (std::mem::take(&mut waiting.admitted), std::mem::take(&mut waiting.then));
                waiting.on_its_way = !taken.1.is_empty();
                taken
            };
            if then.is_empty() {
                return;
            }
            // Whichever comes second, the answer or this function's end, goes on with what came meanwhile.
            let (server, first) = (self.clone(), Arc::new(AtomicBool::new(true)));
            let answered_first = first.clone();
            let answered = move |_held: bool| {
                then.into_iter().for_each(|then| then());
                if !answered_first.swap(false, Ordering::AcqRel) {
                    server.entrust_waiting();
                }
            };
            self.handle.entrust(admitted, Box::new(answered));
            if first.swap(false, Ordering::AcqRel) {
                return;
            }
        }
    }
}
