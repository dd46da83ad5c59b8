//! The threads on which services compute.
//!
//! Recovering a sender takes 45 µs and running a contract much longer; on all the threads that move bytes this would stop every
//! other connection. The queue is bounded: whoever finds it full is told so at once instead of waiting without an end.
//!
//! A trip to another thread costs about 9 µs of processor, as much as all the rest of serving a small request. So a small one
//! runs where it arrived, as long as at least one of the threads that move bytes stays free of such work.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

type Job = Box<dyn FnOnce() + Send>;

/// A bounded pool. Its threads end once it is dropped and the queue is empty.
pub(crate) struct Workers {
    queue: Sender<(OwnedSemaphorePermit, Job)>,
    room: Arc<Semaphore>,
    /// Callers that compute themselves now, and how many may.
    at_home: AtomicUsize,
    at_home_max: usize,
}

/// The queue is full.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Busy;

impl Workers {
    /// Of the callers' own threads, `at_home_max` may compute at a time.
    pub(crate) fn start(threads: usize, queued_max: usize, at_home_max: usize) -> Self {
        let (queue, jobs) = crossbeam_channel::unbounded();
        for index in 0..threads.max(1) {
            let jobs = jobs.clone();
            thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || work(&jobs))
                .expect("the system has threads left at start");
        }
        Self { queue, room: Arc::new(Semaphore::new(queued_max)), at_home: AtomicUsize::new(0), at_home_max }
    }

    /// Runs a small job on the caller's thread if that is among those allowed to compute, else on a worker.
    pub(crate) fn try_run_small(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Busy> {
        if self.at_home.fetch_add(1, Ordering::Relaxed) < self.at_home_max {
            fenced(job);
            self.at_home.fetch_sub(1, Ordering::Relaxed);
            return Ok(());
        }
        self.at_home.fetch_sub(1, Ordering::Relaxed);
        self.try_run(job)
    }

    pub(crate) fn try_run(&self, job: impl FnOnce() + Send + 'static) -> Result<(), Busy> {
        let place = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Busy)?;
        self.put(place, Box::new(job));
        Ok(())
    }

    /// The same, but waits for room: for those who can make their client wait.
    pub(crate) async fn run(&self, job: impl FnOnce() + Send + 'static) {
        let place = Arc::clone(&self.room).acquire_owned().await.expect("the semaphore is never closed");
        self.put(place, Box::new(job));
    }

    fn put(&self, place: OwnedSemaphorePermit, job: Job) {
        self.queue.send((place, job)).expect("workers end only after the pool");
    }
}

fn work(jobs: &Receiver<(OwnedSemaphorePermit, Job)>) {
    for (place, job) in jobs {
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
        assert_eq!(workers.try_run(block), Ok(()));
        running.recv().expect("the only thread is busy now");
        let (done, finished) = mpsc::channel::<()>();
        assert_eq!(workers.try_run(move || done.send(()).expect("the test waits")), Ok(()));
        assert_eq!(workers.try_run(|| ()), Err(Busy));
        release.send(()).expect("the job waits");
        finished.recv().expect("the queued job runs after the panic");
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
            assert_eq!(inner.try_run_small(next), Ok(()));
        };
        assert_eq!(workers.try_run_small(job), Ok(()));
        assert_eq!(threads.recv(), Ok(caller));
        assert_ne!(threads.recv(), Ok(caller));
        assert_eq!(workers.at_home.load(Ordering::Relaxed), 0);
    }
}
