//! The front: makes what was committed readable.
//!
//! For each committed batch, in order: the write-once records go to the history, derived data is brought up to date, and only then do
//! readers and waiters see the batch. One version is *visible* at a time, so that state, history and derived data always agree.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use coco_governance::disclosure::IdentityDisclosure;
use coco_governance::{ServiceInfo, ServiceStatus, changes_hosting, hosted_ledgers, tables};
use coco_kv::{Snapshot, Store};
use coco_protocol::{CommittedTransaction, Integrity, Protocol};
use coco_types::{Seqno, TxId, WriteSet};
use parking_lot::RwLock;

use crate::bulletin::Bulletin;
use crate::history::NodeHistory;
use crate::replica::Delivery;
use crate::signatures::{Alarm, SignatureChecker};

/// The committed state that readers get. Shared.
pub struct Visible {
    current: RwLock<(TxId, Snapshot)>,
    /// The service was seen open. It never closes again.
    open: AtomicBool,
    /// The newest batch that may have changed the certificates of members and participants.
    actors_version: AtomicU64,
    /// The ledgers that the network hosts; `None` before anything is known of a network.
    hosted: RwLock<Option<BTreeSet<String>>>,
    /// Who is told of whom.
    disclosure: RwLock<IdentityDisclosure>,
    /// For whoever follows governance.
    bulletin: Bulletin,
}

/// See the module's text.
pub struct Front {
    protocols: Vec<Arc<dyn Protocol>>,
    history: Arc<NodeHistory>,
    visible: Arc<Visible>,
    checker: SignatureChecker,
}

/// What became readable.
pub struct Delivered {
    pub last: Seqno,
    /// It is committed all the same; who signed it is not to be trusted.
    pub alarm: Option<Alarm>,
    /// When its primary signed it, by that one's clock; `None` on the primary itself.
    pub signed_at: Option<u64>,
}

impl Visible {
    /// Everything up to `txid` is in `store`, committed and derived.
    pub fn new(txid: TxId, store: &Store) -> Self {
        Self {
            current: RwLock::new((txid, store.snapshot())),
            open: AtomicBool::new(false),
            actors_version: AtomicU64::new(txid.seqno.0),
            hosted: RwLock::new(hosted_ledgers(&mut store.snapshot()).unwrap_or_default()),
            disclosure: RwLock::new(IdentityDisclosure::read(&mut store.snapshot())),
            bulletin: Bulletin::new(txid),
        }
    }

    /// Whether the network hosts a ledger. Before anything is known of a network, none is denied.
    pub fn hosts(&self, ledger: &str) -> bool {
        self.hosted.read().as_ref().is_none_or(|hosted| hosted.contains(ledger))
    }

    pub fn txid(&self) -> TxId {
        self.current.read().0
    }

    /// Whether the members have opened the service to its applications.
    pub fn is_open(&self) -> bool {
        if self.open.load(Ordering::Relaxed) {
            return true;
        }
        let service = ServiceInfo::read(&mut self.state()).ok().flatten();
        let open = service.is_some_and(|service| service.status == ServiceStatus::Open);
        self.open.store(open, Ordering::Relaxed);
        open
    }

    /// Changes whenever certificates of members and participants may have changed.
    pub fn actors_version(&self) -> u64 {
        self.actors_version.load(Ordering::Acquire)
    }

    /// What the members have decided, as of what is committed.
    pub fn disclosure(&self) -> IdentityDisclosure {
        *self.disclosure.read()
    }

    pub fn bulletin(&self) -> &Bulletin {
        &self.bulletin
    }

    pub fn current(&self) -> (TxId, Snapshot) {
        self.current.read().clone()
    }

    pub fn state(&self) -> Snapshot {
        self.current.read().1.clone()
    }
}

impl Front {
    pub fn new(protocols: Vec<Arc<dyn Protocol>>, history: Arc<NodeHistory>, visible: Arc<Visible>) -> Self {
        Self { protocols, history, visible, checker: SignatureChecker::default() }
    }

    /// Takes in one batch. An error means that this node and its primary disagree about derived data.
    pub fn deliver(&mut self, delivery: Delivery) -> Result<Delivered, Integrity> {
        let Delivery { batch, mut state, last, signed } = delivery;
        let signed_at = signed.as_ref().and_then(|signed| signed.signature.issued_at());
        let alarm = signed.and_then(|signed| self.checker.check(&signed, &mut state).err());
        self.history.record_batch(&batch);
        for protocol in &self.protocols {
            protocol.committed(&batch, &state)?;
        }
        if batch.transactions.iter().any(|transaction| changes_hosting(&transaction.writes))
            && let Ok(hosted) = hosted_ledgers(&mut state)
        {
            *self.visible.hosted.write() = hosted;
        }
        // Before the state: what a vote closes is closed to whoever reads the state of after it.
        let is_about_disclosure =
            |transaction: &CommittedTransaction| transaction.writes.map(&tables::IDENTITY_DISCLOSURE).is_some();
        if batch.transactions.iter().any(is_about_disclosure) {
            *self.visible.disclosure.write() = IdentityDisclosure::read(&mut state);
        }
        *self.visible.current.write() = (last, state);
        // Behind the state: whoever reads this version finds the state that made it.
        if batch.transactions.iter().any(|transaction| changes_actors(&transaction.writes)) {
            self.visible.actors_version.store(last.seqno.0, Ordering::Release);
        }
        self.visible.bulletin.deliver(&batch, last);
        for protocol in &self.protocols {
            protocol.published(&batch);
        }
        Ok(Delivered { last: last.seqno, alarm, signed_at })
    }
}

fn changes_actors(writes: &WriteSet) -> bool {
    writes.map(&tables::MEMBER_CERTS).is_some() || writes.map(&tables::USER_CERTS).is_some()
}
