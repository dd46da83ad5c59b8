//! The threads on which services compute.
//!
//! Recovering a sender takes 45 µs and running a contract much longer; on all the threads that move bytes this would stop every
//! other connection. The queue is bounded: whoever finds it full is told so at once instead of waiting without an end.
//!
//! A trip to another thread costs about 9 µs of processor, as much as all the rest of serving a small request. So a small one
//! runs where it arrived, as long as at least one of the threads that move bytes stays free of such work.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A piece of work.
pub type Job = Box<dyn FnOnce() + Send>;

/// Whose jobs are done in turn with those of others.
pub(crate) type Asker = IpAddr;

/// The node itself.
pub(crate) const OWN: Asker = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Of the places in the queue, one asker may take so many quarters.
const QUARTERS_OF_ONE: usize = 3;

/// As long as fewer than this part of the places are taken, nobody is told to come again for having waited.
const PARTS_OF_CROWD: usize = 64;

/// A bounded pool. Its threads end once it is dropped and the queue is empty.
pub(crate) struct Workers {
    queue: Arc<Queue>,
    room: Arc<Semaphore>,
    queued_max: usize,
    of_one_max: usize,
    /// Callers that compute themselves now, and how many may.
    at_home: AtomicUsize,
    at_home_max: usize,
}

/// The way to a server's workers for what the node itself has to have computed.
#[derive(Clone, Default)]
pub struct Aside(Weak<Workers>);

impl Aside {
    pub(crate) fn of(workers: &Arc<Workers>) -> Self {
        Self(Arc::downgrade(workers))
    }

    /// Gives the job back if too many wait, or the server has ended.
    pub fn run(&self, job: Job) -> Result<(), Job> {
        let Some(workers) = self.0.upgrade() else { return Err(job) };
        let Ok(place) = Arc::clone(&workers.room).try_acquire_owned() else { return Err(job) };
        if workers.queue.count(OWN) >= workers.of_one_max {
            return Err(job);
        }
        workers.queue.push(OWN, place, job);
        Ok(())
    }
}

/// What waits: each asker's jobs in order, the askers in turn.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: BTreeMap<Asker, VecDeque<(OwnedSemaphorePermit, Job)>>,
    turns: VecDeque<Asker>,
    closed: bool,
}

/// The queue is full, or this asker's part of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Busy;

impl Workers {
    /// Of the callers' own threads, `at_home_max` may compute at a time.
    pub(crate) fn start(threads: usize, queued_max: usize, at_home_max: usize) -> Self {
        let queue = Arc::new(Queue::default());
        for index in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || work(&queue))
                .expect("the system has threads left at start");
        }
        let of_one_max = (queued_max * QUARTERS_OF_ONE / 4).max(1);
        let room = Arc::new(Semaphore::new(queued_max));
        Self { queue, room, queued_max, of_one_max, at_home: AtomicUsize::new(0), at_home_max }
    }

    /// Runs a small job on the caller's thread if that is among those allowed to compute, else on a worker.
    pub(crate) fn try_run_small(&self, asker: Asker, job: impl FnOnce() + Send + 'static) -> Result<(), Busy> {
        if self.at_home.fetch_add(1, Ordering::Relaxed) < self.at_home_max {
            fenced(job);
            self.at_home.fetch_sub(1, Ordering::Relaxed);
            return Ok(());
        }
        self.at_home.fetch_sub(1, Ordering::Relaxed);
        self.try_run(asker, job)
    }

    pub(crate) fn try_run(&self, asker: Asker, job: impl FnOnce() + Send + 'static) -> Result<(), Busy> {
        let place = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Busy)?;
        if self.queue.count(asker) >= self.of_one_max {
            return Err(Busy);
        }
        self.queue.push(asker, place, Box::new(job));
        Ok(())
    }

    /// The same, but waits for room: for those who can make their client wait.
    pub(crate) async fn run(&self, asker: Asker, job: impl FnOnce() + Send + 'static) {
        let place = Arc::clone(&self.room).acquire_owned().await.expect("the semaphore is never closed");
        self.queue.push(asker, place, Box::new(job));
    }

    /// Tells whether many wait: then there is more to do than can be done, and it is not just that some requests take long.
    pub(crate) fn crowd(&self) -> impl Fn() -> bool + Send + use<> {
        let (room, free_max) = (Arc::clone(&self.room), self.queued_max - self.queued_max / PARTS_OF_CROWD);
        move || room.available_permits() <= free_max
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue.waiting.lock().closed = true;
        self.queue.changed.notify_all();
    }
}

impl Queue {
    fn count(&self, asker: Asker) -> usize {
        self.waiting.lock().jobs.get(&asker).map_or(0, VecDeque::len)
    }

    fn push(&self, asker: Asker, place: OwnedSemaphorePermit, job: Job) {
        let mut waiting = self.waiting.lock();
        let own = waiting.jobs.entry(asker).or_default();
        own.push_back((place, job));
        if own.len() == 1 {
            waiting.turns.push_back(asker);
        }
        drop(waiting);
        self.changed.notify_one();
    }

    /// The oldest job of the asker whose turn it is; `None` once nothing can come any more.
    fn take(&self) -> Option<(OwnedSemaphorePermit, Job)> {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some(asker) = waiting.turns.pop_front() {
                let own = waiting.jobs.get_mut(&asker).expect("who has a turn has a job");
                let job = own.pop_front().expect("who has a turn has a job");
                if own.is_empty() {
                    waiting.jobs.remove(&asker);
                } else {
                    waiting.turns.push_back(asker);
                }
                return Some(job);
            }
            if waiting.closed {
                return None;
            }
            self.changed.wait(&mut waiting);
        }
    }
}

fn work(queue: &Queue) {
    while let Some((place, job)) = queue.take() {
        drop(place);
        fenced(job);
    }
}

/// A broken invariant in a service costs its request, not a thread or a connection.
fn fenced(job: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(job)).is_err() {
        tracing::error!("a service panicked; its request goes unanswered");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const ONE: Asker = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));
    const OTHER: Asker = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

    #[test]
    fn askers_are_served_in_turn_and_one_cannot_fill_the_queue() {
        let workers = Workers::start(1, 8, 0);
        let (release, blocked) = mpsc::channel::<()>();
        let (started, running) = mpsc::channel::<()>();
        let block = move || {
            started.send(()).expect("the test waits");
            blocked.recv().expect("the test releases it");
        };
        assert_eq!(workers.try_run(ONE, block), Ok(()));
        running.recv().expect("the only thread is busy now");
        let (done, order) = mpsc::channel();
        let job = |asker: &'static str| {
            let done = done.clone();
            move || done.send(asker).expect("the test waits")
        };
        for _ in 0..6 {
            assert_eq!(workers.try_run(ONE, job("one")), Ok(()));
        }
        assert_eq!(workers.try_run(ONE, job("one")), Err(Busy), "three quarters of eight places");
        for _ in 0..2 {
            assert_eq!(workers.try_run(OTHER, job("other")), Ok(()));
        }
        assert_eq!(workers.try_run(OTHER, job("other")), Err(Busy), "the queue is full");
        release.send(()).expect("the job waits");
        let seen: Vec<_> = order.iter().take(8).collect();
        assert_eq!(seen[..5], ["one", "other", "one", "other", "one"]);
    }

    #[test]
    fn a_full_queue_refuses_and_a_panic_does_not_cost_a_thread() {
        let workers = Workers::start(1, 1, 0);
        let (release, blocked) = mpsc::channel::<()>();
        let (started, running) = mpsc::channel::<()>();
        let block = move || {
            started.send(()).expect("the test waits");
            blocked.recv().expect("the test releases it");
            panic!("on purpose");
        };
        assert_eq!(workers.try_run(ONE, block), Ok(()));
        running.recv().expect("the only thread is busy now");
        let (done, finished) = mpsc::channel::<()>();
        assert_eq!(workers.try_run(ONE, move || done.send(()).expect("the test waits")), Ok(()));
        assert_eq!(workers.try_run(ONE, || ()), Err(Busy));
        release.send(()).expect("the job waits");
        finished.recv().expect("the queued job runs after the panic");
    }

    #[test]
    fn a_job_that_finds_no_room_aside_comes_back() {
        let workers = Arc::new(Workers::start(1, 1, 0));
        let aside = Aside::of(&workers);
        let (release, blocked) = mpsc::channel::<()>();
        let (started, running) = mpsc::channel::<()>();
        let block = move || {
            started.send(()).expect("the test waits");
            blocked.recv().expect("the test releases it");
        };
        assert!(aside.run(Box::new(block)).is_ok());
        running.recv().expect("the only thread is busy now");
        assert!(aside.run(Box::new(|| ())).is_ok());
        assert!(aside.run(Box::new(|| ())).is_err(), "the queue is full");
        release.send(()).expect("the job waits");
        drop(workers);
        assert!(aside.run(Box::new(|| ())).is_err(), "the server has ended");
    }

    #[test]
    fn as_many_callers_compute_themselves_as_may_and_the_next_job_goes_to_a_worker() {
        let workers = Arc::new(Workers::start(1, 1, 1));
        let caller = thread::current().id();
        let (ran, threads) = mpsc::channel();
        let (inner, inner_ran) = (Arc::clone(&workers), ran.clone());
        let job = move || {
            ran.send(thread::current().id()).expect("the test waits");
            let next = move || inner_ran.send(thread::current().id()).expect("the test waits");
            assert_eq!(inner.try_run_small(ONE, next), Ok(()));
        };
        assert_eq!(workers.try_run_small(ONE, job), Ok(()));
        assert_eq!(threads.recv(), Ok(caller));
        assert_ne!(threads.recv(), Ok(caller));
        assert_eq!(workers.at_home.load(Ordering::Relaxed), 0);
    }
}
