//! Where work is done that the executor, and whoever follows what is committed, must not wait for: contracts, events, answers. A few threads of
//! each kind, each taking the next piece.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Sender, unbounded};

type Work = Box<dyn FnOnce() + Send>;

/// See the module's text. What is given is bounded by whoever gives it.
#[derive(Clone)]
pub struct Workers(Arc<Kind>);

enum Kind {
    /// They end when nobody can give them work any more.
    Threads(Sender<Work>),
    /// For tests: whoever gives work does it.
    AtOnce,
}

impl Workers {
    pub fn threads(count: usize) -> Self {
        Self::named("contracts", count)
    }

    pub fn at_once() -> Self {
        Self(Arc::new(Kind::AtOnce))
    }

    /// More of the same kind, for work that waits for nothing that these do.
    #[must_use]
    pub fn others(&self, name: &str, count: usize) -> Self {
        match &*self.0 {
            Kind::Threads(_) => Self::named(name, count),
            Kind::AtOnce => Self::at_once(),
        }
    }

    pub fn give(&self, work: impl FnOnce() + Send + 'static) {
        match &*self.0 {
            Kind::Threads(threads) => threads.send(Box::new(work)).expect("the threads outlive who gives them work"),
            Kind::AtOnce => work(),
        }
    }

    fn named(name: &str, count: usize) -> Self {
        let (to_all, work) = unbounded::<Work>();
        for number in 0..count {
            let work = work.clone();
            let name = format!("sawtooth-{name}-{number}");
            let run = move || work.iter().for_each(fenced);
            thread::Builder::new().name(name).spawn(run).expect("the system starts threads");
        }
        Self(Arc::new(Kind::Threads(to_all)))
    }
}

/// A broken invariant costs its piece of work, not a thread.
fn fenced(work: Work) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!("a piece of work panicked and is given up");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_panic_does_not_cost_a_thread_and_others_are_other_threads() {
        let workers = Workers::threads(1);
        let others = workers.others("test", 1);
        workers.give(|| panic!("on purpose"));
        let (done, finished) = mpsc::channel();
        for pool in [&workers, &others] {
            let done = done.clone();
            pool.give(move || done.send(thread::current().id()).expect("the test waits"));
        }
        let (one, other) = (finished.recv().expect("an end"), finished.recv().expect("an end"));
        assert!(one != other && one != thread::current().id());
    }
}
