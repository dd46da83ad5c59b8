//! The other machines' threads: executor, front, disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use coco_consensus::Persist;
use coco_disk::Disk;
use coco_ledger::{ServiceKeys, SnapshotHead};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::events::{ExecutorEvent, ReplicaEvent};
use crate::executor::Executor;
use crate::front::{Delivered, Front};
use crate::ledger::NodeLedger;
use crate::replica::Delivery;
use crate::reuse;
use crate::shell::mailbox::Mailbox;
use crate::shell::metrics::NodeMetrics;
use crate::shell::replica_thread::Ended;

/// Events handled between two turns of the executor.
const EVENTS_A_TURN: usize = 1024;
/// The executor looks at its pools, and the disk at what was written unasked, at least this often.
const IDLE: Duration = Duration::from_secs(1);

/// After each batch of old chunks that is checked, so that whatever else the node does comes first.
const CHECK_PAUSE: Duration = Duration::from_millis(1);

/// The ledger before a snapshot, which a node that came back has not checked yet: until it is done, or the other end of `stop` is gone. Why the
/// node must end.
pub fn check_old_chunks(
    ledger: &NodeLedger,
    service: &ServiceKeys,
    anchor: &SnapshotHead,
    stop: &Receiver<()>,
) -> Option<Ended> {
    let goes_on = || stop.recv_timeout(CHECK_PAUSE) == Err(RecvTimeoutError::Timeout);
    match reuse::check_before(ledger, service, anchor, &goes_on) {
        Ok(()) => None,
        Err(error) if reuse::is_taken_out(&error) => {
            tracing::info!(%error, "old chunks were taken out before they were checked");
            None
        }
        Err(error) => Some(Ended::Failed(error.to_string())),
    }
}

pub fn run_executor(
    mut executor: Executor,
    events: &Mailbox<ExecutorEvent>,
    replica: &Sender<ReplicaEvent>,
    clock: &(dyn Fn() -> u64 + Send + Sync),
) {
    execute(&mut executor, events, replica, clock);
    executor.stop();
    std::iter::from_fn(|| events.next()).for_each(ExecutorEvent::refuse);
}

/// Until the node shuts down, or the replica has ended.
fn execute(
    executor: &mut Executor,
    events: &Mailbox<ExecutorEvent>,
    replica: &Sender<ReplicaEvent>,
    clock: &(dyn Fn() -> u64 + Send + Sync),
) {
    loop {
        let wait = executor.wake_at_ms().map_or(IDLE, |at| Duration::from_millis(at.saturating_sub(clock())));
        match events.wait(wait.min(IDLE)) {
            Ok(event) => {
                if !handle(executor, event, replica) {
                    return;
                }
                for _ in 1..EVENTS_A_TURN {
                    let Some(event) = events.next() else { break };
                    if !handle(executor, event, replica) {
                        return;
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        for batch in executor.turn(clock()) {
            if replica.send(ReplicaEvent::Executed(batch)).is_err() {
                return;
            }
        }
    }
}

/// `false` ends the thread.
fn handle(executor: &mut Executor, event: ExecutorEvent, replica: &Sender<ReplicaEvent>) -> bool {
    match event {
        ExecutorEvent::Lead { view } => executor.lead(view),
        ExecutorEvent::Stop => {
            executor.stop();
            return replica.send(ReplicaEvent::ExecutorStopped).is_ok();
        }
        ExecutorEvent::Visible(seqno) => executor.visible(seqno),
        ExecutorEvent::Submit { ledger, admitted, until, reply } => executor.submit(ledger, admitted, until, reply),
        ExecutorEvent::System { command, reply } => executor.submit_system(command, reply),
        ExecutorEvent::First { command, reply } => executor.submit_first(command, reply),
        ExecutorEvent::Ask { question, reply } => reply(executor.answer(question.ledger, &question.question)),
        // The turn that follows looks.
        ExecutorEvent::Wake => {}
        ExecutorEvent::Shutdown => return false,
    }
    true
}

pub fn run_front(
    mut front: Front,
    deliveries: &Receiver<Delivery>,
    executor: &Sender<ExecutorEvent>,
    replica: &Sender<ReplicaEvent>,
    metrics: &NodeMetrics,
) {
    for delivery in deliveries {
        let transactions = delivery.batch.transactions.len();
        match front.deliver(delivery) {
            Ok(Delivered { last, alarm, signed_at }) => {
                metrics.note_batch(transactions);
                // What waits behind it was signed earlier: only the newest tells the time.
                if let Some(signed_s) = signed_at.filter(|_| deliveries.is_empty()) {
                    metrics.primary_clock.signed_at(signed_s);
                }
                let _ = executor.send(ExecutorEvent::Visible(last));
                let _ = replica.send(ReplicaEvent::FrontReached(last));
                if let Some(alarm) = alarm {
                    let _ = replica.send(ReplicaEvent::Alarmed(alarm));
                }
            }
            Err(integrity) => {
                let _ = replica.send(ReplicaEvent::FrontFailed(integrity.to_string()));
                return;
            }
        }
    }
}

/// Syncs what it is asked to, several requests at once if they have piled up: one sync covers all before it. When nothing is asked
/// for, what was written since is synced all the same: a chunk is renamed only after the sync that follows its completion.
pub fn run_disk(
    requests: &Receiver<Persist>,
    log_disk: &Arc<dyn Disk>,
    ledger: &NodeLedger,
    replica: &Sender<ReplicaEvent>,
    metrics: &NodeMetrics,
) {
    loop {
        let first = match requests.recv_timeout(IDLE) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => match ledger.sync() {
                Ok(()) => continue,
                Err(error) => return drop(replica.send(ReplicaEvent::DiskFailed(error.to_string()))),
            },
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut last = first;
        let mut batches = first.batches;
        for next in requests.try_iter() {
            batches |= next.batches;
            last = next;
        }
        let started = Instant::now();
        let synced = if batches { ledger.sync() } else { Ok(()) }.and_then(|()| log_disk.sync(last.log_file));
        metrics.sync_seconds.observe_duration(started.elapsed());
        let event = match synced {
            Ok(()) => ReplicaEvent::Persisted { number: last.number },
            Err(error) => ReplicaEvent::DiskFailed(error.to_string()),
        };
        if replica.send(event).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use coco_kv::Store;
    use coco_protocol::{Submitted, Until};
    use crossbeam_channel::unbounded;

    use super::*;
    use crate::executor::BatchLimits;

    #[test]
    fn who_asks_an_executor_that_ends_is_answered_all_the_same() {
        let executor = Executor::new(Store::new(), &[], Arc::new(|_: &mut [u8]| ()), BatchLimits::default());
        let (slots, mailbox) = Mailbox::new(8);
        let (to_replica, _at_replica) = unbounded();
        let (answers_to, answers) = unbounded();
        for _ in 0..3 {
            let (submitted, commanded) = (answers_to.clone(), answers_to.clone());
            let reply = Box::new(move |all| drop(submitted.send(all)));
            let submit = ExecutorEvent::Submit { ledger: 0, admitted: Vec::new(), until: Until::Accepted, reply };
            assert!(slots.requests.try_send(submit).is_ok());
            let reply = Box::new(move |all| drop(commanded.send(all)));
            let system = ExecutorEvent::System { command: Box::new(|_, _| Ok(Default::default())), reply };
            assert!(slots.requests.try_send(system).is_ok());
        }
        slots.orders.send(ExecutorEvent::Shutdown).unwrap();
        run_executor(executor, &mailbox, &to_replica, &|| 0);
        let all: Vec<Vec<Submitted>> = answers.try_iter().collect();
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [0, 1, 0, 1, 0, 1]);
    }
}
