//! Ending a whole network: the node that a member asks tells all others, and then ends itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use coco_governance::NodeRow;
use parking_lot::Mutex;

use crate::events::ReplicaEvent;
use crate::handle::{Shared, ask_replica};
use crate::wire::kind;

/// How long another node may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The indexes of the nodes that end, and of those that did not answer.
pub type Stopped = (Vec<u32>, Vec<u32>);

/// Called once, when all have answered or been waited for.
pub type StoppedReply = Box<dyn FnOnce(Stopped) + Send>;

/// Tells every node of the network to end.
pub fn stop_network(shared: &Arc<Shared>, reply: StoppedReply) {
    let nodes = coco_governance::current_nodes(&mut shared.visible.state()).unwrap_or_default();
    let others: Vec<NodeRow> = nodes.into_iter().filter(|node| node.info.replica != shared.replica_id).collect();
    let gathering = Arc::new(Gathering {
        shared: shared.clone(),
        missing: AtomicUsize::new(others.len() + 1),
        answers: Mutex::new((vec![shared.index], Vec::new())),
        reply: Mutex::new(Some(reply)),
    });
    for node in others {
        let (gathering, index) = (gathering.clone(), node.info.index);
        let answered = Box::new(move |answer: Result<Bytes, _>| gathering.one(index, answer.is_ok()));
        shared.peers.request(node.info.replica, kind::STOP, Bytes::new(), PATIENCE, answered);
    }
    gathering.done();
}

struct Gathering {
    shared: Arc<Shared>,
    missing: AtomicUsize,
    answers: Mutex<Stopped>,
    reply: Mutex<Option<StoppedReply>>,
}

impl Gathering {
    fn one(&self, index: u32, stops: bool) {
        let mut answers = self.answers.lock();
        if stops {
            answers.0.push(index)
        } else {
            answers.1.push(index)
        }
        drop(answers);
        self.done();
    }

    fn done(&self) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(reply) = self.reply.lock().take()
        {
            let (mut stopping, mut silent) = std::mem::take(&mut *self.answers.lock());
            stopping.sort_unstable();
            silent.sort_unstable();
            reply((stopping, silent));
            ask_replica(&self.shared.replica, ReplicaEvent::StopNetwork);
        }
    }
}
