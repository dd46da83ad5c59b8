//! The threads on which services compute.
//!
//! Recovering a sender takes 45 µs and running a contract much longer; on all the threads that move bytes this would stop every
//! other connection. The queue is bounded: whoever finds it full is told so at once instead of waiting without an end.
//!
//! A trip to another thread costs about 9 µs of processor, as much as all the rest of serving a small request. So a small one
//! runs where it arrived, as long as at least one of the threads that move bytes stays free of such work.
//!
//! What proves to take long (`coco_protocol::Rest`) goes to a pool of its own, whose threads the system lets run where nobody else wants the processor:
//! neither a short request nor the node's own machines wait for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::process::{getpriority_process, setpriority_process};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::turns::{Asker, OWN, Turns};

/// A piece of work.
pub type Job = Box<dyn FnOnce() + Send>;

/// Of the places in the queue, one asker may take so many quarters.
const QUARTERS_OF_ONE: usize = 3;

/// As long as fewer than this part of the places are taken, nobody is told to come again for having waited.
const PARTS_OF_CROWD: usize = 64;

/// How much nicer to others the threads for long work are (`nice(1)`): of a processor that others want too, they get a tenth.
const LONG_NICENESS: i32 = 10;
const NICENESS_MAX: i32 = 19;

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

struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

struct Waiting {
    turns: Turns<(OwnedSemaphorePermit, Job)>,
    closed: bool,
}

/// The queue is full, or this asker's part of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Busy;

impl Workers {
    /// For what takes no longer than others may wait. Of the callers' own threads, `at_home_max` may compute at a time.
    pub(crate) fn start(threads: usize, queued_max: usize, at_home_max: usize) -> Self {
        Self::of("worker", threads.max(1), threads.max(1), queued_max, at_home_max, |queue| work(&queue))
    }

    /// For what takes long. One asker gets half of the threads: the others' work begins meanwhile.
    pub(crate) fn start_long(threads: usize, queued_max: usize) -> Self {
        let threads = threads.max(2);
        Self::of("long", threads, threads / 2, queued_max, 0, |queue| {
            give_way();
            work(&queue);
        })
    }

    fn of(
        name: &str,
        threads: usize,
        running_of_one_max: usize,
        queued_max: usize,
        at_home_max: usize,
        run: fn(Arc<Queue>),
    ) -> Self {
        let waiting = Mutex::new(Waiting { turns: Turns::new(running_of_one_max), closed: false });
        let queue = Arc::new(Queue { waiting, changed: Condvar::new() });
        for index in 0..threads {
            let queue = Arc::clone(&queue);
            thread::Builder::new()
                .name(format!("{name}-{index}"))
                .spawn(move || run(queue))
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
    pub(crate) fn is_crowded(&self) -> bool {
        self.room.available_permits() <= self.queued_max - self.queued_max / PARTS_OF_CROWD
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
        self.waiting.lock().turns.waiting(asker)
    }

    fn push(&self, asker: Asker, place: OwnedSemaphorePermit, job: Job) {
        self.waiting.lock().turns.push(asker, (place, job));
        self.changed.notify_one();
    }

    /// The next job, for who has just done another one; `None` once nothing can come any more.
    fn take(&self, done: Option<(Asker, Duration)>) -> Option<(Asker, OwnedSemaphorePermit, Job)> {
        let mut waiting = self.waiting.lock();
        if let Some((asker, took)) = done
            && waiting.turns.done(asker, took)
        {
            self.changed.notify_one();
        }
        loop {
            if let Some((asker, (place, job))) = waiting.turns.take() {
                return Some((asker, place, job));
            }
            // What waits for a job of the same asker to end is for the thread that does that one.
            if waiting.closed {
                return None;
            }
            self.changed.wait(&mut waiting);
        }
    }
}

fn work(queue: &Queue) {
    let mut done = None;
    while let Some((asker, place, job)) = queue.take(done) {
        drop(place);
        let began = Instant::now();
        fenced(job);
        done = Some((asker, began.elapsed()));
    }
}

/// Lets all other threads go first, where they want the processor.
fn give_way() {
    let lowered = getpriority_process(None)
        .and_then(|niceness| setpriority_process(None, (niceness + LONG_NICENESS).min(NICENESS_MAX)));
    if let Err(error) = lowered {
        tracing::warn!(%error, "long work competes with all other work: its threads' priority cannot be lowered");
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
    use std::net::IpAddr;
    use std::sync::mpsc;

    use super::*;

    const ONE: Asker = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));
    const OTHER: Asker = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

    #[test]
    fn who_has_had_less_is_next_and_one_asker_cannot_fill_the_queue() {
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
        assert_eq!(order.iter().take(8).next(), Some("other"), "all the time so far was the first one's");
    }

    #[test]
    fn threads_for_long_work_give_way_and_one_asker_has_half_of_them() {
        let workers = Workers::start_long(2, 8);
        let (started, running) = mpsc::channel();
        let mut releases = Vec::new();
        for asker in [ONE, ONE, OTHER] {
            let started = started.clone();
            let (release, blocked) = mpsc::channel::<()>();
            releases.push(release);
            let job = move || {
                let niceness = getpriority_process(None).expect("every thread has one");
                started.send((asker, niceness)).expect("the test waits");
                blocked.recv().expect_err("nothing is sent");
            };
            assert_eq!(workers.try_run(asker, job), Ok(()));
        }
        let niceness = (getpriority_process(None).expect("every thread has one") + LONG_NICENESS).min(NICENESS_MAX);
        let mut first = [running.recv(), running.recv()].map(|began| began.expect("two threads"));
        first.sort_unstable();
        assert_eq!(first, [(ONE, niceness), (OTHER, niceness)]);
        assert!(running.try_recv().is_err(), "both threads are busy");
        drop(releases);
        assert_eq!(running.recv(), Ok((ONE, niceness)));
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
