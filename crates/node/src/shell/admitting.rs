//! Requests to join, and fresh evidence, that other nodes hand to the primary: judged one after another.
//!
//! They are strangers' requests, and to judge one takes milliseconds of signatures. What a node forwards is taken in one after another, so that its clients'
//! writes and reads would wait behind them. A thread of its own judges them, for which few may wait; the others are told to come again.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use coco_types::limits;
use crossbeam_channel::{Sender, bounded};

use crate::shell::admission::{JoinReply, busy};

/// See the module's text. The thread ends with it.
pub struct Admitting {
    requests: Sender<Forwarded>,
}

/// The request's kind on the channel, and its body.
type Forwarded = (u16, Bytes, JoinReply);

impl Admitting {
    pub fn start(judge: impl Fn(u16, Bytes, JoinReply) + Send + 'static) -> io::Result<Self> {
        let (requests, waiting) = bounded::<Forwarded>(limits::ADMISSIONS_QUEUED_MAX);
        let serve = move || {
            for (kind, body, reply) in waiting {
                // A broken invariant costs its request, not all that come after it.
                if catch_unwind(AssertUnwindSafe(|| judge(kind, body, reply))).is_err() {
                    tracing::error!(kind, "judging a node's evidence panicked; its request goes unanswered");
                }
            }
        };
        std::thread::Builder::new().name("admitting".to_owned()).spawn(serve)?;
        Ok(Self { requests })
    }

    /// Never waits.
    pub fn take(&self, kind: u16, body: Bytes, reply: JoinReply) {
        if let Err(refused) = self.requests.try_send((kind, body, reply)) {
            let (_, _, reply) = refused.into_inner();
            reply(Err(busy()));
        }
    }
}

#[cfg(test)]
mod tests {
    use coco_protocol::Rejection;

    use super::*;

    #[test]
    fn what_is_judged_slowly_keeps_nobody_waiting_and_who_comes_when_too_many_wait_is_refused() {
        let (began_to, began) = bounded(100);
        let (let_it, may_answer) = bounded::<()>(100);
        let judge = move |kind: u16, body: Bytes, reply: JoinReply| {
            began_to.send(kind).expect("somebody counts");
            may_answer.recv().expect("somebody lets it");
            reply(Ok(body));
        };
        let admitting = Admitting::start(judge).unwrap();
        let (answers_to, answers) = bounded::<Result<Bytes, Rejection>>(100);
        let ask = |kind: u16| {
            let answers_to = answers_to.clone();
            let reply = Box::new(move |answer| answers_to.send(answer).unwrap());
            admitting.take(kind, Bytes::from_static(b"evidence"), reply);
        };
        ask(0);
        assert_eq!(began.recv(), Ok(0));
        let waiting = u16::try_from(limits::ADMISSIONS_QUEUED_MAX).unwrap();
        (1..=waiting).for_each(ask);
        assert!(began.is_empty() && answers.is_empty(), "one at a time");
        ask(99);
        assert_eq!(answers.recv(), Ok(Err(busy())), "too many wait");
        for _ in 0..=waiting {
            let_it.send(()).unwrap();
            assert_eq!(answers.recv(), Ok(Ok(Bytes::from_static(b"evidence"))));
        }
    }
}
