//! What scripts see of the world besides their arguments.

use std::cell::RefCell;

use coco_kv::Tx;
use coco_types::Digest;

use super::budget::Wall;
use crate::hosting::LedgerCheck;
use crate::secrets::{Order, Vault};

/// Facts from outside the maps, fixed before governance looks at anything.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The newest committed signature over the ledger, in the form of CCF's row: scripts read its `root`. The ledger keeps these rows to itself,
    /// so they are not in the store.
    pub signature_json: Option<String>,
    /// The root that it signs: what members acknowledge.
    pub root: Option<Digest>,
    /// Unix seconds, by the primary's clock.
    pub now_s: u64,
    /// Seeds `Math.random` in `apply`.
    pub seed: [u8; 32],
    /// What this node opens submitted shares with; an auditor's replay has none.
    pub vault: Option<Vault>,
    /// What the ledgers of this node's code say of a genesis. An auditor's replay has none: what was recorded was found good.
    pub ledgers: Option<LedgerCheck>,
}

/// Shared by a request's scripts and the code around them. One thread, one transaction.
pub(crate) struct World {
    pub tx: RefCell<Tx>,
    pub facts: Facts,
    pub wall: Option<Wall>,
    /// Lines of `console`, oldest first.
    pub console: RefCell<Vec<String>>,
    /// What is to be made once the transaction has its place.
    pub orders: RefCell<Vec<Order>>,
}

impl World {
    pub fn order(&self, order: Order) {
        let mut orders = self.orders.borrow_mut();
        if !orders.contains(&order) {
            orders.push(order);
        }
    }
}
