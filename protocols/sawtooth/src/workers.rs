//! Where work is done that the executor must not wait for: contracts. A few threads, each taking the next piece.

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
        let (to_all, work) = unbounded::<Work>();
        for number in 0..count {
            let work = work.clone();
            let name = format!("sawtooth-contracts-{number}");
            let run = move || work.iter().for_each(|work| work());
            thread::Builder::new().name(name).spawn(run).expect("the system starts threads");
        }
        Self(Arc::new(Kind::Threads(to_all)))
    }

    pub fn at_once() -> Self {
        Self(Arc::new(Kind::AtOnce))
    }

    pub fn give(&self, work: impl FnOnce() + Send + 'static) {
        match &*self.0 {
            Kind::Threads(threads) => threads.send(Box::new(work)).expect("the threads outlive who gives them work"),
            Kind::AtOnce => work(),
        }
    }
}
