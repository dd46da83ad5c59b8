//! Threads on which functions run, so that neither the executor nor those who serve other ledgers wait for them. Their stacks hold the
//! interpreter's at its largest.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use coco_types::limits::APP_STACK_BYTES_MAX;
use crossbeam_channel::{Sender, unbounded};

use crate::THREADS;

type Work = Box<dyn FnOnce() + Send>;

/// What the code around a function needs.
const STACK_SPARE_BYTES: usize = 4 << 20;

/// Where functions run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workers {
    Threads,
    /// For tests: where they are called.
    AtOnce,
}

/// Some of them, which wait for nothing that others do. They end when nobody can give them work any more. What is given is bounded by
/// whoever gives it.
pub(crate) struct Crew(Option<Sender<Work>>);

impl Workers {
    pub(crate) fn crew(self, name: &str) -> Crew {
        if self == Self::AtOnce {
            return Crew(None);
        }
        let (to_all, work) = unbounded::<Work>();
        for number in 0..THREADS {
            let work = work.clone();
            let thread = thread::Builder::new().name(format!("app-{name}-{number}"));
            let thread = thread.stack_size(APP_STACK_BYTES_MAX + STACK_SPARE_BYTES);
            thread.spawn(move || work.iter().for_each(fenced)).expect("the system starts threads");
        }
        Crew(Some(to_all))
    }
}

impl Crew {
    pub(crate) fn give(&self, work: impl FnOnce() + Send + 'static) {
        match &self.0 {
            Some(threads) => threads.send(Box::new(work)).expect("the threads outlive who gives them work"),
            None => work(),
        }
    }
}

/// A broken invariant costs its request, not a thread.
fn fenced(work: Work) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!("a request to the application panicked and is given up");
    }
}
